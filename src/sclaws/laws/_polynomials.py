"""Rivals without a theory, for verdicts: line, parabola and thirds in log x. Private: they explain nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sclaws.protocols import Floats, Param

_FREE = Param(-np.inf, np.inf, linear=True)


def _wide(y: Floats, names: Mapping[str, Param]) -> dict[str, tuple[float, float]]:
    reach = 1e3 * float(np.max(y) - np.min(y)) + 10 * float(np.max(np.abs(y))) + 1e-6
    middle = {name: float(np.mean(y)) if name == "start" else 0.0 for name in names}
    return {name: (value - reach, value + reach) for name, value in middle.items()}


@dataclass(frozen=True)
class Line:
    """y = start + gain·z with z in [0, 1] from the smallest to the largest input (on a log scale where it can be)."""

    inputs: ClassVar[tuple[str, ...]] = ("z",)
    params: ClassVar[Mapping[str, Param]] = {"start": _FREE, "gain": _FREE}

    def predict(self, x: Mapping[str, Floats], theta: Mapping[str, Floats]) -> Floats:
        """Return y."""
        return np.asarray(theta["start"] + theta["gain"] * x["z"])

    def bounds(self, x: Mapping[str, Floats], y: Floats) -> dict[str, tuple[float, float]]:
        """Return bounds that never bind."""
        del x
        return _wide(y, self.params)


@dataclass(frozen=True)
class Parabola:
    """y = start + first·(z − z²/2) + last·z²/2: ``first`` and ``last`` are the slopes at the two ends."""

    inputs: ClassVar[tuple[str, ...]] = ("z",)
    params: ClassVar[Mapping[str, Param]] = {"start": _FREE, "first": _FREE, "last": _FREE}

    def predict(self, x: Mapping[str, Floats], theta: Mapping[str, Floats]) -> Floats:
        """Return y."""
        half = x["z"] ** 2 / 2
        return np.asarray(theta["start"] + theta["first"] * (x["z"] - half) + theta["last"] * half)

    def bounds(self, x: Mapping[str, Floats], y: Floats) -> dict[str, tuple[float, float]]:
        """Return bounds that never bind."""
        del x
        return _wide(y, self.params)


@dataclass(frozen=True)
class Thirds:
    """One value in each third of the range: ``first`` and ``last`` are the steps from one third to the next.

    A curve turns round when the two steps differ from zero with opposite signs. End slopes of a parabola would not do:
    a curve that is flat and then rises has a parabola that falls first.
    """

    inputs: ClassVar[tuple[str, ...]] = ("z",)
    params: ClassVar[Mapping[str, Param]] = {"start": _FREE, "first": _FREE, "last": _FREE}

    def predict(self, x: Mapping[str, Floats], theta: Mapping[str, Floats]) -> Floats:
        """Return y."""
        return np.asarray(theta["start"] + theta["first"] * (x["z"] > 1 / 3) + theta["last"] * (x["z"] > 2 / 3))

    def bounds(self, x: Mapping[str, Floats], y: Floats) -> dict[str, tuple[float, float]]:
        """Return bounds that never bind."""
        del x
        return _wide(y, self.params)
