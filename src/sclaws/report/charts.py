"""Vega-Lite specifications, as plain dictionaries with fixed field names.

Text from the user's files enters as data or as an axis title, never as an expression or a field name. Every chart fills
the width it is given, draws in colours that the page can override, and reads its rows from named data sets
(``points``, ``line``, ``params`` …) that the page's script fills in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PALETTE = ("#3b7dd8", "#e0782f", "#2a9d78", "#a05fc4", "#d1495b", "#8a6d3b", "#1b9aaa", "#c2528b")
SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "triangle-right", "triangle-left")
BASELINE = "#8791a0"
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"  # page.css has the same
HEIGHT = 340
WIDE = 8.0  # a positive range wider than this factor is drawn on a log axis

Spec = dict[str, Any]
SHOWN = "indexof(shown, datum.model) >= 0"


@dataclass(frozen=True)
class Style:
    """How a model looks wherever it appears: colour, shape of its points, dashes of its line."""

    colour: str
    shape: str
    baseline: bool = False


def styles(models: Iterable[tuple[str, bool]]) -> dict[str, Style]:
    """Return a style for each (model, is a baseline): colours in order, baselines grey and dashed."""
    found: dict[str, Style] = {}
    coloured = 0
    for i, (model, baseline) in enumerate(models):
        colour = BASELINE if baseline else PALETTE[coloured % len(PALETTE)]
        coloured += not baseline
        found[model] = Style(colour, SHAPES[i % len(SHAPES)], baseline)
    return found


@dataclass(frozen=True)
class Scale:
    """A numeric axis: its title, whether it is logarithmic, its two ends, and the ticks."""

    title: str
    log: bool
    low: float
    high: float
    ticks: tuple[float, ...] = ()

    @classmethod
    def of(cls, title: str, values: Sequence[float], *, log: bool | None = None, zero: bool = False) -> Scale:
        """Return the scale for these finite values; ``log=None`` decides by their range, ``zero`` includes 0."""
        found = sorted(values) or [0.0, 1.0]
        low, high = found[0], found[-1]
        if log is None:
            log = low > 0 and high / low > WIDE
        if log and low > 0:
            pad = (high / low) ** 0.04 if high > low else 1.5
            return cls(title, True, low / pad, high * pad, log_ticks(low / pad, high * pad))
        low, high = (min(low, 0.0), max(high, 0.0)) if zero else (low, high)
        pad = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
        return cls(title, False, low if zero and low == 0 else low - pad, high + pad)

    def encoding(self, field: str, axis: Spec | None = None) -> Spec:
        """Return the Vega-Lite encoding of a field on this scale."""
        kind: Spec = {"type": "log"} if self.log else {"type": "linear", "zero": False}
        scale = kind | {"domain": [self.low, self.high], "nice": False}
        ticks = {"values": list(self.ticks)} if self.ticks else {"tickCount": 5}
        look = {"title": self.title, "format": self._format, "labelOverlap": "greedy"}
        return {"field": field, "type": "quantitative", "scale": scale, "axis": look | ticks | (axis or {})}

    @property
    def _format(self) -> str:
        """Plain figures below 10,000, then 10k and 1M; powers of ten for what is very small."""
        if abs(self.high) >= 10_000:
            return "~s" if abs(self.low) >= 1 or not self.log else "~g"
        return ",~r" if self.high >= 1e-3 else "~g"


def log_ticks(low: float, high: float) -> tuple[float, ...]:
    """Return ticks at 1, 2 and 5 of each decade, or at decades alone when there are many."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if len(decades) <= 3 else (1, 3) if len(decades) <= 5 else (1,)
    ticks = [m * 10.0**e for e in decades for m in steps]
    return tuple(t for t in ticks if low <= t <= high)


# ── curves ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def curves(
    x: Scale, y: Scale, looks: dict[str, Style], levels: Mapping[int, str], extra: Sequence[str], about: str
) -> Spec:
    """Return the chart of points with intervals, law lines and predictive bands; one level of each slice is shown.

    ``levels`` is {number of the slice: level shown at first}; ``extra`` what is drawn besides points and lines:
    "baseline" (dashed), "truth" (dotted), "bound" (a rule).
    """
    chosen = _chosen(levels)
    where = {"x": x.encoding("x"), "y": y.encoding("y", UPRIGHT), "color": _colour(looks)}
    layers = [_ghosts(where)] if levels else []
    layers += [
        _band(where, chosen),
        _line(where, chosen),
        _intervals(where, chosen),
        _points(where, chosen, looks, x, y),
    ]
    layers += [{"baseline": _baseline, "truth": _truth, "bound": _bound}[name](where, chosen) for name in extra]
    return chart(layers, about) | {"params": _params(looks, levels), "height": HEIGHT}


UPRIGHT: Spec = {"titleAngle": 0, "titleAlign": "left", "titleAnchor": "end", "titleX": 0, "titleY": -14}


def chart(layers: list[Spec], about: str) -> Spec:
    """Return a chart of layers in the look of the page, as wide as its place; ``about`` is for who cannot see it."""
    axis = {"labelFontSize": 12, "titleFontSize": 12.5, "titleFontWeight": 500, "domain": True, "tickSize": 4}
    return {
        "description": about,
        "width": "container",
        "autosize": {"type": "fit-x", "contains": "padding"},
        "padding": {"left": 2, "right": 14, "top": 6, "bottom": 2},
        "background": "transparent",
        "config": {
            "font": FONT,
            "view": {"stroke": None},
            "axis": axis | {"titlePadding": 8},
            "legend": {"disable": True},
        },
        "layer": layers,
    }


def _chosen(levels: Mapping[int, str]) -> str:
    """Return the test for rows of a model that is shown, at the levels that are chosen or at none."""
    return " && ".join([SHOWN, *(f"(datum.s{i} === null || datum.s{i} === level{i})" for i in levels)])


def _params(looks: dict[str, Style], levels: Mapping[int, str]) -> list[Spec]:
    return [{"name": "shown", "value": list(looks)}, *[{"name": f"level{i}", "value": v} for i, v in levels.items()]]


def _colour(looks: dict[str, Style]) -> Spec:
    scale = {"domain": list(looks), "range": [s.colour for s in looks.values()]}
    return {"field": "model", "type": "nominal", "scale": scale, "legend": None}


def _shape(looks: dict[str, Style]) -> Spec:
    scale = {"domain": list(looks), "range": [s.shape for s in looks.values()]}
    return {"field": "model", "type": "nominal", "scale": scale, "legend": None}


def _layer(data: str, keep: str, mark: Spec, encoding: Spec) -> Spec:
    return {"data": {"name": data}, "transform": [{"filter": keep}], "mark": mark, "encoding": encoding}


DETAIL: Spec = {"field": "curve", "type": "nominal"}


def _ghosts(where: Spec) -> Spec:
    mark = {"type": "line", "strokeWidth": 1, "opacity": 0.26, "clip": True, "tooltip": None}
    return _layer("line", SHOWN, mark, where | {"detail": DETAIL})


def _band(where: Spec, chosen: str) -> Spec:
    mark = {"type": "area", "opacity": 0.11, "clip": True, "tooltip": None}
    keep = f"{chosen} && datum.low !== null && datum.high !== null"
    ends = {"y": where["y"] | {"field": "low"}, "y2": {"field": "high"}}
    return _layer("line", keep, mark, where | ends | {"detail": DETAIL})


def _line(where: Spec, chosen: str) -> Spec:
    mark = {"type": "line", "strokeWidth": 2.2, "clip": True, "tooltip": None}
    return _layer("line", chosen, mark, where | {"detail": DETAIL})


def _intervals(where: Spec, chosen: str) -> Spec:
    keep = f"{chosen} && datum.low !== null && datum.high !== null"
    mark = {"type": "rule", "strokeWidth": 1.2, "opacity": 0.55, "clip": True}
    return _layer("points", keep, mark, where | {"y": where["y"] | {"field": "low"}, "y2": {"field": "high"}})


def _points(where: Spec, chosen: str, looks: dict[str, Style], x: Scale, y: Scale) -> Spec:
    tips = [("model", "model"), ("at", "at"), ("x_text", _tip(x)), ("y_text", _tip(y)), ("law_text", "law says")]
    tips.append(("replicate", "replicate"))
    opacity = {"condition": {"test": "datum.held_out", "value": 0}, "value": 0.85}  # held-out points are hollow
    encoding = {
        "shape": _shape(looks),
        "fillOpacity": opacity,
        "fill": _colour(looks),
        "tooltip": [{"field": field, "type": "nominal", "title": title} for field, title in tips],
    }
    mark = {"type": "point", "size": 38, "strokeWidth": 1.3, "clip": True}
    return _layer("points", chosen, mark, where | encoding)


def _tip(scale: Scale) -> str:
    """The axis's title for a tooltip; two words have a meaning of their own there, and lose it."""
    return f"{scale.title} =" if scale.title in ("title", "image") else scale.title


def _baseline(where: Spec, chosen: str) -> Spec:
    mark = {"type": "line", "strokeWidth": 1.6, "strokeDash": [5, 4], "clip": True, "tooltip": None}
    return _layer("baseline", chosen, mark, where | {"detail": DETAIL})


def _truth(where: Spec, chosen: str) -> Spec:
    mark = {
        "type": "line",
        "strokeWidth": 1.6,
        "strokeDash": [1.5, 3],
        "strokeCap": "round",
        "clip": True,
        "color": "currentColor",
    }
    del chosen
    return _layer("truth", "true", mark | {"tooltip": None}, {"x": where["x"], "y": where["y"]})


def _bound(where: Spec, chosen: str) -> Spec:
    del chosen
    mark = {"type": "rule", "strokeWidth": 1.2, "strokeDash": [2, 2], "clip": True, "color": "currentColor"}
    tip = [{"field": "text", "type": "nominal", "title": "bound"}]
    name = {"type": "text", "align": "right", "dy": 11, "fontSize": 11, "color": "currentColor", "tooltip": None}
    said = {"text": {"field": "text"}, "x": {"value": "width"}, "y": where["y"]}
    both = [{"mark": mark, "encoding": {"y": where["y"], "tooltip": tip}}, {"mark": name, "encoding": said}]
    return {"data": {"name": "bound"}, "layer": both}


def universal(where: Spec, looks: dict[str, Style], about: str) -> Spec:
    """Return the chart of rescaled points about the one curve of a law."""
    line = {"type": "line", "strokeWidth": 1.6, "color": "currentColor", "opacity": 0.7, "clip": True, "tooltip": None}
    opacity = {"condition": {"test": "datum.held_out", "value": 0}, "value": 0.8}
    tips = [{"field": field, "type": "nominal"} for field in ("model", "at")]
    look = {"color": _colour(looks), "fill": _colour(looks), "fillOpacity": opacity, "shape": _shape(looks)}
    mark = {"type": "point", "size": 30, "strokeWidth": 1.2, "clip": True}
    layers = [_layer("universal", "true", line, where), _layer("scaled", SHOWN, mark, where | look | {"tooltip": tips})]
    return chart(layers, about) | {"params": _params(looks, {})}


# ── parameters ───────────────────────────────────────────────────────────────────────────────────────────────────────
def parameter(
    x: Scale | None, value: Scale, looks: dict[str, Style], levels: Mapping[int, str], truth: bool, about: str
) -> Spec:
    """Return the chart of one fitted parameter: against a slice, or (``x=None``) one row a model.

    A dot is a value whose interval closes. A hollow triangle is a one-sided limit and points to where the value lies.
    """
    chosen = _chosen(levels)
    if x is None:
        across, y = value.encoding("value"), _rows(looks)
        where, span = {"x": across, "y": y}, {"x": across | {"field": "low"}, "x2": {"field": "high"}, "y": y}
        turn = {"up": 90, "down": 270}
    else:
        along, y = x.encoding("x"), value.encoding("value", UPRIGHT)
        where, span = {"x": along, "y": y}, {"x": along, "y": y | {"field": "low"}, "y2": {"field": "high"}}
        turn = {"up": 0, "down": 180}
    layers = _parameter_layers(where, span, chosen, looks, turn, along=x is not None)
    if truth:
        keeps = {"x": where["x"]} if x is None else {"y": where["y"]}
        mark = {"type": "rule", "strokeWidth": 1.4, "strokeDash": [1.5, 3], "color": "currentColor"}
        layers.append(_layer("truth", "true", mark, keeps | {"tooltip": [{"field": "text", "title": "truth"}]}))
    height = {"height": 30 * len(looks) if x is None else 190}
    return chart(layers, about) | {"params": _params(looks, levels)} | height


def _rows(looks: dict[str, Style]) -> Spec:
    axis = {"title": None, "labelLimit": 130, "ticks": False, "domain": False, "grid": False}
    return {"field": "model", "type": "nominal", "scale": {"domain": list(looks), "padding": 0.3}, "axis": axis}


def _parameter_layers(
    where: Spec, span: Spec, chosen: str, looks: dict[str, Style], turn: dict[str, int], *, along: bool
) -> list[Spec]:
    colour = {"color": _colour(looks)}
    tips = [
        {"field": f, "type": "nominal", "title": t} for f, t in (("model", "model"), ("at", "at"), ("text", "value"))
    ]
    closed, line = f"{chosen} && datum.side === 'closed'", {"type": "line", "strokeWidth": 1, "opacity": 0.45}
    layers = [_layer("params", closed, line | {"clip": True, "tooltip": None}, where | colour)] if along else []
    rule = {"type": "rule", "strokeWidth": 1.6, "opacity": 0.7, "clip": True}
    layers.append(_layer("params", closed, rule, span | colour))
    dot = {"type": "point", "filled": True, "size": 52, "opacity": 1, "clip": True}
    layers.append(_layer("params", closed, dot, where | colour | {"shape": _shape(looks), "tooltip": tips}))
    for side, angle in turn.items():
        mark = {
            "type": "point",
            "shape": "triangle-up",
            "angle": angle,
            "size": 70,
            "filled": False,
            "strokeWidth": 1.6,
        }
        layers.append(
            _layer("params", f"{chosen} && datum.side === '{side}'", mark, where | colour | {"tooltip": tips})
        )
    return layers
