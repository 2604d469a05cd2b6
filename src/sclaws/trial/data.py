"""The cells of a trial: load -> split -> make scarcer, once for all trials that share them."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, NamedTuple, TypeVar

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from sclaws import counts, keys
from sclaws.alignment import aligned
from sclaws.errors import DataError, ScoreError
from sclaws.grid import Run, Setting, Trial
from sclaws.plugins import Spec
from sclaws.protocols import Recipe, View
from sclaws.split import Parts
from sclaws.stored import Stored
from sclaws.view import View as Whole

T = TypeVar("T")


@dataclass(frozen=True)
class _Named(Generic[T]):
    """Something under the key of its content: two are equal when they give the same cells, whatever their names."""

    key: str
    of: T = field(compare=False)


class Scarce(NamedTuple):
    """Training and validation cells as a model sees them, and what was measured on them."""

    train: View
    valid: View
    measured: dict[str, float]


def whole(dataset: Spec) -> Whole:
    """Return the view of a whole data set, loaded once per process and checked: counts are counts, values finite."""
    return _whole(_Named(keys.key(dataset.describe()), dataset))


@functools.lru_cache(maxsize=2)
def _whole(dataset: _Named[Spec]) -> Whole:
    dataset.of.refuse_change()
    return Whole.of(_checked(dataset.of.build().load(), dataset.of.label))


def _checked(adata: Any, label: str) -> anndata.AnnData | Stored:
    if isinstance(adata, Stored):  # was checked when it was written
        return adata
    if not isinstance(adata, anndata.AnnData):
        raise DataError(f"{label}: load returned {type(adata).__name__}; an AnnData is needed")
    if sparse.issparse(adata.X):
        remedy = "let the data set give raw counts, or a dense array for values that are no counts"
        adata.X = counts.checked(adata.X, adata.obs_names, adata.var_names, where=f"{label}, X", remedy=remedy)
    elif adata.X is None or not np.isfinite(np.asarray(adata.X, dtype=float)).all():
        raise DataError(f"{label}: X is absent or has values that are no finite numbers; fill them or drop the cells")
    return adata


def parts(trial: Trial) -> Parts:
    """Return training, validation and test cells of a trial before anything is made scarcer."""
    return _parts(_Named(trial.split_key, trial))


@functools.lru_cache(maxsize=4)
def _parts(trial: _Named[Trial]) -> Parts:
    return trial.of.split.parts(whole(trial.of.dataset), seed=trial.of.seed("split"))


def forget() -> None:
    """Let go of all data that this process holds."""
    for cached in (_whole, _parts, _scarce, _tested, _evaluated):
        cached.cache_clear()


def cells(trial: Trial) -> Scarce:
    """Return the training side of a trial; kept for the next trial that has the same cells and another model."""
    choosing = {name: axis.describe() for name, axis in trial.choosing}  # what is measured, too, is to be the same
    return _scarce(_Named(keys.key([trial.cells_key, choosing]), trial))


@functools.lru_cache(maxsize=2)
def _scarce(named: _Named[Trial]) -> Scarce:
    trial = named.of
    full = parts(trial)
    train: View = full.train
    valid: View = full.valid
    for setting in trial.on("rows"):
        train = recipe(trial, setting, full.train)(train)
    for setting in trial.on("values"):
        made = recipe(trial, setting, full.train)
        train, valid = made(train), made(valid)
    train, valid = train.in_memory(), valid.in_memory()
    measured = _measure(_axes(trial.levels) | dict(trial.choosing), train, ("rows", "values"))
    train, emptied = _nonempty(train)
    measured["n_emptied"] = float(emptied)
    for setting in trial.on("features"):
        choose = recipe(trial, setting, full.train)
        train, valid = choose(train), choose(valid)
    return Scarce(train, valid, measured | _measure(_axes(trial.levels), train, ("features",)))


def recipe(trial: Trial, setting: Setting, train: View) -> Recipe:
    """Return the recipe of a setting, seeded by the axis's name and never by its level.

    ``train`` is the whole training part of the split, uncorrupted, whatever the trial's other levels.
    """
    made: Recipe = setting.axis.build().prepare(train, setting.level, seed=trial.seed(f"axis {setting.name}"))
    return made


def vocabulary(trial: Trial, n: int) -> Setting:
    """Return the trial's setting of ``n_genes``, at level ``n``; raise ``ScoreError`` when it does not have it."""
    setting = next((s for s in trial.levels if s.name == "n_genes"), None)
    if setting is None:
        raise ScoreError(
            f"n_genes = {n} of a score are genes of the axis n_genes, which {trial.label} does not have here: add "
            f"levels.n_genes, and write the number of genes instead of 'all'; a model "
            f"that is not trained has no levels"
        )
    if n > setting.level:
        raise ScoreError(
            f"n_genes = {n} of a score are more than the {setting.level:g} genes of a trial: lower it to the smallest "
            f"of levels.n_genes"
        )
    return replace(setting, level=float(n))


def genes(trial: Trial, n: int) -> pd.Index:
    """Return the names of the ``n`` genes that the trial's own axis ``n_genes`` gives at this level."""
    train = parts(trial).train
    return recipe(trial, vocabulary(trial, n), train)(train).feature_names


def evaluated(run: Run) -> tuple[Whole, float]:
    """Return the cells of the data set that a run is evaluated on, and the share of its trial's features it has.

    They are lined up with these features. Kept for the next run on the same cells; raises ``DataError`` where too few
    features are found.
    """
    assert run.evaluated is not None
    name = keys.key([run.trial.dataset.describe(), run.evaluated.describe()])
    view, share = _evaluated(_Named(name, run))
    if share < run.found:
        aligned(whole(run.evaluated), whole(run.trial.dataset).feature_names, found=run.found)
    return view, share


@functools.lru_cache(maxsize=8)
def _evaluated(named: _Named[Run]) -> tuple[Whole, float]:
    assert named.of.evaluated is not None
    try:
        return aligned(whole(named.of.evaluated), whole(named.of.trial.dataset).feature_names, found=named.of.found)
    except DataError as error:
        raise DataError(f"data set {named.of.evaluated.label}: {error}") from error


class Tested(NamedTuple):
    """Test cells of a run as a model sees them, and what was measured on them before genes were chosen."""

    view: View
    measured: dict[str, float]


def tested(run: Run) -> Tested:
    """Return the test cells of a run: corrupted at its test levels, with the genes that training chose.

    The last few are kept: runs of a trial, and trials on the same cells, ask for the same ones.
    """
    chosen = {setting.name: setting.describe() for setting in run.trial.on("features")}
    return _tested(_Named(keys.key([run.trial.split_key, chosen, run.view_key]), run))


@functools.lru_cache(maxsize=4)
def _tested(named: _Named[Run]) -> Tested:
    trial, levels = named.of.trial, named.of.test_levels
    full = parts(trial)
    view: View
    view, share = evaluated(named.of) if named.of.evaluated else (full.test, None)
    for setting in levels:
        view = recipe(trial, setting, full.train)(view)
    view = view.in_memory()
    measured = _measure(_axes(levels), view, ("values",)) | ({} if share is None else {"found": share})
    for setting in trial.on("features"):
        view = recipe(trial, setting, full.train)(view)
    return Tested(view, measured)


DEFAULT_AXES = ("n_cells", "umis_per_cell", "n_genes")


def _axes(settings: Iterable[Setting]) -> dict[str, Spec]:
    return {setting.name: setting.axis for setting in settings}


def _measure(used: Mapping[str, Spec], view: View, on: tuple[str, ...]) -> dict[str, float]:
    """Measure every axis in use and the number of cells, and for counts the three usual ones, on a view."""
    usual = DEFAULT_AXES if view.counts else ("n_cells",)
    axes = [spec.build() for spec in ({name: Spec.of("axes", name) for name in usual} | dict(used)).values()]
    return {k: v for axis in axes if axis.on in on for k, v in axis.measure(view).items()}


def _nonempty(view: View) -> tuple[View, int]:
    """Drop training cells that thinning has emptied; values that are not counts have no empty cells."""
    if not view.counts:
        return view, 0
    kept = view.totals > 0
    if kept.sum() < 2:
        raise DataError(f"only {int(kept.sum())} of {view.n_obs} training cells have a molecule left; raise the depth")
    return view.take(np.flatnonzero(kept)), int((~kept).sum())
