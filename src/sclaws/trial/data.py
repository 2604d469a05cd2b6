"""The cells of a trial: load -> split -> make scarcer, once for all trials that share them."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from sclaws.errors import DataError
from sclaws.grid import Run, Setting, Trial
from sclaws.plugins import Spec
from sclaws.protocols import Recipe, View
from sclaws.split import Parts, Split
from sclaws.view import View as Whole


class Scarce(NamedTuple):
    """Training and validation cells as a model sees them, what was measured on them, and the choice of genes."""

    train: View
    valid: View
    measured: dict[str, float]
    features: tuple[Recipe, ...]


@functools.lru_cache(maxsize=2)
def whole(dataset: Spec) -> Whole:
    """Return the view of a whole data set, loaded once per process."""
    return Whole.of(dataset.build().load())


@functools.lru_cache(maxsize=4)
def _parts(dataset: Spec, split: Split, seed: int) -> Parts:
    return split.parts(whole(dataset), seed=seed)


def parts(trial: Trial) -> Parts:
    """Return training, validation and test cells of a trial before anything is made scarcer."""
    return _parts(trial.dataset, trial.split, trial.seed("split"))


@functools.lru_cache(maxsize=4)
def scarce(trial_cells: _Cells) -> Scarce:
    """Return the training side of a trial; kept for the next trial that has the same cells and another model."""
    trial = trial_cells.trial
    full = parts(trial)
    train: View = full.train
    valid: View = full.valid
    for setting in trial.on("rows"):
        train = recipe(trial, setting, full.train)(train)
    for setting in trial.on("values"):
        made = recipe(trial, setting, full.train)
        train, valid = made(train), made(valid)
    train, valid = train.materialise(), valid.materialise()
    measured = _measure(trial.levels, train, ("rows", "values"))
    train, emptied = _nonempty(train)
    measured["n_emptied"] = float(emptied)
    features = tuple(recipe(trial, setting, train) for setting in trial.on("features"))
    for choose in features:
        train, valid = choose(train), choose(valid)
    return Scarce(train, valid, measured | _measure(trial.levels, train, ("features",)), features)


@dataclass(frozen=True)
class _Cells:
    """A trial, equal to every other trial that trains on the same cells (the model does not count)."""

    trial: Trial = field(compare=False)
    dataset: Spec
    split: Split
    replicate: int
    levels: tuple[Setting, ...]


def cells(trial: Trial) -> Scarce:
    """Return the training side of a trial."""
    return scarce(_Cells(trial, trial.dataset, trial.split, trial.replicate, trial.levels))


def recipe(trial: Trial, setting: Setting, train: View) -> Recipe:
    """Return the recipe of a setting, learned on training cells, seeded by the axis's name and never by its level."""
    made: Recipe = setting.axis.build().prepare(train, setting.level, seed=trial.seed(f"axis {setting.name}"))
    return made


class Tested(NamedTuple):
    """Test cells of a run as a model sees them, and what was measured on them before genes were chosen."""

    view: View
    measured: dict[str, float]


def tested(run: Run) -> Tested:
    """Return the test cells of a run: corrupted at its test levels, with the genes that training chose."""
    genes = run.trial.levels if run.trial.on("features") else ()
    cells_of = _Cells(run.trial, run.trial.dataset, run.trial.split, run.trial.replicate, genes)
    return _tested(cells_of, run.test_levels)


@functools.lru_cache(maxsize=4)
def _tested(of: _Cells, levels: tuple[Setting, ...]) -> Tested:
    trial, full = of.trial, parts(of.trial)
    view: View = full.test
    for setting in levels:
        view = recipe(trial, setting, full.train)(view)
    view = view.materialise()
    measured = _measure(levels, view, ("values",))
    for choose in cells(trial).features if trial.on("features") else ():
        view = choose(view)
    return Tested(view, measured)


DEFAULT_AXES = ("n_cells", "umis_per_cell", "n_genes")


def _measure(settings: Iterable[Setting], view: View, on: tuple[str, ...]) -> dict[str, float]:
    """Measure every axis in use, and for counts the three usual ones, on a view."""
    specs = {s.name: s.axis for s in settings}
    if view.counts:
        specs |= {name: Spec.of("axes", name) for name in DEFAULT_AXES if name not in specs}
    axes = [spec.build() for spec in specs.values()]
    return {k: v for axis in axes if axis.on in on for k, v in axis.measure(view).items()}


def _nonempty(view: View) -> tuple[View, int]:
    """Drop training cells that thinning has emptied; values that are not counts have no empty cells."""
    if not view.counts:
        return view, 0
    kept = view.totals > 0
    if kept.sum() < 2:
        raise DataError(f"only {int(kept.sum())} of {view.n_obs} training cells have a molecule left; raise the depth")
    return view.take(np.flatnonzero(kept)), int((~kept).sum())
