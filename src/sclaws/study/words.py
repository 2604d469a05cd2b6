"""The words of a study: a TOML file, or the same in Python, with a profile laid over it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sclaws.errors import StudyError, did_you_mean
from sclaws.grid import BLOCK, listed, table, unknown_words

TOP = ("name", "out", "engine", "device", "keep", "budget", "grid", "fit", "profiles", *BLOCK)
HOW = ("criterion", "weights", "loss", "delta", "train", "test", "baseline", "ceiling", "pool")  # as in the verb fit
FIT = ("law", "x", "y", "by", "where", "target", *HOW)
KEEP = ("embeddings", "weights")
DEVICES = ("cpu", "cuda")


def text(path: Path) -> str:
    """Return the text of a study file."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise StudyError(f"{path}: no such study file") from error
    except IsADirectoryError as error:
        raise StudyError(f"{path} is a folder; give the .toml file of the study") from error
    except UnicodeDecodeError as error:
        raise StudyError(f"{path} is not a text file: {error}") from error
    except OSError as error:
        raise StudyError(f"{path} cannot be read: {error.strerror or error}") from error


def parse(text: str, name: str) -> dict[str, Any]:
    """Return the words in the text of a study file; an error names the file, and the line where TOML breaks."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"{name}: not valid TOML: {error}") from error


def settle(words: Mapping[str, Any], name: str, profile: str | None) -> dict[str, Any]:
    """Return the words with a profile laid over them, checked; ``name`` and ``out`` are there in any case.

    Tables merge, but one that names a component replaces the other; anything else is replaced. A profile has results
    of its own: its name is added to ``out``, unless it says where they go.
    """
    words = {"name": name, **words}
    profiles = table(words.pop("profiles", {}), "profiles", "study")
    for each, over in profiles.items():
        unknown_words(table(over, each, "profiles"), TOP, f"profiles.{each}")
    if profile is not None and profile not in profiles:
        raise StudyError(f"profile {profile!r} is not in this study; {did_you_mean(profile, profiles)}")
    settled = _merged(words, profiles[profile]) if profile is not None else words
    unknown_words(settled, TOP, "study")
    _check(settled)
    out = Path(settled.get("out", f"{settled['name']}.sclaws"))
    if profile is not None and "out" not in profiles[profile]:
        out = out.with_name(f"{out.stem}-{profile}{out.suffix}")
    return settled | {"out": str(out)}


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        under = merged.get(name)
        both = isinstance(value, Mapping) and isinstance(under, Mapping) and "use" not in {**value, **under}
        merged[name] = _merged(under, value) if both else value  # type: ignore[arg-type]
    return merged


def _check(words: dict[str, Any]) -> None:
    """Raise ``StudyError`` for a word of the wrong shape, by name; words of a block are checked where they are used."""
    for word in ("name", "out"):
        if word in words and not (isinstance(words[word], str) and words[word]):
            raise StudyError(f"{word} = {words[word]!r} must be text")
    words["keep"] = listed(words.get("keep", []))
    for what in words["keep"]:
        if what not in KEEP:
            raise StudyError(f"keep: unknown {what!r}; {did_you_mean(str(what), KEEP)}")
    if (device := words.get("device", "cpu")) not in DEVICES:
        raise StudyError(f"device = {device!r}; {did_you_mean(str(device), DEVICES)}")
    fits = words.get("fit", [])
    if not isinstance(fits, list) or not all(isinstance(each, Mapping) for each in fits):
        raise StudyError("fit: write one [[fit]] table, with two brackets, for each fit")
    for number, each in enumerate(fits, start=1):
        where = f"[[fit]] number {number}"
        unknown_words(each, FIT, where)
        if not listed(each.get("law", [])):
            raise StudyError(f"{where}: 'law' is missing")
        for word in ("x", "by"):
            if not all(isinstance(name, str) for name in listed(each.get(word, []))):
                raise StudyError(f"{where}: {word} = {each[word]!r} must be a column's name, or a list of them")
        if not isinstance(each.get("y", ""), str):
            raise StudyError(f"{where}: y = {each['y']!r} must be the name of a metric")
