"""Where curves saturate, of a study or of a table that a user brings: files, and a few lines for the command line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sclaws.errors import SclawsError, TableError
from sclaws.fit import beside, conditions
from sclaws.report import saturated, words
from sclaws.saturation import LEAST, NAMES, SHARE, Saturation, saturate
from sclaws.study.tables import names
from sclaws.table import Table, falls, write_csv

FILES = ("saturation.csv", "saturation.svg")
X = "n_cells"
MOST = 12  # lines on the command line


def saturation(table: Table) -> tuple[Saturation, list[str]]:
    """Return where the curves along the number of training cells saturate; and a sentence where that cannot be said.

    Empty where no curve has three levels of the axis ``n_cells``.
    """
    frame = table.frame
    if f"{X}_level" not in frame or frame[f"{X}_level"].nunique() < LEAST:
        return _nothing(), []
    frame = frame[np.isfinite(frame[X].astype(float))].dropna(axis=1, how="all")
    try:
        return with_laws(saturate(replace(table, frame=frame)), "value", "replicate", SHARE), []
    except SclawsError as error:  # a finished run keeps its table
        return _nothing(), [f"saturation: {error}"]


def _nothing() -> Saturation:
    return Saturation(pd.DataFrame())


def with_laws(
    found: Saturation, y: str, replicate: str | None, share: float, falling: bool | None = None
) -> Saturation:
    """Return the same with what a law says of each curve (:mod:`sclaws.fit.beside`); a loss falls to a floor."""
    if not found:
        return found
    x = str(found.frame["x"].iloc[0])
    curves = found.frame[list(found.by)].to_dict("records")
    down = [c for c in curves if (falls(str(c.get("metric", y))) if falling is None else falling)]
    replicate = replicate if replicate in found.rows.frame else None
    fits = beside.fitted(found.rows, x, y, found.by, replicate, down)
    return replace(found, frame=beside.beside(found.frame, fits, share))


def write(folder: Path, found: Saturation, y: str = "value") -> None:
    """Write ``saturation.csv`` and ``saturation.svg``, or remove what was there before."""
    if not found:
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
        return
    write_csv(found.frame, folder / FILES[0])
    (folder / FILES[1]).write_text(saturated.svg(found, y), encoding="utf-8", newline="\n")


def sentences(found: Saturation) -> list[str]:
    """Return a line a curve: the smallest level that saturates under each rule, and what a law says.

    Of curves along which something else is scarce, too, those are told where least is missing of it.
    """
    if not found:
        return []
    levels = found.frame[[c for c in found.by if c.endswith("_level")]].astype(float).fillna(np.inf)
    largest = (levels == levels.max()).all(axis=1)
    frame = found.frame[largest] if largest.any() else found.frame
    shown = [c for c in found.by if frame[c].nunique(dropna=False) > 1 or c == "model"]
    heads = [[_name(row[c]) for c in shown if row[c] != "none"] for row in _records(frame)]  # no signal
    said = [_sentence(row) for row in _records(frame)]
    lines = [f"{', '.join(head) or 'all rows'}: {text}" for head, text in zip(heads, said, strict=True)]
    more = len(lines) - MOST
    return [*lines[:MOST], *([f"… and {more} more, in {FILES[0]}"] if more > 0 else [])]


def _records(frame: Any) -> list[dict[Any, Any]]:
    return list(frame.to_dict("records"))


def _name(value: Any) -> str:
    return words.name(words.level(value) if isinstance(value, float) else value)


def _sentence(row: Mapping[Any, Any]) -> str:
    by_rule = {rule: saturated.said(row, rule) for rule in ("published", "mean", "gain")}
    said = f"saturates at {row['x']} = {by_rule['published']} by the published rule, {by_rule['mean']} by the mean"
    said += "" if by_rule["gain"] == "–" else f", {by_rule['gain']} by the gain"
    law = str(row.get("law_verdict", "")).partition(":")[0]
    return f"{said}; law: {law}" if law else said


# ── a table of one's own ─────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Saturated:
    """What came of a file, and the folder where its two files are."""

    found: Saturation
    folder: Path

    @property
    def plain(self) -> dict[str, Any]:
        """The same as lists and numbers, for JSON."""
        return {"saturation": _records(self.found.frame), "folder": str(self.folder)}

    def __str__(self) -> str:
        return "\n".join([*sentences(self.found), "", f"table and figure: {self.folder}"])


def saturate_file(
    path: Path, out: Path, *, x: str, y: str, by: str, replicate: str | None, where: str | None, share: float,
    whole: float | None, lower: bool | None, seed: int,
) -> Saturated:  # fmt: skip
    """Write ``saturation.csv`` and ``saturation.svg`` of a file, or of a study's folder, to ``out``.

    ``whole`` is by default infinite, as a study's tables have it. ``by`` are names joined by commas; without any, those
    that a study's table has. ``lower`` says that a smaller ``y`` is better; without it the name of the metric says so.
    Raises ``TableError`` when no curve has three levels.
    """
    table = conditions.kept(Table.read(path), where)
    columns = names(by) or None
    if columns is None and not set(NAMES) & set(table.frame):
        columns = []
    falling = None if lower is None else [str(m) for m in table.frame.get("metric", [y])] if lower else []
    found = saturate(
        table,
        x,
        y,
        columns,
        replicate,
        share=share,
        whole=math.inf if whole is None else whole,
        lower=falling,
        seed=seed,
    )
    if not found:
        raise TableError(f"{path}: no curve has {LEAST} levels of {x} above 0; check --x and --by")
    found = with_laws(found, y, replicate, share, lower)
    try:
        out.mkdir(parents=True, exist_ok=True)
        write(out, found, y)
    except OSError as error:
        raise TableError(f"{out} cannot be written: {error.strerror or error}; choose another --out") from error
    return Saturated(found, out)


__all__ = ["FILES", "Saturated", "saturate_file", "saturation", "sentences", "with_laws", "write"]
