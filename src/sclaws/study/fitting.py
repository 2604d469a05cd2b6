"""The fits that a study asks for: which laws, on which columns, and which rows are one curve."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sclaws import fit
from sclaws.errors import SclawsError, StudyError, did_you_mean
from sclaws.fit import Fits, conditions
from sclaws.fit.targets import RULES
from sclaws.grid import Run, listed
from sclaws.plugins import Spec
from sclaws.saturation import with_whole
from sclaws.study.words import HOW
from sclaws.table import COLUMNS, Table

USUAL_LAW = {"umis_per_cell": "noise", "snr": "noise", "n_cells": "saturating-power"}
MODEL_SIZE = ("n_params", "train_flops")
NAMES = ("dataset", "evaluated_on", "model", "scheme", "signal", "score", "metric", "split", "replicate")
ALWAYS = ("model", "signal", "score")
MORE = ("bound", "baseline", "n_emptied")  # columns of a study's table that only some rows have
BOUND = "bound"  # the column of what no embedding can tell: a label's entropy


def axes(runs: Iterable[Run]) -> list[str]:
    """Return the names of the axes that a study varies, sorted."""
    return sorted({s.name for run in runs for s in (*run.trial.levels, *run.test_levels)})


def corrupting(runs: Iterable[Run]) -> set[str]:
    """Return the names of the axes that corrupt values, and so have levels of the test cells, too."""
    settings = {s for run in runs for s in (*run.trial.levels, *run.test_levels)}
    return {s.name for s in settings if s.axis.type.on == "values"}  # type: ignore[attr-defined]


def metrics(runs: Iterable[Run]) -> set[str]:
    """Return the metrics that the scores of a study say they give; a score that does not say may give any."""
    return {name for spec in {run.score for run in runs} for name in getattr(spec.type, "metrics", ())}


def asked(words: Sequence[Mapping[str, Any]], runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Return the fits of a study with every word spelt out; without any, the usual law of each axis.

    ``x`` is the axis whose usual law it is, or the only axis; ``y`` information, or the gain where only losses are
    scored. Raises ``StudyError`` when several axes are possible.
    """
    mine = axes(runs)
    y = "gain" if metrics(runs) == {"loss", "gain"} else "information"
    given = words or [{"law": USUAL_LAW[axis], "x": axis} for axis in mine if axis in USUAL_LAW]
    return [
        {"y": y, "x": each["x"] if "x" in each else _axis(listed(each["law"]), mine, number)} | dict(each)
        for number, each in enumerate(given, start=1)
    ]


def _axis(laws: Sequence[Any], mine: Sequence[str], number: int) -> str:
    usual = [axis for axis in mine if USUAL_LAW.get(axis) in laws]
    for found in (usual, mine):
        if len(found) == 1:
            return found[0]
    raise StudyError(f"[[fit]] number {number}: 'x' is missing; the study varies {', '.join(mine) or 'nothing'}")


def check(fits: Sequence[Mapping[str, Any]], runs: Sequence[Run], columns: Collection[str], folder: Path) -> None:
    """Raise ``StudyError`` for an unknown law or column; ``columns`` are those that axes measure."""
    known = {*axes(runs), *columns, *MODEL_SIZE}
    known |= {f"{name}_test" for name in known}
    levels = {f"{name}_level" for name in axes(runs)} | {f"{name}_test_level" for name in corrupting(runs)}
    whole = Table(pd.DataFrame(columns=sorted({*known, *levels, *NAMES, *COLUMNS, *MORE}), dtype=float))
    told = all(hasattr(run.score.type, "metrics") for run in runs)
    for number, each in enumerate(fits, start=1):
        where = f"[[fit]] number {number}"
        for law in listed(each["law"]):
            _law(law, folder)
        for target in listed(each.get("target", [])):
            if target not in RULES and (isinstance(target, bool) or not isinstance(target, (int, float))):
                raise StudyError(f"{where}: target = {target!r} must be {', '.join(RULES)} or a number")
        for name in listed(each["x"]):
            if name not in known:
                raise StudyError(f"{where}: unknown column {name!r}; {did_you_mean(name, known)}")
        for name in listed(each.get("by", [])):
            if name not in {*known, *levels, *NAMES}:
                raise StudyError(
                    f"{where}, by: unknown column {name!r}; {did_you_mean(name, {*known, *levels, *NAMES})}"
                )
        for word in ("where", "train", "test"):
            _conditions(each.get(word), whole, f"{where}, {word}")
        ceiling = str(each.get("ceiling", BOUND))
        if ceiling not in {*known, BOUND}:
            raise StudyError(f"{where}, ceiling: unknown column {ceiling!r}; {did_you_mean(ceiling, {*known, BOUND})}")
        if told and each["y"] not in metrics(runs):
            raise StudyError(f"{where}: no score gives {each['y']!r}; {did_you_mean(each['y'], metrics(runs))}")


def _conditions(text: Any, whole: Table, where: str) -> None:
    """Raise ``StudyError`` for conditions that cannot be read, or are on a column that the table will not have."""
    if not all(isinstance(each, str) for each in listed([] if text is None else text)):
        raise StudyError(f"{where} = {text!r} must be text; {conditions.HELP}")
    try:
        conditions.parse(text, whole, where)
    except SclawsError as error:
        raise StudyError(f"{where}: {str(error).removeprefix(f'{where}: ')}") from error


def fitted(table: Table, fits: Sequence[Mapping[str, Any]], folder: Path) -> tuple[Fits, list[str]]:
    """Return the fits, and a sentence for each that could not be made: a finished run keeps its table."""
    made, notes = [], []
    several = len({each["y"] for each in fits}) > 1  # then a curve is told from others by its metric, too
    for number, each in enumerate(fits, start=1):
        try:
            made.append(_fit(table, each, folder, ("metric",) if several else ()))
        except SclawsError as error:
            notes.append(f"fit {number} ({each['law']}): {error}")
        except Exception as error:  # a law of the user's may fail in any way
            notes.append(f"fit {number} ({each['law']}): {type(error).__name__}: {error}")
    return Fits.join(made), notes


def targets(fits: Sequence[Mapping[str, Any]]) -> list[str | float]:
    """Return the targets that the fits of a study name; without any, both published rules."""
    named = [target for each in fits for target in listed(each.get("target", []))]
    return list(dict.fromkeys(named)) or list(RULES)


def _law(law: Any, folder: Path) -> Any:
    return law if law == "auto" else Spec.of("laws", law, folder).build()


def _fit(table: Table, each: Mapping[str, Any], folder: Path, more: Sequence[str]) -> Fits:
    laws = [_law(law, folder) for law in listed(each["law"])]
    x = listed(each["x"])
    frame = table.frame
    if len(frame):
        # Nothing taken away may be an infinite depth, as of noise that is not there: no place on a curve.
        finite = [np.isfinite(frame[name].astype(float)) for name in x if name in frame]
        frame = frame[np.logical_and.reduce([frame["metric"] == each["y"], *finite])].dropna(axis=1, how="all")
    chosen = conditions.kept(replace(table, frame=frame), each.get("where"))
    by = listed(each["by"]) if each.get("by") else curve_columns(chosen.frame, x)
    by = [*by, *(name for name in more if name not in by)]
    if "scheme" in by and x == ["n_cells"] and "n_cells_level" in chosen.frame:
        chosen = replace(chosen, frame=with_whole(chosen.frame, "n_cells_level", by, math.inf))
    how = {word: each[word] for word in HOW if word in each}
    return fit.fit(chosen, laws, x=x, y="value", by=by, replicate="replicate", **how)


def curve_columns(frame: pd.DataFrame, x: list[str]) -> list[str]:
    """Return the columns that tell one curve from another.

    Model, signal and score; data sets, split, how cells were chosen and metric if they vary; and the levels of every
    axis that can still vary when these and a level of ``x`` are given.
    """
    axes = {name.removesuffix("_test") for name in x}
    mine = [c for axis in axes for c in (f"{axis}_level", f"{axis}_test_level") if c in frame]
    given = [c for c in mine if c.endswith("_test_level") == x[0].endswith("_test")] or mine
    candidates = ("dataset", "evaluated_on", "split", *ALWAYS, "scheme", "metric")
    names = [c for c in candidates if c in frame and (c in ALWAYS or frame[c].nunique() > 1)]
    if "evaluated_on" in names and frame["evaluated_on"].equals(frame["dataset"]):
        names.remove("evaluated_on")
    levels = [c for c in frame if c.endswith("_level") and c not in given]
    trained = {c: c.replace("_test_level", "_level") for c in levels}
    same = [c for c in levels if trained[c] != c and frame[c].equals(frame[trained[c]])]
    within = frame.groupby([*names, *given], dropna=False)
    free = [c for c in levels if c not in same and within[c].nunique(dropna=False).max() > 1]
    return names + free
