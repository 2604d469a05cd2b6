"""The store's records -> the table: one row a run and metric."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sclaws import keys
from sclaws.grid import Run
from sclaws.protocols import Floats
from sclaws.store import Store
from sclaws.study import fitting
from sclaws.table import Table

SUMMARY = ("value", "low", "high", "stderr", "unit", "n", "verdict")


def table(runs: Sequence[Run], store: Store) -> Table:
    """Return the table of what is stored of these runs. Time and memory grow with the number of runs."""
    axes = fitting.axes(runs)
    corrupting = fitting.corrupting(runs)
    several = len({run.trial.split for run in runs}) > 1
    schemes = {run.trial.key: run.trial.scheme for run in runs}
    scheming = set(schemes.values()) != {"uniform"}
    trials: dict[str, dict[str, Any]] = {key: store.trial(key) or {} for key in schemes}
    rows, draws, made, done = [], {}, set(), 0
    for run in runs:
        if (record := store.run(run.key)) is None:  # one at a time: what is not for the table is let go at once
            continue
        done += 1
        made.update(_flat(record["provenance"]))
        measured = trials[run.trial.key].get("measured", {}), record["measured_test"]
        common = _common(run, axes, corrupting, *measured)
        for metric, estimate in sorted(record["estimates"].items()):
            summary = {name: estimate[name] for name in SUMMARY}
            if "entropy" in estimate["details"]:
                summary["bound"] = estimate["details"]["entropy"]  # what no embedding can tell of a label
            if "baseline" in estimate["details"]:
                summary["baseline"] = estimate["details"]["baseline"]  # worse than this may not set a slope
            if several:
                summary["split"] = run.trial.split.label
            if scheming:
                summary["scheme"] = schemes[run.trial.key]
            rows.append({"run": run.key, "metric": metric, **common[0], **summary, **common[1]})
            if estimate["draws"]:
                draws[run.key, metric] = np.asarray(estimate["draws"])
    frame = pd.DataFrame(rows)
    return Table(
        frame, draws=_draws(draws), provenance=_provenance(runs, done, trials, made, store),
        failures=failures(runs, store),
    )  # fmt: skip


def _common(
    run: Run, axes: Sequence[str], corrupting: Collection[str], measured: Mapping[str, float],
    tested: Mapping[str, float],
) -> tuple[dict[str, Any], dict[str, Any]]:  # fmt: skip
    """Return the columns that name a run, and the measured and nominal columns; the level "all" is infinite.

    Axes that corrupt values have a level on the test side, too, whether or not there is something left to measure.
    """
    trial = run.trial
    named = {
        "trial": trial.key,
        "dataset": trial.dataset.label,
        "evaluated_on": run.dataset.label,
        "model": trial.label,
        "signal": run.signal.label if run.signal else "none",
        "score": run.score.label,
        "replicate": trial.replicate,
        "status": "ok",
    }
    train = {s.name: s.level for s in trial.levels}
    test = {s.name: s.level for s in run.test_levels}
    nominal = {f"{name}_level": train.get(name, np.inf) for name in axes}
    nominal |= {f"{name}_test_level": test.get(name, np.inf) for name in axes if name in corrupting}
    return named, {**measured, **_suffixed(tested), **nominal}


def _suffixed(tested: Mapping[str, float]) -> dict[str, float]:
    return {f"{name}_test": value for name, value in tested.items()}


def _draws(draws: Mapping[tuple[str, str], Floats]) -> pd.DataFrame | None:
    if not draws:
        return None
    index = pd.MultiIndex.from_tuples(list(draws), names=["run", "metric"])
    return pd.DataFrame(np.array(list(draws.values())), index=index)


def failures(runs: Sequence[Run], store: Store) -> pd.DataFrame:
    """Return one row for each trial or run of the study that failed: what it was, and what went wrong."""
    stored = store.failures()
    units = {run.trial.key: (run, "training") for run in runs} | {run.key: (run, run.score.label) for run in runs}
    rows = [
        {
            "key": key,
            "model": run.trial.label,
            "step": step,
            "levels": ", ".join(f"{s.name} = {s.level:g}" for s in run.trial.levels) or "all",
            "replicate": run.trial.replicate,
            "error": stored[key]["error"],
            "message": stored[key]["message"],
        }
        for key, (run, step) in units.items()
        if key in stored
    ]
    return pd.DataFrame(rows, columns=["key", "model", "step", "levels", "replicate", "error", "message"])


def _provenance(
    runs: Sequence[Run], done: int, trials: Mapping[str, Mapping[str, Any]], scored: Collection[tuple[str, str]],
    store: Store,
) -> dict[str, Any]:  # fmt: skip
    """Return what was run and with what; several values of a version mean that the table mixes them."""
    made = [record["provenance"] for record in trials.values() if "provenance" in record]
    versions: dict[str, list[str]] = {}
    for name, value in sorted({*scored, *itertools.chain.from_iterable(map(_flat, made))}):
        versions.setdefault(name, []).append(value)
    datasets = {
        spec: store.dataset(keys.key(spec.describe())) for spec in dict.fromkeys(run.trial.dataset for run in runs)
    }
    return {
        "trials": len(trials),
        "runs": len(runs),
        "runs_done": done,
        "versions": versions,
        "mixed": sorted(name for name, values in versions.items() if len(values) > 1),
        "datasets": {spec.label: info for spec, info in datasets.items() if info},
        "train_seconds": round(sum(p["seconds"] for p in made), 1),
    }


def _flat(made: Mapping[str, Any]) -> list[tuple[str, str]]:
    plain = {name: str(made[name]) for name in ("machine", "device", "threads") if name in made}
    return [*made["versions"].items(), *plain.items()]
