import numpy as np
import pytest
from sklearn.metrics import f1_score

from sclaws.scores._f1 import macro_f1, micro_f1


@pytest.fixture(scope="module")
def foretold():
    rng = np.random.default_rng(0)
    truth = rng.choice(5, size=400, p=[0.5, 0.3, 0.1, 0.08, 0.02])
    return truth, np.where(rng.random(400) < 0.7, truth, rng.integers(6, size=400))  # code 5 is never true


def test_values_are_those_of_scikit_learn(foretold):
    assert micro_f1(*foretold)[0] == pytest.approx(f1_score(*foretold, average="micro"))
    assert macro_f1(*foretold)[0] == pytest.approx(f1_score(*foretold, average="macro"))


@pytest.mark.parametrize("f1", [micro_f1, macro_f1])
def test_influence_is_the_derivative_by_each_cells_weight(foretold, f1):
    """By brute force: every cell once more, which is a weight of 2, and once less; the mean of both is a derivative."""
    truth, predicted = (np.tile(part, 10) for part in foretold)  # ten copies: one more is a small change
    value, influence = f1(truth, predicted)
    assert influence.mean() == pytest.approx(value)
    for i in range(0, 400, 7):
        more = f1(np.r_[truth, truth[i]], np.r_[predicted, predicted[i]])[0]
        less = f1(np.delete(truth, i), np.delete(predicted, i))[0]
        assert len(truth) * (more - less) / 2 == pytest.approx(influence[i] - value, abs=2e-3)


@pytest.mark.parametrize("f1", [micro_f1, macro_f1])
def test_the_spread_is_that_of_a_bootstrap(foretold, f1):
    truth, predicted = foretold
    rng = np.random.default_rng(1)
    again = [f1(truth[rows], predicted[rows])[0] for rows in rng.integers(400, size=(1000, 400))]
    assert np.std(f1(truth, predicted)[1]) / 20 == pytest.approx(np.std(again), rel=0.12)
