"""Medians are numpy's while values are held, and within the stated bound of them when they are counted in bins."""

import numpy as np
import pytest
from scipy import sparse

from sclaws.models import _medians
from sclaws.models._medians import ERROR, medians


def csr(rows):
    return sparse.csr_matrix(np.asarray(rows, dtype=np.float32))


def simulated(n, p, depth, seed=0):
    rng = np.random.default_rng(seed)
    share = np.exp(rng.normal(0, 2, p))
    mean = np.exp(rng.normal(np.log(depth), 0.4, n))[:, None] * share / share.sum()
    return csr(rng.poisson(rng.gamma(2.0, mean / 2.0)))


def plainly(counts, whole):
    shares = counts.toarray().astype(np.float64) / whole[:, None] * 1e4
    return np.array([np.median(column[column > 0]) if (column > 0).any() else np.nan for column in shares.T])


def cut(counts, size):
    return (counts[start : start + size] for start in range(0, counts.shape[0], size))


def test_a_median_is_over_the_cells_that_have_the_gene():
    counts = csr([[2, 0, 1, 0], [4, 0, 3, 0], [9, 0, 0, 0], [0, 0, 0, 0]])
    found = medians([counts], np.array([10_000, 20_000, 30_000, 0]), 4)
    np.testing.assert_allclose(found, [2.0, np.nan, (1 + 1.5) / 2, np.nan])  # of 2, 2, 3 and of 1, 1.5


@pytest.mark.parametrize("size", [7, 200])
def test_medians_equal_numpys_on_dense_columns(size):
    counts = simulated(200, 300, 400)
    whole = np.asarray(counts.sum(axis=1)).ravel() + 55.0  # molecules of genes that are not here
    truth = plainly(counts, whole)
    assert np.isnan(truth).any()
    np.testing.assert_allclose(medians(cut(counts, size), whole, 300), truth, rtol=1e-14)


@pytest.mark.parametrize("held", [0, 5000])  # nothing is ever held, or some blocks are, which are then counted, too
@pytest.mark.parametrize("depth", [400, 30_000])
def test_beyond_what_is_held_they_are_within_the_bound(monkeypatch, held, depth):
    monkeypatch.setattr(_medians, "HELD", held)
    counts = simulated(700, 300, depth, seed=1)
    whole = np.asarray(counts.sum(axis=1)).ravel()
    assert counts.nnz > 10_000
    found, truth = medians(cut(counts, 64), whole, 300), plainly(counts, whole)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(truth))
    error = np.abs(found / truth - 1)[~np.isnan(truth)]
    assert error.max() <= ERROR
    assert error.max() > 0  # they were not computed exactly


@pytest.mark.parametrize("octaves", [-30, 0, 12])
def test_the_bound_holds_over_the_whole_range_and_between_two_far_values(monkeypatch, octaves):
    """An even number of values: the median is the mean of the middle two, however far they are from each other."""
    monkeypatch.setattr(_medians, "HELD", 0)
    counts = csr(np.random.default_rng(2).integers(1, 2000, size=(6, 500)))
    whole = np.full(6, 1e4 * 2.0**-octaves)
    found = medians([counts], whole, 500)
    assert np.abs(found / plainly(counts, whole) - 1).max() <= ERROR


def test_the_order_of_cells_does_not_matter_beyond_what_is_held(monkeypatch):
    monkeypatch.setattr(_medians, "HELD", 0)
    counts = simulated(300, 80, 400)
    whole, order = np.asarray(counts.sum(axis=1)).ravel(), np.random.default_rng(0).permutation(300)
    one, other = medians(cut(counts, 50), whole, 80), medians(cut(counts[order], 77), whole[order], 80)
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("totals", [np.array([3.0, 0.0]), np.array([3.0]), np.ones(3)])
def test_a_total_is_needed_for_every_cell_with_molecules(totals):
    told = f"a total above 0 is needed for each of the 2 cells that has molecules, and {len(totals)} are given"
    with pytest.raises(ValueError, match=told):
        medians([csr([[1, 2], [0, 1]])], totals, 2)


def test_without_cells_there_is_no_median():
    assert np.isnan(medians([], np.empty(0), 3)).all()
