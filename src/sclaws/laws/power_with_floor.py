"""Loss against model size, cells, tokens or compute: a power that falls towards a floor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sclaws.laws import _powers
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
        "alpha": Param(*_powers.EXPONENT, "", log=True),
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

    def bounds(self, x: Mapping[str, Floats], y: Floats) -> dict[str, tuple[float, float]]:
        """Return where to search: c far around the data, a to match."""
        return {"a": _powers.coefficient(x["size"], y), "c": _powers.around(y)}
