"""A description -> a short key. Everything that changes a number is in the description; nothing else is."""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from sclaws import addresses
from sclaws.errors import StudyError

_OURS = "uns/sclaws/zarr.json"  # of a corpus: what sclaws ingest says of it
_PLAIN = (str, int, bool, type(None))


def canonical(value: Any) -> Any:
    """Return ``value`` as plain JSON types: floats at 12 significant digits, whole floats as integers, sorted keys."""
    if type(value) in _PLAIN:  # most of them: a study of 10,000 runs asks a million times
        return value
    if isinstance(value, Mapping):
        return {str(k): canonical(value[k]) for k in sorted(value, key=str)}
    if isinstance(value, (list, tuple)):
        return [canonical(v) for v in value]
    if isinstance(value, (np.generic, np.ndarray)):
        return canonical(value.tolist())
    if isinstance(value, float):
        if not math.isfinite(value):
            raise StudyError(f"{value!r} cannot be part of a study: give a finite number")
        rounded = float(f"{value:.12g}")
        return int(rounded) if rounded.is_integer() else rounded
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, Path):
        return str(value)
    raise StudyError(f"{value!r} ({type(value).__name__}) cannot be part of a study: use numbers, text, lists, tables")


def key(description: Any) -> str:
    """Return 16 hexadecimal digits that stand for the description (64 bits: no clash is expected below 10⁸ keys)."""
    text = json.dumps(canonical(description), separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def seed(*parts: Any) -> int:
    """Return a seed in [0, 2³¹) derived from its parts: data, split, replicate, purpose; never levels or model."""
    return int(key(list(parts)), 16) % (2**31)


def file_digest(path: Path) -> str:
    """Return ``"blake2b:…"`` of a file's bytes, read in blocks."""
    with open(path, "rb") as file:
        return "blake2b:" + hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def path_digest(path: Path) -> str:
    """Return ``"blake2b:…"`` of a file's bytes, or of the names and bytes of all files in a folder.

    A file that has not been touched since it was last asked for is not read again, and a corpus says its own checksum.
    """
    if not path.is_dir():
        found = path.stat()
        return _digest_of(path, found.st_size, found.st_mtime_ns)
    if (corpus := path / _OURS).is_file():
        return str(json.loads(corpus.read_text(encoding="utf-8"))["attributes"]["digest"])
    return f"blake2b:{key([[f.relative_to(path).as_posix(), path_digest(f)] for f in _files(path)])}"


def address_digest(address: str) -> str | None:
    """Return the checksum that a corpus at an address says is its own, ``None`` where there is no corpus."""
    found = addresses.read(f"{address.rstrip('/')}/{_OURS}")
    return None if found is None else str(json.loads(found)["attributes"]["digest"])


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


@functools.lru_cache(maxsize=4096)
def _digest_of(path: Path, size: int, changed: int) -> str:
    del size, changed  # they tell one content of the file from another
    return file_digest(path)
