"""The shapes of a study's words: tables, lists, levels; each is refused by name where it is something else."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sclaws.errors import StudyError, did_you_mean
from sclaws.protocols import Level


def unknown_words(table: Mapping[str, Any], valid: Sequence[str], where: str) -> None:
    """Raise ``StudyError`` for the first key of a table that means nothing there."""
    for word in table:
        if word not in valid:
            raise StudyError(f"{where}: unknown key {word!r}; {did_you_mean(word, valid)}")


def table(value: Any, word: str, where: str) -> Mapping[str, Any]:
    """Return the value of a word that must be a table; raise ``StudyError`` if it is something else."""
    if not isinstance(value, Mapping):
        raise StudyError(f"{where}: {word} = {value!r} must be a table, such as {word} = {{ … }}")
    return value


def levels(value: Any, name: str, whole: bool = False) -> list[Any]:
    """Return the levels that a study asks for: a list, one value, ``{log = [low, high, n]}``, or ``"all"``."""
    if isinstance(value, Mapping):
        return [_level(v, name, whole) for v in _log(value, name)]
    found = [_level(v, name, whole) for v in listed(value)]
    if not found:
        raise StudyError(f'levels.{name} is empty: give a list, {{ log = [low, high, n] }} or "all"')
    return found


def _log(value: Mapping[str, Any], name: str) -> list[float]:
    unknown_words(value, ("log",), f"levels.{name}")
    try:
        low, high, n = value["log"]
        good = 0 < low < high and isinstance(n, int) and n >= 2
    except (KeyError, TypeError, ValueError):
        good = False
    if not good:
        raise StudyError(
            f"levels.{name} = {dict(value)!r} must be {{ log = [low, high, n] }} with 0 < low < high, n >= 2"
        )
    return [float(v) for v in np.geomspace(low, high, n)]


def _level(value: Any, name: str, whole: bool) -> Level:
    if value == "all":
        return "all"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        raise StudyError(f'levels.{name}: {value!r} is neither a number above 0 nor "all"')
    return float(round(value)) if whole else float(f"{value:.12g}")


def listed(value: Any) -> list[Any]:
    """Return a list as it is, and one value as a list."""
    return list(value) if isinstance(value, (list, tuple)) else [value]
