"""HTML that cannot be broken by what it shows: text is escaped unless it is already ``Html``."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sclaws.report import words

VOID = {"meta", "br"}


class Html(str):
    """Text that is markup already; everything else is escaped before it enters a page."""

    __slots__ = ()


@dataclass(frozen=True)
class Shown:
    """A section of the page (``None``: nothing to say) and its charts, each ``{id, spec, data}``."""

    section: Html | None = None
    charts: tuple[dict[str, Any], ...] = ()


def join(*children: Any) -> Html:
    """Return the children one after the other; ``None`` is left out, lists are opened."""
    parts: list[str] = []
    for child in children:
        if child is None:
            continue
        if isinstance(child, Html):
            parts.append(child)
        elif isinstance(child, Iterable) and not isinstance(child, str):
            parts.append(join(*child))
        else:
            parts.append(html.escape(str(child)))
    return Html("".join(parts))


def tag(name: str, /, *children: Any, **attributes: Any) -> Html:
    """Return an element: ``tag("p", "a < b", cls="soft")``; ``_`` in an attribute's name stands for ``-``."""
    found = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        word = {"cls": "class"}.get(key, key.rstrip("_").replace("_", "-"))
        found.append(f" {word}" if value is True else f' {word}="{html.escape(str(value))}"')
    start = f"<{name}{''.join(found)}>"
    return Html(start if name in VOID else f"{start}{join(*children)}</{name}>")


def script_json(value: Any) -> Html:
    """Return JSON that may stand inside ``<script>``: ``<``, ``>`` and ``&`` are written as escapes."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Html(text)


def symbol(name: str) -> Html:
    """Return a parameter's symbol with its index set low: ``i_max`` -> I with a small max."""
    head, _, index = words.symbol(name).partition("_")
    return join(head, tag("sub", index) if index else None)


def table(heads: Iterable[Any], rows: Iterable[Iterable[Html]], *, sortable: bool = False) -> Html:
    """Return a table in a box that scrolls by itself; cells are ``<td>`` elements."""
    top = [tag("th", tag("button", head, type="button") if sortable else head, scope="col") for head in heads]
    body = [tag("tr", *row) for row in rows]
    inner = tag("table", tag("thead", tag("tr", *top)), tag("tbody", *body), cls="sortable" if sortable else None)
    return tag("div", inner, cls="scroll", tabindex="0")


def cell(text: Any, value: float | None = None, cls: str | None = None, title: str | None = None) -> Html:
    """Return a table cell; ``value`` is what it is sorted by, ``title`` is shown when the pointer rests on it."""
    order = repr(float(value)) if value is not None and words.finite(value) else None
    return tag("td", text, cls=cls, title=title, data_v=order)


def facts(items: Iterable[tuple[Any, Any]]) -> Html:
    """Return a list of names and values."""
    return tag("dl", *[join(tag("dt", name), tag("dd", value)) for name, value in items])
