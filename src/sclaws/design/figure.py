"""One figure of a design: what money buys, and how it is best parted, with bands, and where the data end."""

from __future__ import annotations

from typing import Any

import pandas as pd

from sclaws.fit.results import Fit

_COLOURS = ("#3b7dd8", "#e0782f", "#2a9d78", "#a05fc4", "#d1495b", "#8a6d3b", "#1b9aaa", "#c2528b")
_MOST = 8  # curves that are drawn
_LEGEND = {"title": None, "orient": "top", "columns": 2, "labelLimit": 400, "symbolOpacity": 1}


def svg(front: pd.DataFrame, fit: Fit, currency: str) -> str:
    """Return the figure of a front (a row a curve and budget) as SVG; lines are dashed beyond the data."""
    import vl_convert

    return str(vl_convert.vegalite_to_svg(specification(front, fit, currency)))


def specification(front: pd.DataFrame, fit: Fit, currency: str) -> dict[str, Any]:
    """Return the Vega-Lite specification: y above, a panel a column of levels below. Text enters as data or titles."""
    by = list(fit.curve)
    curve = front[by].astype(str).agg(", ".join, axis=1) if by else pd.Series("all points", index=front.index)
    shown = list(dict.fromkeys(curve))[:_MOST]
    frame = front.assign(curve=curve)[lambda rows: rows["curve"].isin(shown)]
    columns = list(fit.inputs.values())
    beyond = frame[[f"{c}_beyond_data" for c in columns]].max(axis=1) > 1.001
    panels = [_panel(frame, beyond, "y", fit.y, False, currency, shown)]
    panels += [_panel(frame, beyond, c, f"best {c}", True, currency, shown) for c in columns]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "background": "white",
        "vconcat": panels,
        "config": {"font": "sans-serif", "axis": {"grid": True, "gridColor": "#eee"}, "view": {"stroke": None}},
    }


def _panel(
    frame: pd.DataFrame, beyond: pd.Series, name: str, title: str, log: bool, currency: str, shown: list[str]
) -> dict[str, Any]:
    rows = pd.DataFrame(
        {
            "budget": frame["budget"], "curve": frame["curve"], "value": frame[name], "low": frame[f"{name}_low"],
            "high": frame[f"{name}_high"], "beyond": beyond,
        }
    )  # fmt: skip
    kind = {"type": "log"} if log else {"zero": False}
    ticks = {"format": "~s", "tickCount": 5, "labelOverlap": True}
    money = {
        "field": "budget", "type": "quantitative", "scale": {"type": "log", "nice": False},
        "axis": {"title": f"budget, {currency}", **ticks},
    }  # fmt: skip
    level = {
        "field": "value",
        "type": "quantitative",
        "scale": kind,
        "axis": {"title": title, **(ticks if log else {})},
    }
    colour = {
        "field": "curve", "type": "nominal", "scale": {"domain": shown, "range": list(_COLOURS)},
        "legend": _LEGEND if len(shown) > 1 else None,
    }  # fmt: skip
    band = {"x": money, "y": {**level, "field": "low"}, "y2": {"field": "high"}, "color": colour}
    line = {"x": money, "y": level, "color": colour}
    within = {**line, "opacity": {"condition": {"test": "datum.beyond", "value": 0}, "value": 1}}
    return {
        "width": 420,
        "height": 170,
        "data": {"values": rows.to_dict("records")},
        "layer": [
            {"mark": {"type": "area", "opacity": 0.12}, "encoding": band},
            {"mark": {"type": "line", "strokeDash": [4, 3], "strokeWidth": 1.5}, "encoding": line},
            {"mark": {"type": "point", "filled": True, "size": 28}, "encoding": within},
        ],
    }
