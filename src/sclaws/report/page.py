"""Panels -> the whole page: sections, charts with their rows, style, scripts, and a policy that forbids more.

Nothing is fetched: one Vega bundle is written into the file. The page's content security policy names the hashes of our
own scripts, so no other script could run and no address could be reached even if text from a file became markup.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from sclaws.report import charts, sections, universal, words
from sclaws.report.charts import Scale, Style
from sclaws.report.markup import Html, Shown, join, script_json, tag
from sclaws.report.records import Curve, Panel, Parameter

DIGITS = 5  # of a number in a chart: finer than a screen


@dataclass(frozen=True)
class Contents:
    """Everything that the page shows, already read."""

    title: str
    panels: tuple[Panel, ...]
    counts: tuple[tuple[str, str], ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    failures: tuple[Mapping[str, Any], ...] = ()
    study_text: str | None = None
    lead: str = ""
    compared: Html | None = None
    needed: Html | None = None
    lost: Shown = field(default_factory=Shown)
    saturated: Shown = field(default_factory=Shown)
    agreed: Html | None = None

    @property
    def charts(self) -> list[dict[str, Any]]:
        """Charts that belong to no panel."""
        return [*self.lost.charts, *self.saturated.charts]


@functools.cache
def bundle() -> str:
    """Return Vega, Vega-Lite and their embedder as one script (0.9 MB) that defines ``vegaEmbed``."""
    import vl_convert

    return str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))


def _resource(name: str) -> str:
    return (resources.files("sclaws.report") / name).read_text(encoding="utf-8")


def html(contents: Contents) -> str:
    """Return the page as text: the same for the same contents."""
    looks = [charts.styles(panel.models.items()) for panel in contents.panels]
    drawn = [_panel_charts(i, panel, look) for i, (panel, look) in enumerate(zip(contents.panels, looks, strict=True))]
    if contents.charts:
        drawn.append({"curves": _rows([], []), "charts": contents.charts})
    cards = [sections.curves(p, i, looks[i], drawable(p)) for i, p in enumerate(contents.panels)]
    body = tag("main", _head(contents), _sections(contents, cards), tag("footer", FOOT))
    needed = bool(contents.panels or contents.charts)
    scripts = [bundle().replace("</script", "<\\/script"), _resource("page.js")] if needed else []
    return "<!doctype html>\n" + tag(
        "html",
        tag("head", *_meta(contents.title, scripts), tag("style", Html(_resource("page.css")))),
        tag("body", body, _data(script_json(drawn)), *[tag("script", Html(s)) for s in scripts]),
        lang="en",
    )


FOOT = "Intervals are 95 %. This file is complete: it opens without a network."


def _data(payload: Html) -> Html:
    return tag("script", payload, id="charts", type="application/json")


def _meta(title: str, scripts: Sequence[str]) -> list[Html]:
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(s.encode()).digest()).decode()}'" for s in scripts)
    allowed = hashes or "'none'"
    policy = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src {allowed}"
    return [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
    ]


def _head(contents: Contents) -> Html:
    shown = _parts(contents, ())
    links = [tag("a", name, href=f"#{anchor}") for anchor, name in NAMES.items() if anchor in shown]
    warnings = [tag("p", words.sentence(w), cls="notice") for w in sections.mixed(contents.provenance)]
    lead = tag("p", contents.lead, cls="soft") if contents.lead else None
    return tag("header", tag("h1", contents.title), lead, tag("nav", *links), *warnings)


NAMES = {
    "found": "What was found",
    "curves": "Curves",
    "parameters": "Fitted parameters",
    "compared": "Rivals and larger scales",
    "needed": "What is needed",
    "lost": "What the model lost, what the measurement lost",
    "saturated": "Where it saturates",
    "agreed": "Whether the loss tells anything about use",
    "baselines": "Baselines",
    "run": "What was run",
    "failed": "What failed",
}


def _sections(contents: Contents, cards: Sequence[Html]) -> Html:
    return join(*[join(tag("h2", NAMES[k], id=k), part) for k, part in _parts(contents, cards).items()])


def _parts(contents: Contents, cards: Sequence[Html]) -> dict[str, Html]:
    """Return the sections by anchor, in order; those that have nothing to say are left out."""
    panels = contents.panels
    no_script = tag(
        "noscript", tag("p", "The curves need JavaScript; every number is in the tables below.", cls="notice")
    )
    parts = {
        "found": sections.found(panels),
        "curves": join(no_script, sections.folded(panels, cards)),
        "parameters": sections.parameters(panels),
        "compared": contents.compared,
        "needed": contents.needed,
        "lost": contents.lost.section,
        "saturated": contents.saturated.section,
        "agreed": contents.agreed,
        "baselines": sections.baselines(panels),
        "run": sections.ran(contents.counts, contents.provenance, contents.study_text),
        "failed": sections.failed(contents.failures),
    }
    return {name: part for name, part in parts.items() if part is not None}


# ── charts ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def drawable(panel: Panel) -> list[str]:
    """Return the names of the parameters that have something to draw: an interval closed on one side at least."""
    names = dict.fromkeys(p.name for c in panel.fitted for p in c.parameters)
    return [name for name in names if _placed(panel, name)]


def _panel_charts(index: int, panel: Panel, looks: Mapping[str, Style]) -> dict[str, Any]:
    """Return the panel's curves (what every row refers to by number) and its charts, each ``{id, spec, data}``."""
    rows = [[c.model, _at(panel, c), *c.levels] for c in panel.curves]
    made = [{"id": f"chart-{index}"} | _main_chart(panel, dict(looks))]
    for k, name in enumerate(drawable(panel)):
        made.append({"id": f"chart-{index}-{k}"} | _parameter_chart(panel, name, dict(looks)))
    if universal.drawable(panel):
        made.append({"id": f"chart-{index}-scaled"} | _universal_chart(panel, dict(looks)))
    fields = ["model", "at", *[f"s{i}" for i in range(len(panel.slices))]]
    return {"curves": _rows(fields, rows), "charts": made}


def _universal_chart(panel: Panel, looks: dict[str, Style]) -> dict[str, Any]:
    spec, rows = universal.chart(panel, looks)
    short = {
        name: [[_short(v) if isinstance(v, float) else v for v in row] for row in some] for name, some in rows.items()
    }
    fields = {"scaled": ["curve", "x", "y", "held_out"], "universal": ["x", "y"]}
    return {"spec": spec, "data": {name: _rows(fields[name], some) for name, some in short.items()}}


def _main_chart(panel: Panel, looks: dict[str, Style]) -> dict[str, Any]:
    x, y = scales(panel)
    data = {"points": _points(panel), "line": _lines(panel)}
    if any(c.baseline for c in panel.curves):
        data["baseline"] = _baseline_lines(panel, x)
    if panel.truth:
        data["truth"] = _rows(["x", "y"], [[_short(k.x), _short(k.y)] for k in panel.truth])
    if words.finite(panel.bound):
        text = f"no more than {words.number(panel.bound)} {panel.unit}"
        data["bound"] = _rows(["y", "text"], [[_short(panel.bound), text]])
    extra = [name for name in ("baseline", "truth", "bound") if name in data]
    about = f"{panel.title}: {y.title} against {x.title}"
    return {"spec": charts.curves(x, y, looks, dict(enumerate(panel.largest)), extra, about), "data": data}


def scales(panel: Panel) -> tuple[Scale, Scale]:
    """Return the axes of a panel, the same for all its levels; a band may run out of them, a point may not."""
    points = [p for c in panel.curves for p in c.points]
    ys = [p.y for p in points] + [k.y for c in panel.curves for k in c.line] + [k.y for k in panel.truth]
    ends = [v for p in points for v in (p.low, p.high)]
    bound = [panel.bound] if words.finite(panel.bound) else []
    values = [v for v in (*ys, *ends, *bound) if words.finite(v)]
    zero = bool(values) and min(values) < 0.5 * max(values)  # information starts at 0; a loss rarely comes near it
    y_title = f"{panel.y} ({panel.unit})" if panel.unit else panel.y
    x = Scale.of(panel.x, [p.x for p in points if words.finite(p.x)])
    return x, Scale.of(y_title, values, log=False, zero=zero)


def _rows(fields: list[str], rows: list[list[Any]]) -> dict[str, Any]:
    return {"fields": fields, "rows": rows}


def _short(value: float) -> float | None:
    return float(f"{value:.{DIGITS}g}") if words.finite(value) else None


def _at(panel: Panel, curve: Curve) -> str:
    named = zip(panel.slices, curve.levels, strict=True)
    return ", ".join(f"{level} {words.column(s.column)}" for s, level in named if level is not None)


def _points(panel: Panel) -> dict[str, Any]:
    rows = [
        [i, *map(_short, (p.x, p.y, p.low, p.high, p.predicted)), p.replicate, int(p.held_out), p.note]
        for i, curve in enumerate(panel.curves)
        for p in curve.points
    ]
    return _rows(["curve", "x", "y", "low", "high", "predicted", "replicate", "held_out", "note"], rows)


def _lines(panel: Panel) -> dict[str, Any]:
    rows = [
        [i, *map(_short, (k.x, k.y, k.low, k.high))]
        for i, curve in enumerate(panel.curves)
        for k in curve.line
        if not curve.baseline
    ]
    return _rows(["curve", "x", "y", "low", "high"], rows)


def _baseline_lines(panel: Panel, x: Scale) -> dict[str, Any]:
    """Means over replicates, joined; a baseline with a single x is a rule across the chart."""
    rows = [
        [i, _short(u), _short(v)]
        for i, curve in enumerate(panel.curves)
        if curve.baseline and curve.points
        for u, v in _mean_path(curve, x)
    ]
    return _rows(["curve", "x", "y"], rows)


def _mean_path(curve: Curve, x: Scale) -> list[tuple[float, float]]:
    """Join the k-th smallest x of every replicate: measured depths differ a little between replicates."""
    by_replicate: dict[str, list[tuple[float, float]]] = {}
    for p in sorted(curve.points, key=lambda p: p.x):
        by_replicate.setdefault(p.replicate, []).append((p.x, p.y))
    shortest = min(map(len, by_replicate.values()))
    steps = [[path[k] for path in by_replicate.values()] for k in range(shortest)]
    means = [(sum(u for u, _ in s) / len(s), sum(v for _, v in s) / len(s)) for s in steps]
    return [(x.low, means[0][1]), (x.high, means[0][1])] if len(means) == 1 else means


def _along(panel: Panel) -> int | None:
    """Return the number of the slice that parameters are drawn against, if there is one."""
    return next((i for i, s in enumerate(panel.slices) if s.numeric and not s.within), None)


def _placed(panel: Panel, name: str) -> list[tuple[int, float | None, Parameter]]:
    """Return (curve's number, place along the slice, parameter) of what can be drawn: not what holds at every level."""
    along = _along(panel)
    found = []
    for i, curve in enumerate(panel.curves):
        at = None if along is None else panel.slices[along].values.get(curve.levels[along] or "")
        if curve.verdict and (along is None or at is not None):
            found += [(i, at, p) for p in curve.parameters if p.name == name and p.side != "none"]
    return found


def _parameter_chart(panel: Panel, name: str, looks: dict[str, Style]) -> dict[str, Any]:
    along, found = _along(panel), _placed(panel, name)
    levels = {i: s.levels[-1] for i, s in enumerate(panel.slices) if i != along and not s.within}
    known = [p.truth for _, _, p in found if words.finite(p.truth)][:1]
    rows = [_parameter_row(*place) for place in found]
    values = [v for row in rows for v in row[2:5] if v is not None] + known
    first, label = found[0][2], words.symbol(name)
    log = first.log and min(values) > 0 and max(values) / min(values) > charts.WIDE
    value = Scale.of(f"{label} ({first.unit})" if first.unit else label, values, log=log)
    axis = None if along is None else panel.slices[along]
    x = Scale.of(words.column(axis.column), sorted(axis.values.values())) if axis else None
    data = {"params": _rows(["curve", "x", "value", "low", "high", "side", "text"], rows)}
    if known:
        data["truth"] = _rows(["value", "text"], [[_short(known[0]), f"truth {words.number(known[0])}"]])
    if along is None:  # one row a model: only those with something to show
        looks = {m: look for m, look in looks.items() if any(panel.curves[i].model == m for i, _, _ in found)}
    spec = charts.parameter(x, value, looks, levels, bool(known), f"{label} of each model")
    return {"spec": spec, "data": data}


def _parameter_row(index: int, at: float | None, p: Parameter) -> list[Any]:
    value = {"closed": p.value, "up": p.low, "down": p.high}[p.side]
    return [index, at, _short(value), _short(p.low), _short(p.high), p.side, p.text]
