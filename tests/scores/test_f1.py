import warnings

import numpy as np
import pytest
from sklearn.metrics import f1_score

from sclaws.errors import ScoreError
from sclaws.scores._f1 import macro_f1, micro_f1

BOTH = {"micro": micro_f1, "macro": macro_f1}


def codes(seed, n=200, classes=5):
    rng = np.random.default_rng(seed)
    truth = rng.choice(classes, size=n, p=rng.dirichlet(np.ones(classes)))
    return truth, np.where(rng.random(n) < 0.6, truth, rng.integers(classes, size=n))


@pytest.mark.parametrize("average", BOTH)
@pytest.mark.parametrize("seed", range(5))
def test_equals_scikit_learn(average, seed):
    truth, predicted = codes(seed)
    assert BOTH[average](truth, predicted)[0] == pytest.approx(f1_score(truth, predicted, average=average), abs=1e-12)


@pytest.mark.parametrize("average", BOTH)
def test_classes_of_one_side_count_and_classes_of_neither_do_not(average):
    truth, predicted = np.array([0, 0, 3, 3, 5, 5]), np.array([0, 3, 3, 3, 7, 0])  # 5 never predicted, 7 never true
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = f1_score(truth, predicted, average=average)
    value, influence = BOTH[average](truth, predicted)
    assert value == pytest.approx(expected)
    assert np.isfinite(influence).all()
    if average == "macro":
        assert value == pytest.approx((1 / 2 + 4 / 5 + 0 + 0) / 4)  # by hand: classes 0, 3, 5, 7


@pytest.mark.parametrize("average", BOTH)
def test_the_influence_is_that_of_a_jackknife(average):
    truth, predicted = codes(7)
    value, influence = BOTH[average](truth, predicted)
    n, every = len(truth), np.arange(len(truth))
    without = [f1_score(truth[every != i], predicted[every != i], average=average) for i in every]
    assert influence.mean() == pytest.approx(0, abs=1e-12)
    # leaving a cell out moves the value by -influence / (n - 1), to second order in 1 / n
    moved = (n - 1) * (value - np.array(without))
    assert np.abs(moved - influence).max() < 0.15 * np.abs(influence).max()
    assert np.corrcoef(moved, influence)[0, 1] > 0.998


@pytest.mark.parametrize("average", BOTH)
def test_the_influence_is_the_derivative_to_a_weight(average):
    truth, predicted = codes(8, n=60)
    influence = BOTH[average](truth, predicted)[1]
    for cell in range(0, 60, 7):
        weight = np.ones(60)
        step = 1e-6
        up, down = (
            f1_score(truth, predicted, average=average, sample_weight=weight + sign * step * (np.arange(60) == cell))
            for sign in (1, -1)
        )
        assert 60 * (up - down) / (2 * step) == pytest.approx(influence[cell], abs=1e-5)


@pytest.mark.parametrize("average", BOTH)
def test_the_standard_error_is_that_of_a_bootstrap(average):
    truth, predicted = codes(9, n=500)
    influence = BOTH[average](truth, predicted)[1]
    rng = np.random.default_rng(0)
    again = [
        BOTH[average](truth[rows], predicted[rows])[0] for rows in (rng.integers(500, size=500) for _ in range(2000))
    ]
    assert influence.std() / np.sqrt(500) == pytest.approx(np.std(again), rel=0.1)


@pytest.mark.parametrize(
    ("truth", "predicted", "told"),
    [
        (np.zeros(3, int), np.zeros(4, int), r"got shapes \(3,\) and \(4,\)"),
        (np.zeros(0, int), np.zeros(0, int), r"got shapes \(0,\) and \(0,\)"),
        (np.zeros((2, 2), int), np.zeros((2, 2), int), "two equally long lists"),
        (np.zeros(3), np.zeros(3, int), "whole numbers from 0"),
        (np.zeros(3, int), np.array([0, -1, 0]), "whole numbers from 0"),
    ],
)
@pytest.mark.parametrize("average", BOTH)
def test_what_is_no_list_of_codes_is_refused(average, truth, predicted, told):
    with pytest.raises(ScoreError, match=told):
        BOTH[average](truth, predicted)
