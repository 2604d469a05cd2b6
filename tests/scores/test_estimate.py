import math

import numpy as np
import pytest

from sclaws.errors import ScoreError
from sclaws.scores import _estimate
from sclaws.scores._estimate import Units, estimate, sample, standardised, varying

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 3))
Y = RNG.normal(size=(60, 2))


def test_five_groups_or_more_are_the_units():
    units = Units.of(60, None, np.arange(60) % 5)
    assert units.count == 5 and units.note == ""
    assert len(np.unique(units.ids)) == 5
    np.testing.assert_array_equal(units.ids[:5], units.ids[5:10])


@pytest.mark.parametrize(("groups", "said"), [(1, "only 1 group"), (2, "only 2 groups"), (4, "only 4 groups")])
def test_fewer_groups_fall_back_to_cells_and_say_so(groups, said):
    names = np.arange(60, dtype=np.uint64) + 1000
    units = Units.of(60, names, np.arange(60) % groups)
    assert units.count == 60 and units.note == f"interval over cells: {said}"
    assert len(np.unique(units.ids)) == 60


def test_ids_of_groups_are_groups_even_without_codes():
    assert Units.of(60, (np.arange(60) % 6).astype(np.uint64), None).count == 6
    few = Units.of(60, (np.arange(60) % 3).astype(np.uint64), None)
    assert few.count == 60 and few.note == "interval over cells: only 3 groups"


def test_cells_without_groups_are_units_however_few_they_are():
    units = Units.of(3, np.array([5, 6, 7], dtype=np.uint64), None)
    assert (units.count, units.note) == (3, "")


def test_distinct_ids_follow_the_cells_and_not_their_order():
    ids = RNG.permutation(100).astype(np.uint64)
    order = RNG.permutation(100)
    np.testing.assert_array_equal(_estimate.distinct(ids)[order], _estimate.distinct(ids[order]))
    assert len(np.unique(_estimate.distinct(np.ones(100, dtype=np.uint64)))) == 100


@pytest.mark.parametrize(
    ("y", "is_label"),
    [
        (np.arange(60) % 3, True),
        (np.arange(60) % 2 == 0, True),
        (np.array(["B", "T"])[np.arange(60) % 2], True),
        (np.array(["B", "T"], dtype=object)[np.arange(60) % 2], True),
        (np.arange(60) / 3, False),
        ((np.arange(60) % 3)[:, None], False),
    ],
)
def test_integers_and_text_are_labels_and_the_rest_is_continuous(y, is_label):
    given = sample(X, y, None, None)
    assert given.is_label == is_label
    assert given.is_label or given.y.shape == (60, 1)


def test_labels_become_consecutive_codes():
    np.testing.assert_array_equal(np.unique(sample(X, np.array([-1, 7, 3] * 20), None, None).y), [0, 1, 2])


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (X, Y[:59], "x has 60 rows and y has 59"),
        (X[:49], Y[:49], "too few cells: 49, and information needs at least 50"),
        (
            np.where(np.eye(60, 3, -2), np.nan, X),
            Y,
            "the embedding has 3 values that are not finite, first nan in row 2",
        ),
        (X, np.where(np.eye(60, 2), -np.inf, Y), "the signal has 2 values that are not finite, first -inf in row 0"),
        (X, np.ones((60, 2)), "the signal is constant among these cells"),
        (X, np.full(60, 4), "the label has only one class"),
        (X, np.array([["a", "b"]] * 60), "the signal is not made of numbers"),
    ],
)
def test_what_cannot_be_scored_is_one_clear_error(x, y, message):
    with pytest.raises(ScoreError, match=message):
        sample(x, y, None, None)


def test_a_constant_embedding_may_be_compared_with_that_of_a_partner():
    """Which is constant, too; the scores then say that the embedding is, and 0 bits."""
    assert not sample(np.ones((60, 3)), np.ones((60, 3)), None, None).y.std()


def test_classes_too_small_are_left_out_and_named():
    y = np.repeat([0, 1, 2], [28, 29, 3])
    given, said = sample(X, y, np.arange(60), None).classes_of(5, "probe")
    assert said == "1 of 3 classes left out: fewer than 5 cells"
    assert len(given.x) == len(given.ids) == len(given.groups) == 57
    assert set(given.y) == {0, 1}
    with pytest.raises(ScoreError, match="probe: 0 classes have at least 40 cells"):
        sample(X, y, None, None).classes_of(40, "probe")


def test_standardised_survives_huge_tiny_and_constant_columns():
    values = X * [1e300, 1e-300, 1] + [0, 0, 5]
    values = np.column_stack([values, np.full(60, 3.3), np.zeros(60)])
    np.testing.assert_array_equal(varying(values), [True, True, True, False, False])
    np.testing.assert_allclose(standardised(values), (X - X.mean(axis=0)) / X.std(axis=0), rtol=1e-9)
    assert not varying(np.zeros((60, 0))).any()


def test_entropy_of_a_fair_and_a_loaded_die():
    assert _estimate.entropy(np.arange(80) % 8) == pytest.approx(3)
    assert _estimate.entropy(np.repeat([0, 1], [3, 1])) == pytest.approx(2 - 0.75 * math.log2(3))


def test_interval_and_draws_agree_with_the_standard_error():
    influence = np.random.default_rng(1).normal(size=4000)
    units = Units.of(4000, None, None)
    found = estimate(1.0, influence, units, stderr=0.5)
    assert (found.low, found.high) == pytest.approx((1 - 0.98028, 1 + 0.98028), abs=1e-4)  # t(.975, 3999) = 1.96056
    own = estimate(1.0, influence, units)
    np.testing.assert_allclose(np.array(found.draws) * own.stderr, np.array(own.draws) * 0.5, rtol=1e-3)
    assert found.verdict == "ok" and found.n == 4000


def test_few_groups_widen_the_interval_by_students_t():
    found = estimate(0.0, RNG.normal(size=60), Units.of(60, None, np.arange(60) % 6), stderr=1.0)
    assert found.high == pytest.approx(2.5706, abs=1e-4)  # t(.975, 5)


def test_bounds_clip_the_interval_and_not_the_draws():
    found = estimate(-0.1, RNG.normal(size=60), Units.of(60, None, None), stderr=2.0, bounds=(0.0, 1.0))
    assert (found.low, found.value, found.high) == (0.0, 0.0, 1.0)
    assert min(found.draws) < -1 < 1 < max(found.draws)
