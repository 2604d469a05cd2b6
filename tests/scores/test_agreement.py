import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

from sclaws.scores import _agreement

PAIRS = [(_agreement.nmi, normalized_mutual_info_score), (_agreement.ari, adjusted_rand_score)]


def codes(n=400, agree=0.6, seed=0):
    rng = np.random.default_rng(seed)
    label = np.r_[np.arange(5), rng.choice(5, size=n - 5, p=[0.4, 0.3, 0.15, 0.1, 0.05])]
    return label, np.where(rng.random(n) < agree, label, rng.integers(7, size=n))


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
@pytest.mark.parametrize("agree", [0.0, 0.6, 1.0])
def test_values_are_scikit_learns(ours, theirs, agree):
    label, cluster = codes(agree=agree)
    assert ours(label, cluster)[0] == pytest.approx(theirs(label, cluster), abs=1e-12)


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_one_cluster_tells_nothing(ours, theirs):
    label, _ = codes()
    value, influence = ours(label, np.zeros_like(label))
    assert value == pytest.approx(0, abs=1e-12) == theirs(label, np.zeros_like(label))
    assert influence == pytest.approx(np.zeros(400), abs=1e-12)
    assert ours(np.zeros_like(label), np.zeros_like(label))[0] == 1 == theirs(np.zeros(400), np.zeros(400))


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_the_influence_is_what_leaving_a_cell_out_does(ours, theirs):
    label, cluster = (np.tile(part, 50) for part in codes())  # many cells: what is left of the second order is small
    n = len(label)
    value, influence = ours(label, cluster)
    assert influence.mean() == pytest.approx(0, abs=1e-12)
    some = np.unique(8 * label + cluster, return_index=True)[1]
    left = [(n - 1) * (value - theirs(np.delete(label, cell), np.delete(cluster, cell))) for cell in some]
    assert influence[some] == pytest.approx(left, abs=0.02 * np.std(left))


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_the_influence_gives_the_spread_over_fresh_tables(ours, theirs):
    draws = [ours(*codes(seed=seed)) for seed in range(300)]
    spread = np.std([value for value, _ in draws])
    assert np.mean([influence.std() / 20 for _, influence in draws]) == pytest.approx(spread, rel=0.15)
