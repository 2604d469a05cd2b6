"""Loss against model size, cells, tokens or compute: a power that falls towards a floor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sclaws.protocols import Floats, Param


@dataclass(frozen=True)
class PowerWithFloor:
    """L(P) = a·P^(−α) + c: falls from a·P^(−α) above the floor ``c`` to ``c``.

    ``a`` and ``c`` in the unit of the loss, ``alpha`` the exponent. The criterion matters: logarithmic residuals give
    α = .266 and linear ones .529 on the same 18 published points, so every output says which was used.
    """

    version: ClassVar[int] = 1
    inputs: ClassVar[tuple[str, ...]] = ("size",)
    params: ClassVar[Mapping[str, Param]] = {
        "a": Param(0.0, np.inf, "unit of the loss", log=True, linear=True),
        "alpha": Param(0.001, 5.0, "", log=True),
        "c": Param(-np.inf, np.inf, "unit of the loss", linear=True),
    }
    formula: ClassVar[str] = "L(P) = a·P^(−α) + c"
    source: ClassVar[str] = "Kaplan et al. 2020, arXiv 2001.08361; the floor: Hoffmann et al. 2022, arXiv 2203.15556"

    def predict(self, x: Mapping[str, Floats], theta: Mapping[str, Floats]) -> Floats:
        """Return the loss for ``x["size"]`` > 0 and ``theta``; arrays broadcast."""
        return np.asarray(theta["a"] * np.exp(-theta["alpha"] * np.log(x["size"])) + theta["c"])

    def inverse(self, y: Floats, theta: Mapping[str, Floats]) -> Floats:
        """Return the size at which the loss is ``y``; infinite for ``y`` at or below the floor."""
        above = np.asarray(np.asarray(y) - theta["c"])
        with np.errstate(divide="ignore", invalid="ignore"):
            size = np.power(above / theta["a"], -1 / np.asarray(theta["alpha"]))
        return np.where(above > 0, size, np.inf)

    def limit(self, theta: Mapping[str, Floats]) -> Floats:
        """Return the loss at infinite size, the floor c."""
        return np.asarray(theta["c"])

    def collapse(self, x: Mapping[str, Floats], y: Floats, theta: Mapping[str, Floats]) -> tuple[Floats, Floats]:
        """Return P^α/a and the excess L − c over the floor, which on every curve is one over the other."""
        return np.asarray(x["size"] ** theta["alpha"] / theta["a"]), np.asarray(np.asarray(y) - theta["c"])

    def bounds(self, x: Mapping[str, Floats], y: Floats) -> dict[str, tuple[float, float]]:
        """Return where to search: c far around the data, a to match."""
        low, high, size = float(np.min(y)), float(np.max(y)), x["size"]
        reach = 10 * (high - low) + max(abs(high), abs(low), 1e-6)
        fall = (high - low) + 1e-9 * max(abs(high), abs(low), 1e-9)
        smallest = 1e-3 * fall * min(size.min() ** 0.001, size.min() ** 5)
        largest = 1e3 * fall * max(size.min() ** 0.001, size.min() ** 5)
        return {"a": (smallest, largest), "c": (low - reach, high + reach)}
