"""Trials (trained once) and runs (scored once), each under the key of its description."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

from sclaws import keys
from sclaws.plugins import Spec
from sclaws.split import Split


@dataclass(frozen=True)
class Setting:
    """One axis at one level that is not "all"."""

    name: str
    axis: Spec
    level: float

    def describe(self) -> dict[str, Any]:
        """Return the axis's description with its level."""
        return self.axis.describe() | {"level": self.level}


@dataclass(frozen=True)
class Trial:
    """One training: data, split, training-side levels, model, replicate. Its key is the hash of ``describe()``.

    ``choosing`` are the axes, by name, that choose cells: at the level "all", too, where nothing is left out and
    diversity still is measured. They are in no key.
    """

    dataset: Spec
    split: Split
    replicate: int
    levels: tuple[Setting, ...]
    model: Spec
    untrained: bool = False
    choosing: tuple[tuple[str, Spec], ...] = field(default=(), compare=False)

    @functools.cached_property
    def key(self) -> str:
        """16 hexadecimal digits."""
        return keys.key(self.describe())

    @functools.cached_property
    def data_seed(self) -> int:
        """Root of every seed that concerns cells: the same for all levels and models of a replicate."""
        return keys.seed(self.dataset.describe(), self.split.describe(), self.replicate)

    @functools.cached_property
    def split_key(self) -> str:
        """Names which cells train and which are tested: all trials of a replicate share it."""
        return keys.key([self._cells[word] for word in ("dataset", "split", "replicate")])

    @functools.cached_property
    def cells_key(self) -> str:
        """Names the training cells as they are made scarcer: trials that share it differ in their model alone."""
        return keys.key(self._cells)

    def describe(self) -> dict[str, Any]:
        """Return everything that changes what is learned, in the words of the study file."""
        return self._described

    @functools.cached_property
    def _described(self) -> dict[str, Any]:
        out = self._cells | {"model": self.model.describe()}
        return out | ({"untrained": True} if self.untrained else {})

    @functools.cached_property
    def _cells(self) -> dict[str, Any]:
        return {
            "dataset": self.dataset.describe(),
            "split": self.split.describe(),
            "replicate": self.replicate,
            "levels": {s.name: s.describe() for s in self.levels},
        }

    def seed(self, purpose: str) -> int:
        """Return the seed for a purpose ("split", "axis n_cells", "model", "score"), whatever level and model."""
        return keys.seed(self.data_seed, purpose)

    def on(self, part: str) -> tuple[Setting, ...]:
        """Return the settings that act on "rows", "values" or "features"."""
        return tuple(s for s in self.levels if s.axis.type.on == part)  # type: ignore[attr-defined]

    @property
    def scheme(self) -> str:
        """How the training cells were chosen: "uniform" unless an axis says otherwise."""
        said = [getattr(setting.axis.build(), "scheme", "uniform") for setting in self.on("rows")]
        return ", ".join(sorted({str(each) for each in said} - {"uniform"})) or "uniform"

    @property
    def label(self) -> str:
        """The model's name in tables."""
        return self.model.label + (" untrained" if self.untrained else "")


@dataclass(frozen=True)
class Run:
    """One score of one trial: adds the test-side levels, the signal (none for a loss), the score, and the data.

    ``evaluated`` is a data set of its own, all of it tested, or ``None`` for the cells that the split keeps for tests.
    At least a share ``found`` of the features that the trial learns from must be among its own: a guard, in no key.
    """

    trial: Trial
    test_levels: tuple[Setting, ...]
    signal: Spec | None
    score: Spec
    evaluated: Spec | None = None
    found: float = field(default=0.0, compare=False)

    @functools.cached_property
    def key(self) -> str:
        """16 hexadecimal digits."""
        return keys.key(self.describe())

    @functools.cached_property
    def view_key(self) -> str:
        """Names the test cells as they are corrupted: runs that share it share an embedding."""
        levels = {s.name: s.describe() for s in self.test_levels}
        return keys.key([levels, self.evaluated.describe()] if self.evaluated else levels)

    @functools.cached_property
    def needs(self) -> str:
        """What the score is given: "signal", "embedding", "model" or "model and signal"."""
        return str(getattr(self.score.build(), "needs", "signal"))

    @property
    def dataset(self) -> Spec:
        """The data set whose cells are tested."""
        return self.evaluated or self.trial.dataset

    def describe(self) -> dict[str, Any]:
        """Return the description whose hash is the key."""
        return {
            "trial": self.trial.describe(),
            "test_levels": {s.name: s.describe() for s in self.test_levels},
            "signal": self.signal.describe() if self.signal else None,
            "score": self.score.describe(),
        } | ({"evaluated_on": self.evaluated.describe()} if self.evaluated else {})
