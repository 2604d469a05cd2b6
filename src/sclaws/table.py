"""The waist between experiments and analysis: tidy rows, from a study of ours or from a file of anybody's.

A study's table has one row a run and metric, with the columns of ``COLUMNS`` first. A table of one's own has any
columns. ``draws`` holds, for rows of a study, the 64 deviations that tell how the sampling errors of rows go together
(:mod:`sclaws.multiplier`); without it errors of different rows are taken as independent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sclaws.errors import TableError, did_you_mean

COLUMNS = (
    *("run", "trial", "dataset", "evaluated_on", "model", "signal", "score", "metric", "value", "low", "high"),
    *("stderr", "unit", "n", "verdict", "replicate", "status"),
)
_KEYS = ("run", "metric")
FALLING = {"loss", "mse", "rmse", "mae", "error", "nll", "perplexity"}
# What an estimate says about itself does not tell one curve from another.
_NO_CONDITION = {
    *("run", "trial", "value", "low", "high", "stderr", "unit", "n"),
    *("verdict", "status", "details", "note"),
}
_REPLICATES = {"replicate", "rep", "repeat", "seed", "fold", "bootstrap", "draw", "iteration"}


@dataclass(frozen=True)
class Table:
    """Results as tidy rows, with what a fit should know about their errors and a report about their origin.

    ``frame`` one row a result; ``draws`` 64 columns, indexed by (run, metric), or ``None``; ``provenance`` what was
    run with what; ``failures`` what could not be done.
    """

    frame: pd.DataFrame
    draws: pd.DataFrame | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    failures: pd.DataFrame = field(default_factory=pd.DataFrame)

    @classmethod
    def read(cls, path: Path | str) -> Table:
        """Return the table in a CSV, TSV or Parquet file, or in a study's output folder; raises ``TableError``."""
        path = Path(path)
        if not path.is_dir():
            return cls(_read(path))
        draws = path / "draws.parquet"
        provenance = path / "provenance.json"
        failures = path / "failures.csv"
        return cls(
            _read(path / "table.csv"),
            _read(draws).set_index(list(_KEYS)) if draws.is_file() else None,
            _read_json(provenance) if provenance.is_file() else {},
            _read(failures) if failures.is_file() else pd.DataFrame(),
        )

    def write(self, folder: Path | str) -> Path:
        """Write table.csv, draws.parquet, provenance.json and failures.csv; equal content gives equal bytes.

        Rows are sorted by run and metric where there are such columns, ``COLUMNS`` come first and the rest in
        alphabetical order, floats are written in full. Raises ``TableError`` when the folder cannot be written.
        """
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_csv(_ordered(self.frame), folder / "table.csv")
            self.write_provenance(folder)
            _write_or_remove(self.failures, folder / "failures.csv")
            _write_draws(self.draws, folder / "draws.parquet")
        except OSError as error:
            raise TableError(f"{folder} cannot be written: {error}; give another folder") from error
        return folder

    def write_provenance(self, folder: Path) -> None:
        """Write provenance.json alone."""
        (folder / "provenance.json").write_text(_json(self.provenance), encoding="utf-8", newline="\n")

    def where(self, rows: Any) -> Table:
        """Return the table of some rows: index labels of ``frame``, or a mask over it. Draws are kept whole."""
        return Table(self.frame.loc[rows], self.draws, self.provenance, self.failures)

    def to_pandas(self) -> pd.DataFrame:
        """Return a copy of the rows."""
        return self.frame.copy()

    def column(self, name: str) -> pd.Series[Any]:
        """Return a column; an unknown name is a ``TableError`` that offers the nearest."""
        if name not in self.frame.columns:
            raise TableError(f"the table has no column {name!r}: {did_you_mean(name, self.frame.columns)}")
        return self.frame[name]

    def points(
        self,
        x: Iterable[str],
        y: str,
        by: Iterable[str] = (),
        replicate: str | None = None,
        also: Iterable[str] = (),
    ) -> pd.DataFrame:
        """Return the rows that can be fitted, ``x`` and ``y`` as finite floats, index kept; failed rows are left out.

        ``also`` names further columns that must be numbers, such as standard errors; they tell no curves apart. Raises
        ``TableError`` naming column, row and remedy for: an unknown column, text or nothing where a number is due,
        infinite values, negative inputs, duplicated rows, and several curves mixed in one.
        """
        x, by, also = list(x), list(by), list(also)
        for name in (*x, y, *by, *([replicate] if replicate else []), *also):
            self.column(name)
        frame = self.frame
        if "status" in frame and "status" not in by:
            frame = frame[frame["status"].fillna("ok") != "failed"]
        if frame.empty:
            raise TableError("the table has no rows that did not fail: there is nothing to fit")
        _refuse_duplicates(frame)
        frame = frame.assign(**{name: _numbers(frame, name) for name in (*x, y, *also)})
        for name in x:
            _refuse_negative(frame, name)
        _refuse_mixture(frame.drop(columns=[c for c in also if c not in (*x, y)]), x, y, by, replicate)
        return frame

    def _repr_html_(self) -> str:
        shown = self.frame.drop(columns=[c for c in ("run", "trial") if c in self.frame])
        return f"<p>{len(self.frame)} rows, {len(self.failures)} failures</p>{shown.head(20)._repr_html_()}"  # type: ignore[operator]


def falls(metric: str) -> bool:
    """Return whether a metric is better when it is smaller: a word of its name is loss, mse, rmse, mae, error, …"""
    return bool(FALLING & set(re.split(r"[^a-z0-9]+", metric.lower())))


# ── reading and writing ──────────────────────────────────────────────────────────────────────────────────────────────
def _read(path: Path) -> pd.DataFrame:
    suffix = path.suffix.lower()
    if not path.is_file():
        raise TableError(f"{path} does not exist: give a CSV, TSV or Parquet file, or the folder of a study")
    try:
        if suffix in (".parquet", ".pq"):
            return pd.read_parquet(path).reset_index(drop=True)  # an index of its own may not be unique
        separator = "\t" if suffix in (".tsv", ".tab", ".txt") else ","
        keys = dict.fromkeys(("run", "trial", "key"), str)  # hexadecimal, and "12e4" is no number here
        frame = pd.read_csv(path, sep=separator, dtype=keys, float_precision="round_trip", encoding="utf-8-sig")  # type: ignore[arg-type]
        header = pd.read_csv(path, sep=separator, header=None, nrows=1, dtype=str, encoding="utf-8-sig").loc[0].dropna()
    except UnicodeDecodeError as error:
        raise TableError(f"{path} is not UTF-8 text ({error}): save it as UTF-8") from error
    except (ValueError, OSError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise TableError(f"{path} cannot be read as a table ({error}): give a CSV, TSV or Parquet file") from error
    if header.duplicated().any():  # pandas would call the second one "mi.1"
        raise TableError(f"{path} has two columns called {header[header.duplicated()].iloc[0]!r}: rename or remove one")
    for mark, sign in {";": "semicolons", "\t": "tabs", ",": "commas"}.items():
        if frame.shape[1] == 1 and mark in str(frame.columns[0]):
            raise TableError(
                f"{path} has one column, {frame.columns[0]!r}: it is parted by {sign}; .csv means commas, .tsv tabs"
            )
    return frame


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except ValueError as error:
        raise TableError(f"{path} is not valid JSON ({error}): run the study again to write it anew") from error


def _ordered(frame: pd.DataFrame) -> pd.DataFrame:
    first = [name for name in COLUMNS if name in frame]
    rest = sorted(str(name) for name in frame if name not in first)
    keys = [name for name in _KEYS if name in frame]
    ordered = frame[[*first, *rest]]
    return ordered.sort_values(keys, kind="stable") if len(keys) == len(_KEYS) else ordered


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write a frame without its index, the same bytes for the same content on every system."""
    path.write_text(frame.to_csv(index=False, lineterminator="\n"), encoding="utf-8", newline="\n")


def _write_or_remove(frame: pd.DataFrame, path: Path) -> None:
    if len(frame):
        write_csv(frame.sort_values(list(frame.columns), key=lambda c: c.astype(str), kind="stable"), path)
    else:
        path.unlink(missing_ok=True)


def _write_draws(draws: pd.DataFrame | None, path: Path) -> None:
    if draws is None:
        path.unlink(missing_ok=True)
        return
    named = draws.set_axis([f"draw_{i}" for i in range(draws.shape[1])], axis=1).sort_index()
    named.rename_axis(list(_KEYS)).reset_index().to_parquet(path, index=False)


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, default=str) + "\n"


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────────
def _line(frame: pd.DataFrame, where: Any) -> str:
    """Return "row 3 (run 5f…)", counted from 1 as in a sheet without its header."""
    position = int(np.flatnonzero(np.asarray(where))[0])
    label = f" (run {frame['run'].iloc[position]})" if "run" in frame else ""
    return f"row {position + 1}{label}"


def _numbers(frame: pd.DataFrame, name: str) -> pd.Series[Any]:
    column = frame[name]
    if pd.api.types.is_bool_dtype(column):
        raise TableError(
            f"column {name!r} holds True and False, and numbers are needed: write 1 and 0 if they are meant"
        )
    numbers = pd.to_numeric(column, errors="coerce").astype(float)
    text = numbers.isna() & column.notna()
    if text.any():
        found = column[text].iloc[0]
        raise TableError(
            f"column {name!r}, {_line(frame, text)}: {found!r} is not a number; correct it or remove the row"
        )
    bad = ~np.isfinite(numbers)
    if bad.any():
        found = numbers[bad].iloc[0]
        what = "empty (NaN)" if np.isnan(found) else f"{found}"
        raise TableError(
            f"column {name!r}, {_line(frame, bad)}: {what}; {int(bad.sum())} such value(s), a finite number is needed: "
            "remove these rows, or give them status 'failed'"
        )
    return numbers


def _refuse_negative(frame: pd.DataFrame, name: str) -> None:
    negative = frame[name] < 0
    if negative.any():
        found = frame.loc[negative, name].iloc[0]
        raise TableError(
            f"column {name!r}, {_line(frame, negative)}: {found:g} is negative; depths, cells and sizes start at 0 "
            "(is it a logarithm? give the number itself)"
        )


def _refuse_duplicates(frame: pd.DataFrame) -> None:
    again = frame.astype(str).duplicated(keep="first")
    if again.any():
        raise TableError(
            f"{_line(frame, again)} repeats an earlier row in every column ({int(again.sum())} such row(s)): "
            "remove it, or add a column that tells replicates apart"
        )


def _refuse_mixture(frame: pd.DataFrame, x: list[str], y: str, by: list[str], replicate: str | None) -> None:
    place = [f"{name}_level" if f"{name}_level" in frame else name for name in x]
    same = [*by, *place, *([replicate] if replicate else [])]
    groups = frame.groupby(same, dropna=False, sort=False, observed=True)
    repeated = frame[groups[y].transform("size") > 1]
    known = {*same, *x, y, *_NO_CONDITION, *(_REPLICATES if replicate is None else ())}
    candidates = [str(c) for c in frame if c not in known and _is_condition(frame[c])]
    culprits = [c for c in candidates if _varies(repeated, same, c) or _runs_beside(frame, x[0], by, c)]
    if not culprits:
        return
    example = culprits[0]
    values = ", ".join(map(str, sorted(frame[example].unique(), key=str)[:3]))
    raise TableError(
        f"several curves are mixed in one: rows at the same {', '.join(place)} differ in {example!r} ({values}, …); "
        f"add --by {','.join([*by, *culprits])}, or keep only the rows of one"
    )


def _is_condition(column: pd.Series[Any]) -> bool:
    """Names and levels can tell curves apart; identifiers (all distinct) and measured numbers cannot."""
    distinct = column.nunique(dropna=False)
    if str(column.name).endswith("_level"):
        return True
    return distinct < len(column) if not pd.api.types.is_numeric_dtype(column) else distinct <= max(2, len(column) // 2)


def _varies(repeated: pd.DataFrame, same: list[str], name: str) -> bool:
    if repeated.empty:
        return False
    return bool((repeated.groupby(same, dropna=False, sort=False, observed=True)[name].nunique(dropna=False) > 1).any())


def _runs_beside(frame: pd.DataFrame, x: str, by: list[str], name: str) -> bool:
    """Names whose rows each span a range of ``x`` are curves beside one another, though no two rows share an ``x``.

    Ranges that follow each other without overlap (one assay for shallow levels, one for deep) are one curve.
    """
    if pd.api.types.is_numeric_dtype(frame[name]):
        return False
    spans = frame.groupby([*by, name], dropna=False, sort=False, observed=True)[x].agg(["min", "max"]).reset_index()
    if not (spans["min"] < spans["max"]).all():
        return False
    spans = spans.sort_values([*by, "min"])
    before = spans.groupby(by, dropna=False, sort=False, observed=True)["max"].shift() if by else spans["max"].shift()
    return bool((spans["min"] < before).any())
