import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.special import digamma
from sklearn.feature_selection import mutual_info_classif

from sclaws.errors import ScoreError
from sclaws.scores.ksg import KSG


def reference(x, y, k):
    """Estimator 1 with scipy's tree, in bits: nothing shared with ours but the formula."""
    x, y = ((v - v.mean(axis=0)) / v.std(axis=0) for v in (x, y))
    both = np.hstack([x, y])
    radius = np.nextafter(cKDTree(both).query(both, k + 1, p=np.inf)[0][:, -1], 0)
    inside = [cKDTree(v).query_ball_point(v, radius, p=np.inf, return_length=True) for v in (x, y)]
    return (digamma(k) + digamma(len(x)) - np.mean(digamma(inside[0]) + digamma(inside[1]))) / np.log(2)


def bivariate(rng, n, rho):
    x = rng.normal(size=(n, 1))
    return x, rho * x + np.sqrt(1 - rho**2) * rng.normal(size=(n, 1)), -0.5 * np.log2(1 - rho**2)


@pytest.mark.parametrize(("dx", "dy"), [(1, 1), (2, 3), (8, 4)])
@pytest.mark.parametrize("k", [1, 3, 7])
def test_equals_a_second_implementation(dx, dy, k):
    rng = np.random.default_rng(dx + k)
    x, y = rng.normal(size=(400, dx)), rng.normal(size=(400, dy))
    y[:, 0] += x[:, 0]
    # the jitter of 1e-10 may turn a comparison, hence one count, in a hundred thousand
    assert KSG(k).estimate(x, y).value == pytest.approx(reference(x, y, k), abs=1e-4)


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.95])
def test_unbiased_on_a_bivariate_normal_and_the_interval_covers(rho):
    rng = np.random.default_rng(1)
    runs, values, covered = 200, [], 0
    for _ in range(runs):
        x, y, truth = bivariate(rng, 300, rho)
        found = KSG().estimate(x, y)
        values.append(found.value)
        covered += found.low <= truth <= found.high
    # "nearly unbiased" in one dimension a side: .02 bits, a fifth of the spread at this size, and Monte Carlo error
    assert np.mean(values) == pytest.approx(truth, abs=0.02 + 3.5 * np.std(values) / np.sqrt(runs))
    assert covered / runs >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / runs)


def test_the_standard_error_is_the_spread_where_neighbourhoods_overlap_most():
    rng = np.random.default_rng(2)
    found = []
    for _ in range(100):
        x, y = rng.normal(size=(400, 8)), rng.normal(size=(400, 4))
        y += x[:, :4]
        found.append(KSG(10).estimate(x, y))
    spread = np.std([f.value for f in found])
    claimed = np.sqrt(np.mean([f.stderr**2 for f in found]))
    assert claimed == pytest.approx(spread, rel=3 / np.sqrt(200) + 0.05)
    # cells' terms taken as independent would promise much less
    assert np.mean([f.details["overlap"] for f in found]) > 1.4


def uniform_classes(rng, n):
    """x ~ U[0, 2] in class 0 and U[1, 3] in class 1: half the cells betray their class, so exactly ½ bit."""
    y = rng.integers(2, size=n)
    return (rng.uniform(0, 2, size=n) + y)[:, None], y


def test_a_label_whose_information_is_exactly_half_a_bit():
    rng = np.random.default_rng(3)
    found = [KSG().estimate(*uniform_classes(rng, 400)) for _ in range(100)]
    values = [f.value for f in found]
    assert np.mean(values) == pytest.approx(0.5, abs=0.02)
    assert np.mean([f.low <= 0.5 <= f.high for f in found]) >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 100)


def test_a_label_equals_scikit_learns():
    x, y = uniform_classes(np.random.default_rng(4), 500)
    theirs = mutual_info_classif(x, y, n_neighbors=3, random_state=0)[0] / np.log(2)
    assert KSG().estimate(x, y).value == pytest.approx(theirs, abs=1e-3)


def test_a_labels_information_lies_between_zero_and_its_entropy():
    rng = np.random.default_rng(5)
    y = np.arange(300) % 3
    perfect = KSG().estimate(100.0 * y[:, None] + rng.normal(size=(300, 1)), y)
    assert perfect.details["unclipped"] == pytest.approx(np.log2(3), abs=0.01)
    assert perfect.value <= perfect.high <= np.log2(3) + 1e-12
    nothing = [KSG().estimate(rng.normal(size=(100, 2)), rng.integers(2, size=100)) for _ in range(40)]
    assert min(f.details["unclipped"] for f in nothing) < 0
    assert min(f.value for f in nothing) == min(f.low for f in nothing) == 0


def test_rare_classes_are_left_out_and_said():
    y = np.repeat([0, 1, 2], [60, 60, 3])
    found = KSG().estimate(np.random.default_rng(6).normal(size=(123, 1)), y)
    assert found.n == 120 and found.details["n_classes"] == 2
    assert found.verdict == "1 of 3 classes left out: fewer than 4 cells"


def test_many_dimensions_and_tied_signals_are_warned_of():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(200, 4))
    assert (
        KSG().estimate(x[:, :3], x[:, 0] + rng.normal(size=200)).verdict == "likely low: neighbours in 3 + 1 dimensions"
    )
    tied = np.where(rng.uniform(size=200) < 0.5, 0, rng.normal(size=200))
    assert KSG().estimate(x[:, :1], tied).verdict.startswith("biased: ")
    assert KSG().estimate(x[:, :2], rng.normal(size=200)).verdict == "ok"


def test_units_of_columns_do_not_matter_and_constant_columns_neither():
    x, y, _ = bivariate(np.random.default_rng(8), 300, 0.7)
    x = np.column_stack([x, y + np.random.default_rng(9).normal(size=(300, 1))])
    plain = KSG().estimate(x, y)
    other = KSG().estimate(np.column_stack([x * [1e4, 1e-4] + 3, np.full(300, 7.0)]), -y)
    assert other.value == pytest.approx(plain.value, abs=1e-3)


def test_duplicated_cells_and_collapsed_embeddings_give_finite_numbers():
    rng = np.random.default_rng(10)
    x, y, _ = bivariate(rng, 100, 0.5)
    collapsed = np.where(np.arange(100)[:, None] < 60, 0.0, x)
    for found in (KSG().estimate(np.repeat(x, 4, axis=0), np.repeat(y, 4, axis=0)), KSG().estimate(collapsed, y)):
        assert np.isfinite([found.value, found.low, found.high, found.stderr, *found.draws]).all()


def test_the_seed_moves_the_interval_and_never_the_value():
    x, y, _ = bivariate(np.random.default_rng(11), 300, 0.5)
    first, second = KSG().estimate(x, y, seed=1), KSG().estimate(x, y, seed=2)
    assert first.value == second.value and first.stderr != second.stderr
    assert first == KSG().estimate(x, y, seed=1)


def test_groups_widen_the_interval():
    rng = np.random.default_rng(12)
    group = np.repeat(np.arange(12), 30)
    quality = rng.uniform(0, 2, size=12)[group, None]  # in some groups the embedding knows a lot, in others nothing
    y = rng.normal(size=(360, 1))
    x = quality * y + rng.normal(size=(360, 1))
    assert KSG().estimate(x, y, groups=group).stderr > 1.3 * KSG().estimate(x, y).stderr
    assert "only 2 groups" in KSG().estimate(x, y, groups=group % 2).verdict


def test_a_constant_embedding_knows_nothing_exactly():
    for y in (np.arange(80.0), np.arange(80) % 2):
        found = KSG().estimate(np.ones((80, 3)), y)
        assert (found.value, found.low, found.high) == (0, 0, 0)
        assert found.verdict == "the embedding is constant"


def test_refusals():
    with pytest.raises(ScoreError, match=r"ksg: k = 0 must lie in \[1, 50\]"):
        KSG(0)
    with pytest.raises(ScoreError, match="ksg: k = 20 is too many for 60 cells"):
        KSG(20).estimate(np.arange(60.0)[:, None], np.arange(60.0))


@pytest.mark.parametrize("task", ["1v1-normal-0-75", "1v1-bimodal-0-75", "wiggly-1v1-normal-0-75", "1v1-additive-0-75"])
def test_published_problems_in_one_dimension(shared, task):
    given = np.load(shared / "mi_tasks" / f"{task}.npz")
    found = KSG().estimate(given["x"], given["y"])
    assert found.value == pytest.approx(float(given["mi_bits"]), abs=4 * found.stderr)
