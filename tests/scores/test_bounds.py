import numpy as np
import pytest

from sclaws.scores._bounds import bound, tasks_of


def gaussian_table(rng, n, rho, claimed):
    """The table of a bivariate Gaussian's critic that claims another correlation than the data have."""
    x = rng.normal(size=n)
    y = rho * x + np.sqrt(1 - rho**2) * rng.normal(size=n)
    weight = 1 / (1 - claimed**2)
    return weight * (claimed * np.outer(x, y) - 0.5 * claimed**2 * (x[:, None] ** 2 + y[None, :] ** 2))


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.95, 0.999])
def test_the_true_critic_reaches_the_information(rho):
    rng = np.random.default_rng(0)
    found = [bound(gaussian_table(rng, 600, rho, rho)) for _ in range(30)]
    truth = -0.5 * np.log(1 - rho**2)
    spread = np.std([f.value for f in found]) / np.sqrt(30)
    # the better of two bounds is a little high, by less than the spread of one of them
    assert np.mean([f.value for f in found]) == pytest.approx(truth, abs=4 * spread + 0.01)


@pytest.mark.parametrize("claimed", [0.0, 0.3, 0.8])
def test_a_wrong_critic_stays_below_the_information(claimed):
    rng = np.random.default_rng(1)
    found = np.mean([bound(gaussian_table(rng, 600, 0.6, claimed)).value for _ in range(30)])
    assert found < -0.5 * np.log(1 - 0.6**2) - 0.01


def test_constants_of_the_critic_do_not_count():
    table = gaussian_table(np.random.default_rng(2), 200, 0.7, 0.7)
    assert bound(table + 7.0).value == pytest.approx(bound(table).value, abs=1e-9)


def test_the_influence_predicts_the_spread():
    rng = np.random.default_rng(3)
    found = [bound(gaussian_table(rng, 400, 0.7, 0.7)) for _ in range(200)]
    claimed = np.sqrt(np.mean([np.var(f.influence) / 400 for f in found]))
    assert claimed == pytest.approx(np.std([f.value for f in found]), rel=3 / np.sqrt(400) + 0.05)


def test_no_cell_is_judged_by_a_critic_that_saw_it():
    fold = np.arange(500) % 5
    tasks = tasks_of(fold, 0)
    assert [task.half for task in tasks] == [False, True] * 5
    for task in tasks:
        used = np.concatenate([task.train, task.valid])
        assert len(np.unique(used)) == len(used) and not set(used) & set(task.test)
    for full, half in zip(tasks[::2], tasks[1::2], strict=True):
        assert set(half.train) < set(full.train) and len(half.train) == len(full.train) // 2
    np.testing.assert_array_equal(np.sort(np.concatenate([task.test for task in tasks[::2]])), np.arange(500))
