"""The parts of a panel: points, levels, parameters, as the table and a fit have them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from sclaws.fit import Fit
from sclaws.report import words
from sclaws.report.records import OPEN, Parameter, Point, Slice

REPLICATES = ("replicate", "rep", "repeat", "seed", "fold")
HELD = "_held_out"


def is_baseline(model: str) -> bool:
    """Return whether a model is there to be held against: the gene means, or a model before training."""
    return model.endswith("untrained") or model.startswith("gene-mean")


def measure(rows: pd.DataFrame, y: str) -> tuple[str, str]:
    """Return the name and the unit of what is measured."""
    if y != "value":
        return words.column(y), ""
    name = words.listing([str(v) for v in pd.unique(rows["metric"])]) if "metric" in rows else "value"
    units = [str(v) for v in pd.unique(rows["unit"].dropna())] if "unit" in rows else []
    return name, units[0] if len(units) == 1 else ""


def level_column(rows: pd.DataFrame, column: str) -> str:
    """Return the column of nominal levels of a measured column, if there is one."""
    return f"{column}_level" if f"{column}_level" in rows else column


def slice_of(rows: pd.DataFrame, column: str, within: bool) -> Slice:
    """Return the levels of a column in order; an unlimited one ("all") is placed by what was measured."""
    values: dict[str, float] = {}
    measured = column.removesuffix("_level")
    for value in sorted(v for v in pd.unique(rows[column].dropna())):
        text, place = words.level(value), float(value)
        if math.isinf(place) and measured in rows:
            place = float(rows.loc[rows[column] == value, measured].mean())
            text = f"all ({place:,.0f})"
        values[text] = place
    finite = {text: place for text, place in values.items() if math.isfinite(place)}
    return Slice(column, tuple(values), finite, within)


def label(part: Slice, value: Any) -> str | None:
    """Return how a level is called in a choice; ``None`` for a curve that has none."""
    if pd.isna(value):
        return None
    return part.levels[-1] if math.isinf(value) else words.level(value)


def points(one: Fit, rows: pd.DataFrame) -> tuple[Point, ...]:
    """Return the points of a curve with what the law says there."""
    ends = ("low", "high") if one.y == "value" else (f"{one.y}_low", f"{one.y}_high")
    replicate = next((c for c in REPLICATES if c in rows), None)
    predicted = one.predict({c: rows[c].to_numpy(float) for c in one.inputs.values()})["predicted"]
    x, n = next(iter(one.inputs.values())), len(rows)
    nothing = [OPEN] * n
    low, high = (rows[c] if c in rows and pd.api.types.is_numeric_dtype(rows[c]) else nothing for c in ends)
    names = rows[replicate].map(words.level) if replicate else [""] * n
    notes = rows["verdict"].where(rows["verdict"] != "ok", "").fillna("") if "verdict" in rows else [""] * n
    columns = zip(rows[x], rows[one.y], low, high, predicted, names, rows[HELD], notes, strict=True)
    return tuple(
        Point(float(u), float(v), float(a), float(b), float(p), str(name), bool(held), str(note))
        for u, v, a, b, p, name, held, note in columns
    )


def grid(x: Any, count: int) -> Any:
    """Return ``count`` places from the smallest to the largest input, evenly on the scale on which they are drawn."""
    low, high = float(np.min(x)), float(np.max(x))
    positive = x[x > 0]
    if low >= 0 and len(positive) and high / positive.min() > 8:  # evenly on a log axis
        return np.geomspace(positive.min(), high, count)
    return np.linspace(low, high, count)


def parameters(one: Fit, true: Mapping[str, float], units: Mapping[str, str]) -> Iterator[Parameter]:
    """Yield the parameters of a fit, each with its unit and, if it is known, the truth."""
    for name, value in one.value.items():
        log = getattr(one.law.params[name], "log", False)
        yield Parameter(name, value, one.low[name], one.high[name], units[name], log, true.get(name, OPEN))
