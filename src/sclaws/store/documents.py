"""One JSON document a file, and how a file comes to be whole: written aside, synced, renamed.

A document reads ``{"checksum":"…","record":…}``. The checksum is that of the record's bytes as they stand in the file,
so that it is verified without writing the record anew. Floats come back bit for bit; those that are not finite, which
JSON does not know, stand as ``"float:nan"``, ``"float:inf"`` and ``"float:-inf"``.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from sclaws.errors import StoreError

_HEAD, _MIDDLE, _TAIL = b'{"checksum":"', b'","record":', b"}\n"
_BODY = len(_HEAD) + 32 + len(_MIDDLE)
_TAG = "float:"

DISK = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up: free some space",
    errno.EROFS: "the file system is read-only: mount it for writing, or choose another folder",
}
_REMEDIES = DISK | {
    errno.EACCES: "permission is denied: change the owner or mode of the folder, or choose another one",
    errno.EPERM: "permission is denied: change the owner or mode of the folder, or choose another one",
    errno.ENOTDIR: "a part of the path is a file: remove it, or choose another folder",
}


class DamagedError(Exception):
    """A file is not what was written: cut short, or changed. Its message is the reason in words."""


class DiskError(StoreError):
    """The results cannot be written, whoever tries: no trial is to blame, and the next one will fare no better."""


# ── JSON ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def encode(record: Any) -> bytes:
    """Return the bytes of a document; raise ``StoreError`` for what JSON cannot hold.

    numpy scalars and arrays become numbers and lists, tuples lists, keys text.
    """
    text = json.dumps(_plain(record), separators=(",", ":"), allow_nan=False)
    body = text.encode()
    return b"".join((_HEAD, _digest(body), _MIDDLE, body, _TAIL))


def decode(data: bytes) -> Any:
    """Return the record of a document; raise ``DamagedError`` unless it is what ``encode`` gave, to the byte."""
    record = json.loads(verified(data))
    return _restored(record) if b'"' + _TAG.encode() in data else record


def verified(data: bytes) -> bytes:
    """Return the record's bytes, not yet parsed; raise ``DamagedError`` unless they are what was written."""
    body = data[_BODY : -len(_TAIL)]
    if not data.endswith(_TAIL) or len(data) < _BODY + len(_TAIL):
        raise DamagedError(f"cut short after {len(data)} bytes")
    if not data.startswith(_HEAD + _digest(body) + _MIDDLE):
        raise DamagedError("its bytes are not those that were written (checksum)")
    return body


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=16).hexdigest().encode()


def _plain(value: Any) -> Any:
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else f"{_TAG}{value}"
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, Path):
        return str(value)
    raise StoreError(f"{value!r} ({type(value).__name__}) cannot be stored: use numbers, text, lists, tables")


def _restored(value: Any) -> Any:
    if isinstance(value, str) and value in (f"{_TAG}nan", f"{_TAG}inf", f"{_TAG}-inf"):
        return float(value.removeprefix(_TAG))
    if isinstance(value, dict):
        return {k: _restored(v) for k, v in value.items()}
    return [_restored(v) for v in value] if isinstance(value, list) else value


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def read(path: Path) -> bytes | None:
    """Return a file's bytes, or ``None`` when there is none; raise ``StoreError`` when it cannot be read."""
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror or error}") from error


def write(path: Path, data: bytes, scratch: Path, *, synced: bool = True) -> None:
    """Put ``data`` at ``path`` in one step; ``scratch`` is a free name on the same file system.

    Raises ``StoreError`` with the path and a remedy, and leaves what stood there before. What is not ``synced`` is in
    one piece for every process, and may be lost with the power.
    """
    with told(path):
        try:
            with open(scratch, "xb") as file:
                file.write(data)
            if synced:  # before the rename: a power cut may otherwise leave the name and lose the bytes
                sync(scratch)
            scratch.replace(path)
        except BaseException:
            scratch.unlink(missing_ok=True)
            raise
        if synced:
            sync(path.parent)


def sync(path: Path) -> None:
    """Return when a file's bytes, or a folder's entries, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def told(path: Path, only: Mapping[int, str] | None = None) -> Iterator[None]:
    """Turn an operating system's error into a ``DiskError`` with path and remedy; ``only`` limits it to these."""
    try:
        yield
    except OSError as error:
        if only is not None and error.errno not in only:
            raise
        remedy = _REMEDIES.get(error.errno or 0, str(error))
        raise DiskError(f"{path} cannot be written: {remedy}; then run again: what was finished is kept") from error
