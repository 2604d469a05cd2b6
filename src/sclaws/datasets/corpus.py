"""A corpus on disk, as ``sclaws ingest`` writes it: read in blocks, whatever its size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from sclaws.addresses import is_address
from sclaws.errors import PluginError
from sclaws.stored import Stored


@dataclass(frozen=True)
class Corpus:
    """Counts of a folder that ``sclaws ingest`` wrote, here or at an address such as ``https`` (extra ``remote``).

    Cells that a trial learns from, or is tested on, are brought into memory if their counts take at most
    ``in_memory_gb``; more are read from disk in blocks, again at every walk, thinned on the fly. That is no part of a
    trial's key, as the device is none: sums are taken in another order from disk, and networks see the same cells in
    other batches.
    """

    path: str
    in_memory_gb: float = 2.0
    version: ClassVar[int] = 1
    incidental: ClassVar[tuple[str, ...]] = ("in_memory_gb",)

    def __post_init__(self) -> None:
        if not self.in_memory_gb >= 0:
            raise PluginError(f"corpus: in_memory_gb = {self.in_memory_gb} must be 0 or more")

    def load(self) -> Stored:
        """Return the opened corpus; raise ``DataError`` naming the folder and the remedy."""
        return Stored(self.path if is_address(self.path) else Path(self.path).expanduser(), self.in_memory_gb)
