"""Perturbation: does an embedding of control cells help to tell what the perturbed cells of another context express?

The task of DenAdel et al. (2025): the embedding is frozen, and a small network turns that of a control cell into the
expression of cells under one drug, learnt in some cell lines and asked for in another. They report the squared error
of mean expression, and a correlation of means (which they print as R²) that is high for whoever predicts no change at
all. Here the correlation of the *changes* from control stands beside it, and so do the baselines: no change, the
average of the perturbed cells elsewhere, and the shift that was seen elsewhere added to the control cells at hand.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sclaws.errors import ScoreError, did_you_mean
from sclaws.hashing import name_ids, ranked
from sclaws.protocols import Estimate, Floats, Ids, Probe, View
from sclaws.scores import _estimate, _heads, _networks, _responses
from sclaws.scores._arms import CONTROL, Arms, Means, arms

_MODEL = "model"
_FEWEST = 3  # units below which there is no interval worth the name
_UNSEEN = "one context: the average of the other targets is all that can be learnt, whatever the embedding"


@dataclass(frozen=True)
class Perturbation:
    """Error and correlations of predicted mean expression under perturbations, and the same of three baselines.

    ``target`` names the ``obs`` column that says what was done to a cell, ``control`` its value (or values) for cells
    that were left alone. ``context`` names the column of cell lines, donors or replicates: for each context in turn
    (or those in ``held_out``) a head for each target learns from the others, and is asked for this one. Without a
    ``context`` a fifth of the *targets* (``folds``) is predicted from the others: as no description of a target is
    given, the average of the others is the best that any head can learn, so that the values are those of the average
    whatever the model, and say how far a common response goes. ``predicts`` = "expression" is published: a head gives
    expression, and cannot leave what lies between its contexts. "change" gives the change from control, which is added
    to the control cells at hand. At most ``n_cells`` of each arm (a target, or control, in a context) are looked at.

    Expression is log(1 + counts per 10,000) of every gene of the view. Control cells of the context that is asked for
    are cut in halves: from one the prediction is made and its change is measured, from the other the change that is
    true. With the same cells on both sides their noise alone would correlate. ``details["baseline"]`` of a metric is
    the best of the baselines in it, ``details["noise"]`` of ``mse`` what a perfect prediction would have.

    The interval is over targets (over pairs of target and context when there are fewer than five targets) and so holds
    what differs between them and the noise of their cells; it leaves out the noise of control cells that they share.
    """

    target: str
    control: str | tuple[str, ...]
    context: str | None = None
    held_out: tuple[str, ...] = ()
    predicts: Literal["expression", "change"] = "expression"
    folds: int = 5
    n_cells: int = 20_000

    version: ClassVar[int] = 1
    metrics: ClassVar[tuple[str, ...]] = (
        "mse", "pearson", "pearson_change", "no_change_mse", "no_change_pearson",
        "average_mse", "average_pearson", "average_pearson_change",
        "shift_mse", "shift_pearson", "shift_pearson_change",
    )  # fmt: skip
    needs: ClassVar[str] = "embedding"

    def __post_init__(self) -> None:
        _networks.needed("perturbation")
        if not self.control:
            raise ScoreError("perturbation: control is empty; name the value of the target column for untouched cells")
        if self.folds < 2:
            raise ScoreError(f"perturbation: folds = {self.folds} must be at least 2; 5 is usual")
        if self.n_cells < 50:
            raise ScoreError(f"perturbation: n_cells = {self.n_cells} must be at least 50; 20,000 is published")
        if self.held_out and self.context is None:
            raise ScoreError("perturbation: held_out names contexts, and there is no context; name its column")

    def check(self, adata: Any) -> None:
        """Raise ``ScoreError`` for cells without the columns, without controls, or with too few arms."""
        self._tasks(self._arms(adata.obs, _estimate.default_ids(adata.n_obs), 0), 0)

    def __call__(self, probe: Probe, *, seed: int) -> dict[str, Estimate]:
        """Return the estimates by metric of the probe's cells; ``seed`` cuts and deals cells and draws weights.

        ``ScoreError``: an embedding that is not finite; no such column; no control cells; fewer than three pairs of
        target and context to predict; arms of fewer than 20 cells are left out, and the verdict says so.
        """
        view, seed = probe.cells, _estimate.seeded(seed)
        x = _finite(probe.embedding, view)
        found = self._arms(view.obs, view.cell_ids, seed)
        tasks = self._tasks(found, seed)
        means = Means.of(view, found)
        made = self._learnt(tasks, x, found, means, seed) if self.context else {}
        responses = [
            self._response(task, target, made.get((target, task.context)), found, means)
            for task in tasks
            for target in task.sources
        ]
        return _responses.estimates(responses, _MODEL, ("" if self.context else _UNSEEN, found.note))

    def _arms(self, obs: Any, ids: Ids, seed: int) -> Arms:
        control = (self.control,) if isinstance(self.control, str) else self.control
        return arms(obs, ids, self.target, control, self.context, self.n_cells, seed)

    def _tasks(self, found: Arms, seed: int) -> list[_Task]:
        """Return what is predicted from what: by context, or by fold of targets."""
        tasks = [task for task in (self._contexts(found) if self.context else self._folds(found, seed)) if task.sources]
        if (count := sum(len(task.sources) for task in tasks)) < _FEWEST:
            what = "pairs of a target and a context, seen in another context, too," if self.context else "targets"
            raise ScoreError(f"perturbation: {count} {what} to predict, and an interval needs {_FEWEST}")
        return tasks

    def _folds(self, found: Arms, seed: int) -> Iterator[_Task]:
        targets = np.array(found.targets)[ranked(name_ids(found.targets), seed)]
        fold = np.arange(len(targets)) % self.folds
        for part in np.unique(fold):
            others = [(str(target), "") for target in targets[fold != part]]
            yield _Task("", {str(target): others for target in targets[fold == part] if others})

    def _contexts(self, found: Arms) -> Iterator[_Task]:
        if unknown := [name for name in self.held_out if name not in found.contexts]:
            raise ScoreError(
                f"perturbation: held_out = {unknown[0]!r} is no context with enough control cells; "
                f"{did_you_mean(unknown[0], found.contexts)}"
            )
        for context in self.held_out or found.contexts:
            sources = {
                target: [
                    (target, other) for other in found.contexts if other != context and (target, other) in found.rows
                ]
                for target in found.targets
                if (target, context) in found.rows
            }
            yield _Task(context, {target: keys for target, keys in sources.items() if keys})

    def _learnt(
        self, tasks: Sequence[_Task], x: Floats, found: Arms, means: Means, seed: int
    ) -> dict[tuple[str, str], NDArray[np.float64]]:
        """Return by (target, context) what a head that learnt from other contexts predicts (p,)."""
        change = float(self.predicts == "change")
        cut = {at: _heads.cut(found.rows[CONTROL, at]) for at in found.contexts}
        lessons = {}
        for task in tasks:
            asked = found.parts(CONTROL, task.context)[0]
            for target, keys in task.sources.items():
                zero = change * np.array([means(CONTROL, at) for _, at in keys])
                learnt, held = (np.array([means(*key, part) for key in keys]) - zero for part in (0, 1))
                parts = [cut[at] for _, at in keys]
                lessons[target, task.context] = _heads.Lesson(
                    asked, [seen for seen, _ in parts], [aside for _, aside in parts], learnt, held
                )
        made = _heads.predicted(x, list(lessons.values()), seed)
        return {key: change * means(CONTROL, key[1], 0) + out for key, out in zip(lessons, made, strict=True)}

    def _response(
        self, task: _Task, target: str, made: NDArray[np.float64] | None, found: Arms, means: Means
    ) -> _responses.Response:
        control, average = means(CONTROL, task.context, 0), task.average(target, means)
        predictions = {_MODEL: average if made is None else made, "no_change": control, "average": average}
        if self.context:
            elsewhere = np.mean([means(CONTROL, at) for _, at in task.sources[target]], axis=0)
            predictions["shift"] = control + average - elsewhere
        return _responses.Response(
            target, task.context, predictions, means(target, task.context), control,
            means(CONTROL, task.context, 1), means.noise(target, task.context), len(found.rows[target, task.context]),
        )  # fmt: skip


@dataclass(frozen=True)
class _Task:
    """What is predicted in one context: targets, each with the arms that it is learnt from."""

    context: str
    sources: Mapping[str, Sequence[tuple[str, str]]]

    def average(self, target: str, means: Means) -> NDArray[np.float64]:
        """Return the average (p,) of what a target is learnt from, every arm counting once."""
        return np.asarray(np.mean([means(*key) for key in self.sources[target]], axis=0))


def _finite(embedding: Floats, view: View) -> NDArray[np.float64]:
    """Return the checked embedding (n, d)."""
    x = np.asarray(embedding, dtype=np.float64).reshape(len(embedding), -1)
    if len(x) != view.n_obs:
        raise ScoreError(f"the embedding has {len(x)} rows for {view.n_obs} cells: give one row for each")
    if len(bad := np.argwhere(~np.isfinite(x))):
        raise ScoreError(f"the embedding has {len(bad)} values that are not finite, first in row {bad[0][0]}: retrain")
    return x
