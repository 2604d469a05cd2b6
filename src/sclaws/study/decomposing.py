"""What the model lost and what the measurement lost, of a study: its files, and a few lines for the command line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sclaws.decomposition import Decomposition, decompose
from sclaws.grid import Run
from sclaws.report import decomposed, words
from sclaws.table import Table, write_csv

FILES = ("decomposition.csv", "decomposition.svg")
SHARE = 0.1  # of the whole measurement: the level that is told
MOST = 12  # lines on the command line
SAID = 3  # sentences on what was skipped


def decomposition(table: Table, runs: Iterable[Run]) -> Decomposition:
    """Return what model and measurement lost on each axis; empty where no grid degrades one of train and test alone."""
    models = {run.trial.label: run.trial.model for run in runs}
    frozen = {label for label, model in models.items() if not getattr(model.build(), "trains", True)}
    return decompose(table, frozen)


def write(folder: Path, found: Decomposition) -> None:
    """Write ``decomposition.csv`` and ``decomposition.svg``, or remove what was there before."""
    if not found:
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        return
    write_csv(found.frame, folder / FILES[0])
    (folder / FILES[1]).write_text(decomposed.svg(found.frame), encoding="utf-8", newline="\n")


def warnings(found: Decomposition) -> list[str]:
    """Return which levels were left out of a decomposition that there is."""
    more = len(found.skipped) - SAID
    tail = [f"{more} more levels cannot be taken apart"] if more > 0 else []
    return [f"not taken apart: {text}" for text in found.skipped[:SAID]] + tail if found else []


def sentences(frame: pd.DataFrame) -> list[str]:
    """Return a line for each condition, other axes at their largest level: what was lost at a tenth, and by what."""
    rows = decomposed.largest(frame)
    by = [c for c in decomposed.conditions(rows) if not c.endswith("_level")]
    varying = [c for c in by if rows[c].nunique(dropna=False) > 1 or c == "model"]
    lines = []
    for key, some in rows.groupby(["axis", *by], dropna=False, sort=True, observed=True):
        named = dict(zip(["axis", *by], key, strict=True))
        lines.append(f"{_head([named[c] for c in varying])}{_sentence(some)}")
    return [*lines[:MOST], *([f"… and {len(lines) - MOST} more, in {FILES[0]}"] if len(lines) > MOST else [])]


def _head(names: Sequence[Any]) -> str:
    return f"{', '.join(words.name(name) for name in names)}: " if names else ""


def _sentence(rows: pd.DataFrame) -> str:
    share = rows["share"].fillna(rows["level"] / rows["level"].max())
    off = (share / SHARE).map(math.log).abs()
    part = {row["part"]: row for row in rows[off == off.min()].to_dict("records")}
    first = part["both"]
    share = f" ({100 * first['share']:.2g} % of the whole)" if math.isfinite(first["share"]) else ""
    lost = {name: _number(row) for name, row in part.items()}
    return (
        f"at {first['axis']} = {words.level(first['level'])}{share} {lost['both']} {first['unit']} are lost: "
        f"{lost['model']} by the model, "
        f"{lost['measurement']} by the measurement, {lost['interaction']} by both together; larger: {first['verdict']}"
    ).replace("  ", " ")


def _number(row: Any) -> str:
    if not math.isfinite(row["low"]):
        return words.number(row["value"])
    return words.interval(row["value"], row["low"], row["high"])
