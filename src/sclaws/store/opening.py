"""Is this folder one of ours? And what did the dead leave in it?"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

from sclaws.errors import StoreError
from sclaws.store import documents, leases
from sclaws.store.documents import DamagedError

VERSION = 1
STAGING = "staging"
_MARK = "store.json"
_DAY = 86400.0


def is_ours(folder: Path) -> bool:
    """Return whether this folder is marked as one of ours."""
    return (folder / _MARK).exists()


def recognise(folder: Path, scratch: Path) -> None:
    """Mark an empty folder as ours; raise ``StoreError`` for one with other things, or of a newer version."""
    path = folder / _MARK
    # Listed before the mark is looked for: what another process has made meanwhile comes after its mark.
    others = sorted({entry.name for entry in os.scandir(folder)} - {STAGING})
    if (data := documents.read(path)) is None:
        if others:
            raise StoreError(f"{folder} holds other things ({others[0]}) and no results: name a new or an empty folder")
        with documents.told(folder):
            (folder / STAGING).mkdir(exist_ok=True)
        documents.write(path, documents.encode({"sclaws": "results", "version": VERSION}), scratch)
        return
    try:
        version = documents.decode(data)["version"]
    except (DamagedError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is damaged ({error}): remove this one file, and check the results") from error
    if version > VERSION:
        raise StoreError(f"{folder} was written by a newer sclaws (format {version}): install that one")


def sweep(staging: Path) -> None:
    """Remove what dead processes left; of other machines, what is a day old."""
    for entry in os.scandir(staging):
        with contextlib.suppress(FileNotFoundError):
            living = leases.alive(entry.name)
            if living or (living is None and time.time() - entry.stat().st_mtime < _DAY):
                continue
            if entry.is_dir():
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                Path(entry.path).unlink()
