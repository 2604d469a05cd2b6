"""Rows become arrays without loss; a level's variance is moderated as its own and the pooled spread deserve."""

import numpy as np
import pytest
from scipy import special

from sclaws.fit import curves
from sclaws.fit.curves import Points, Reading, numbered, stack


def points(x, y, replicate=None):
    x = np.asarray(x, float)
    return Points(
        x[:, None], np.asarray(y, float), numbered(x), None if replicate is None else np.array(replicate), None
    )


def test_rows_at_one_input_share_a_level():
    found = stack([points([3, 1, 3], [1.0, 2.0, 5.0]), points([7, 8], [1.0, 1.0])], Reading(["umi"]))
    assert found.x["umi"][0].tolist() == [1, 3]
    assert found.count.tolist() == [[1, 2], [1, 1]]
    assert (found.summed(found.y) / found.count).tolist() == [[2, 3], [1, 1]]
    assert found.spread(found.x["umi"])[0].tolist() == [3, 1, 3]
    assert found.real.tolist() == [[1, 1, 1], [1, 1, 0]]
    assert found.z.tolist() == [[0, 1], [0, 1]]


def test_apart_keeps_every_row():
    found = stack([points([3, 1, 3], [1.0, 2.0, 5.0])], Reading(["umi"], apart=True))
    assert found.count.tolist() == [[1, 1, 1]]
    assert found.x["umi"].tolist() == [[3, 1, 3]]


def test_replicates_that_tell_nothing_are_not_there():
    assert stack([points([1, 2], [0, 0], [0, 0])], Reading(["u"])).shared is None
    assert stack([points([1, 2], [0, 0], [0, 1])], Reading(["u"])).shared is None
    assert stack([points([1, 2, 1], [0, 0, 0], [5, 5, 9])], Reading(["u"])).shared.tolist() == [[0, 0, 1]]


def test_distinct_values_and_rows_are_numbered():
    assert numbered(np.array([3.0, 1.0, 3.0])).tolist() == [1, 0, 1]
    assert numbered(np.array(["b", 1, "b"], dtype=object)).tolist() == [1, 0, 1]
    assert numbered(np.array([[1, 2], [0, 9], [1, 2]])).tolist() == [1, 0, 1]


def test_inverse_of_the_trigamma_function():
    for value in (0.05, 0.7, 4.0):
        assert special.polygamma(1, curves._inverse_trigamma(value)) == pytest.approx(value, rel=1e-9)


def relative(sd, replicates, seed):
    rng = np.random.default_rng(seed)
    x = np.repeat(np.arange(1.0, 41), replicates)
    y = np.repeat(sd, replicates) * rng.standard_normal(len(x))
    return stack([points(x, y)], Reading(["umi"], weighted=True)).relative[0]


def test_equal_variances_are_left_equal():
    """Three rows a level scatter a variance tenfold; of 20 curves of equal variances few may be taken for unequal."""
    ratios = [np.ptp(np.log(relative(np.ones(40), 3, seed))) for seed in range(20)]
    assert np.median(ratios) < np.log(1.5)


def test_variances_that_differ_are_found():
    truth = np.where(np.arange(40) < 20, 1.0, 9.0)
    found = relative(np.sqrt(truth), 6, 1)
    assert np.corrcoef(np.log(found), np.log(truth))[0, 1] > 0.8
    assert found[20:].mean() / found[:20].mean() == pytest.approx(9, rel=0.5)
