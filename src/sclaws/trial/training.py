"""One trial: load -> split -> make scarcer -> fit -> embed -> score. What a worker does with an item of a sweep."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Container, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from sclaws import provenance
from sclaws.errors import ModelError
from sclaws.grid import Run, Trial
from sclaws.protocols import Floats, Trained, View
from sclaws.store import DiskError, Store
from sclaws.trial import data, fitting, learning, measuring
from sclaws.trial.fitting import Fitted, Settings
from sclaws.trial.items import Done, Item, failure, settled
from sclaws.trial.measuring import needs_model


def work(item: Item) -> Done:
    """Do what is missing of an item. Every result is stored as soon as it exists; running again does only the rest.

    Each trial is leased while it is worked on: what another process, or array job, is doing is left to it. Trials of a
    model that has ``fit_many`` are trained together, then embedded and stored one by one, and only then scored. Runs
    that their score measures at once wait until every trial of the item is stored, and are leased anew. When the item's
    time is up, what was begun is finished and nothing else is begun.
    """
    started = time.perf_counter()
    store, done = Store.open(Path(item.folder), new=False), Done()
    batches = measuring.batches(item, store)
    later = {run.key for batch in batches for run in batch}
    for group in _groups(item):
        if time.time() >= item.until:
            done.left += [trial.key for trial, _ in group]
            continue
        with contextlib.ExitStack() as leases:
            mine = [each for each in group if leases.enter_context(store.lease(each[0].key))]
            done.busy += [each[0].key for each in group if each not in mine]
            made = _together(mine, store, item.settings, done)
            for trial, wanted in mine:
                _one(trial, wanted, store, item.settings, done, made.pop(trial.key, None), later)
        settled()
    for batch in batches:
        measuring.score_batch(batch, item, store, done)
    done.seconds = time.perf_counter() - started
    return done


def _groups(item: Item) -> Iterable[list[tuple[Trial, tuple[Run, ...]]]]:
    """Return trials one by one, but for those of one model that can train several at once."""
    groups: dict[object, list[tuple[Trial, tuple[Run, ...]]]] = {}
    for trial, wanted in item.work:
        groups.setdefault(trial.model if _shares(trial) else trial.key, []).append((trial, wanted))
    return groups.values()


def _shares(trial: Trial) -> bool:
    try:
        return not trial.untrained and hasattr(trial.model.build(), "fit_many")
    except Exception:  # told when the trial's turn has come
        return False


def _together(
    mine: Iterable[tuple[Trial, tuple[Run, ...]]], store: Store, settings: Settings, done: Done
) -> dict[str, Trained | Exception]:
    """Train those that have to be trained at once, if they are two or more; all are of one model that can.

    All are stored before any is scored: a worker that is lost over a score costs none of the others its training.
    """
    todo = [each for each in mine if _shares(each[0]) and must_train(each[0], _missing(each[1], store), store)]
    if len(todo) < 2:
        return {}
    fitted, made = fitting.together([trial for trial, _ in todo], store, settings), dict[str, Trained | Exception]()
    for trial, wanted in todo:
        one = fitted.pop(trial.key)
        try:
            made[trial.key] = one if isinstance(one, Exception) else _train(trial, wanted, store, settings, done, one)
        except DiskError:
            raise
        except Exception as error:  # it fails when its turn has come, and alone
            made[trial.key] = error
    return made


def _missing(wanted: Iterable[Run], store: Store) -> list[Run]:
    return [run for run in wanted if store.run(run.key) is None]


def _one(
    trial: Trial, wanted: Iterable[Run], store: Store, settings: Settings, done: Done,
    made: Trained | Exception | None, later: Container[str],
) -> None:  # fmt: skip
    missing = _missing(wanted, store)
    if made is None and not missing and store.has_trial(trial.key):
        return
    try:
        if isinstance(made, Exception):
            raise made
        trained = _model(trial, wanted, missing, store, settings, done) if made is None else made
        for run in missing:
            if run.key not in done.failed and run.key not in later and store.run(run.key) is None:
                measuring.score(run, store, trained, done)
        store.drop_weights(trial.key)
        store.forget_failure(trial.key)
    except DiskError:
        raise  # the sweep ends: every other trial would be trained in vain, too
    except Exception as error:  # any trial may fail in any way; the sweep goes on and the failure is told
        store.put_failure(trial.key, asdict(failure(error)))
        done.failed.append(trial.key)


def must_train(trial: Trial, missing: Iterable[Run], store: Store) -> bool:
    """Return whether the trial has to be trained (again): it is absent, or something that was not kept is needed."""
    if not store.has_trial(trial.key):
        return True
    return _must_ask(trial, missing, store) and not store.has_weights(trial.key)


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
        return _train(trial, wanted, store, settings, done, fitting.alone(trial, store, settings))
    trained = fitting.loaded(trial, folder, settings)
    store.hold_weights(trial.key, [run.key for run in missing if needs_model(run)], keep="weights" in settings.keep)
    there = store.arrays(trial.key)
    absent = {name: run for run in missing if (name := f"embedding-{run.view_key}") not in there}
    if absent:
        with store.stage_trial(trial.key) as stage:  # adds what the trial lacks
            for name, run in absent.items():
                stage.save_array(name, embedding(trained, data.tested(run).view, trial.label))
    return trained


def _train(
    trial: Trial, wanted: Iterable[Run], store: Store, settings: Settings, done: Done, fitted: Fitted
) -> Trained:
    """Publish the trial with what only the model can give: from here on it is never trained again.

    For runs that read the model itself that is the model, which stays until they are stored. One that cannot be saved
    is asked before.
    """
    started = time.perf_counter()
    trained = fitted.trained
    views = {run.view_key: run for run in wanted}
    embeddings = {key: embedding(trained, data.tested(run).view, trial.label) for key, run in views.items()}
    seconds = fitted.seconds + time.perf_counter() - started
    history, speed = learning.history(trained, trial.label), learning.speed(trained, trial.label)
    asking = [run for run in wanted if needs_model(run) and store.run(run.key) is None]
    if not _comes_back(trial, trained):  # then these runs need the model that is in memory now
        for run in asking:
            measuring.score(run, store, trained, done)
        asking = []
    measured = fitted.side.measured | {
        name: float(value)
        for name in ("n_params", "train_flops", "share_found")
        if (value := getattr(trained, name, None)) is not None
    }
    with store.stage_trial(trial.key) as stage:
        keep = "weights" in settings.keep
        if hasattr(trained, "save") and (keep or asking):
            trained.save(stage.weights(until=() if keep else [run.key for run in asking]))
        stage.record = {
            "description": trial.describe(),
            "measured": measured,
            "provenance": provenance.here()
            | {"device": settings.device, "threads": settings.threads}
            | done.took(trial.key, trial.model.use, seconds)
            | {"together": fitted.together}
            | ({"speed": speed} if speed else {}),
        } | ({"history": history} if history else {})
        for key, values in embeddings.items():
            stage.save_array(f"embedding-{key}", values)
    done.trained.append(trial.key)
    return trained


def _comes_back(trial: Trial, trained: Trained) -> bool:
    """Return whether the model can be stored and loaded, and would not be had more cheaply anew."""
    model: Any = trial.model.build()
    learned = not trial.untrained and getattr(model, "trains", True)
    return learned and hasattr(trained, "save") and hasattr(model, "load")


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
