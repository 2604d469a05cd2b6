"""What a study says of itself on the command line."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from sclaws.protocols import Engine
from sclaws.store import Store
from sclaws.sweep import Plan

BAR = "{desc} |{bar}| {percentage:3.0f}% [{elapsed} passed, {remaining} left]"


def count(counted: Mapping[str, int], of: int) -> str:
    """Return the words before the progress bar."""
    failed = f", {counted['failed']} failed" if counted["failed"] else ""
    return f"{counted['trials']}/{of} trials{failed}"


def listing(plan: Plan, engine: Engine) -> str:
    """Return what would run: one line for each model and level, and the estimates."""
    kinds: Counter[str] = Counter()
    for item in plan.items:
        for trial, runs in item.work:
            levels = ", ".join(f"{s.name} = {s.level:g}" for s in trial.levels) or "everything"
            kinds[f"{trial.label}: {levels} ({len(runs)} runs each)"] += 1
    workers = getattr(engine, "workers", None) or 1
    lines = [f"  {number} x {kind}" for kind, number in sorted(kinds.items())]
    estimate = (
        f"about {duration(plan.seconds / workers)} on {workers} worker{'s' if workers > 1 else ''} "
        f"(a rough guess until a tenth is done), {plan.megabytes:.1f} MB"
    )
    return "\n".join([*lines, _progress(plan), estimate if plan.items else "nothing is left to do"])


def status(plan: Plan, failures: pd.DataFrame, store: Store) -> str:
    """Return how far a study is: done, missing, failed, damaged."""
    lines = [f"{store.folder}", _progress(plan)]
    lines += [f"failed: {row.model} ({row.levels}), {row.step}: {row.message}" for row in failures.itertuples()]
    lines += [f"damaged: {problem}" for problem in store.check()]
    return "\n".join(lines)


def _progress(plan: Plan) -> str:
    return (
        f"trials: {plan.trials_done:,} of {plan.n_trials:,} trained, {plan.to_train:,} to train; "
        f"runs: {plan.runs_done:,} of {plan.n_runs:,} scored"
    )


def duration(seconds: float) -> str:
    """Return a length of time in two units at most."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def beside_truth(fits: pd.DataFrame, truth: Mapping[str, Mapping[str, Any]]) -> str:
    """Return one line a fit and parameter that is known: fitted value, interval, truth."""
    known = {name: value for table in truth.values() for name, value in table.items() if f"{name}_low" in fits}
    lines = []
    for _, fit in fits.iterrows():
        where = ", ".join(str(fit[c]) for c in ("model", "signal") if c in fits)
        for name, value in known.items():
            if pd.notna(fit[name]):
                interval = f"{_number(fit[f'{name}_low'])} to {_number(fit[f'{name}_high'])}"
                lines.append(f"{where}: {name} = {_number(fit[name])} (95 %: {interval}), truth {_number(value)}")
        lines.append(f"{where}: {fit['law']}: {fit['verdict']}")
    return "\n".join(lines)


def _number(value: Any) -> str:
    return f"{value:.4g}" if math.isfinite(value) else "open"
