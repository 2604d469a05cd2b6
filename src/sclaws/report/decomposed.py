"""What the model lost and what the measurement lost: the section of the page, and the same charts as one SVG file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from sclaws.decomposition import COLUMNS
from sclaws.report import charts, small_charts, words
from sclaws.report.charts import Scale, Spec
from sclaws.report.markup import Html, Shown, cell, join, table, tag

COLOURS = {"both": "currentColor", "measurement": "#3b7dd8", "model": "#e0782f", "interaction": charts.BASELINE}
DASHES = {"both": [2, 3], "interaction": [5, 3]}
FIELDS = ("part", "x", "y", "low", "high", "text")
MOST = 12  # charts
HEIGHT = 210
CAPTION = (
    "Lost by the model: I(1, 1) − I(q, 1), trained on cells degraded to level q, asked about whole ones. Lost by the "
    "measurement: I(1, 1) − I(1, q), trained on whole cells, asked about degraded ones; this part includes a shift "
    "between training and test cells. Both: I(1, 1) − I(q, q); interaction: what both lose beyond the sum of the two. "
    "Bands are 95 % intervals, over test cells and replicates."
)


def shown(frame: pd.DataFrame) -> Shown:
    """Return the section of a decomposition's rows (:class:`sclaws.decomposition.Decomposition`)."""
    if frame.empty:
        return Shown()
    titled = list(panels(frame))
    made = [{"id": f"lost-{i}", **chart} for i, (_, chart) in enumerate(titled)]
    places = [
        tag("div", tag("h4", title), tag("div", id=f"lost-{i}", cls="chart")) for i, (title, _) in enumerate(titled)
    ]
    caption = tag("p", CAPTION, cls="soft small")
    drawn = tag("section", tag("div", *places, cls="small-charts"), caption, cls="card")
    return Shown(join(drawn, _table(frame)), tuple(made))


def svg(frame: pd.DataFrame) -> str:
    """Return the charts side by side as SVG, the caption below."""
    made = [(title, chart["spec"], chart["data"]["parts"]) for title, chart in panels(frame)]
    return small_charts.side_by_side(made, CAPTION)


# ── charts ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def panels(frame: pd.DataFrame) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a title and a chart ``{spec, data}`` for each condition with all other axes at their largest level."""
    rows = largest(frame)
    by = conditions(rows)
    varying = [c for c in by if rows[c].nunique(dropna=False) > 1 and not c.endswith("_level")] or by[:1]
    grouped = rows.groupby(["axis", *by], dropna=False, sort=True, observed=True)
    for number, (key, some) in enumerate(grouped):
        if number == MOST:
            return
        named = dict(zip(["axis", *by], key, strict=True))
        same = rows[(rows["axis"] == named["axis"]) & (rows["unit"] == some["unit"].iloc[0])]
        axis = [words.column(named["axis"])] if rows["axis"].nunique() > 1 else []
        title = " · ".join([*(words.name(named[c]) for c in varying), *axis]) or "all results"
        yield title, {"spec": _spec(named["axis"], same, title), "data": {"parts": _data(some)}}


def conditions(frame: pd.DataFrame) -> list[str]:
    """Return the columns that tell one condition from another, the model first."""
    by = [str(c) for c in frame if c not in COLUMNS]
    return sorted(by, key=lambda c: c != "model")


def largest(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows at the largest level of every other axis, model by model; an axis has no level of its own."""
    for column in [c for c in conditions(frame) if c.endswith("_level")]:
        same = ["axis", *(["model"] if "model" in frame else [])]
        most = frame.groupby(same, dropna=False)[column].transform("max")
        frame = frame[(frame[column] == most) | most.isna()]
    return frame


def _data(rows: pd.DataFrame) -> dict[str, Any]:
    made = [
        [row.part, row.level, row.value, *(v if math.isfinite(v) else None for v in (row.low, row.high)), _said(row)]
        for row in rows.itertuples()
    ]
    return {"fields": list(FIELDS), "rows": made}


def _said(row: Any) -> str:
    return words.interval(row.value, row.low, row.high, row.unit) if math.isfinite(row.low) else words.number(row.value)


def _spec(axis: str, rows: pd.DataFrame, title: str) -> Spec:
    """Return the chart; a band may run out of it, a value may not, so that wide bands flatten no line."""
    low, high = min(rows["value"].min(), 0.0), max(rows["value"].max(), 0.0)
    reach = 0.6 * (high - low)
    ends = [v for c in ("low", "high") for v in rows[c] if low - reach <= v <= high + reach]
    x = Scale.of(words.column(axis), list(rows["level"])).encoding("x")
    unit = rows["unit"].iloc[0]
    y = Scale.of(f"{unit or 'information'} lost", [low, high, *ends], log=False).encoding("y", charts.UPRIGHT)
    return small_charts.losses(x, y, COLOURS, DASHES, f"{title}: {unit} lost by the model and by the measurement") | {
        "height": HEIGHT
    }


# ── table ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def _table(frame: pd.DataFrame) -> Html:
    """Return a row a condition and level: its whole information, each part, and which of the two lost more."""
    by = [c for c in conditions(frame) if frame[c].nunique(dropna=False) > 1] or conditions(frame)[:1]
    unit = frame["unit"].iloc[0] if frame["unit"].nunique() == 1 else ""
    names = [f"{name} ({unit})" if unit else name for name in ("whole", *COLOURS)]
    heads = [*map(words.column, by), "level", "share", *names, "replicates", "larger"]
    keys = [*conditions(frame), "axis", "level"]
    rows = [_row(some, by) for _, some in frame.groupby(keys, dropna=False, sort=True, observed=True)]
    return table(heads, rows, sortable=True)


def _row(some: pd.DataFrame, by: Sequence[str]) -> list[Html]:
    first = some.iloc[0]
    part = {row.part: row for row in some.itertuples()}
    share = f"{100 * first['share']:.3g} %" if math.isfinite(first["share"]) else "–"
    return [
        *[cell(words.name(words.level(first[c]))) for c in by],
        cell(f"{words.level(first['level'])} {words.unit(first['axis'])}".strip(), first["level"], cls="n"),
        cell(share, first["share"], cls="n"),
        cell(words.number(first["full"]), first["full"]),
        *[cell(_part(part[name]), part[name].value, cls="n") for name in COLOURS],
        cell(first["replicates"], first["replicates"]),
        cell(first["verdict"], cls="words"),
    ]


def _part(row: Any) -> Html:
    if not math.isfinite(row.low):
        return join(words.number(row.value))
    head, _, span = words.interval(row.value, row.low, row.high).partition(" (")
    return join(head, tag("span", f" ({span}", cls="range"))
