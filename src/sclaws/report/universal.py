"""The chart on which all curves of a law fall onto one: inputs and values rescaled by each curve's own parameters."""

from __future__ import annotations

from typing import Any

from sclaws.report import charts, words
from sclaws.report.charts import Scale, Spec, Style
from sclaws.report.records import Panel

HEIGHT = 230


def drawable(panel: Panel) -> bool:
    """Whether there are several curves to be laid onto one another."""
    return bool(panel.scaled and panel.universal)


def chart(panel: Panel, looks: dict[str, Style]) -> tuple[Spec, dict[str, list[list[Any]]]]:
    """Return the chart and its rows: ``scaled`` (curve, x, y, held_out) and ``universal`` (x, y)."""
    inside = sorted(y for _, _, y, _ in panel.universal)
    low, high = inside[0], inside[-1]
    reach = 0.6 * (high - low)  # a point far off the curve is cut rather than flattening all others
    ys = [y for _, _, y, _ in panel.scaled if low - reach <= y <= high + reach]
    x = Scale.of(f"{panel.x}, rescaled", [u for _, u, _, _ in panel.scaled if words.finite(u) and u > 0])
    y = Scale.of(f"{panel.y}, rescaled", [*ys, *inside], log=False, zero=True)
    where = {"x": x.encoding("x"), "y": y.encoding("y", charts.UPRIGHT)}
    spec = charts.universal(where, looks, f"{panel.title}: all curves on the universal curve of the {panel.law} law")
    rows = {
        "scaled": [[curve, u, v, int(held)] for curve, u, v, held in panel.scaled],
        "universal": [[u, v] for _, u, v, _ in sorted(panel.universal, key=lambda row: row[1])],
    }
    return spec | {"height": HEIGHT}, rows
