"""The words of a study: a TOML file, or the same in Python, with a profile laid over it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sclaws.errors import StudyError, did_you_mean
from sclaws.grid import BLOCK, unknown_words

TOP = ("name", "out", "engine", "device", "keep", "axes", "grid", "fit", "profiles", *BLOCK)
FIT = ("law", "x", "y", "by", "criterion", "where")
KEEP = ("embeddings", "weights")


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


def parse(text: str, name: str) -> dict[str, Any]:
    """Return the words in the text of a study file; an error names the file, and the line where TOML breaks."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"{name}: not valid TOML: {error}") from error


def settle(words: Mapping[str, Any], profile: str | None) -> dict[str, Any]:
    """Return the words with a profile laid over them (tables merge, anything else is replaced), checked."""
    words = dict(words)
    profiles = words.pop("profiles", {})
    if profile is not None and profile not in profiles:
        raise StudyError(f"profile {profile!r} is not in this study; {did_you_mean(profile, profiles)}")
    settled = _merged(words, profiles[profile]) if profile is not None else words
    unknown_words(settled, TOP, "study")
    for name, table in profiles.items():
        unknown_words(table, TOP, f"profiles.{name}")
    for number, table in enumerate(settled.get("fit", []), start=1):
        unknown_words(table, FIT, f"[[fit]] number {number}")
        if "law" not in table:
            raise StudyError(f"[[fit]] number {number}: 'law' is missing")
    for what in settled.get("keep", []):
        if what not in KEEP:
            raise StudyError(f"keep: unknown {what!r}; {did_you_mean(what, KEEP)}")
    return settled


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(name), Mapping)
        merged[name] = _merged(merged[name], value) if both else value
    return merged
