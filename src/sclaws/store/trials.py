"""A trial's folder: files, and a marker written last that lists each with its size and checksum."""

from __future__ import annotations

from collections.abc import Mapping
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

MARKER, WEIGHTS = "trial.json", "weights"


@dataclass
class Stage:
    """A folder that becomes a trial: put files into it, and set ``record``, which comes back from ``Store.trial``."""

    folder: Path
    record: Mapping[str, Any] = field(default_factory=dict)

    def weights(self) -> Path:
        """Return a new folder for what the model saves of itself, which comes back from ``Store.weights(key)``."""
        (folder := self.folder / WEIGHTS).mkdir()
        return folder

    def save_array(self, name: str, values: NDArray[Any]) -> None:
        """Write an array of any shape, which comes back from ``Store.array(key, name)``."""
        if values.dtype.hasobject:
            raise StoreError(f"array {name!r} holds Python objects ({values.dtype}): give numbers or fixed-length text")
        with open(self.folder / f"{name}.npy", "xb") as file:
            # Not a file to numpy, whose own way of writing files hides from us that the disk is full.
            np.save(SimpleNamespace(write=file.write), values, allow_pickle=False)


def seal(stage: Stage, scratch: Path) -> None:
    """Sync all files of a stage to the disk, then write its marker: from here on a rename makes it a trial."""
    files = {}
    for path in sorted(stage.folder.rglob("*")):
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
    """Move into a trial the sealed files that it lacks; until its marker is renewed they exist for nobody."""
    sealed = read_marker(folder) or {"files": {}}
    new = {name: seal for name, seal in sealed["files"].items() if name not in there["files"]}
    for name in new:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).replace(target / name)
        documents.sync((target / name).parent)
    if new:
        write_marker(target, {**there, "files": {**there["files"], **new}}, scratch)
