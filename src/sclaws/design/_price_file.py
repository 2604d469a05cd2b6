"""A price file (TOML) as the sections that it names; every error names file, section, field, value and remedy."""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar

from sclaws.design._saturation import Saturation
from sclaws.design._sections import Cells, Depth, FlowCell, Library, Other, Parameters, Training
from sclaws.errors import DesignError, did_you_mean

T = TypeVar("T")
TOP = ("currency", "source", "date", "fixed", "cells", "depth", "parameters", "training", "other")
_CURVE = ("molecules", "usable", "table")  # in [depth] of a file; in Python they are its saturation


def read_words(path: Path) -> dict[str, Any]:
    """Return the fields of ``Prices`` that a file gives; raises ``DesignError``."""
    words = _parse(path)
    _known(words, TOP, str(path))
    if "currency" not in words:
        raise DesignError(f'{path}: currency is missing; write for example currency = "USD"')
    found = dict(words)
    if isinstance(words.get("date"), datetime.date):
        found["date"] = words["date"].isoformat()
    if "cells" in words:
        found["cells"] = _section(Cells, words["cells"], f"{path}: [cells]", library=Library)
    if "depth" in words:
        found["depth"] = _depth(words["depth"], path)
    for name, kind in (("parameters", Parameters), ("training", Training)):
        if name in words:
            found[name] = _section(kind, words[name], f"{path}: [{name}]")
    found["other"] = _others(words.get("other", []), path)
    return found


def _parse(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError as error:
        raise DesignError(f"{path}: no such price file; copy one of docs/prices and put your quotes in") from error
    except (OSError, UnicodeDecodeError) as error:
        raise DesignError(f"{path}: cannot be read as text: {error}; give a .toml file of prices") from error
    except tomllib.TOMLDecodeError as error:
        raise DesignError(f"{path}: not valid TOML: {error}") from error


def _depth(words: object, path: Path) -> Depth:
    where = f"{path}: [depth]"
    words = _mapping(words, where)
    names = (*(each.name for each in fields(Depth) if each.name != "saturation"), *_CURVE)
    _known(words, names, where)
    curve = {name: words[name] for name in _CURVE if name in words}
    rest = {name: value for name, value in words.items() if name not in _CURVE}
    if curve:
        rest["saturation"] = _curve(curve, path, where)
    return _section(Depth, rest, where, flow_cell=FlowCell)


def _curve(words: dict[str, Any], path: Path, where: str) -> Saturation:
    if "table" not in words:
        return _section(Saturation, words, where)
    if len(words) > 1:
        raise DesignError(f"{where}: table fits molecules and usable; give either the table or the two numbers")
    if not (isinstance(words["table"], str) and words["table"]):
        raise DesignError(f"{where}: table = {words['table']!r} must be the name of a CSV file, beside the price file")
    return Saturation.read(path.parent / words["table"])


def _others(words: object, path: Path) -> tuple[Other, ...]:
    if not isinstance(words, list):
        raise DesignError(f"{path}: other: write one [[other]] table, with two brackets, for each column")
    return tuple(_section(Other, each, f"{path}: [[other]] number {n}") for n, each in enumerate(words, start=1))


def _section(kind: type[T], words: object, where: str, **inner: type[Any]) -> T:
    """Return a section made of words; ``inner`` are the fields that are sections themselves."""
    words = dict(_mapping(words, where))
    _known(words, [each.name for each in fields(kind)], where)  # type: ignore[arg-type]
    needed = [e.name for e in fields(kind) if e.default is MISSING]  # type: ignore[arg-type]
    for name in needed:
        if name not in words:
            raise DesignError(f"{where}: {name} is missing; it needs {', '.join(needed)}")
    for name, each in inner.items():
        if name in words:
            words[name] = _section(each, words[name], f"{where} {name}")
    try:
        return kind(**words)
    except DesignError as error:
        raise DesignError(f"{where}: {error}") from error


def _mapping(words: object, where: str) -> Mapping[str, Any]:
    if not isinstance(words, Mapping):
        raise DesignError(f"{where}: {words!r} must be a table of fields")
    return words


def _known(words: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    names = tuple(names)
    for word in words:
        if word not in names:
            raise DesignError(f"{where}: unknown field {word!r}; {did_you_mean(word, names)}")
