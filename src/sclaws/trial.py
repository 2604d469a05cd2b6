"""One trial: load -> split -> make scarcer -> fit -> embed -> score. What a worker does with an item of a sweep."""

from __future__ import annotations

import functools
import inspect
import tempfile
import time
import traceback
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sclaws import provenance
from sclaws.errors import DataError, ModelError, ScoreError
from sclaws.grid import Run, Setting, Trial
from sclaws.plugins import Spec
from sclaws.protocols import Context, Estimate, Failure, Floats, Pairs, Recipe, Trained, View
from sclaws.split import Parts, Split, refuse_cut_groups
from sclaws.store import Store
from sclaws.view import View as Whole


@dataclass(frozen=True)
class Settings:
    """How to run, which changes no number that matters: device, threads, and what to keep of a trial."""

    device: str = "cpu"
    threads: int = 1
    keep: tuple[str, ...] = ("embeddings",)


@dataclass(frozen=True)
class Item:
    """What a worker is handed: a bundle of trials with the runs of each, and where results go."""

    bundle: str
    work: tuple[tuple[Trial, tuple[Run, ...]], ...]
    folder: str
    settings: Settings = Settings()


@dataclass
class Done:
    """What became of an item: keys trained, scored and failed, and whether somebody else holds its lease."""

    trained: list[str] = field(default_factory=list)
    scored: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    busy: bool = False


def work(item: Item) -> Done:
    """Do what is missing of an item. Every result is stored as soon as it exists; running again does only the rest."""
    store, done = Store.open(Path(item.folder)), Done()
    with store.lease(item.bundle) as mine:
        if not mine:
            return Done(busy=True)
        for trial, wanted in item.work:
            missing = [run for run in wanted if store.run(run.key) is None]
            if missing or not store.has_trial(trial.key):
                _one(trial, wanted, missing, store, item.settings, done)
    return done


def _one(trial: Trial, wanted: Iterable[Run], missing: list[Run], store: Store, settings: Settings, done: Done) -> None:
    try:
        trained = None
        if must_train(trial, missing, store):
            trained = _train(trial, wanted, store, settings, done)
        for run in missing:
            if store.run(run.key) is None:
                _score(run, store, trained, done)
    except Exception as error:  # any trial may fail in any way; the sweep goes on and the failure is told
        store.put_failure(trial.key, asdict(failure(error)))
        done.failed.append(trial.key)


def must_train(trial: Trial, missing: Iterable[Run], store: Store) -> bool:
    """Return whether the trial has to be trained (again): it is absent, or something that was not kept is needed."""
    if not store.has_trial(trial.key):
        return True
    views = set(store.arrays(trial.key))
    return any(needs_model(run) or f"embedding-{run.view_key}" not in views for run in missing)


def needs_model(run: Run) -> bool:
    """Return whether the score reads the model itself and not its embedding alone."""
    return run.signal is None


# ── data ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
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


# ── training ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def _train(trial: Trial, wanted: Iterable[Run], store: Store, settings: Settings, done: Done) -> Trained:
    """Train, store what only the model can give, then publish the trial: from here on it is never trained again."""
    started = time.perf_counter()
    side = cells(trial)
    trained = _fit(trial, side, settings)
    views = {run.view_key: tested(run).view for run in wanted}
    embeddings = {key: embedding(trained, view, trial.label) for key, view in views.items()}
    seconds = time.perf_counter() - started
    for run in wanted:
        if needs_model(run) and store.run(run.key) is None:
            _score(run, store, trained, done)
    measured = side.measured | {
        name: float(value)
        for name in ("n_params", "train_flops")
        if (value := getattr(trained, name, None)) is not None
    }
    with store.stage_trial(trial.key) as stage:
        stage.record = {
            "description": trial.describe(),
            "measured": measured,
            "provenance": provenance.here(settings.device, settings.threads) | {"seconds": seconds},
        }
        for key, values in embeddings.items():
            stage.save_array(f"embedding-{key}", values)
        if "weights" in settings.keep and hasattr(trained, "save"):
            trained.save(stage.folder)
    done.trained.append(trial.key)
    return trained


def _fit(trial: Trial, side: Scarce, settings: Settings) -> Trained:
    model, seed = trial.model.build(), trial.seed("model")
    start = model.untrained if trial.untrained else model.fit
    views = (side.train,) if trial.untrained else (side.train, side.valid)
    if "context" not in inspect.signature(start).parameters:
        return start(*views, seed=seed)  # type: ignore[no-any-return]
    with tempfile.TemporaryDirectory(prefix="sclaws-") as scratch:
        context = Context(Path(scratch), settings.device, trial.precision, settings.threads)
        return start(*views, seed=seed, context=context)  # type: ignore[no-any-return]


def embedding(trained: Trained, view: View, label: str) -> Floats:
    """Return the (n, d) float32 embedding, checked: a model that gives anything else is refused by name."""
    values = np.asarray(trained.embed(view))
    if values.ndim != 2 or len(values) != view.n_obs or not values.shape[1]:
        raise ModelError(
            f"{label}: embed returned shape {values.shape} for {view.n_obs} cells; (n_cells, dim) is needed"
        )
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values).all(axis=1)).sum())
        raise ModelError(f"{label}: the embedding of {bad} of {view.n_obs} cells is not finite; training diverged?")
    return np.ascontiguousarray(values, dtype=np.float32)


# ── scoring ──────────────────────────────────────────────────────────────────────────────────────────────────────────
class TestCells:
    """What a score may look at, made on demand; satisfies ``protocols.Probe``."""

    def __init__(self, run: Run, store: Store, trained: Trained | None) -> None:
        self._run, self._store, self._trained = run, store, trained

    @functools.cached_property
    def view(self) -> View:
        """The test cells as the model saw them."""
        return tested(self._run).view

    @functools.cached_property
    def embedding(self) -> Floats:
        """(n, d), from the store: so a number does not depend on whether its model was trained just now."""
        return self._store.array(self._run.trial.key, f"embedding-{self._run.view_key}")

    @functools.cached_property
    def pairs(self) -> Pairs:
        """Embedding and signal side by side; the signal comes from the cells as they were before corruption."""
        signal = self._run.signal
        assert signal is not None
        built = signal.build()
        if by := getattr(built, "by", None):
            refuse_cut_groups(parts(self._run.trial), by, signal.label)
        made: Pairs = built.pairs(self.view, self.embedding, seed=self._run.trial.seed("signal"))
        return made

    @property
    def trained(self) -> Trained:
        """The trained model, if it is still there."""
        if self._trained is None:
            raise ScoreError("this score reads the model, which was not kept; add keep = ['weights'] or run anew")
        return self._trained


def _score(run: Run, store: Store, trained: Trained | None, done: Done) -> None:
    try:
        probe = TestCells(run, store, trained)
        estimates = run.score.build()(probe, seed=run.trial.seed("score"))
        store.put_run(run.key, _record(run, estimates))
        done.scored.append(run.key)
    except Exception as error:  # a score that cannot be had is told beside the ones that can
        store.put_failure(run.key, asdict(failure(error)))
        done.failed.append(run.key)


def _record(run: Run, estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    """Return what is stored of a run: description, measured columns of both sides, estimates."""
    for metric, estimate in estimates.items():
        if not np.isfinite(estimate.value):
            raise ScoreError(
                f"{run.score.label}: {metric} is {estimate.value} for {run.trial.label}: {estimate.verdict}"
            )
    return {
        "description": run.describe(),
        "measured_test": tested(run).measured,
        "estimates": {metric: asdict(estimate) for metric, estimate in estimates.items()},
    }


def failure(error: Exception) -> Failure:
    """Return an exception as a record: the last line for the reader, the traceback for whoever mends it."""
    return Failure(type(error).__name__, str(error), "".join(traceback.format_exception(error)))
