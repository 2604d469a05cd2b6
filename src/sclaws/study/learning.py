"""Two more tables beside the results: learning curves, and how long each training took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sclaws.grid import Run, Trial
from sclaws.store import Store
from sclaws.table import write_csv

_SIZE = ("n_params", "train_flops")
_MADE = ("device", "threads", "together", "seconds")


def write(folder: Path, runs: Sequence[Run], store: Store) -> None:
    """Write ``learning.csv`` and ``training.csv``; a table without rows is not there, nor is what was there before."""
    for name, frame in (("learning.csv", curves(runs, store)), ("training.csv", trainings(runs, store))):
        if len(frame):
            write_csv(frame, folder / name)
        else:
            (folder / name).unlink(missing_ok=True)


def curves(runs: Sequence[Run], store: Store) -> pd.DataFrame:
    """Return one row a check of a training: trial, what was measured on its cells, and what the model told.

    In the order of the trials' keys, then of the checks. A name that a model tells and that is a column already becomes
    ``history_…``.
    """
    rows = []
    for trial, record in _trained(runs, store):
        common = _named(trial) | record["measured"]
        rows += [
            common | {f"history_{name}" if name in common else name: value for name, value in told.items()}
            for told in record.get("history", ())
        ]
    return pd.DataFrame(rows)


def trainings(runs: Sequence[Run], store: Store) -> pd.DataFrame:
    """Return one row a trained trial: its size, where and in how many seconds it was trained, and its speeds."""
    rows = []
    for trial, record in _trained(runs, store):
        size = {name: record["measured"].get(name) for name in _SIZE}
        made: Mapping[str, Any] = record["provenance"]
        common = _named(trial) | size | {name: made.get(name) for name in _MADE}
        rows.append(common | {f"speed_{n}" if n in common else n: v for n, v in made.get("speed", {}).items()})
    return pd.DataFrame(rows)


def _trained(runs: Sequence[Run], store: Store) -> Iterator[tuple[Trial, dict[str, Any]]]:
    trials = {run.trial.key: run.trial for run in runs}
    for key in sorted(trials):
        if record := store.trial(key):
            yield trials[key], record


def _named(trial: Trial) -> dict[str, Any]:
    return {
        "trial": trial.key, "dataset": trial.dataset.label, "model": trial.label, "replicate": trial.replicate,
    }  # fmt: skip
