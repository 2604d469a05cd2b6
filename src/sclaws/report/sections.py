"""The parts of the page, in the order in which a reader needs them. Each returns markup; none reads a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from sclaws.report import universal, words
from sclaws.report.charts import Style
from sclaws.report.markup import Html, cell, facts, join, symbol, table, tag
from sclaws.report.records import Curve, Panel, Parameter

MANY = 8  # panels: more are folded, each under its title and verdicts
OPENED = 16  # facts of a kind: more are folded away
GOOD, WARN = ("follows", "saturated"), ("not identifiable", "underpowered", "flat")


# ── what was found ───────────────────────────────────────────────────────────────────────────────────────────────────
def found(panels: Sequence[Panel]) -> Html:
    """Return the headline sentences: for each panel what each model did at the largest levels, then the counts."""
    if not panels:
        return tag("p", "No law was fitted: the table has no curve with enough levels.", cls="notice")
    return _each([(panel, _headline(panel)) for panel in panels])


def _each(made: Sequence[tuple[Panel, Html]]) -> Html:
    """Return what each panel has under its title; folded where there are many."""
    if len(made) <= MANY:
        return join(*[join(tag("h3", panel.title), body) for panel, body in made])
    return join(*[_fold(panel, body) for panel, body in made])


def folded(panels: Sequence[Panel], cards: Sequence[Html]) -> Html:
    """Return the panels' cards; where there are many, all but the first are folded, and drawn when they are opened."""
    if len(cards) <= MANY:
        return join(*cards)
    return join(*[_fold(panel, card, first=card is cards[0]) for panel, card in zip(panels, cards, strict=True)])


def _fold(panel: Panel, body: Html, *, first: bool = False) -> Html:
    summary = tag("summary", tag("strong", panel.title), f": {_counted(panel)}")
    return tag("details", summary, body, open=first)


def _counted(panel: Panel) -> str:
    counts = Counter(c.verdict.partition(":")[0] for c in panel.fitted)
    return words.listing([f"{what} ({n})" for what, n in counts.most_common()]) or "nothing fitted"


def _headline(panel: Panel) -> Html:
    shown = [c for c in panel.at(panel.largest) if c.verdict and not c.baseline]
    apart = [(s, text) for s, text in zip(panel.slices, panel.largest, strict=True) if not s.within]
    at = words.listing([f"{text} {words.column(s.column)}" for s, text in apart])
    where = tag("p", f"With {at}:", cls="soft small") if at else None
    lines = tag("ul", *[tag("li", _finding(curve)) for curve in shown], cls="findings")
    return join(where, lines, _tally(panel, len(shown)))


def _finding(curve: Curve) -> Html:
    numbers = [tag("span", _parameter(p)) for p in curve.parameters]
    return join(tag("strong", curve.model), " ", verdict(curve.verdict), tag("span", *numbers, cls="numbers"))


def _parameter(p: Parameter) -> Html:
    joint = "= " if p.side == "closed" else "is " if p.side == "none" else ""
    return join(symbol(p.name), " ", joint, p.text, truth(p))


def truth(p: Parameter) -> Html | None:
    """Return the known value beside the fitted one, and whether the interval covers it."""
    if p.covered is None:
        return None
    word = "inside" if p.covered else "outside"
    return tag("span", f" truth {words.number(p.truth)}, {word} the interval", cls="truth")


def verdict(text: str) -> Html:
    """Return the verdict as a coloured label; its reason, after a colon, stays plain."""
    head, colon, reason = text.partition(":")
    kind = "good" if head.startswith(GOOD) else "warn" if head.startswith(WARN) else "bad"
    return join(tag("span", head, cls=f"verdict {kind}"), f" {reason.strip()}" if colon else None)


def _tally(panel: Panel, shown: int) -> Html | None:
    if len(panel.fitted) <= shown:
        return None
    counts = Counter(c.verdict.partition(":")[0] for c in panel.fitted)
    if len(counts) == 1:
        return tag("p", f"The verdict is the same for all {len(panel.fitted)} curves of this group.", cls="soft small")
    return tag("p", f"All {len(panel.fitted)} curves of this group: {_counted(panel)}.", cls="soft small")


# ── curves ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def curves(panel: Panel, index: int, looks: Mapping[str, Style], drawn: Sequence[str]) -> Html:
    """Return the card of a panel: choices, the chart's place, then one place for each parameter in ``drawn``."""
    how = f"fitted on a {panel.criterion} scale of y" if panel.criterion else ""
    about = [f"{panel.law} law", panel.formula, how, *(f"{words.column(k)}: {v}" for k, v in panel.constants)]
    main = tag("div", id=f"chart-{index}", cls="chart", style="min-height:270px")
    small = [
        tag("div", _heading(name), tag("div", id=f"chart-{index}-{k}", cls="chart")) for k, name in enumerate(drawn)
    ]
    return tag(
        "section",
        tag("h3", panel.title),
        tag("p", " · ".join(filter(None, about)), cls="soft small"),
        tag("div", *_levels(panel), *[_pill(m, looks[m]) for m in panel.models], cls="controls"),
        main,
        tag("div", *small, cls="small-charts") if small else None,
        _universal(panel, index),
        tag("p", _key(panel, bool(small)), cls="soft small"),
        cls="card",
    )


def _universal(panel: Panel, index: int) -> Html | None:
    if not universal.drawable(panel):
        return None
    head = tag(
        "h4",
        "All curves on one",
        tag("span", f" {panel.law} law, each that is not flat rescaled by its own fit", cls="soft small"),
    )
    return tag("div", head, tag("div", id=f"chart-{index}-scaled", cls="chart"))


def _heading(name: str) -> Html:
    meaning = words.MEANINGS.get(name)
    return tag("h4", symbol(name), tag("span", f" {meaning}", cls="soft small") if meaning else None)


def _levels(panel: Panel) -> Iterable[Html]:
    for i, part in enumerate(panel.slices):
        options = [tag("option", text, value=text, selected=text == part.levels[-1]) for text in part.levels]
        chosen = tag("select", *options, data_signal=f"level{i}")
        yield tag("label", words.column(part.column), " ", chosen, cls="levels")


MARKS = {
    "circle": "M13 2.6a3.4 3.4 0 1 0 .01 0z",
    "square": "M9.8 2.8h6.4v6.4h-6.4z",
    "triangle-up": "M13 2l4 7.4h-8z",
    "triangle-down": "M13 10l4-7.4h-8z",
    "diamond": "M13 1l3.6 5-3.6 5-3.6-5z",
    "cross": "M11.7 2.2h2.6v2.5h2.5v2.6h-2.5v2.5h-2.6V7.3H9.2V4.7h2.5z",
    "triangle-right": "M9.4 2l7.4 4-7.4 4z",
    "triangle-left": "M16.6 2l-7.4 4 7.4 4z",
}


def _pill(model: str, look: Style) -> Html:
    dash = "5 4" if look.baseline else None
    line = tag("path", d="M0 6h26", stroke=look.colour, stroke_width=2, stroke_dasharray=dash)
    mark = tag("path", d=MARKS[look.shape], fill=look.colour)
    icon = tag("svg", line, mark, viewBox="0 0 26 12", aria_hidden="true")
    return tag("button", icon, model, type="button", cls="pill", aria_pressed="true", data_model=model)


def _key(panel: Panel, small: bool) -> str:
    parts = ["Points are single runs"]
    points = [p for c in panel.curves for p in c.points]
    if any(words.finite(p.low) for p in points):
        parts[0] += " with 95 % intervals"
    parts.append("the line is the law and the band is where 95 % of new runs are expected")
    if any(p.held_out for p in points):
        parts.append("hollow points were held out of the fit")
    if panel.slices:
        parts.append("faint lines are the other levels")
    if any(panel.models.values()):
        parts.append("dashed grey lines are baselines")
    if panel.truth:
        parts.append("the dotted line is the truth")
    text = "; ".join(parts) + "."
    limits = " A hollow triangle is a one-sided 95 % limit and points to where the value lies." if small else ""
    return text + limits + " Press a name to hide or show it."


# ── parameters ───────────────────────────────────────────────────────────────────────────────────────────────────────
def parameters(panels: Sequence[Panel]) -> Html:
    """Return a sortable table for each panel: a row a curve, each parameter with its interval and unit."""
    return _each([(panel, _panel_table(panel)) for panel in panels if panel.fitted])


def _panel_table(panel: Panel) -> Html:
    units = {p.name: p.unit for c in panel.fitted for p in c.parameters}
    slices = [i for i, s in enumerate(panel.slices) if not s.within]
    heads: list[Any] = ["model", *[words.column(panel.slices[i].column) for i in slices]]
    heads += [join(symbol(name), f" ({unit})" if unit else None) for name, unit in units.items()]
    rows = [_row(panel, curve, list(units), slices) for curve in panel.fitted]
    about = " · ".join(filter(None, [f"{panel.law} law", panel.source]))
    return join(
        tag("p", about, cls="soft small"), table([*heads, "verdict", "R²", "RMSE", "points"], rows, sortable=True)
    )


def _row(panel: Panel, curve: Curve, names: Sequence[str], slices: Sequence[int]) -> list[Html]:
    by_name = {p.name: p for p in curve.parameters}
    levels = [(curve.levels[i], panel.slices[i].values) for i in slices]
    fitted = sum(not p.held_out for p in curve.points)
    return [
        cell(curve.model),
        *[cell(level or "–", values.get(level or "")) for level, values in levels],
        *[_value_cell(by_name.get(name)) for name in names],
        cell(verdict(curve.verdict), cls="words", title=curve.note or None),
        cell(words.number(curve.r2), curve.r2),
        cell(words.number(curve.rmse), curve.rmse),
        cell(fitted, fitted),
    ]


def _value_cell(p: Parameter | None) -> Html:
    if p is None:
        return cell("–")
    order = p.value if p.side == "closed" else p.low if p.side == "up" else p.high
    head, gap, span = words.interval(p.value, p.low, p.high).partition(" (")
    return cell(join(head, tag("span", f" ({span}", cls="range") if gap else None, truth(p)), order, cls="n")


# ── baselines ────────────────────────────────────────────────────────────────────────────────────────────────────────
def baselines(panels: Sequence[Panel]) -> Html:
    """Return, for each panel, what each model reaches at the largest levels and how far that is from each baseline."""
    if not any(c.baseline for p in panels for c in p.curves):
        advice = "This table has no baseline, so nothing here says what training itself bought. "
        how = 'Add "gene-mean", or a model with untrained = true, to the models of the study.'
        return tag("p", advice + how, cls="notice")
    return _each([(p, _against(p)) for p in panels if any(c.baseline for c in p.curves)])


def _against(panel: Panel) -> Html:
    some = sorted((c for c in panel.at(panel.largest) if c.points), key=lambda c: c.baseline)
    ends = {c.model: (_end(c), c.baseline) for c in some}
    below = {m: end for m, (end, baseline) in ends.items() if baseline}
    unit = f" ({panel.unit})" if panel.unit else ""
    heads = ["model", f"{panel.y}{unit}", *[f"above {m}" for m in below]]
    rows = []
    for model, (end, baseline) in ends.items():
        gaps = [cell("–") if model == m else cell(_signed(end - b), end - b) for m, b in below.items()]
        rows.append([cell(join(model, tag("span", " baseline", cls="soft") if baseline else None)),
                     cell(words.number(end), end), *gaps])  # fmt: skip
    text = f"Mean over replicates at the largest {panel.x} and the largest levels."
    return join(tag("p", text, cls="soft small"), table(heads, rows, sortable=True))


def _end(curve: Curve) -> float:
    last: dict[str, Any] = {}
    for point in curve.points:
        if point.replicate not in last or point.x > last[point.replicate].x:
            last[point.replicate] = point
    return fmean(p.y for p in last.values())


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{words.number(value)}"


# ── what was run, what failed ────────────────────────────────────────────────────────────────────────────────────────
def ran(counts: Sequence[tuple[str, str]], provenance: Mapping[str, Any], study_text: str | None) -> Html:
    """Return the counts, then everything the table says about how it was made, then the study file as it was."""
    told = {k: v for k, v in provenance.items() if k not in ("warnings", "mixed")}
    single = [(words.column(str(k)), _plain(v)) for k, v in told.items() if not isinstance(v, Mapping)]
    groups = [_folded(str(k), v) for k, v in told.items() if isinstance(v, Mapping) and v]
    study = join(tag("h3", "The study file"), tag("pre", study_text)) if study_text else None
    return join(facts([*counts, *single]), *groups, study)


def _folded(name: str, values: Mapping[str, Any]) -> Html:
    leaves = list(_leaves(values))
    return tag("details", tag("summary", words.column(name).capitalize()), facts(leaves), open=len(leaves) <= OPENED)


def _leaves(values: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    for name, value in values.items():
        where = f"{path} · {name}" if path else str(name)
        if isinstance(value, Mapping):
            yield from _leaves(value, where)
        else:
            yield where, _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def mixed(provenance: Mapping[str, Any]) -> list[str]:
    """Return the warnings that come with the table, and one for each package that stands there in two versions."""
    out = [str(w) for w in provenance.get("warnings", ())]
    versions = provenance.get("versions", {})
    for name, value in versions.items() if isinstance(versions, Mapping) else ():
        if isinstance(value, (list, tuple)) and len(set(value)) > 1:
            out.append(f"this table mixes results made with {name} {words.listing([str(v) for v in value])}")
    return out


def failed(failures: Sequence[Mapping[str, Any]]) -> Html:
    """Return every failure with its message; tracebacks are folded away."""
    if not failures:
        return tag("p", "Nothing failed.")
    hidden = ("traceback",)
    columns = [c for c in dict.fromkeys(k for f in failures for k in f) if c not in hidden]
    rows = [[_failure_cell(f, c) for c in columns] for f in failures]
    text = f"{words.count(len(failures), 'item')} failed and are in no curve above."
    return join(tag("p", text), table([words.column(c) for c in columns], rows))


def _failure_cell(failure: Mapping[str, Any], column: str) -> Html:
    value = failure.get(column)
    text = "" if value is None or value != value else str(value)
    trace = failure.get("traceback") if column == "message" else None
    folded = None
    if isinstance(trace, str) and trace.strip():
        folded = tag("details", tag("summary", "traceback", cls="soft small"), tag("pre", trace))
    return cell(join(text, folded), cls="words" if column == "message" else None)
