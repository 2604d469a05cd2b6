"""A trial's folder: files, and a marker written last that lists each with its size and checksum.

Weights that are held for a while, for runs that read the model, lie in a folder inside with a marker of its own: they
come with the trial in one step and go in one, and the trial's own marker never speaks of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sclaws import keys
from sclaws.errors import StoreError
from sclaws.store import documents
from sclaws.store.documents import DamagedError

MARKER, WEIGHTS, HELD = "trial.json", "weights", "held"


@dataclass
class Stage:
    """A folder that becomes a trial: put files into it, and set ``record``, which comes back from ``Store.trial``."""

    folder: Path
    record: Mapping[str, Any] = field(default_factory=dict)
    held: Stage | None = None

    def weights(self, until: Iterable[str] = ()) -> Path:
        """Return a new folder for what the model saves of itself, which comes back from ``Store.weights(key)``.

        ``until``: keys of runs. Weights with such may go when all of these are stored.
        """
        folder = self.folder
        if keys_of := sorted(until):
            self.held = Stage(folder := self.folder / HELD, {"until": keys_of})
            folder.mkdir()
        (folder / WEIGHTS).mkdir()
        return folder / WEIGHTS

    def save_array(self, name: str, values: NDArray[Any]) -> None:
        """Write an array of any shape, which comes back from ``Store.array(key, name)``."""
        if values.dtype.hasobject:
            raise StoreError(f"array {name!r} holds Python objects ({values.dtype}): give numbers or fixed-length text")
        with open(self.folder / f"{name}.npy", "xb") as file:
            # Not a file to numpy, whose own way of writing files hides from us that the disk is full.
            np.save(SimpleNamespace(write=file.write), values, allow_pickle=False)


def seal(stage: Stage, scratch: Path, *, sync: bool = True) -> None:
    """Sync all files of a stage to the disk, then write its marker: from here on a rename makes it a trial.

    Weights that are held for some seconds are not synced: what a power cut damages of them, their checksums tell.
    """
    files = {}
    if stage.held:
        seal(stage.held, scratch, sync=False)
    for path in sorted(stage.folder.rglob("*")):
        if path.relative_to(stage.folder).parts[0] == HELD:
            continue
        if sync:
            documents.sync(path)
        if path.is_file():
            files[path.relative_to(stage.folder).as_posix()] = [path.stat().st_size, keys.file_digest(path)]
    write_marker(stage.folder, {"record": stage.record, "files": files}, scratch)


def write_marker(folder: Path, content: Mapping[str, Any], scratch: Path) -> None:
    """Write ``{"record", "files": {name: [size, checksum]}}`` in one step."""
    documents.write(folder / MARKER, documents.encode(content), scratch)


def read_marker(folder: Path, *, thorough: bool = False) -> dict[str, Any] | None:
    """Return ``{"record", "files"}`` of a trial, ``None`` when there is none; raise ``DamagedError``.

    Every file must have its full size; ``thorough`` also reads every byte.
    """
    data = documents.read(folder / MARKER)
    if data is None:
        # Looked at twice: it may have been renamed into place between the first look and the second question.
        if not folder.exists():
            return None
        if (data := documents.read(folder / MARKER)) is None:
            raise DamagedError(f"{MARKER} is missing")
    found: dict[str, Any] = documents.decode(data)
    for name, (size, digest) in found["files"].items():
        verify(folder / name, size, digest if thorough else None)
    return found


def verify(path: Path, size: int, digest: str | None) -> None:
    """Raise ``DamagedError`` unless the file has this size and, if one is given, this checksum."""
    try:
        if (found := path.stat().st_size) != size:
            raise DamagedError(f"{path.name} has {found} of {size} bytes")
        if digest is not None and keys.file_digest(path) != digest:
            raise DamagedError(f"the bytes of {path.name} are not those that were written (checksum)")
    except FileNotFoundError:
        raise DamagedError(f"{path.name} is missing") from None


def add(target: Path, there: Mapping[str, Any], folder: Path, scratch: Path) -> None:
    """Move into a trial the sealed files that it lacks; until its marker is renewed they exist for nobody.

    First the weights that are held for it, in the place of any: what else there is can be made from them.
    """
    if (folder / HELD).exists():
        drop(target, scratch)
        (folder / HELD).rename(target / HELD)
        documents.sync(target)
    sealed = read_marker(folder) or {"files": {}}
    new = {name: seal for name, seal in sealed["files"].items() if name not in there["files"]}
    for name in new:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).replace(target / name)
        documents.sync((target / name).parent)
    if new:
        write_marker(target, {**there, "files": {**there["files"], **new}}, scratch)


# ── weights ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def weights(trial: Path, marker: Mapping[str, Any], *, thorough: bool = False) -> Path | None:
    """Return the folder of the weights that a trial's marker lists, else of those that are held, if any are whole."""
    if any(name.startswith(f"{WEIGHTS}/") for name in marker["files"]):
        return trial / WEIGHTS
    return trial / HELD / WEIGHTS if held(trial, thorough=thorough) else None


def held(trial: Path, *, thorough: bool = False) -> dict[str, Any] | None:
    """Return the marker of the weights that are held for a trial, ``None`` when there are none, or damaged ones."""
    with suppress(DamagedError):
        return read_marker(trial / HELD, thorough=thorough)
    return None


def awaited(trial: Path) -> list[str]:
    """Return the keys of the runs that the weights held for a trial wait for: none, if they are damaged or absent."""
    return list(found["record"]["until"]) if (found := held(trial)) else []


def prolong(trial: Path, until: Iterable[str], scratch: Path) -> None:
    """Let the weights that are held for a trial wait for these runs, too."""
    if (found := held(trial)) and (more := {*until} - {*(known := awaited(trial))}):
        write_marker(trial / HELD, {**found, "record": {"until": sorted({*known, *more})}}, scratch)


def drop(trial: Path, scratch: Path) -> None:
    """Remove the weights that are held for a trial, in one step for whoever looks; ``scratch`` is a free name.

    What a kill leaves of them lies where the leavings of the dead are swept.
    """
    with suppress(FileNotFoundError):
        (trial / HELD).rename(scratch)
        shutil.rmtree(scratch, ignore_errors=True)
