import numpy as np
import pytest
from scipy import integrate, stats

from sclaws.errors import ScoreError
from sclaws.scores.probe import LabelProbe


def two_normals(rng, n, apart, dim=1):
    y = rng.integers(2, size=n)
    x = rng.normal(size=(n, dim))
    x[:, 0] += apart * y
    return x, y


def truth(apart):
    """I(x; y) in bits for two equally likely unit normals: h(mixture) - h(normal), by quadrature."""

    def part(x):
        p = 0.5 * (stats.norm.pdf(x) + stats.norm.pdf(x - apart))
        return -p * np.log2(p)

    return integrate.quad(part, -8, 8 + apart)[0] - 0.5 * np.log2(2 * np.pi * np.e)


@pytest.mark.parametrize("apart", [1.0, 2.0, 4.0])
def test_reaches_the_truth_where_the_posterior_is_logistic_and_never_exceeds_it(apart):
    rng = np.random.default_rng(0)
    found = [LabelProbe().estimate(*two_normals(rng, 1000, apart)) for _ in range(60)]
    mean, error = np.mean([f.value for f in found]), np.std([f.value for f in found]) / np.sqrt(60)
    assert mean <= truth(apart) + 3 * error
    # the price of two fitted numbers is about 2 / (2 n ln 2), .0014 bits, and of the penalty less than .01
    assert mean >= truth(apart) - 0.0014 - 0.01 - 3 * error


def test_the_interval_covers_the_expected_value():
    rng = np.random.default_rng(1)
    found = [LabelProbe().estimate(*two_normals(rng, 600, 2.0, dim=3)) for _ in range(200)]
    values = np.array([f.value for f in found])
    covered = np.mean([f.low <= values.mean() <= f.high for f in found])
    assert abs(covered - 0.95) <= 3 * np.sqrt(0.95 * 0.05 / 200)
    assert np.mean([f.stderr for f in found]) == pytest.approx(values.std(), rel=0.15)


def test_no_information_is_no_information_even_in_many_dimensions():
    rng = np.random.default_rng(2)
    found = [LabelProbe().estimate(rng.normal(size=(150, 40)), rng.integers(3, size=150)) for _ in range(30)]
    assert all(f.value == f.low == 0 for f in found)
    assert all(f.details["unclipped"] < 0 for f in found), "the raw value pays for 80 fitted numbers"


def test_a_perfect_embedding_reaches_the_entropy_and_no_more():
    y = np.repeat(np.arange(4), [40, 40, 80, 160])
    found = LabelProbe().estimate(50 * np.eye(4)[y] + np.random.default_rng(3).normal(size=(320, 4)), y)
    assert found.details["entropy"] == pytest.approx(1.75)  # of 1/8, 1/8, 1/4, 1/2
    assert 1.6 < found.value <= found.high <= 1.75
    assert found.details["accuracy"] == 1.0


def test_groups_are_never_cut_by_a_fold():
    # the embedding is the group's fingerprint, and the label is constant in a group: a fold that cuts groups would
    # learn fingerprints, and one that does not can only guess
    rng = np.random.default_rng(4)
    group = np.repeat(np.arange(20), 20)
    label = (np.arange(20) % 2)[group]
    x = 5 * rng.normal(size=(20, 15))[group] + 0.1 * rng.normal(size=(400, 15))
    cut, whole = LabelProbe().estimate(x, label), LabelProbe().estimate(x, label, groups=group)
    assert cut.value > 0.9
    assert whole.value < 0.3


def test_a_class_that_some_folds_lack_costs_bits_and_not_infinity():
    group = np.repeat(np.arange(6), 20)
    label = np.where(group == 5, 2, group % 2)  # class 2 lives in one group only, so no fold that tests it has seen it
    x = np.random.default_rng(5).normal(size=(120, 2))
    found = LabelProbe().estimate(x, label, groups=group)
    assert found.value == 0 and np.isfinite([found.stderr, found.details["unclipped"], *found.draws]).all()
    assert found.details["unclipped"] > -np.log2(121 * 3)


def test_one_group_alone_is_said():
    x, y = two_normals(np.random.default_rng(6), 100, 2.0)
    found = LabelProbe().estimate(x, y, groups=np.zeros(100, dtype=int))
    assert "folds over cells: only 1 group" in found.verdict and "interval over cells: only 1 group" in found.verdict


def test_classes_smaller_than_the_folds_are_left_out_and_said():
    x, y = two_normals(np.random.default_rng(7), 100, 2.0)
    found = LabelProbe().estimate(np.vstack([x, x[:4]]), np.r_[y, [2, 2, 2, 3]])
    assert found.n == 100 and found.details["n_classes"] == 2
    assert found.verdict == "2 of 4 classes left out: fewer than 5 cells"


def test_folds_follow_the_cells_and_not_their_order():
    rng = np.random.default_rng(8)
    x, y = two_normals(rng, 200, 1.5, dim=4)
    ids, order = rng.integers(2**62, size=200).astype(np.uint64), rng.permutation(200)
    first = LabelProbe().estimate(x, y, ids=ids)
    second = LabelProbe().estimate(x[order], y[order], ids=ids[order])
    assert second.value == pytest.approx(first.value, abs=1e-4)  # the optimiser stops at a tolerance
    assert LabelProbe().estimate(x, y, ids=ids, seed=1).value != first.value


def test_text_and_codes_are_the_same_label():
    x, y = two_normals(np.random.default_rng(9), 100, 2.0)
    assert LabelProbe().estimate(x, np.array(["B cell", "T cell"])[y]) == LabelProbe().estimate(x, y)


def test_a_constant_embedding_knows_nothing_exactly():
    found = LabelProbe().estimate(np.zeros((80, 3)), np.arange(80) % 4)
    assert (found.value, found.low, found.high) == (0, 0, 0)
    assert found.verdict == "the embedding is constant" and found.details["entropy"] == pytest.approx(2)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (np.arange(80.0), "the signal is continuous, and the probe needs a label: use score 'gaussian' or 'ksg'"),
        (np.zeros(80, dtype=int), "the label has only one class"),
        (np.arange(80), "probe: 0 classes have at least 5 cells"),
    ],
)
def test_refusals(y, message):
    with pytest.raises(ScoreError, match=message):
        LabelProbe().estimate(np.random.default_rng(0).normal(size=(80, 2)), y)


def test_folds_have_a_range():
    with pytest.raises(ScoreError, match=r"probe: folds = 1 must lie in \[2, 50\]"):
        LabelProbe(folds=1)
