import numpy as np
import pytest

from sclaws import multiplier
from sclaws.hashing import name_ids


def ids(n, prefix="cell"):
    return name_ids(f"{prefix}{i}" for i in range(n))


def test_the_standard_error_of_a_mean_is_the_textbooks():
    values = np.random.default_rng(0).exponential(size=400)
    assert multiplier.standard_error(values, ids(400)) == pytest.approx(values.std(ddof=1) / 20)


def test_copies_of_a_cell_in_one_group_do_not_add_certainty():
    values = np.random.default_rng(1).normal(size=50)
    once = multiplier.standard_error(values, ids(50))
    assert multiplier.standard_error(np.repeat(values, 7), np.repeat(ids(50), 7)) == pytest.approx(once)


def test_one_group_has_no_spread():
    assert np.isnan(multiplier.standard_error(np.arange(5.0), np.ones(5, dtype=np.uint64)))


def test_the_variance_of_draws_is_the_squared_standard_error():
    # 64 draws x 100 samples: the mean of 6,400 squares of unit normals has a standard deviation of sqrt(2 / 6,400)
    rng = np.random.default_rng(2)
    ratios = []
    for sample in range(100):
        values, cells = rng.normal(size=300), ids(300, f"{sample}-")
        drawn = multiplier.draws(values, cells)
        ratios.append(np.mean(drawn**2) / multiplier.standard_error(values, cells) ** 2)
    assert np.mean(ratios) == pytest.approx(1, abs=4 * np.sqrt(2 / 6400))


@pytest.mark.parametrize("correlation", [-0.5, 0.0, 0.8])
def test_runs_on_the_same_cells_share_their_error_and_runs_on_other_cells_do_not(correlation):
    rng = np.random.default_rng(3)
    same, other = [], []
    for sample in range(150):
        first = rng.normal(size=200)
        second = correlation * first + np.sqrt(1 - correlation**2) * rng.normal(size=200)
        drawn = multiplier.draws(first, ids(200, f"{sample}-"))
        same.append(multiplier.covariance(drawn, multiplier.draws(second, ids(200, f"{sample}-"))) * 200)
        other.append(multiplier.covariance(drawn, multiplier.draws(second, ids(200, f"{sample}+"))) * 200)
    error = np.sqrt((1 + correlation**2) / (64 * 150) + (1 + correlation**2) / (200 * 150))
    assert np.mean(same) == pytest.approx(correlation, abs=4 * error)
    assert np.mean(other) == pytest.approx(0, abs=4 * error)


def test_draws_of_a_part_of_the_cells_share_in_proportion():
    # second run on half of the first's cells: cov(mean of n, mean of n / 2 of them) = variance / n
    rng = np.random.default_rng(4)
    found = []
    for sample in range(200):
        values, cells = rng.normal(size=200), ids(200, f"{sample}-")
        whole, half = multiplier.draws(values, cells), multiplier.draws(values[:100], cells[:100])
        found.append(multiplier.covariance(whole, half) * 200)
    assert np.mean(found) == pytest.approx(1, abs=4 * np.sqrt((1 + 2) / (64 * 200)))


def test_draws_do_not_depend_on_the_order_of_cells():
    rng = np.random.default_rng(5)
    values, cells, order = rng.normal(size=100), ids(100), rng.permutation(100)
    np.testing.assert_allclose(
        multiplier.draws(values, cells), multiplier.draws(values[order], cells[order]), rtol=0, atol=1e-15
    )


def test_draws_of_groups_are_as_wide_as_the_groups_make_them():
    # influence = group effect + cell effect, unit variances: variance of the mean = 1 / G + 1 / n
    rng = np.random.default_rng(6)
    squares = []
    for sample in range(150):
        group = np.repeat(np.arange(30), 20)
        values = rng.normal(size=30)[group] + rng.normal(size=600)
        squares.append(np.mean(multiplier.draws(values, ids(30, f"{sample}-")[group]) ** 2))
    truth = (1 / 30 + 1 / 600) * 29 / 30
    assert np.mean(squares) == pytest.approx(truth, rel=4 * np.sqrt(2 / (64 * 150) + 2 / (29 * 150)))
