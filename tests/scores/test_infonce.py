import numpy as np
import pytest

pytest.importorskip("torch")

from sclaws import testing
from sclaws.errors import ScoreError
from sclaws.scores.gaussian import Gaussian
from sclaws.scores.infonce import InfoNCE


def normal(rng, n, dx, dy, rho):
    x, y = rng.normal(size=(n, dx)), rng.normal(size=(n, dy))
    rho = np.array(rho)
    y[:, : len(rho)] = rho * x[:, : len(rho)] + np.sqrt(1 - rho**2) * y[:, : len(rho)]
    return x @ np.linalg.qr(rng.normal(size=(dx, dx)))[0], y, -0.5 * np.sum(np.log2(1 - rho**2))


def types(rng, n, count, d, apart):
    """Well separated cell types: both sides show the type and nothing else, so log2(count) bits."""
    kind = rng.integers(count, size=n)
    centres = apart * np.random.default_rng(9).normal(size=(2, count, d))
    return centres[0][kind] + rng.normal(size=(n, d)), centres[1][kind] + rng.normal(size=(n, d))


def test_a_gaussian_in_many_dimensions_costs_nothing_to_learn():
    x, y, truth = normal(np.random.default_rng(0), 1000, 20, 10, [0.8, 0.8])
    found = InfoNCE().estimate(x, y)
    assert found.value == pytest.approx(truth, abs=3 * found.stderr + 0.1 * truth)
    assert found.details["bound"] == "lower"


def test_cell_types_cost_nothing_to_learn():
    x, y = types(np.random.default_rng(1), 1000, 4, 12, 2.0)
    found = InfoNCE().estimate(x, y)
    assert found.value == pytest.approx(2.0, rel=0.1)


def test_what_is_bent_is_learnt_and_stays_below_the_truth():
    x, y, truth = normal(np.random.default_rng(2), 1000, 1, 2, [0.9])
    bent = np.column_stack([y[:, 0] + 2 * y[:, 1] ** 2, y[:, 1]])  # a bijection of y: changes no information
    plain, found = InfoNCE().estimate(x, y), InfoNCE().estimate(x, bent)
    assert plain.value == pytest.approx(truth, abs=3 * plain.stderr + 0.05)
    line = Gaussian().estimate(x, bent).value
    assert 2 * line < found.value < truth + 3 * found.stderr  # a thousand cells do not show all of it


def test_without_information_the_bound_is_not_above_zero():
    rng = np.random.default_rng(3)
    found = [InfoNCE().estimate(rng.normal(size=(300, 3)), rng.normal(size=(300, 2)), seed=s).value for s in range(5)]
    assert -0.3 < np.mean(found) < 0.03


def test_a_label():
    rng = np.random.default_rng(4)
    y = rng.integers(2, size=1000)
    x = np.column_stack([rng.uniform(0, 2, size=1000) + y, rng.normal(size=(1000, 4))])  # exactly half a bit
    found = InfoNCE().estimate(x, y)
    assert 0.35 < found.value < 0.5 + 3 * found.stderr
    assert 0 <= found.low <= found.high <= found.details["entropy"]


def test_no_linear_classifier_sees_what_this_one_does():
    rng = np.random.default_rng(5)
    x = rng.uniform(-1, 1, size=(1000, 2))
    y = (x[:, 0] * x[:, 1] > 0).astype(int)  # chequered: one bit, of which logistic regression sees nothing
    assert InfoNCE().estimate(x, y).value > 0.6


def test_groups_are_kept_whole_and_the_seed_decides():
    rng = np.random.default_rng(6)
    group = np.repeat(np.arange(20), 15)
    shift = rng.normal(size=20)[group, None]
    x, y = shift + 0.01 * rng.normal(size=(300, 1)), rng.normal(size=20)[group, None]  # partners within groups alone
    by_group = InfoNCE().estimate(x, y, groups=group)
    assert by_group.low <= 0 < InfoNCE().estimate(x, y).low
    assert by_group == InfoNCE().estimate(x, y, groups=group)


def test_what_is_odd_gives_finite_numbers_or_one_clear_error():
    x, y, _ = normal(np.random.default_rng(7), 120, 3, 2, [0.8])
    for found in (
        InfoNCE().estimate(np.column_stack([x, np.ones(120)]), y),
        InfoNCE().estimate(np.repeat(x, 2, axis=0), np.repeat(y, 2, axis=0)),
        InfoNCE().estimate(x[:50], y[:50]),
        InfoNCE().estimate(x, (y > 0).astype(float)),
    ):
        testing.check_estimate(found)
    assert InfoNCE().estimate(np.zeros((120, 2)), y).verdict == "the embedding is constant"
    with pytest.raises(ScoreError, match="too few cells: 49"):
        InfoNCE().estimate(x[:49], y[:49])
    with pytest.raises(ScoreError, match=r"infonce: folds = 1 must lie in \[2, 20\]"):
        InfoNCE(folds=1)
