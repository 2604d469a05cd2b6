"""Whether a better loss goes with better use: the section of the page."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pandas as pd

from sclaws.agreement import ALL, FIRST, MEASURE, WITHIN
from sclaws.report import words
from sclaws.report.markup import Html, cell, join, table, tag

ROWS = 40
CAPTION = (
    "Spearman's rank correlation of two measures of the same trials. Over all trials two measures may agree only "
    "because models differ in both; within models each model's own trials are ranked. Intervals are 95 %, from a "
    "bootstrap over trials that trained on the same cells."
)


def shown(frame: pd.DataFrame) -> Html | None:
    """Return a row a pair of measures: over all trials, within models, and what that says; nothing without rows."""
    if frame.empty:
        return None
    found = list(pairs(frame))
    heads = ["measure", "beside", "over all trials", "within models", "trials", "so"]
    rows = [_row(one) for one in found[:ROWS]]
    more = len(found) - ROWS
    rest = f"… and {words.count(more, 'pair')} more, and each model by itself, in agreement.csv."
    last = rest if more > 0 else "Each model by itself: agreement.csv."
    return join(
        tag("p", CAPTION, cls="soft small"), table(heads, rows, sortable=True), tag("p", last, cls="soft small")
    )


def pairs(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return each pair of measures once: its names, its rows by model, and the ``one`` that says most.

    Losses and information beside anything else come first. What says most is the row within models, else the only model
    there is.
    """
    by = [f"{which}_{name}" for which in ("first", "second") for name in MEASURE]
    where = {*frame["first_evaluated_on"], *frame["second_evaluated_on"]}
    made = []
    for key, rows in frame.groupby(by, dropna=False, sort=False):
        models = {row["model"]: row for row in rows.to_dict("records")}
        first, second = (_name(dict(zip(MEASURE, part, strict=True)), len(where) > 1) for part in (key[:4], key[4:]))
        found = {"first": first, "second": second, "models": models, "one": models.get(WITHIN) or models.get(ALL)}
        made.append(found | {"order": (key[3] not in FIRST or key[7] in FIRST, key[3] not in FIRST)})
    return sorted((one for one in made if one["one"]), key=lambda one: one["order"])


def _name(measure: Mapping[str, str], several: bool) -> str:
    signal = words.name(measure["signal"]) if measure["signal"] not in ("", "none") else ""
    about = ", ".join(filter(None, [signal, measure["score"], measure["evaluated_on"] if several else ""]))
    return f"{measure['metric']} ({about})" if about else measure["metric"]


def _row(pair: Mapping[str, Any]) -> list[Html]:
    one = pair["one"]
    both = [pair["models"].get(name) for name in (ALL, WITHIN)]
    cells = [cell(pair["first"]), cell(pair["second"])]
    cells += [cell(said(row), row["rho"], cls="n") if row else cell("–") for row in both]
    return [*cells, cell(one["n_trials"], one["n_trials"]), cell(one["verdict"], cls="words")]


def said(row: Mapping[Any, Any]) -> str:
    """Return a correlation with its interval: ``0.71 (0.52 to 0.83)``."""
    if not math.isfinite(row["low"]):
        return words.number(row["rho"], 2)
    return words.interval(row["rho"], row["low"], row["high"])
