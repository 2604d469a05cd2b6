"""Scores of trials whose embeddings are stored: run by run, or as many runs at once as their score wants."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeAlias

from sclaws import provenance
from sclaws.grid import Run
from sclaws.protocols import Estimate, Trained
from sclaws.store import DiskError, Store
from sclaws.trial import scoring
from sclaws.trial.items import Done, Item, failure, settled

_Found: TypeAlias = "Mapping[str, Estimate] | Exception"


def needs_model(run: Run) -> bool:
    """Return whether the score reads the model itself and not its embedding alone."""
    return run.needs.startswith("model")


def score(run: Run, store: Store, trained: Trained | None, done: Done) -> None:
    """Score one run, and store what came of it."""
    started = time.perf_counter()
    try:
        found: _Found = scoring.estimates(run, store, trained)
    except Exception as error:  # a score that cannot be had is told beside the ones that can
        found = error
    _keep(run, found, time.perf_counter() - started, {}, store, done)


def batches(item: Item, store: Store) -> list[list[Run]]:
    """Return those missing runs of an item that their scores measure at once, in batches of two or more.

    A batch has one score and one seed, and runs of one signal and one view are neighbours in it: their arrays are
    likely to have one shape. No batch is larger than the score's ``together``, for a kill costs the batch under way.
    """
    alike: dict[object, list[Run]] = {}
    for run in (run for _, wanted in item.work for run in wanted):
        if _most(run) > 1 and store.run(run.key) is None:
            alike.setdefault((run.score, run.trial.seed("score")), []).append(run)
    found = []
    for runs in alike.values():
        runs.sort(key=lambda run: (run.signal.label if run.signal else "", run.view_key))
        most = _most(runs[0])
        found += [runs[start : start + most] for start in range(0, len(runs), most)]
    return [runs for runs in found if len(runs) > 1]


def score_batch(runs: list[Run], item: Item, store: Store, done: Done) -> None:
    """Score the runs of a batch at once, those whose trials are to be had, and store what came of each.

    Trials that failed, or that somebody else is working on, are passed over. Nothing is begun when the time is up: the
    embeddings are stored, and the next sweep goes on from there.
    """
    out = {*done.failed, *done.busy, *done.left}
    trials = [key for key in dict.fromkeys(run.trial.key for run in runs) if key not in out]
    if time.time() >= item.until:
        done.left += trials
        return
    with contextlib.ExitStack() as leases:
        held = {key for key in trials if leases.enter_context(store.lease(key))}
        done.busy += [key for key in trials if key not in held]
        ready = [run for run in runs if run.trial.key in held and store.run(run.key) is None]
        if ready:
            _score_all(ready, store, done)
    settled()


def _most(run: Run) -> int:
    """Return how many runs the score of this one wants at once; 1 where it cannot, or reads the model."""
    try:
        score: Any = run.score.build()
        return int(score.together) if hasattr(score, "many") and not needs_model(run) else 1
    except Exception:  # told when the run's turn has come
        return 1


def _score_all(runs: list[Run], store: Store, done: Done) -> None:
    """Score runs at once; each bears an equal share of the seconds."""
    started = time.perf_counter()
    try:
        found = scoring.estimates_together(runs, store)
    except DiskError:
        raise
    except Exception as error:  # of all of them, then: a score puts what concerns one in that one's place
        found = [error] * len(runs)
    good = sum(not isinstance(one, Exception) for one in found)
    seconds = (time.perf_counter() - started) / max(good, 1)
    for run, one in zip(runs, found, strict=True):
        _keep(run, one, seconds, {"together": len(runs)}, store, done)


def _keep(run: Run, found: _Found, seconds: float, how: dict[str, Any], store: Store, done: Done) -> None:
    """Store what a run gave, or why it gave nothing."""
    try:
        if isinstance(found, Exception):
            raise found
        record = scoring.record(run, found)
        took = done.took(run.key, run.score.use, seconds)
        store.put_run(run.key, record | {"provenance": provenance.here() | took | how})
        done.scored.append(run.key)
    except DiskError:
        raise  # the sweep ends: nothing more can be kept
    except Exception as error:
        store.put_failure(run.key, asdict(failure(error)))
        done.failed.append(run.key)
