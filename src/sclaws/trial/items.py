"""What a worker is handed, what became of it, and what its process has loaded by then."""

from __future__ import annotations

import math
import traceback
from dataclasses import dataclass, field
from typing import Any

from sclaws.grid import Run, Trial
from sclaws.protocols import Failure
from sclaws.trial.fitting import Settings

_USED: set[str] = set()  # models and scores that this process has used
_WARM: set[str] = set()  # and those of them that it had used before: trials trained together share what loading took


@dataclass(frozen=True)
class Item:
    """What a worker is handed: a bundle of trials with the runs of each, and where results go."""

    bundle: str
    work: tuple[tuple[Trial, tuple[Run, ...]], ...]
    folder: str
    settings: Settings = field(default_factory=Settings)
    until: float = math.inf  # seconds since the epoch: no trial, and no batch of scores, is begun after it


@dataclass
class Done:
    """What became of an item: keys trained, scored and failed, of trials that somebody else is working on, and of those
    that were not begun, or whose scores were not, because the time was up.

    ``spent``: seconds of a trial's training, or of a run's score, by key; ``cold``: those among them that their process
    did for the first time, libraries and data to be loaded. ``seconds``: of the whole item.
    """

    trained: list[str] = field(default_factory=list)
    scored: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)
    spent: dict[str, float] = field(default_factory=dict)
    cold: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, other: Done) -> None:
        """Take in what became of another item."""
        for name in ("trained", "scored", "failed", "busy", "left", "cold"):
            getattr(self, name).extend(getattr(other, name))
        self.spent |= other.spent
        self.seconds += other.seconds

    def took(self, key: str, kind: str, seconds: float) -> dict[str, Any]:
        """Take note of the seconds of a trial or run of a kind, and return them as they stand in its provenance."""
        self.spent[key] = seconds
        _USED.add(kind)
        if first := kind not in _WARM:
            self.cold.append(key)
        return {"seconds": seconds} | ({"cold": True} if first else {})


def settled() -> None:
    """Say that some work is done: what is used again from now on was loaded before."""
    _WARM.update(_USED)


def failure(error: Exception) -> Failure:
    """Return an exception as a record: the last line for the reader, the traceback for whoever mends it."""
    return Failure(type(error).__name__, str(error), "".join(traceback.format_exception(error)))
