"""Information against depth and number of training cells together: two noises that add, and a ceiling of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sclaws.laws import _added_noises
from sclaws.protocols import Floats, Param


@dataclass(frozen=True)
class NoiseAndCells:
    """I(u, N) = I_0 + ½ log₂(1 + S), S = (4^(I_∞ − I_0) − 1) / (1 + ū/u + (n̄/N)^s).

    ``i_0`` bits are seen without any molecule (an untrained encoder, an estimator's floor); ``i_inf`` bits with
    unlimited depth and cells; ``u_bar`` is the depth, in the unit of the input, and ``n_bar`` the number of cells, at
    which either noise equals the model's own; ``s`` the exponent of the cells.

    At any N this is the noise law with a floor: ceiling I_0 + ½ log₂(1 + (4^(I_∞ − I_0) − 1)·h), h = 1/(1 + (n̄/N)^s)
    rising from 0 to 1, so that it is never negative; and ū(N) = ū·h, rising, too: more cells teach a model to use
    deeper measurements. n̄ = 0 is "no dependence on N". The form is ours; the noise law is that of Gowri et al. 2025
    (arXiv 2503.02726, Box 1), to whose channel a second independent noise is added.
    """

    version: ClassVar[int] = 1
    inputs: ClassVar[tuple[str, ...]] = ("depth", "cells")
    params: ClassVar[Mapping[str, Param]] = {
        "i_0": Param(-50.0, 50.0, "bits"),
        "i_inf": Param(-50.0, 50.0, "bits"),
        "u_bar": Param(0.0, np.inf, "unit of the depth", log=True),
        "n_bar": Param(0.0, np.inf, "cells", log=True),
        "s": Param(0.01, 10.0, "", log=True),
    }
    ceiling: ClassVar[str] = "i_inf"
    formula: ClassVar[str] = "I(u, N) = I_0 + ½ log₂(1 + (4^(I_∞ − I_0) − 1) / (1 + ū/u + (n̄/N)^s))"
    source: ClassVar[str] = "after Gowri, Sadalski, Yin, Klein 2025, arXiv 2503.02726, Box 1: independent noises add"
    prior: ClassVar[_added_noises.Prior] = _added_noises.PRIOR

    def predict(self, x: Mapping[str, Floats], theta: Mapping[str, Floats]) -> Floats:
        """Return bits for ``x["depth"]`` ≥ 0, ``x["cells"]`` > 0 and ``theta``; arrays broadcast."""
        depth = _added_noises.power(theta["u_bar"], x["depth"], np.ones(()))
        cells = _added_noises.power(theta["n_bar"], x["cells"], theta["s"])
        return _added_noises.information(theta["i_0"], theta["i_inf"], depth, cells)

    def limit(self, theta: Mapping[str, Floats]) -> Floats:
        """Return the information at infinite depth with infinitely many cells, I_∞."""
        return np.asarray(theta["i_inf"])

    def bounds(self, x: Mapping[str, Floats], y: Floats) -> dict[str, tuple[float, float]]:
        """Return where to search: both scales over many decades, because a high ceiling puts them far beyond."""
        depth, cells = x["depth"][x["depth"] > 0], x["cells"]
        scales = {
            "u_bar": (depth.min() / 1e4, depth.max() * 1e6),
            "n_bar": (cells.min() * 1e-9, cells.max() * 1e6),
            "s": (0.02, 5.0),
        }
        return _added_noises.bounds(y) | scales

    def natural(self, z: Mapping[str, Floats], top: Mapping[str, Floats], y_top: Floats) -> dict[str, Floats]:
        """Return the parameters from those of :attr:`prior`, for a curve with ``y_top`` bits at the inputs ``top``."""
        s = np.exp(z["cells_exponent"])
        return {
            "i_0": np.asarray(z["floor"]),
            "i_inf": _added_noises.ceiling(z, y_top),
            "u_bar": _added_noises.scale(z["own"], z["depth"], np.ones(()), top["depth"]),
            "n_bar": _added_noises.scale(z["own"], z["cells"], s, top["cells"]),
            "s": s,
        }
