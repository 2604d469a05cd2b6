"""One trial: load -> split -> make scarcer -> fit -> embed -> score. What a worker does with an item of a sweep."""

from __future__ import annotations

import functools
import inspect
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from sclaws import provenance
from sclaws.errors import ModelError
from sclaws.grid import Run, Trial
from sclaws.protocols import Context, Failure, Floats, Trained, View
from sclaws.store import Store
from sclaws.trial import data, scoring


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
    """What became of an item: keys trained, scored and failed, and of trials that somebody else is working on."""

    trained: list[str] = field(default_factory=list)
    scored: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)

    def add(self, other: Done) -> None:
        """Take in what became of another item."""
        for name in ("trained", "scored", "failed", "busy"):
            getattr(self, name).extend(getattr(other, name))


def work(item: Item) -> Done:
    """Do what is missing of an item. Every result is stored as soon as it exists; running again does only the rest.

    Each trial is leased while it is worked on: what another process, or array job, is doing is left to it.
    """
    store, done = Store.open(Path(item.folder)), Done()
    for trial, wanted in item.work:
        with store.lease(trial.key) as mine:
            if mine:
                _one(trial, wanted, store, item.settings, done)
            else:
                done.busy.append(trial.key)
    return done


def _one(trial: Trial, wanted: Iterable[Run], store: Store, settings: Settings, done: Done) -> None:
    missing = [run for run in wanted if store.run(run.key) is None]
    if not missing and store.has_trial(trial.key):
        return
    try:
        trained = _model(trial, wanted, missing, store, settings, done)
        for run in missing:
            if run.key not in done.failed and store.run(run.key) is None:
                _score(run, store, trained, done)
        store.forget_failure(trial.key)
    except Exception as error:  # any trial may fail in any way; the sweep goes on and the failure is told
        store.put_failure(trial.key, asdict(failure(error)))
        done.failed.append(trial.key)


def must_train(trial: Trial, missing: Iterable[Run], store: Store) -> bool:
    """Return whether the trial has to be trained (again): it is absent, or something that was not kept is needed."""
    if not store.has_trial(trial.key):
        return True
    return _must_ask(trial, missing, store) and not store.has_weights(trial.key)


def needs_model(run: Run) -> bool:
    """Return whether the score reads the model itself and not its embedding alone."""
    return run.signal is None


def _must_ask(trial: Trial, missing: Iterable[Run], store: Store) -> bool:
    """Return whether the missing runs need the model: for a loss, or for test cells that it has not embedded yet."""
    there = set(store.arrays(trial.key))
    return any(needs_model(run) or f"embedding-{run.view_key}" not in there for run in missing)


def _model(
    trial: Trial, wanted: Iterable[Run], missing: list[Run], store: Store, settings: Settings, done: Done
) -> Trained | None:
    """Return the model if it is needed: trained, or loaded from the store; ``None`` if stored embeddings will do."""
    if store.has_trial(trial.key) and not _must_ask(trial, missing, store):
        return None
    if (folder := store.weights(trial.key)) is None:
        return _train(trial, wanted, store, settings, done)
    trained: Trained = trial.model.build().load(folder)
    there = store.arrays(trial.key)
    absent = {name: run for run in missing if (name := f"embedding-{run.view_key}") not in there}
    if absent:
        with store.stage_trial(trial.key) as stage:  # adds what the trial lacks
            for name, run in absent.items():
                stage.save_array(name, embedding(trained, data.tested(run).view, trial.label))
    return trained


def _train(trial: Trial, wanted: Iterable[Run], store: Store, settings: Settings, done: Done) -> Trained:
    """Train, store what only the model can give, then publish the trial: from here on it is never trained again."""
    started = time.perf_counter()
    side = data.cells(trial)
    trained = _fit(trial, side, settings, functools.partial(store.say, trial.key))
    views = {run.view_key: run for run in wanted}
    embeddings = {key: embedding(trained, data.tested(run).view, trial.label) for key, run in views.items()}
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
        if "weights" in settings.keep and hasattr(trained, "save"):
            trained.save(stage.weights())
        stage.record = {
            "description": trial.describe(),
            "measured": measured,
            "provenance": provenance.here()
            | {"device": settings.device, "threads": settings.threads, "seconds": seconds},
        }
        for key, values in embeddings.items():
            stage.save_array(f"embedding-{key}", values)
    done.trained.append(trial.key)
    return trained


def _fit(trial: Trial, side: data.Scarce, settings: Settings, progress: Callable[[str], None]) -> Trained:
    model, seed = trial.model.build(), trial.seed("model")
    start = model.untrained if trial.untrained else model.fit
    views = (side.train,) if trial.untrained else (side.train, side.valid)
    if "context" not in inspect.signature(start).parameters:
        return start(*views, seed=seed)  # type: ignore[no-any-return]
    with tempfile.TemporaryDirectory(prefix="sclaws-") as scratch:
        context = Context(Path(scratch), settings.device, settings.threads, progress)
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


def _score(run: Run, store: Store, trained: Trained | None, done: Done) -> None:
    try:
        estimates = scoring.estimates(run, store, trained)
        store.put_run(run.key, scoring.record(run, estimates) | {"provenance": provenance.here()})
        done.scored.append(run.key)
    except Exception as error:  # a score that cannot be had is told beside the ones that can
        store.put_failure(run.key, asdict(failure(error)))
        done.failed.append(run.key)


def failure(error: Exception) -> Failure:
    """Return an exception as a record: the last line for the reader, the traceback for whoever mends it."""
    return Failure(type(error).__name__, str(error), "".join(traceback.format_exception(error)))
