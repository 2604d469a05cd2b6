"""Two powers with a soft break between them: the rival of a law with one exponent, for losses and for information."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sclaws.laws import _powers
from sclaws.protocols import Floats, Param


@dataclass(frozen=True)
class BrokenPower:
    """y(x) = c + h·r^(−α₁)·[(1 + r^(1/f))/2]^(−(α₂ − α₁)·f), r = x/x_break: exponent α₁ before the break, α₂ after it.

    The smoothly broken law with one break of Caballero et al. 2023 (arXiv 2210.14891, eq. 1: a = c, c₀ = α₁,
    c₁ = α₂ − α₁, d₁ = x_break, f₁ = f), written with ``h``, the excess over ``c`` at the break, which may be negative:
    information that rises. ``c`` and ``h`` in the unit of the measure, ``x_break`` within the data, the exponents
    ``alpha_1`` and ``alpha_2``. ``width`` f, in natural logarithms of x, is given and not fitted: few curves could
    tell it.
    """

    width: float = 1.0

    version: ClassVar[int] = 1
    inputs: ClassVar[tuple[str, ...]] = ("size",)
    params: ClassVar[Mapping[str, Param]] = {
        "c": Param(-np.inf, np.inf, "unit of the measure", linear=True),
        "h": Param(-np.inf, np.inf, "unit of the measure", linear=True),
        "x_break": Param(0.0, np.inf, "unit of the size", log=True),
        "alpha_1": Param(0.01, 3.0, "", log=True),
        "alpha_2": Param(0.01, 3.0, "", log=True),
    }
    formula: ClassVar[str] = "y(x) = c + h·r^(−α₁)·[(1 + r^(1/f))/2]^(−(α₂ − α₁)·f), r = x/x_break"
    source: ClassVar[str] = "Caballero, Gupta, Rish, Krueger 2023, arXiv 2210.14891, eq. 1 with one break"

    def predict(self, x: Mapping[str, Floats], theta: Mapping[str, Floats]) -> Floats:
        """Return y for ``x["size"]`` > 0 and ``theta``; arrays broadcast."""
        z = np.log(x["size"]) - np.log(theta["x_break"])
        turn = self.width * (np.logaddexp(0.0, z / self.width) - np.log(2.0))
        fall = theta["alpha_1"] * z + (theta["alpha_2"] - theta["alpha_1"]) * turn
        return np.asarray(theta["c"] + theta["h"] * np.exp(-fall))

    def limit(self, theta: Mapping[str, Floats]) -> Floats:
        """Return y at infinite size, c."""
        return np.asarray(theta["c"])

    def bounds(self, x: Mapping[str, Floats], y: Floats) -> dict[str, tuple[float, float]]:
        """Return where to search: c far around the data, the excess to match, the break among the sizes."""
        low, high = _powers.around(y)
        size = x["size"]
        return {"c": (low, high), "h": (low - high, high - low), "x_break": (float(size.min()), float(size.max()))}
