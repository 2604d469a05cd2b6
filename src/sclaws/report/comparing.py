"""Tables of what a fit was tested by: rivals, levels left out, larger scales held out; and what a target needs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from sclaws.fit import Fits
from sclaws.report import words
from sclaws.report.markup import Html, cell, join, table, tag

RULES = ("gap", "fraction")
SIGN = {"gap": "gap (I_max − .074 bits)", "fraction": "fraction (.9 · I_max)"}


def compared(fits: Fits) -> Html | None:
    """Return a row a curve and law: AICc against a constant's, error of a left-out level, and the held-out test."""
    some = [one for one in fits if one.value]
    if not some:
        return None
    by = _telling([one.curve for one in some])
    heads = [*map(words.column, by), "law", "AICc below a constant", "best", "left-out level: error"]
    heads += ["larger scales: points", "error", "within the 95 % band"]
    rows = []
    for one in some:
        test = one.held_out
        share = f"{100 * test.coverage:.0f} %" if test.n else "–"
        rows.append([
            *[_place(one.curve.get(c)) for c in by],
            cell(one.row["law"], cls="n"),
            _number(one.constant_aicc - one.aicc),
            cell("best" if one.best else ""),
            _number(one.loo),
            cell(test.n or "–", test.n),
            _number(test.rmse if test.n else math.nan),
            cell(share, test.coverage if test.n else None),
        ])  # fmt: skip
    rules = dict.fromkeys(one.held_out.rule for one in some if one.held_out.rule)
    said = f"Larger scales: {' or '.join(rules)}. " if rules else "No curve has enough levels to hold the largest out. "
    text = f"{said}Errors are root mean squares on the scale of the criterion ({some[0].criterion})."
    return join(tag("p", text, cls="soft small"), table(heads, rows, sortable=True))


def needed(fits: Fits, rules: Sequence[str | float]) -> Html | None:
    """Return a row a curve, law and target: how much of which input it needs, with its interval."""
    frame = fits.targets(rules or RULES)
    frame = frame[frame["needed"].notna()]
    if frame.empty:
        return None
    by = _telling(frame[list(frame.columns[: frame.columns.get_loc("law")])].to_dict("records"))
    heads = [*map(words.column, by), "law", "target", "value of y", "needed", "", ""]
    rows = [_target(row, by) for row in frame.to_dict("records")]
    text = "From the joint draws of the parameters; a target beyond the largest input is an extrapolation."
    return join(tag("p", text, cls="soft small"), table(heads, rows, sortable=True))


def _target(row: Mapping[Any, Any], by: Sequence[str]) -> list[Html]:
    value = words.interval(row["needed"], row["low"], row["high"])
    return [
        *[_place(row[c]) for c in by],
        cell(row["law"]),
        cell(SIGN.get(row["rule"], row["rule"])),
        _number(row["target"]),
        cell(value if words.finite(row["needed"]) else "never reached", row["needed"]),
        cell(words.column(row["column"])),
        cell("; ".join(filter(None, ["beyond the data" if row["beyond_data"] else "", row["note"]])), cls="words"),
    ]


def _telling(curves: Sequence[Mapping[Any, Any]]) -> list[str]:
    """Return the columns that tell the curves apart, or the first."""
    frame = pd.DataFrame([dict(curve) for curve in curves])
    return [c for c in frame if frame[c].nunique(dropna=False) > 1] or list(frame)[:1]


def _place(value: Any) -> Html:
    """Return the cell of a by-column's value; fits of several calls need not have the same columns."""
    return cell("–" if value is None or pd.isna(value) else words.name(words.level(value)))


def _number(value: float) -> Html:
    return cell(words.number(value) if words.finite(value) else "–", value)
