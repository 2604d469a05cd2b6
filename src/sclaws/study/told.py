"""What a study says of itself on the command line."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pandas as pd

from sclaws.grid import Trial
from sclaws.protocols import Engine
from sclaws.report import known
from sclaws.store import Store
from sclaws.sweep import Budget, Feed, Plan
from sclaws.table import Table

BAR = "{desc} |{bar}| {percentage:3.0f}% [{elapsed} passed{postfix} left]"


def count(counted: Mapping[str, int], of: int) -> str:
    """Return the words before the progress bar."""
    failed = f", {counted['failed']} failed" if counted["failed"] else ""
    return f"{counted['trials']}/{of} trials{failed}"


def workers(engine: Engine) -> int | None:
    """Return how many items an engine works on at once; ``None`` if it does not say."""
    return getattr(engine, "workers", None)


def _by(many: int | None) -> str:
    """Return whose time is meant; that of one worker where nobody knows how many there will be."""
    return " of one worker's time" if many is None else f" on {many} worker{'s' if many > 1 else ''}"


def listing(plan: Plan, engine: Engine, budget: Budget) -> str:
    """Return what would run: one line for each model and level, the estimates, and what a budget would cover."""
    kinds: Counter[str] = Counter()
    lacking = plan.lacking
    for item in plan.items:
        for trial, _ in item.work:
            what = "train and score" if trial.key in plan.train else "score"
            kinds[f"{trial.label}: {_levels(trial)} ({what}, {lacking[trial.key]} runs each)"] += 1
    lines = [f"  {number} x {kind}" for kind, number in sorted(kinds.items())]
    return "\n".join([*lines, _progress(plan), *(_estimates(plan, engine, budget) or ["nothing is left to do"])])


def _estimates(plan: Plan, engine: Engine, budget: Budget) -> list[str]:
    """Return what the work takes, how that is known, and what the budget covers; nothing when nothing is left."""
    if not plan.items:
        return []
    many = workers(engine)
    seconds, _ = Feed(plan, plan.pace, Budget(), many, time.time).covered()
    told = {trial.label for item in plan.items for trial, _ in item.work if trial.key in plan.train}
    guessed = sorted({t.label for i in plan.items for t, _ in i.work if t.key in plan.train and not plan.pace.knows(t)})
    how = "by what was measured" if not guessed else "a rough guess until a tenth is done, or after --calibrate"
    if guessed and len(guessed) < len(told):
        how = f"{', '.join(guessed)}: {how}"
    money = f", {budget.cost(seconds):,.2f} in money" if budget.price else ""
    lines = [
        f"about {duration(seconds)}{_by(many)}{money} ({how}; training that stops early takes less), "
        f"{plan.megabytes:.1f} MB{_weights(plan)}"
    ]
    if budget.seconds < math.inf:
        spent, bundles = Feed(plan, plan.pace, budget, many, time.time).covered()
        of = {item.bundle: len(item.work) for item in plan.items}
        least = "at least " if many is None else ""
        lines.append(
            f"the budget of {duration(budget.seconds)} covers {least}{sum(map(of.__getitem__, bundles)):,} of these "
            f"{sum(of.values()):,} trials, in about {duration(spent)}{_by(many) if least else ''}"
        )
    return lines


def undone(left: int, plan: Plan, engine: Engine) -> str:
    """Return what a spent budget left, and that the same command goes on."""
    many = workers(engine)
    seconds, _ = Feed(plan, plan.pace, Budget(), many, time.time).covered()
    return (
        f"the budget is spent: {left:,} trials are left, about {duration(seconds)}{'' if many else _by(many)}; "
        "the same command goes on from here"
    )


def _levels(trial: Trial) -> str:
    scheme = "" if trial.scheme == "uniform" else f", {trial.scheme}"
    return (", ".join(f"{s.name} = {s.level:g}" for s in trial.levels) or "everything") + scheme


def _weights(plan: Plan) -> str:
    """Return what the estimate of disk leaves out: how large a model is, nobody knows before it is there."""
    if plan.train and any("weights" in item.settings.keep for item in plan.items):
        return f" without the weights of {plan.to_train:,} models, which are kept"
    if any(run.needs.startswith("model") for key in plan.train for run in plan.missing[key]):
        return " without weights, which stay until the scores that read a model are stored"
    return ""


def status(plan: Plan, failures: pd.DataFrame, store: Store, thorough: bool) -> str:
    """Return how far a study is: done, missing, being worked on, failed, damaged."""
    lines = [f"{store.folder}", _progress(plan)]
    trials = {trial.key: trial for item in plan.items for trial, _ in item.work}
    for key, word in store.said().items():
        if key in trials:
            lines.append(f"working: {trials[key].label} ({_levels(trials[key])}){f': {word}' if word else ''}")
    lines += [f"failed: {row.model} ({row.levels}), {row.step}: {row.message}" for row in failures.itertuples()]
    lines += [f"damaged: {problem}" for problem in store.check(thorough=thorough)]
    return "\n".join(lines)


def _progress(plan: Plan) -> str:
    return (
        f"trials: {plan.trials_done:,} of {plan.n_trials:,} trained, {plan.to_train:,} to train; "
        f"runs: {plan.runs_done:,} of {plan.n_runs:,} scored"
    )


def warnings(table: Table, busy: int, left: int) -> list[str]:
    """Return what the reader of a table should know: what is not in it, and whether it mixes versions."""
    made = table.provenance
    said = []
    if missing := made["runs"] - made["runs_done"]:
        why = f"{len(table.failures)} failures are told in the report"
        if busy:
            why += f"; {busy} trials are being worked on by another process: run again when it has finished"
        if left:
            why += f"; the budget left {left} trials: run again, to go on with them"
        said.append(f"{missing} of {made['runs']} runs are missing: {why}")
    if made["mixed"]:
        said.append(f"results were made with different {', '.join(made['mixed'])}: see provenance.json")
    return said


def duration(seconds: float) -> str:
    """Return a length of time in two units at most."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds == math.inf:
        return "any time"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def fitted(fits: pd.DataFrame, truth: Mapping[str, Mapping[str, Any]] | None = None) -> str:
    """Return the fits as a text table for each law, and axis where there are several.

    They say what tells curves apart, each parameter with its 95 % interval, the verdict; and, above the fits, what is
    known of simulated data.
    """
    axes = fits.groupby("law")["x"].nunique()
    return "\n\n".join(
        _one_law(f"{law} along {x}" if axes[law] > 1 else str(law), rows, truth or {})
        for (law, x), rows in fits.groupby(["law", "x"], sort=False)
    )


def _one_law(law: str, rows: pd.DataFrame, truth: Mapping[str, Mapping[str, Any]]) -> str:
    by = list(rows.columns[: list(rows.columns).index("law")])
    params = [c for c in rows if f"{c}_low" in rows and rows[c].notna().any()]
    varying = [c for c in by if rows[c].nunique() > 1] or by[:1]
    same = ", ".join(
        f"{c.removesuffix('_level')} = {_level(rows[c].iloc[0])}"
        for c in by
        if c not in varying and rows[c].notna().all()
    )
    shown = rows[varying].map(_level).rename(columns=lambda c: c.removesuffix("_level"))
    for name in params:
        shown[name] = [_interval(row, name) for _, row in rows.iterrows()]
    shown["verdict"] = rows["verdict"]
    if true := _known(rows, params, truth):
        first = {shown.columns[0]: "(the truth)"} | {name: _number(value) for name, value in true.items()}
        shown = pd.concat([pd.DataFrame([first]), shown])[shown.columns]
    cells = [list(shown.columns), *shown.fillna("").astype(str).to_numpy().tolist()]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  " + "  ".join(f"{c:<{w}}" for c, w in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join([f"{law}{f' ({same})' if same else ''}:", *lines])


def _known(rows: pd.DataFrame, params: list[str], truth: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return the true parameters, if they are the same for every row: one truth cannot stand above several."""
    found = [known.parameters(truth, curve) for curve in rows.to_dict("records")]
    same = found[0] if all(each == found[0] for each in found) else {}
    return {name: value for name, value in same.items() if name in params}


def _level(value: Any) -> str:
    if isinstance(value, float):
        return "all" if math.isinf(value) else f"{value:.6g}"
    return str(value)


def _interval(row: pd.Series, name: str) -> str:
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    if pd.isna(row[name]):
        return ""
    if math.isinf(low) or math.isinf(high):
        return f"> {_number(low)}" if math.isfinite(low) else f"< {_number(high)}" if math.isfinite(high) else "open"
    return f"{_number(row[name])} ({_number(low)} to {_number(high)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e7 else f"{value:.4g}"
