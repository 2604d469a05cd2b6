from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from scipy import integrate, stats

from sclaws import heads
from sclaws.errors import ScoreError
from sclaws.protocols import Pairs
from sclaws.scores import fine_tuning as module
from sclaws.scores.fine_tuning import FineTuning
from sclaws.testing import counts


@dataclass
class Probe:
    pairs: Pairs
    view: Any = None
    trained: Any = None


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """As many steps of thirty times the length: minutes become seconds."""
    recipe = replace(heads.PUBLISHED, rate=3e-3, epochs=40)
    slow = heads.on_coordinates
    monkeypatch.setattr(heads, "on_coordinates", lambda *a, **more: slow(*a, **more, recipe=recipe))


def probe(x, y, groups=None, **more):
    n = len(x)
    return Probe(Pairs(x, y, np.arange(n), np.arange(n, dtype=np.uint64) + 1, groups), **more)


def classes(rng, n, k, apart):
    y = rng.integers(k, size=n)
    return rng.normal(size=(n, k)) + apart * np.eye(k)[y], y


def test_classes_that_are_apart_are_told_apart():
    x, y = classes(np.random.default_rng(0), 400, 4, 20.0)
    found = FineTuning()(probe(x, y), seed=0)
    assert found["micro_f1"].value == found["macro_f1"].value == 1.0
    assert found["information"].value == pytest.approx(found["information"].details["entropy"], abs=0.05)
    assert abs(found["micro_f1"].n - 200) <= 2, "half of every class, rounded"


def test_bits_and_accuracy_are_those_of_two_normals():
    """I and the best accuracy, Phi(apart / 2), are known; the bound lies below I by what the head costs."""
    apart = 2.0

    def part(x):
        p = 0.5 * (stats.norm.pdf(x) + stats.norm.pdf(x - apart))
        return -p * np.log2(p)

    truth = integrate.quad(part, -8, 10)[0] - 0.5 * np.log2(2 * np.pi * np.e)
    rng = np.random.default_rng(1)
    y = rng.integers(2, size=3000)
    found = FineTuning()(probe(rng.normal(size=(3000, 1)) + apart * y[:, None], y), seed=0)
    bits, micro = found["information"], found["micro_f1"]
    assert truth - 0.03 - 3 * bits.stderr < bits.value < truth + 3 * bits.stderr
    assert micro.value == pytest.approx(stats.norm.cdf(apart / 2), abs=3 * micro.stderr)
    assert micro.stderr == pytest.approx(np.sqrt(micro.value * (1 - micro.value) / 1500), rel=0.01)


def test_shuffled_labels_are_chance():
    rng = np.random.default_rng(2)
    x, y = classes(rng, 600, 3, 20.0)
    found = FineTuning()(probe(x, rng.permutation(y)), seed=0)
    bits = found["information"]
    assert bits.details["unclipped"] < 3 * bits.stderr
    assert bits.low == 0
    assert found["micro_f1"].low < 1 / 3 + 0.03
    assert found["micro_f1"].details["commonest"] == pytest.approx(1 / 3, abs=0.03)


def test_a_share_of_every_class_is_tested_and_the_same_cells_by_any_embedding():
    rng = np.random.default_rng(3)
    y = np.repeat(np.arange(3), [300, 98, 2])
    ones, others = (FineTuning(test=0.2)(probe(rng.normal(size=(400, 2)), y), seed=5)["micro_f1"] for _ in range(2))
    assert ones.n == others.n == 60 + 20 + 1
    assert ones.details["n_trained"] == 240 + 78 + 1
    given, _ = module._cells(probe(rng.normal(size=(400, 2)), y).pairs)
    tested = [module._dealt(given, 0.2, seed)[0] for seed in (5, 5, 6)]
    assert np.array_equal(tested[0], tested[1])
    assert not np.array_equal(tested[0], tested[2])
    np.testing.assert_array_equal(np.bincount(given.y[tested[0]]), [60, 20, 1])


def test_groups_are_never_cut():
    """The embedding is the group's fingerprint and says nothing of the label of other groups."""
    rng = np.random.default_rng(4)
    group = np.repeat(np.arange(20), 20)
    y = (np.arange(20) % 2)[group]
    x = 5 * rng.normal(size=(20, 15))[group] + 0.1 * rng.normal(size=(400, 15))
    cut, whole = FineTuning()(probe(x, y), seed=0), FineTuning()(probe(x, y, group), seed=0)
    assert cut["micro_f1"].value > 0.95
    assert whole["micro_f1"].value < 0.8
    assert whole["micro_f1"].stderr > 2 * cut["micro_f1"].stderr, "groups are what is resampled"
    given, _ = module._cells(probe(x, y, group).pairs)
    tested, note = module._dealt(given, 0.5, 0)
    assert not note
    assert not set(given.groups[tested]) & set(given.groups[~tested])
    assert abs(tested.sum() - 200) <= 20


def test_groups_that_are_too_unequal_are_told():
    x, y = classes(np.random.default_rng(5), 400, 2, 3.0)
    found = FineTuning()(probe(x, y, np.r_[np.zeros(395, int), np.ones(5, int)]), seed=0)
    assert "dealt by cells: the groups are too unequal" in found["macro_f1"].verdict


def test_a_class_of_one_cell_is_left_out():
    x, y = classes(np.random.default_rng(6), 200, 2, 3.0)
    y[0] = 2
    found = FineTuning()(probe(x, y), seed=0)["macro_f1"]
    assert found.verdict == "1 of 3 classes left out: fewer than 2 cells"
    assert found.details["n_classes"] == 2


def test_a_class_that_no_cell_trains_is_missed_and_costs_a_finite_number_of_bits():
    """One class is one group: where that group is tested, nothing can have learned of it."""
    rng = np.random.default_rng(7)
    x, y = classes(rng, 400, 2, 20.0)
    group = np.arange(400) % 8
    y[group == 7] = 2
    told = [FineTuning()(probe(x, y, group), seed=seed) for seed in range(4)]
    missed = [found for found in told if "1 of 3 classes have no cell that trains" in found["macro_f1"].verdict]
    assert 0 < len(missed) < 4, "seeds that test the group, and that do not"
    for found in missed:
        tested, lost = found["micro_f1"].n, 50
        assert found["micro_f1"].value == pytest.approx(1 - lost / tested, abs=0.02)
        assert found["macro_f1"].value < 0.67
        assert np.isfinite(found["information"].details["unclipped"])


class Lookup:
    """Adapts to what obsm has, by the nearest mean; tells what it was given."""

    asked: dict[str, Any]

    def adapt(self, view, y, *, seed, frozen):
        self.asked = {"cells": set(view.cell_ids), "frozen": frozen, "codes": set(y)}
        x = view.obsm("state")
        self.means = np.stack([x[y == code].mean(axis=0) for code in np.unique(y)])
        return self

    def probabilities(self, view):
        self.told = set(view.cell_ids)
        far = np.square(view.obsm("state")[:, None] - self.means).sum(axis=2)
        return np.exp(-far) / np.exp(-far).sum(axis=1, keepdims=True)


def unfrozen(trained, rows=slice(None)):
    view = counts(400)
    y = (view.obs["label"] == "high").to_numpy().astype(int)
    rows = np.arange(400)[rows]
    pairs = Pairs(np.zeros((len(rows), 2)), y[rows], rows, view.cell_ids[rows])
    return Probe(pairs, view, trained), view


def test_unfrozen_asks_the_model_with_cells_that_are_then_not_tested():
    one, view = unfrozen(model := Lookup(), slice(100, 400))
    found = FineTuning(frozen=False)(one, seed=0)
    assert model.asked["frozen"] is False
    assert model.asked["codes"] == {0, 1}
    assert not model.asked["cells"] & model.told
    assert model.asked["cells"] | model.told == set(view.cell_ids[100:])
    assert found["micro_f1"].value > 0.95, "the label is the sign of the state, whatever the embedding of zeros"


def test_needs_follow_the_field():
    assert FineTuning().needs == "signal"
    assert FineTuning(frozen=False).needs == "model and signal"


class Short(Lookup):
    def probabilities(self, view):
        return super().probabilities(view)[:, :1]


class Diverged(Lookup):
    def probabilities(self, view):
        return super().probabilities(view) * np.nan


@pytest.mark.parametrize(
    ("trained", "told"),
    [
        (object(), "object has no adapt.*frozen = true works with every model"),
        (Short(), r"Short: probabilities have shape \(200, 1\) for 200 cells and 2 classes"),
        (Diverged(), "Diverged: probabilities are not finite"),
    ],
)
def test_models_that_cannot_be_adapted_are_told(trained, told):
    with pytest.raises(ScoreError, match=told):
        FineTuning(frozen=False)(unfrozen(trained)[0], seed=0)


def test_a_constant_embedding_knows_nothing_and_says_so():
    y = np.random.default_rng(8).integers(2, size=200)
    found = FineTuning()(probe(np.ones((200, 3)), y), seed=0)["information"]
    assert found.value < 0.01
    assert found.verdict == "the embedding is constant"


@pytest.mark.parametrize(
    ("x", "y", "groups", "told"),
    [
        (np.full((100, 2), np.nan), np.arange(100) % 2, None, "the embedding has 200 values that are not finite"),
        (np.ones((100, 2)), np.zeros(100, int), None, "the label has only one class"),
        (np.ones((20, 2)), np.arange(20) % 2, None, "too few cells: 20"),
        (np.ones((100, 2)), np.random.default_rng(0).normal(size=100), None, "the signal is continuous"),
        (np.ones((100, 2)), np.arange(100) // 50, np.arange(100) // 50, "all cells that train are of one class"),
    ],
)
def test_what_cannot_be_scored_is_told(x, y, groups, told):
    with pytest.raises(ScoreError, match=told):
        FineTuning()(probe(x, y, groups), seed=0)


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_a_share_lies_between_nothing_and_all(share):
    with pytest.raises(ScoreError, match="must lie between 0 and 1; 0.5 is usual"):
        FineTuning(test=share)
