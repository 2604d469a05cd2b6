"""Dates of a table as decimal years: days, decimal years as they are, and what is only known to a month or a year."""

from __future__ import annotations

import calendar
import datetime
import math
import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sclaws.errors import DataError

Imprecise = Literal["refuse", "drop", "middle"]

_UNKNOWN = {"", "?", "-", "na", "n/a", "nan", "nat", "none", "null", "unknown", "missing", "xxxx", "xxxx-xx-xx"}
_DECIMAL = re.compile(r"\d{4}\.\d+")
_DAY = re.compile(r"(\d{4})(?:-(\d\d|XX))?(?:-(\d\d|XX))?")
_ANSWERS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Read(NamedTuple):
    """A date: decimal years, NaN for none, and whether it is known to the day."""

    year: float
    exact: bool


def read(text: str) -> Read:
    """Return a date; ``ValueError`` for what is none.

    A day counts at its noon: 2009-01-01 is 2009 + 0.5/365. 2009-05 and 2009-05-XX are the middle of the month, 2009 and
    2009-XX-XX that of the year, none of them exact; a number with a decimal point is a decimal year.
    """
    text = text.strip()
    if text.lower() in _UNKNOWN:
        return Read(math.nan, False)
    if _DECIMAL.fullmatch(text):
        return Read(float(text), True)
    if not (found := _DAY.fullmatch(text.upper())):
        raise ValueError(text)
    year, month, day = (int(part) if part and part != "XX" else 0 for part in found.groups())
    if not year or (month == 0 and day) or "00" in found.groups()[1:]:
        raise ValueError(text)
    length = 366 if calendar.isleap(year) else 365
    if not month:
        return Read(year + 0.5, False)
    first = datetime.date(year, month, day or 1).timetuple().tm_yday - 1
    inside = 0.5 if day else calendar.monthrange(year, month)[1] / 2
    return Read(year + (first + inside) / length, bool(day))


def years(
    texts: Sequence[str], answers: Sequence[str] | None, names: Sequence[str], imprecise: Imprecise, where: str
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return decimal years (n,), and which (n,) records are to be kept.

    ``answers`` (n,), if there are any, say "yes" or "no" of each date's being precise. Dates that are imprecise or
    missing are an error ("refuse"), left out ("drop"), or stay ("middle": of the month or the year, NaN where missing).
    ``DataError`` names the column by ``where``, the first record by ``names``, and the remedy.
    """
    found = [_read(text, name, where) for text, name in zip(texts, names, strict=True)]
    exact = np.array([date.exact for date in found], dtype=bool)
    if answers is not None:
        exact &= np.array([_answer(text, name, where) for text, name in zip(answers, names, strict=True)], dtype=bool)
    if imprecise == "refuse" and not exact.all():
        at = int(np.argmin(exact))
        raise DataError(
            f"{where}: {int((~exact).sum())} of {len(found)} dates are missing or imprecise, the first is {texts[at]!r}"
            f' of {names[at]!r}; imprecise = "drop" leaves them out, "middle" takes the middle of the month or year'
        )
    year = np.array([date.year for date in found], dtype=np.float64)
    keep = exact if imprecise == "drop" else np.ones(len(found), dtype=bool)
    if not np.isfinite(year[keep]).any():
        what = "precise date" if imprecise == "drop" else "date"
        raise DataError(f"{where}: no record has a {what}; name another column")
    return year, keep


def _read(text: str, name: str, where: str) -> Read:
    try:
        return read(text)
    except ValueError:
        raise DataError(
            f"{where}: {text!r} of {name!r} is no date; write days as 2009-05-31, or decimal years as 2009.41"
        ) from None


def _answer(text: str, name: str, where: str) -> bool:
    if (answer := _ANSWERS.get(text.strip().lower())) is None:
        raise DataError(f"{where}: whether the date of {name!r} is precise is {text!r}; true or false is needed")
    return answer
