from types import SimpleNamespace

import numpy as np
import pytest

from sclaws import multiplier
from sclaws.errors import ScoreError
from sclaws.protocols import Pairs
from sclaws.scores.gaussian import Gaussian


def pairs(rng, n, dx, dy, rho):
    """Draw (x, y) with canonical correlations rho, hidden by random rotations; the information is known exactly."""
    x, y = rng.normal(size=(n, dx)), rng.normal(size=(n, dy))
    rho = np.array(rho)
    y[:, : len(rho)] = rho * x[:, : len(rho)] + np.sqrt(1 - rho**2) * y[:, : len(rho)]
    turn = [np.linalg.qr(rng.normal(size=(d, d)))[0] for d in (dx, dy)]
    return x @ turn[0], y @ turn[1], -0.5 * np.sum(np.log2(1 - rho**2))


SETTINGS = [
    (60, 1, 1, [0.8]),
    (60, 3, 2, [0.6, 0.6]),
    (200, 5, 5, [0.5, 0.5, 0.5]),
    (200, 16, 14, [0.8] * 5),
]


@pytest.mark.parametrize(("n", "dx", "dy", "rho"), [*SETTINGS, (60, 1, 1, []), (120, 8, 6, [])])
def test_unbiased_and_the_interval_covers_as_it_says(n, dx, dy, rho):
    rng = np.random.default_rng(n + dx)
    runs, values, stderrs, covered = 400, [], [], 0
    for _ in range(runs):
        x, y, truth = pairs(rng, n, dx, dy, rho)
        found = Gaussian("as-is").estimate(x, y)
        values.append(found.value)
        stderrs.append(found.stderr)
        covered += found.low <= truth <= found.high
    assert np.mean(values) == pytest.approx(truth, abs=3.5 * np.std(values) / np.sqrt(runs))
    # three binomial standard deviations of 95 %; without information the interval may be too wide, never too narrow
    band = 3 * np.sqrt(0.95 * 0.05 / runs)
    assert covered / runs >= 0.95 - band
    if rho:
        assert covered / runs <= 0.95 + band
        assert np.sqrt(np.mean(np.square(stderrs))) == pytest.approx(np.std(values), rel=3.5 / np.sqrt(2 * runs) + 0.03)


def test_many_dimensions_without_information_have_the_exact_spread():
    # where the influence vanishes, the second-order term alone is left: variance ~ dx dy / (2 n²) nats²
    rng = np.random.default_rng(7)
    found = [Gaussian("as-is").estimate(*pairs(rng, 400, 12, 10, [])[:2]) for _ in range(200)]
    spread = np.std([f.value for f in found])
    assert spread == pytest.approx(np.sqrt(60) / 400 / np.log(2), rel=0.2)
    assert np.mean([f.stderr for f in found]) == pytest.approx(spread, rel=0.2)


def test_ranks_undo_any_monotone_bending_of_a_column():
    rng = np.random.default_rng(3)
    x, y, truth = pairs(rng, 4000, 1, 1, [0.9])
    straight = Gaussian().estimate(x, y)
    bent = Gaussian().estimate(np.exp(3 * x), np.cbrt(y))
    assert bent.value == pytest.approx(straight.value, abs=1e-12)
    assert straight.low < truth < straight.high
    assert Gaussian("as-is").estimate(np.exp(3 * x), np.cbrt(y)).high < truth


def test_a_lower_bound_for_a_scalar_signal_with_a_bent_dependence():
    # y = x² + noise: no linear correlation at all, and still much information
    rng = np.random.default_rng(4)
    x = rng.normal(size=(2000, 1))
    found = Gaussian().estimate(x, x[:, 0] ** 2 + 0.1 * rng.normal(size=2000))
    assert found.value < 0.1


def test_independence_is_not_clipped_at_zero():
    rng = np.random.default_rng(5)
    values = [Gaussian().estimate(*pairs(rng, 100, 4, 4, [])[:2]).value for _ in range(100)]
    assert min(values) < 0 < max(values)
    assert np.mean(values) == pytest.approx(0, abs=3.5 * np.std(values) / 10)


def test_rotations_scales_and_useless_columns_change_nothing():
    rng = np.random.default_rng(6)
    x, y, _ = pairs(rng, 300, 3, 2, [0.7])
    plain = Gaussian("as-is").estimate(x, y)
    wide = np.column_stack([x @ rng.normal(size=(3, 3)) * 1e6, np.full(300, 2.0), x[:, 0], x.sum(axis=1)])
    found = Gaussian("as-is").estimate(wide, np.column_stack([y, y[:, 1]]))
    assert (found.value, found.stderr) == pytest.approx((plain.value, plain.stderr), rel=1e-6)
    assert (found.details["left_out_x"], found.details["left_out_y"]) == (3, 1)


def test_swapping_embedding_and_signal_changes_nothing():
    x, y, _ = pairs(np.random.default_rng(8), 300, 3, 5, [0.7, 0.2])
    forth, back = Gaussian().estimate(x, y), Gaussian().estimate(y, x)
    assert (back.value, back.stderr) == pytest.approx((forth.value, forth.stderr))
    np.testing.assert_allclose(forth.draws, back.draws, atol=1e-12)


def test_draws_know_the_covariance_of_two_embeddings_of_the_same_cells():
    rng = np.random.default_rng(9)
    values, claimed, apart = [], [], []
    for _ in range(300):
        y = rng.normal(size=(250, 1))
        shared = y + 0.6 * rng.normal(size=(250, 1))
        ids = rng.integers(2**63, size=500).astype(np.uint64)
        first, second = (
            Gaussian("as-is").estimate(shared + 0.4 * rng.normal(size=(250, 1)), y, ids=ids[:250]) for _ in range(2)
        )
        other = Gaussian("as-is").estimate(shared, y, ids=ids[250:])
        values.append((first.value, second.value))
        claimed.append(multiplier.covariance(first.draws, second.draws))
        apart.append(multiplier.covariance(first.draws, other.draws))
    truth = np.cov(np.transpose(values))
    correlation = truth[0, 1] / np.sqrt(truth[0, 0] * truth[1, 1])
    assert correlation > 0.3
    error = np.sqrt((1 + correlation**-2) / 300) * truth[0, 1]
    assert np.mean(claimed) == pytest.approx(truth[0, 1], abs=3.5 * error)
    assert np.mean(apart) == pytest.approx(0, abs=4 * np.std(apart) / np.sqrt(300))


def test_groups_that_share_their_noise_widen_the_interval():
    # every cell ten times: the estimate stays, and only groups know that the sample is ten times smaller than it looks
    x, y, _ = pairs(np.random.default_rng(10), 80, 2, 2, [0.8])
    once = Gaussian("as-is").estimate(x, y)
    group = np.repeat(np.arange(80), 10)
    naive = Gaussian("as-is").estimate(x[group], y[group])
    aware = Gaussian("as-is").estimate(x[group], y[group], groups=group)
    assert naive.stderr < 0.4 * once.stderr
    assert aware.stderr == pytest.approx(once.stderr, rel=0.1)
    assert np.std(aware.draws) == pytest.approx(aware.stderr, rel=4 / np.sqrt(128))


def test_a_constant_embedding_knows_nothing_of_a_sister_either():
    assert Gaussian().estimate(np.ones((60, 3)), np.ones((60, 3))).verdict == "the embedding is constant"


def test_a_constant_embedding_knows_nothing_exactly():
    found = Gaussian().estimate(np.zeros((80, 4)), np.arange(80.0))
    assert (found.value, found.low, found.high, found.stderr) == (0, 0, 0, 0)
    assert found.verdict == "the embedding is constant"
    assert len(found.draws) == 64 and not any(found.draws)


@pytest.mark.parametrize(
    ("dx", "y", "message"),
    [
        (2, np.arange(60) % 3, "the signal is a label, which no Gaussian describes: use score 'probe' or 'ksg'"),
        (57, np.arange(60.0), "too few cells: 60 for 57 . 1 dimensions; give more than 60 cells"),
    ],
)
def test_refusals(dx, y, message):
    with pytest.raises(ScoreError, match=message):
        Gaussian().estimate(np.random.default_rng(0).normal(size=(60, dx)), y)


def test_a_signal_that_is_a_column_of_the_embedding_has_infinite_information():
    x = np.random.default_rng(0).normal(size=(60, 3))
    with pytest.raises(ScoreError, match="a linear function of the embedding: their information is infinite"):
        Gaussian().estimate(x, x[:, 1])


def test_it_is_said_where_clusters_make_it_claim_too_much():
    rng = np.random.default_rng(12)
    kind = rng.integers(2, size=800)
    centres = 1.5 * rng.normal(size=(2, 2, 12))
    found = Gaussian().estimate(*(c[kind] + rng.normal(size=(800, 12)) for c in centres))
    assert found.value > 1.1  # two clusters hold one bit
    assert found.verdict.startswith("not jointly normal: on unseen cells this Gaussian reaches 0.")
    assert found.details["held_out"] < 1.0


def test_nothing_is_said_of_a_gaussian():
    for seed, n in ((13, 400), (14, 1000)):
        x, y, _ = pairs(np.random.default_rng(seed), n, 16, 14, [0.8, 0.8, 0.5])
        assert Gaussian().estimate(x, y).verdict == "ok"
    told = "unchecked: 299 cells are too few to see whether 16 + 14 dimensions are jointly normal"
    assert Gaussian().estimate(x[:299], y[:299]).verdict == told


def test_called_on_a_probe_it_scores_the_pairs():
    x, y, _ = pairs(np.random.default_rng(11), 90, 2, 2, [0.5])
    ids = np.arange(90, dtype=np.uint64) + 7
    probe = SimpleNamespace(pairs=Pairs(x, y, np.arange(90), ids, np.arange(90) % 9))
    found = Gaussian()(probe, seed=1)
    assert found == {"information": Gaussian().estimate(x, y, ids=ids, groups=np.arange(90) % 9, seed=1)}
    assert found["information"].unit == "bits" and found["information"].n == 90


@pytest.mark.parametrize(
    "task",
    [
        "1v1-normal-0-75",
        "multinormal-dense-5-5-0-5",
        "multinormal-sparse-25-25-2-2-0",
        "half-cube-1v1-normal-0-75",
        "normal-cdf-multinormal-sparse-5-5-2-2-0",
    ],
)
def test_published_problems_with_a_gaussian_copula(shared, task):
    given = np.load(shared / "mi_tasks" / f"{task}.npz")
    found = Gaussian().estimate(given["x"], given["y"])
    assert found.value == pytest.approx(float(given["mi_bits"]), abs=4 * found.stderr)


def test_the_expansion_of_canonical_correlations_is_the_log_determinant():
    # a second way to the same number: ½ log2(|S_x| |S_y| / |S_xy|), before the correction, at an n where that is tiny
    x, y, _ = pairs(np.random.default_rng(12), 200_000, 3, 2, [0.9, 0.4])
    s = np.cov(np.column_stack([x, y]).T)
    direct = 0.5 * np.log2(np.linalg.det(s[:3, :3]) * np.linalg.det(s[3:, 3:]) / np.linalg.det(s))
    assert Gaussian("as-is").estimate(x, y).value == pytest.approx(direct, abs=1e-4)
    found = Gaussian("as-is").estimate(x, y).details["canonical_correlations"]
    assert found == pytest.approx([0.9, 0.4], abs=0.01)


@pytest.mark.parametrize(("margins", "least"), [("ranks", 1.5), ("as-is", 3.0)])
def test_a_vector_signal_in_clusters_is_where_it_exceeds_the_truth(margins, least):
    # two clusters that both sides know: one bit at most, whatever the columns. The limit that the documentation states.
    rng = np.random.default_rng(13)
    cluster = rng.integers(2, size=(2000, 1))
    x, y = cluster + 0.1 * rng.normal(size=(2000, 16)), cluster + 0.1 * rng.normal(size=(2000, 14))
    assert Gaussian(margins).estimate(x, y).low > least
