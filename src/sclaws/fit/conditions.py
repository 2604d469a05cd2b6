"""Which rows are fitted and which are only predicted: conditions such as ``cells<=0.11*max, umi<=300``.

A condition is a column, a sign (<= < >= > == !=) and a number, a share of the column's largest value in the curve
(``0.3*max``), another column, or, for == and !=, a word; "all" is the level of that name. Several are joined by *and*.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sclaws.errors import FitError, TableError
from sclaws.table import Table

Mask = NDArray[np.bool_]

_PARTS = re.compile(r"\s*(?P<column>[^<>=!]+?)\s*(?P<sign><=|>=|==?|!=|<|>)\s*(?P<value>[^<>=!]+?)\s*")
_SHARE = re.compile(r"(?:(?P<share>[^*]+?)\s*\*\s*)?max")
_SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    "<=": operator.le, "<": operator.lt, ">=": operator.ge, ">": operator.gt, "==": operator.eq, "!=": operator.ne,
}  # fmt: skip
HELP = "give COLUMN<=NUMBER, COLUMN>=0.4*max or COLUMN==WORD; several are joined by commas"
ALL = {"all": np.inf}  # the level at which nothing is taken away, as tables write it
NEAR = 1e-9  # 0.3*max of 10 is 3, whatever the last binary digit says


@dataclass(frozen=True)
class Condition:
    """``column sign value``; ``kind`` says that the value is meant, a share of the column's largest, or a column."""

    column: str
    sign: str
    value: float | str
    kind: Literal["itself", "share", "column"] = "itself"

    def holds(self, rows: pd.DataFrame) -> Mask:
        """Return which rows of one curve fulfil the condition; raises ``TableError`` for text that is compared."""
        if isinstance(self.value, str) and self.kind != "column":
            return np.asarray(_SIGNS[self.sign](rows[self.column].astype(str), self.value), dtype=bool)
        numbers = self._numbers(rows[self.column])
        if isinstance(self.value, str):
            value = self._numbers(rows[self.value])
        else:
            value = np.asarray(self.value * numbers.max() if self.kind == "share" else self.value)
        same = np.isclose(numbers, value, rtol=NEAR, atol=0)
        if self.sign in ("==", "!="):
            return same == (self.sign == "==")
        return np.where(same, "=" in self.sign, _SIGNS[self.sign](numbers, value)).astype(bool)

    def _numbers(self, column: pd.Series[Any]) -> NDArray[np.float64]:
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(float)
        if np.isnan(numbers).any():
            if (found := column[np.isnan(numbers)]).isna().all():
                raise TableError(f"condition on {column.name!r}: it is missing in {len(found)} row(s); leave them out")
            found = found.dropna().iloc[0]
            raise TableError(f"condition on {column.name!r}: {found!r} is not a number; compare it with == or !=")
        return np.asarray(numbers)


def parse(text: str | Sequence[str] | None, table: Table, option: str) -> list[Condition] | None:
    """Return the conditions in a text; raises ``FitError`` for one that cannot be read, ``TableError`` for a column."""
    if text is None:
        return None
    parts = [part for each in ([text] if isinstance(text, str) else text) for part in each.split(",")]
    return [_parse(part, table, option) for part in parts]


def _parse(text: str, table: Table, option: str) -> Condition:
    found = _PARTS.fullmatch(text)
    if not found:
        raise FitError(f"{option}: {text.strip()!r} is not a condition; {HELP}")
    sign = "==" if found["sign"] == "=" else found["sign"]
    table.column(found["column"])
    share = _SHARE.fullmatch(found["value"])
    if found["value"] in table.frame:
        return Condition(found["column"], sign, found["value"], "column")
    level = ALL if pd.api.types.is_numeric_dtype(table.frame[found["column"]].dtype) else {}  # else it is a word
    value = level.get(found["value"], _number((share["share"] or "1") if share else found["value"]))
    if value is not None:
        return Condition(found["column"], sign, value, "share" if share else "itself")
    if share or sign not in ("==", "!="):
        raise FitError(f"{option}: {found['value']!r} in {text.strip()!r} is not a number or a share of max; {HELP}")
    return Condition(found["column"], sign, found["value"])


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None


def parts(rows: pd.DataFrame, train: list[Condition] | None, test: list[Condition] | None) -> tuple[Mask, Mask]:
    """Return which rows of one curve are fitted and which are held out; with one list alone, the rest is the other.

    Raises ``FitError`` when a row is in both.
    """
    everything = np.ones(len(rows), bool)
    inside = [None if some is None else _all(rows, some) for some in (train, test)]
    fitted, held = inside
    if fitted is None:
        fitted = everything if held is None else ~held
    if held is None:
        held = ~fitted
    if (fitted & held).any():
        raise FitError(f"{int((fitted & held).sum())} row(s) are in both --train and --test; let the two exclude")
    return fitted, held


def kept(table: Table, where: str | Sequence[str] | None) -> Table:
    """Return the table of the rows that fulfil every condition; ``max`` is that of the whole table.

    Raises ``FitError`` when there are none.
    """
    wanted = parse(where, table, "--where")
    if wanted is None:
        return table
    mask = _all(table.frame, wanted)
    if not mask.any():
        raise FitError(f"--where {where!r}: no row fulfils it; compare it with the values in the table")
    return table.where(mask)


def _all(rows: pd.DataFrame, conditions: list[Condition]) -> Mask:
    return np.asarray(np.logical_and.reduce([condition.holds(rows) for condition in conditions]), dtype=bool)
