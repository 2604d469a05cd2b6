"""Words of a study as TOML text, for studies that are written for a user."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any


def toml(value: Any) -> str:
    """Return a value as TOML on one line: text, numbers, lists, tables (without what is ``None``)."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{k} = {toml(v)}" for k, v in value.items() if v is not None) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def levels(values: Iterable[float], *, whole: bool = False) -> str:
    """Return levels as a TOML list that ends with "all"; three digits of each, or whole numbers, none of them twice."""
    plain = dict.fromkeys(round(v) if whole else float(f"{v:.3g}") for v in values)
    return toml([*plain, "all"])


def place(data: Path) -> str:
    """Return a path as a study file in the working folder says it: absolute if it was given so."""
    return str(data) if data.is_absolute() else Path(os.path.relpath(data)).as_posix()


def stem(data: Path) -> str:
    """Return what a file or folder is called, without the ending of a file: other dots tell files apart."""
    name = Path(os.path.normpath(Path.cwd() / data)).name
    return name.removesuffix(".zarr") if data.is_dir() else Path(name.removesuffix(".gz")).stem


def listing(parts: Sequence[str]) -> str:
    """Return "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
