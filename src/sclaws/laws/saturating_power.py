"""Information against the number of training cells: a deficit that shrinks as a power."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sclaws.laws import _powers
from sclaws.protocols import Floats, Param


@dataclass(frozen=True)
class SaturatingPower:
    """I(N) = I_∞ − (N/N_sat)^(−s): rises to I_∞, and the deficit is 1 at N = N_sat.

    ``i_inf`` and the deficit in the unit of I (bits, F1, …), ``n_sat`` cells, ``s`` the exponent (Gowri et al. 2025,
    arXiv 2503.02726, cell-number scaling). ``i_inf`` and ``n_sat`` are strongly correlated with ``s``: read the
    intervals, not the values alone.
    """

    version: ClassVar[int] = 1
    inputs: ClassVar[tuple[str, ...]] = ("cells",)
    params: ClassVar[Mapping[str, Param]] = {
        "i_inf": Param(-np.inf, np.inf, "unit of the measure", linear=True),
        "n_sat": Param(0.0, np.inf, "cells", log=True),
        "s": Param(0.01, 10.0, "", log=True),
    }
    ceiling: ClassVar[str] = "i_inf"
    formula: ClassVar[str] = "I(N) = I_∞ − (N/N_sat)^(−s)"
    source: ClassVar[str] = "Gowri, Sadalski, Yin, Klein 2025, arXiv 2503.02726"

    def predict(self, x: Mapping[str, Floats], theta: Mapping[str, Floats]) -> Floats:
        """Return the information for ``x["cells"]`` > 0 and ``theta``; arrays broadcast."""
        ratio = np.log(x["cells"]) - np.log(theta["n_sat"])
        return np.asarray(theta["i_inf"] - np.exp(-theta["s"] * ratio))

    def inverse(self, y: Floats, theta: Mapping[str, Floats]) -> Floats:
        """Return the number of cells at which the information is ``y``; infinite for ``y`` ≥ I_∞."""
        deficit = np.asarray(theta["i_inf"] - np.asarray(y))
        with np.errstate(divide="ignore", invalid="ignore"):
            cells = theta["n_sat"] * np.power(deficit, -1 / np.asarray(theta["s"]))
        return np.where(deficit > 0, cells, np.where(np.isnan(deficit), np.nan, np.inf))

    def limit(self, theta: Mapping[str, Floats]) -> Floats:
        """Return the information with infinitely many cells, I_∞."""
        return np.asarray(theta["i_inf"])

    def transition(self, theta: Mapping[str, Floats]) -> tuple[Floats, Floats]:
        """Return the numbers of cells at which the information is 5 % and 95 % of I_∞; NaN where I_∞ is not positive.

        The power itself has no lower end; information has: none.
        """
        top = np.where(np.asarray(theta["i_inf"]) > 0, theta["i_inf"], np.nan)
        return self.inverse(0.05 * top, theta), self.inverse(0.95 * top, theta)

    def collapse(self, x: Mapping[str, Floats], y: Floats, theta: Mapping[str, Floats]) -> tuple[Floats, Floats]:
        """Return (N/N_sat)^s and the deficit I_∞ − I in bits, which on every curve is one over the other."""
        return np.asarray((x["cells"] / theta["n_sat"]) ** theta["s"]), np.asarray(theta["i_inf"] - np.asarray(y))

    def bounds(self, x: Mapping[str, Floats], y: Floats) -> dict[str, tuple[float, float]]:
        """Return where to search: N_sat over many decades, because small deficits put it far below the data."""
        cells = x["cells"]
        return {"i_inf": _powers.around(y), "n_sat": (cells.min() * 1e-12, cells.max() * 1e6)}
