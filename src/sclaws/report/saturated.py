"""Where curves saturate: the section of the page, and the same charts as one SVG file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from sclaws.report import charts, small_charts, words
from sclaws.report.charts import Scale, Spec
from sclaws.report.markup import Html, Shown, cell, join, table, tag
from sclaws.saturation import RULES, Saturation

MOST = 40  # charts
ROWS = 60  # of the table that are seen at once; beyond, it is folded
HEIGHT = 210
DASHES = ([1, 0], [5, 3], [2, 3], [8, 3, 2, 3])
FIELDS = ("model", "scheme", "kind", "x", "y", "low", "high", "text")
CAPTION = (
    "Means over replicates, with their 95 % intervals; the dashed level is the untrained model. A ring: the smallest "
    "level whose mean is within the share of the best mean."
)
RULE = (
    "Published rule (DenAdel et al.): the smallest level at which any single replicate is within the share of the best "
    "of all; mean: at which the mean of replicates is within the share of the best mean; gain: the same of what is "
    "gained over the untrained model. Behind them the levels between which 95 % of resamples lie."
)


def shown(found: Saturation, y: str = "value") -> Shown:
    """Return the section with a chart for each metric and evaluation, and a row a curve."""
    titled, cut = _some(found, y)
    made = [{"id": f"saturated-{i}", **chart} for i, (_, chart) in enumerate(titled)]
    places = [
        tag("div", tag("h4", title), tag("div", id=f"saturated-{i}", cls="chart"))
        for i, (title, _) in enumerate(titled)
    ]
    drawn = tag(
        "section", tag("div", *places, cls="small-charts"), tag("p", f"{CAPTION}{cut}", cls="soft small"), cls="card"
    )
    return Shown(join(drawn, tag("p", RULE, cls="soft small"), _table(found)), tuple(made))


def svg(found: Saturation, y: str = "value") -> str:
    """Return the charts side by side as SVG, the caption below."""
    titled, cut = _some(found, y)
    made = [(title, chart["spec"], chart["data"]["levels"]) for title, chart in titled]
    return small_charts.side_by_side(made, f"{CAPTION}{cut}")


def _some(found: Saturation, y: str) -> tuple[list[tuple[str, dict[str, Any]]], str]:
    """Return the first charts, and a sentence where there are more."""
    titled = list(panels(found, y))
    more = len(titled) - MOST
    return titled[:MOST], f" {words.count(more, 'chart')} more would be of further metrics." if more > 0 else ""


# ── charts ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def panels(found: Saturation, y: str = "value") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a title and a chart ``{spec, data}`` for each metric and evaluation: whatever is no model and no scheme."""
    by = [c for c in found.by if c not in ("model", "scheme")]
    varying = [c for c in by if found.frame[c].nunique(dropna=False) > 1]
    grouped = found.points.groupby(by, dropna=False, sort=True, observed=True) if by else [((), found.points)]
    ends = found.frame.set_index(list(found.by))["mean"].to_dict() if found.by else {(): found.frame["mean"].iloc[0]}
    for key, rows in grouped:
        named = dict(zip(by, key, strict=True))
        shown = [words.name(words.level(named[c])) for c in varying if named[c] != "none"]  # no signal
        title = " · ".join(shown) or str(named.get("metric", y))
        data = _data(rows, found.by, ends)
        about = f"{title}: {named.get('metric', y)} against the share of {words.column(found.frame['x'].iloc[0])}"
        spec = _spec(data, found, str(named.get("metric", y)), about)
        yield title, {"spec": spec, "data": {"levels": {"fields": list(FIELDS), "rows": data}}}


def _data(rows: pd.DataFrame, by: Sequence[str], ends: Mapping[Any, float]) -> list[list[Any]]:
    made = []
    for row in rows.to_dict("records"):
        key = tuple(row[c] for c in by)
        end = ends.get(key[0] if len(by) == 1 else key)
        kind = "untrained" if row["level"] == 0 else "end" if row["level"] == end else "level"
        low, high = (v if math.isfinite(v) else None for v in (row["low"], row["high"]))
        said = words.number(row["value"]) if low is None else words.interval(row["value"], row["low"], row["high"])
        names = [str(row.get("model", "all rows")), str(row.get("scheme", ""))]
        made.append([*names, kind, 100 * row["portion"], row["value"], low, high, f"{said} at {_level(row['level'])}"])
    return made


def _spec(data: Sequence[Sequence[Any]], found: Saturation, y: str, about: str) -> Spec:
    """Return the chart; intervals may run out of it, means may not. A model looks the same in all charts."""
    x, names = str(found.frame["x"].iloc[0]), _names(found.frame, "model", "all rows")
    looks = charts.styles((model, False) for model in names)
    schemes = _names(found.frame, "scheme", "")
    values = [row[4] for row in data]
    reach = 0.5 * (max(values) - min(values))
    ends = [v for row in data for v in row[5:7] if v is not None and min(values) - reach <= v <= max(values) + reach]
    across = Scale.of(f"{words.column(x)}, % of all", [row[3] for row in data if row[2] != "untrained"]).encoding("x")
    up = Scale.of(words.column(y), [*values, *ends], log=False).encoding("y", charts.UPRIGHT)
    dashes = dict(zip(schemes, (DASHES * len(schemes))[: len(schemes)], strict=True))
    return small_charts.levels(across, up, {m: look.colour for m, look in looks.items()}, dashes, about) | {
        "height": HEIGHT
    }


def _names(frame: pd.DataFrame, column: str, otherwise: str) -> list[str]:
    return list(dict.fromkeys(frame[column].astype(str))) if column in frame else [otherwise]


# ── table ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def _table(found: Saturation) -> Html:
    frame = found.frame
    by = [c for c in found.by if frame[c].nunique(dropna=False) > 1] or list(found.by[:1])
    laws = ["law says", "law is within the share at"] if "law_verdict" in frame else []
    heads = [*map(words.column, by), "all", "best mean", "published rule", "mean", "gain", *laws]
    whole = table(heads, [_row(row, by, bool(laws)) for row in frame.to_dict("records")], sortable=True)
    folded = tag("details", tag("summary", f"{words.count(len(frame), 'curve')}: the table"), whole)
    return folded if len(frame) > ROWS else whole


def _row(row: Mapping[Any, Any], by: Sequence[str], laws: bool) -> list[Html]:
    cells = [cell(words.name(words.level(row[c]))) for c in by]
    cells += [cell(_level(row["whole"]), row["whole"], cls="n"), cell(words.number(row["best"]), row["best"])]
    cells += [cell(said(row, rule), row[rule], cls="n") for rule in RULES]
    if laws:
        at = words.interval(row["law_at"], row["law_low"], row["law_high"]) if row["law_at"] == row["law_at"] else "–"
        cells += [cell(row["law_verdict"] or "–", cls="words"), cell(at, row["law_at"], cls="n")]
    return cells


def said(row: Mapping[Any, Any], rule: str) -> str:
    """Return a rule's level with those between which 95 % of resamples lie: ``1,000 (300 to 3,000)``."""
    if rule == "gain" and row["gained"] != "gain":
        return str(row["gained"]) or "–"
    value, low, high = (row[f"{rule}{end}"] for end in ("", "_low", "_high"))
    if not math.isfinite(value):
        return "–"
    span = f" ({_level(low)} to {_level(high)})" if low < high else ""
    return f"{_level(value)}{span}"


def _level(value: float) -> str:
    return "none" if math.isinf(value) else words.level(value)


__all__ = ["panels", "said", "shown", "svg"]
