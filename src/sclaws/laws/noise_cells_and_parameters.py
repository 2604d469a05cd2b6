"""Information against depth, number of training cells and size of the model: three noises that add, and a ceiling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sclaws.laws import _added_noises
from sclaws.protocols import Floats, Param


@dataclass(frozen=True)
class NoiseCellsAndParameters:
    """I(u, N, P) = I_0 + ½ log₂(1 + S), S = (4^(I_∞ − I_0) − 1) / (1 + ū/u + (n̄/N)^s + (p̄/P)^r).

    Parameters as in the law of depth and cells; ``p_bar`` is the number of parameters at which the noise of a small
    model equals the ceiling's own, and ``r`` its exponent. Rising in every input: a size beyond which information
    *falls* is outside the law, and shows as a departure from it. p̄ = 0 is "no dependence on P". The form is ours,
    after the channel of Gowri et al. 2025 (arXiv 2503.02726, Box 1).
    """

    version: ClassVar[int] = 1
    inputs: ClassVar[tuple[str, ...]] = ("depth", "cells", "params")
    params: ClassVar[Mapping[str, Param]] = {
        "i_0": Param(-50.0, 50.0, "bits"),
        "i_inf": Param(-50.0, 50.0, "bits"),
        "u_bar": Param(0.0, np.inf, "unit of the depth", log=True),
        "n_bar": Param(0.0, np.inf, "cells", log=True),
        "s": Param(0.01, 10.0, "", log=True),
        "p_bar": Param(0.0, np.inf, "parameters", log=True),
        "r": Param(0.01, 10.0, "", log=True),
    }
    ceiling: ClassVar[str] = "i_inf"
    formula: ClassVar[str] = "I(u, N, P) = I_0 + ½ log₂(1 + (4^(I_∞ − I_0) − 1) / (1 + ū/u + (n̄/N)^s + (p̄/P)^r))"
    source: ClassVar[str] = "after Gowri, Sadalski, Yin, Klein 2025, arXiv 2503.02726, Box 1: independent noises add"
    prior: ClassVar[_added_noises.Prior] = {**_added_noises.PRIOR, **_added_noises.PRIOR_PARAMS}

    def predict(self, x: Mapping[str, Floats], theta: Mapping[str, Floats]) -> Floats:
        """Return bits for depth ≥ 0, cells and params > 0, and ``theta``; arrays broadcast."""
        depth = _added_noises.power(theta["u_bar"], x["depth"], np.ones(()))
        cells = _added_noises.power(theta["n_bar"], x["cells"], theta["s"])
        size = _added_noises.power(theta["p_bar"], x["params"], theta["r"])
        return _added_noises.information(theta["i_0"], theta["i_inf"], depth, cells, size)

    def limit(self, theta: Mapping[str, Floats]) -> Floats:
        """Return the information when nothing is scarce, I_∞."""
        return np.asarray(theta["i_inf"])

    def bounds(self, x: Mapping[str, Floats], y: Floats) -> dict[str, tuple[float, float]]:
        """Return where to search: all scales over many decades, because a high ceiling puts them far beyond."""
        depth, cells, size = x["depth"][x["depth"] > 0], x["cells"], x["params"]
        scales = {
            "u_bar": (depth.min() / 1e4, depth.max() * 1e6),
            "n_bar": (cells.min() * 1e-9, cells.max() * 1e6),
            "s": (0.02, 5.0),
            "p_bar": (size.min() * 1e-9, size.max() * 1e6),
            "r": (0.02, 5.0),
        }
        return _added_noises.bounds(y) | scales

    def natural(self, z: Mapping[str, Floats], top: Mapping[str, Floats], y_top: Floats) -> dict[str, Floats]:
        """Return the parameters from those of :attr:`prior`, for a curve with ``y_top`` bits at the inputs ``top``."""
        s, r = np.exp(z["cells_exponent"]), np.exp(z["params_exponent"])
        return {
            "i_0": np.asarray(z["floor"]),
            "i_inf": _added_noises.ceiling(z, y_top),
            "u_bar": _added_noises.scale(z["own"], z["depth"], np.ones(()), top["depth"]),
            "n_bar": _added_noises.scale(z["own"], z["cells"], s, top["cells"]),
            "s": s,
            "p_bar": _added_noises.scale(z["own"], z["params"], r, top["params"]),
            "r": r,
        }
