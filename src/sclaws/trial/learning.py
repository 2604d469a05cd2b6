"""How learning went and how fast: what a model tells of its own training, checked and made plain."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sclaws.errors import ModelError


def history(trained: Any, label: str) -> list[dict[str, float]]:
    """Return the rows of ``trained.history``, one a check of the training; none when it has no such thing.

    Values that are not finite are left out: a loss that overflowed is no reason to lose the training. ``ModelError``
    for what is no sequence of {name: number}.
    """
    rows = getattr(trained, "history", ())
    if not isinstance(rows, Sequence) or isinstance(rows, str):
        raise ModelError(
            f"{label}: history is {type(rows).__name__}; a list of {{name: number}}, one a check, is needed"
        )
    return [_finite(row, f"{label}: history, row {number}") for number, row in enumerate(rows, start=1)]


def speed(trained: Any, label: str) -> dict[str, float]:
    """Return ``trained.speed``, {name: number}; empty when there is none. Otherwise as :func:`history`."""
    return _finite(getattr(trained, "speed", {}), f"{label}: speed")


def _finite(found: Any, what: str) -> dict[str, float]:
    if not isinstance(found, Mapping):
        raise ModelError(f"{what} is {type(found).__name__}; {{name: number}} is needed")
    for name, value in found.items():
        if not isinstance(value, (int, float, np.number)):
            raise ModelError(f"{what}: {name} is {value!r} ({type(value).__name__}); a number is needed")
    plain = {str(name): value.item() if isinstance(value, np.number) else value for name, value in found.items()}
    return {name: value for name, value in plain.items() if math.isfinite(value)}
