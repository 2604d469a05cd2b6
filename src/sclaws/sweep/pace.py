"""How long things take: what models say of themselves, set right by what was measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from sclaws.grid import Run, Trial
from sclaws.trial import Done

SCORE_SECONDS = 0.2  # what scoring costs, roughly, until it was measured
LEAST = 0.05  # seconds of a training, whatever a model says
START = 8.0  # seconds that a process may take to load libraries and data, the first time (scvi-tools: 8)
_RIDGE = (
    2.0  # how little a model's error is thought to change with size: (spread of times / spread of slopes)², .3 and .2
)


@dataclass
class _Line:
    """Stated and measured seconds of one model: took = stated·exp(a + b·log stated), b near 0 unless sizes tell."""

    warm: list[tuple[float, float]] = field(default_factory=list)
    cold: list[tuple[float, float]] = field(default_factory=list)
    fitted: tuple[float, float] | None = None

    def add(self, stated: float, took: float, cold: bool) -> None:
        (self.cold if cold else self.warm).append((stated, max(took, 1e-4)))
        self.fitted = None

    def fit(self) -> tuple[float, float]:
        """Return a and b: the slope from logarithms, the level such that the measured times sum to their estimates."""
        if self.fitted is None:
            stated, took = np.array(self.warm or [_without_start(*each) for each in self.cold]).T
            x, y = np.log(stated), np.log(took / stated)
            dx = x - x.mean()
            slope = float(dx @ y / (dx @ dx + _RIDGE))
            self.fitted = float(np.log(took.sum() / (stated ** (1 + slope)).sum())), slope
        return self.fitted

    def at(self, stated: float) -> float:
        level, slope = self.fit()
        return float(stated ** (1 + slope) * np.exp(level))


def _without_start(stated: float, took: float) -> tuple[float, float]:
    """Return stated seconds, and what a first trial took without what may have been the loading."""
    most = took - START if stated >= START else 3 * stated  # what is short cannot be told from the loading
    return stated, min(took, max(stated, most))


@dataclass
class _Mean:
    """The mean of what was measured, without the first of a process if there are others."""

    warm: tuple[int, float] = (0, 0.0)
    cold: tuple[int, float] = (0, 0.0)

    def add(self, seconds: float, cold: bool) -> None:
        n, total = self.cold if cold else self.warm
        if cold:
            self.cold = n + 1, total + seconds
        else:
            self.warm = n + 1, total + seconds

    def value(self) -> float | None:
        if self.warm[0]:
            return self.warm[1] / self.warm[0]
        n, total = self.cold
        return min(total / n, max(SCORE_SECONDS, total / n - START)) if n else None


class Pace:
    """Estimates of seconds, better with each trial that is done. ``sizes``: a dataset's label -> (cells, features).

    A model is corrected by its own trials: by a factor, and by a power of what it says where their sizes differ. One
    that has not run yet is thought to be as wrong as the others are in the mean. Scores are taken at their mean, by
    model where that was measured. What a process does for the first time, when it loads libraries and data, counts
    only as long as nothing else is known, and then for no more than cannot be the loading.
    """

    def __init__(self, sizes: Mapping[str, tuple[int, int]]) -> None:
        self._sizes = sizes
        self._stated: dict[object, float] = {}
        self._lines: defaultdict[str, _Line] = defaultdict(_Line)
        self._scores: defaultdict[tuple[str, str], _Mean] = defaultdict(_Mean)
        self._rest = _Mean()

    # ── what was measured ────────────────────────────────────────────────────────────────────────────────────────────
    def trained(self, trial: Trial, seconds: float, *, cold: bool = False) -> None:
        """Take note of how long a trial took, with its cells and their embedding."""
        self._lines[trial.label].add(self.stated(trial), seconds, cold)

    def scored(self, run: Run, seconds: float, *, cold: bool = False) -> None:
        """Take note of how long a score took."""
        for model in (run.trial.label, ""):
            self._scores[run.score.label, model].add(seconds, cold)

    def learn(self, work: Iterable[tuple[Trial, Iterable[Run]]], done: Done) -> None:
        """Take note of what a worker measured of an item."""
        cold, n = set(done.cold), 0
        for trial, runs in work:
            n += 1
            if trial.key in done.spent:
                self.trained(trial, done.spent[trial.key], cold=trial.key in cold)
            for run in runs:
                if run.key in done.spent:
                    self.scored(run, done.spent[run.key], cold=run.key in cold)
        if n and done.seconds and not cold:
            self._rest.add(max(0.0, done.seconds - sum(done.spent.values())) / n, False)

    # ── what is expected ─────────────────────────────────────────────────────────────────────────────────────────────
    def training(self, trial: Trial) -> float:
        """Return the seconds that training a trial is expected to take."""
        stated = self.stated(trial)
        if trial.label in self._lines:
            return self._lines[trial.label].at(stated)
        return stated * self._others()

    def scoring(self, run: Run) -> float:
        """Return the seconds that a score is expected to take."""
        for model in (run.trial.label, ""):
            if (run.score.label, model) in self._scores:
                return self._scores[run.score.label, model].value() or SCORE_SECONDS
        return SCORE_SECONDS

    @property
    def rest(self) -> float:
        """Seconds of a trial that are neither training nor scoring."""
        return self._rest.value() or 0.0

    def knows(self, trial: Trial) -> bool:
        """Return whether a trial of this model was measured."""
        return trial.label in self._lines

    def stated(self, trial: Trial) -> float:
        """Return what the model itself says of a trial of this size."""
        cells, features = self._size(trial)
        asked = (trial.model, trial.untrained, cells, features)
        if asked not in self._stated:
            model = trial.model.build()
            said = model.cost(cells, features) if hasattr(model, "cost") and not trial.untrained else 1.0
            self._stated[asked] = max(float(said), LEAST)
        return self._stated[asked]

    def _others(self) -> float:
        """Return by how much the models that have run are wrong, in the geometric mean; 1 when none has."""
        logs = [np.mean([np.log(t / s) for s, t in line.warm]) for line in self._lines.values() if line.warm]
        return float(np.exp(np.mean(logs))) if logs else 1.0

    def _size(self, trial: Trial) -> tuple[float, float]:
        cells, features = self._sizes.get(trial.dataset.label, (1000, 1000))
        levels = {s.name: s.level for s in trial.levels}
        share = 1 - sum(trial.split.shares(cells))
        return levels.get("n_cells", cells * share), levels.get("n_genes", features)
