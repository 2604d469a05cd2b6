"""Small charts that belong to no panel of fits: what was lost, where it saturates; and several side by side as SVG."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sclaws.report import charts
from sclaws.report.charts import Spec

TOP = ("config", "background", "autosize", "padding", "description")
LEGEND: Spec = {"title": None, "orient": "top", "offset": 32, "symbolType": "stroke", "symbolStrokeWidth": 2.5,
                "symbolOpacity": 1}  # fmt: skip
CLOSED = "datum.low !== null && datum.high !== null"


def losses(x: Spec, y: Spec, colours: Mapping[str, str], dashes: Mapping[str, list[int]], about: str) -> Spec:
    """Return the chart of parts of a loss: a line with its points, and a band, in a colour each, with a legend."""
    legend = LEGEND | {"columns": len(colours)}  # above the title of y
    scale = {"domain": list(colours), "range": list(colours.values())}
    colour = {"field": "part", "type": "nominal", "scale": scale, "legend": legend}
    dash = {"domain": list(colours), "range": [dashes.get(name, [1, 0]) for name in colours]}
    lines = {"x": x, "y": y, "color": colour}
    band = {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}, "color": colour}
    tips = [{"field": "part", "type": "nominal"}, {"field": "x", "type": "quantitative", "title": "level"}]
    tips.append({"field": "text", "type": "nominal", "title": "lost"})
    stroke = {"strokeDash": {"field": "part", "type": "nominal", "scale": dash, "legend": None}}
    layers: list[Spec] = [
        {"transform": [{"filter": CLOSED}], "mark": {"type": "area", "opacity": 0.11, "clip": True}, "encoding": band},
        {"mark": {"type": "line", "strokeWidth": 2.2, "clip": True}, "encoding": lines | stroke},
        {"mark": {"type": "point", "filled": True, "size": 34, "opacity": 1}, "encoding": lines | {"tooltip": tips}},
    ]
    spec = charts.chart(layers, about)
    return spec | {"data": {"name": "parts"}, "config": {**spec["config"], "legend": {"labelFontSize": 12}}}


def levels(x: Spec, y: Spec, colours: Mapping[str, str], dashes: Mapping[str, list[int]], about: str) -> Spec:
    """Return the chart of means by level: a colour a model, dashes a scheme, a ring where a rule says it saturates.

    Rows have model, scheme, x, y, low, high, text, and kind: "level", "end" (the ring), or "untrained" (a rule across).
    """
    scale = {"domain": list(colours), "range": list(colours.values())}
    colour = {"field": "model", "type": "nominal", "scale": scale, "legend": LEGEND | {"columns": 3}}
    names = {"domain": list(dashes), "range": list(dashes.values())}
    more = {**LEGEND, "columns": 3, "offset": 4} if len(dashes) > 1 else None
    dash = {"strokeDash": {"field": "scheme", "type": "nominal", "scale": names, "legend": more}}
    trained, lines = {"filter": "datum.kind !== 'untrained'"}, {"x": x, "y": y, "color": colour}
    tips = [{"field": field, "type": "nominal"} for field in ("model", "scheme")]
    tip = {"tooltip": [*tips, {"field": "text", "type": "nominal", "title": "mean"}]}
    span = lines | {"y": y | {"field": "low"}, "y2": {"field": "high"}}
    layers: list[Spec] = [
        {
            "transform": [{"filter": "datum.kind === 'untrained'"}],
            "mark": {"type": "rule", "strokeDash": [3, 4], "opacity": 0.6, "clip": True},
            "encoding": {"y": y, "color": colour} | tip,
        },
        {"transform": [trained, {"filter": CLOSED}], "mark": {"type": "rule", "opacity": 0.5, "clip": True},
         "encoding": span},
        {"transform": [trained], "mark": {"type": "line", "strokeWidth": 2, "clip": True}, "encoding": lines | dash},
        {"transform": [trained], "mark": {"type": "point", "filled": True, "size": 30, "opacity": 1},
         "encoding": lines | tip},
        {"transform": [{"filter": "datum.kind === 'end'"}], "mark": {"type": "point", "filled": False, "size": 130,
         "strokeWidth": 1.6}, "encoding": lines | tip},
    ]  # fmt: skip
    spec = charts.chart(layers, about)
    return spec | {"data": {"name": "levels"}, "config": {**spec["config"], "legend": {"labelFontSize": 12}}}


def side_by_side(titled: Sequence[tuple[str, Spec, Mapping[str, Any]]], caption: str) -> str:
    """Return charts as one SVG, three in a row, the caption below; each is a title, a spec, and its fields and rows."""
    import vl_convert

    made = [
        spec | {"title": title, "width": 260, "data": {"values": list(_records(data))}} for title, spec, data in titled
    ]
    config = made[0].pop("config")
    whole = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "background": "white",
        "config": config,
        "concat": [{k: v for k, v in one.items() if k not in TOP} for one in made],
        "columns": min(3, len(made)),
        "title": {"text": textwrap.wrap(caption, 120), "orient": "bottom", "anchor": "start", "fontSize": 11,
                  "fontWeight": "normal", "offset": 12},
    }  # fmt: skip
    return str(vl_convert.vegalite_to_svg(whole))


def _records(rows: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for row in rows["rows"]:
        yield dict(zip(rows["fields"], row, strict=True))
