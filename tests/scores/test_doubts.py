"""What a second pair of eyes found: odd cells, groups and columns, each asked of every score that could go wrong."""

import numpy as np
import pytest

pytest.importorskip("torch")

from sclaws import testing
from sclaws.errors import ScoreError
from sclaws.scores.auto import Auto
from sclaws.scores.gaussian import Gaussian
from sclaws.scores.infonce import InfoNCE
from sclaws.scores.ksg import KSG
from sclaws.scores.lmi import LMI
from sclaws.scores.probe import LabelProbe

LEARNT = [Auto(), InfoNCE(), LMI()]


def test_a_signal_in_one_of_three_hundred_columns_is_not_lost_among_their_components():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1000, 300))
    y = x[:, :1] + 0.1 * rng.normal(size=(1000, 1))
    truth = 0.5 * np.log2(101)
    found = Auto().estimate(x, y)
    assert found.details["chosen"] == "gaussian"
    assert found.low - 0.05 <= truth <= found.high + 0.05
    assert "only the 128 largest components of the embedding" in LMI().estimate(x, y).verdict
    assert "only the 128 largest components of the embedding" in InfoNCE().estimate(x, y).verdict


def test_with_groups_only_what_holds_for_unseen_groups_is_believed():
    """Six donors, each with a place of its own; the label is a donor's, at random: nothing carries over."""
    rng = np.random.default_rng(1)
    donors = np.repeat(np.arange(6), 100)
    x = np.repeat(4 * rng.normal(size=(6, 5)), 100, axis=0) + rng.normal(size=(600, 5))
    label = rng.permutation([0, 0, 0, 1, 1, 1])[donors]
    assert Auto().estimate(x, label, groups=donors).low < 0.1
    value = rng.normal(size=6)[donors][:, None] + 0.1 * rng.normal(size=(600, 1))
    assert Auto().estimate(x, value, groups=donors).low < 0.1


@pytest.mark.parametrize("score", [Auto(), InfoNCE()])
def test_no_bound_beyond_what_so_few_cells_can_show(score):
    rng = np.random.default_rng(2)
    x = rng.normal(size=(200, 5))
    y = 0.99 * x + np.sqrt(1 - 0.99**2) * rng.normal(size=(200, 5))
    truth = -2.5 * np.log2(1 - 0.99**2)
    found = score.estimate(x, y)
    assert found.low < truth
    if isinstance(score, InfoNCE):
        assert found.value < truth


@pytest.mark.parametrize("score", [Auto(), InfoNCE(), KSG(), Gaussian()])
def test_few_values_bound_what_can_be_known_of_them(score):
    rng = np.random.default_rng(3)
    y = rng.integers(2, size=500).astype(float)
    found = score.estimate(y[:, None] + 0.3 * rng.normal(size=(500, 30)), y)
    assert found.value <= 1.0 and found.high <= 1.0


def test_copies_of_cells_are_named_and_bounded():
    rng = np.random.default_rng(4)
    x, y = (np.tile(rng.normal(size=(100, 4)), (6, 1)) for _ in range(2))
    for score in (Auto(), KSG()):
        found = score.estimate(x, y)
        assert found.value <= np.log2(100) + 1e-9
        assert "500 of 600 cells are copies of others" in found.verdict


@pytest.mark.parametrize("score", LEARNT, ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("different", [1, 3, 6])
def test_a_signal_that_few_cells_have_gives_a_number_or_an_error(score, different):
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(120, 3)), np.zeros(120)
    y[:different] = 1 + np.arange(different)
    for given in ((x, y[:, None]), (np.column_stack([y, x[:, 0] * 0]), x)):
        try:
            testing.check_estimate(score.estimate(*given))
        except ScoreError as error:
            told = str(error)
            assert "too few" in told


@pytest.mark.parametrize("score", [*LEARNT, LabelProbe()], ids=lambda s: type(s).__name__)
@pytest.mark.parametrize("small", [1, 3])
def test_groups_of_very_unequal_size(score, small):
    rng = np.random.default_rng(6)
    x = rng.normal(size=(120, 3))
    groups = np.r_[np.zeros(120 - small, dtype=int), np.ones(small, dtype=int)]
    y = (x[:, 0] > 0).astype(int) if isinstance(score, LabelProbe) else x[:, :1] + rng.normal(size=(120, 1))
    found = score.estimate(x, y, groups=groups)
    testing.check_estimate(found)
    assert "folds over cells: the groups are too unequal" in found.verdict


def test_neighbours_that_reach_their_limit_say_so():
    x = np.random.default_rng(7).normal(size=(120, 1))
    assert "at least this: 120 cells and 3 neighbours show no more than about 5.3 bits" in KSG().estimate(x, x).verdict


@pytest.mark.parametrize("score", [*LEARNT, KSG(), Gaussian()], ids=lambda s: type(s).__name__)
def test_seeds_of_any_size_and_groups_with_names(score):
    rng = np.random.default_rng(8)
    x = rng.normal(size=(100, 2))
    y = x + rng.normal(size=(100, 2))
    with pytest.raises(ScoreError, match="seed = -1 must not be negative"):
        score.estimate(x, y, seed=-1)
    donors = np.array([f"donor {i % 7}" for i in range(100)])
    testing.check_estimate(score.estimate(x, y, seed=2**63 - 1, groups=donors))


@pytest.mark.parametrize("score", [*LEARNT, KSG(), LabelProbe()], ids=lambda s: type(s).__name__)
def test_an_embedding_that_is_constant_once_rare_classes_are_gone(score):
    x = np.zeros((120, 2))
    x[-2:] = [[1, 2], [3, 5]]
    found = score.estimate(x, np.array([0] * 59 + [1] * 59 + [2] * 2))
    assert found.value == pytest.approx(0.0, abs=0.02)


def test_labels_that_are_missing_are_refused():
    label = np.array(["T", "B"] * 50, dtype=object)
    label[7] = None
    with pytest.raises(ScoreError, match="1 labels or groups are missing, first in row 7"):
        Auto().estimate(np.random.default_rng(9).normal(size=(100, 2)), label)


def test_without_information_a_label_is_not_praised():
    rng = np.random.default_rng(10)
    found = [Auto().estimate(rng.normal(size=(60, 3)), rng.integers(2, size=60), seed=s) for s in range(8)]
    assert np.mean([f.value for f in found]) < 0.1
    assert sum(f.low > 0 for f in found) <= 1
