"""No scaling at all: the law that always competes, because "nothing changes" is a finding."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sclaws.protocols import Floats, Param


@dataclass(frozen=True)
class Constant:
    """y = value, whatever the input, which is bound and not looked at. ``value`` is in the unit of the measure."""

    version: ClassVar[int] = 1
    inputs: ClassVar[tuple[str, ...]] = ("x",)
    params: ClassVar[Mapping[str, Param]] = {"value": Param(-np.inf, np.inf, "unit of the measure", linear=True)}
    formula: ClassVar[str] = "y = value"
    source: ClassVar[str] = "the null hypothesis"

    def predict(self, x: Mapping[str, Floats], theta: Mapping[str, Floats]) -> Floats:
        """Return the value; ``x`` is not looked at."""
        del x
        return np.asarray(theta["value"], dtype=float)

    def limit(self, theta: Mapping[str, Floats]) -> Floats:
        """Return the value."""
        return np.asarray(theta["value"], dtype=float)

    def bounds(self, x: Mapping[str, Floats], y: Floats) -> dict[str, tuple[float, float]]:
        """Return where to search: far around the data, because all of them may share one error."""
        del x
        low, high = float(np.min(y)), float(np.max(y))
        reach = 1e3 * (high - low) + 10 * max(abs(high), abs(low), 1e-6)
        return {"value": (low - reach, high + reach)}
