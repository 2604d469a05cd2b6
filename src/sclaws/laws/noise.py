"""Information against the depth of the measurement: the law of a Gaussian channel that is seen through more noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sclaws.laws import _channel
from sclaws.protocols import Floats, Param


@dataclass(frozen=True)
class Noise:
    """I(u) = I_max − ½ log₂[(1 + u/ū) / (u/ū + 2^(−2·I_max))]: zero at u = 0, within ½ bit of I_max at u = ū.

    ``i_max`` is the information that a perfect measurement would give (bits); ``u_bar`` the depth, in the unit of the
    input (UMI per cell, or anything proportional to a squared signal-to-noise ratio), beyond which depth pays little.
    Exact for Y → X = Y + N(0, σ²) → Z = ηX + N(0, 1) with u = η², ū = 1/σ² (Gowri et al. 2025, arXiv 2503.02726,
    Box 1).
    """

    version: ClassVar[int] = 1
    inputs: ClassVar[tuple[str, ...]] = ("depth",)
    params: ClassVar[Mapping[str, Param]] = {
        "i_max": Param(0.0, _channel.MOST, "bits"),
        "u_bar": Param(0.0, np.inf, "unit of the depth", log=True),
    }
    ceiling: ClassVar[str] = "i_max"
    formula: ClassVar[str] = "I(u) = I_max − ½ log₂[(1 + u/ū) / (u/ū + 2^(−2·I_max))]"
    source: ClassVar[str] = "Gowri, Sadalski, Yin, Klein 2025, arXiv 2503.02726, Box 1"

    def predict(self, x: Mapping[str, Floats], theta: Mapping[str, Floats]) -> Floats:
        """Return bits for ``x["depth"]`` ≥ 0 and ``theta``; arrays broadcast."""
        return _channel.bits(x["depth"], theta["u_bar"], theta["i_max"])

    def inverse(self, y: Floats, theta: Mapping[str, Floats]) -> Floats:
        """Return the depth at which the information is ``y`` bits: 0 for ``y`` ≤ 0, infinite for ``y`` ≥ I_max."""
        return _channel.depth_for(y, theta["u_bar"], theta["i_max"])

    def limit(self, theta: Mapping[str, Floats]) -> Floats:
        """Return the information at infinite depth, I_max."""
        return np.asarray(theta["i_max"])

    def transition(self, theta: Mapping[str, Floats]) -> tuple[Floats, Floats]:
        """Return the depths at which the information is 5 % and 95 % of I_max."""
        top = np.asarray(theta["i_max"])
        return self.inverse(0.05 * top, theta), self.inverse(0.95 * top, theta)

    def collapse(self, x: Mapping[str, Floats], y: Floats, theta: Mapping[str, Floats]) -> tuple[Floats, Floats]:
        """Return u/ū and (4^I − 1)/(4^I_max − 1), on which every curve is s(r) = r/(1 + r), whatever its I_max."""
        ratio = np.asarray(x["depth"] / theta["u_bar"])
        return ratio, np.asarray(
            np.expm1(_channel.TWO_LN2 * np.asarray(y)) / np.expm1(_channel.TWO_LN2 * theta["i_max"])
        )

    def bounds(self, x: Mapping[str, Floats], y: Floats) -> dict[str, tuple[float, float]]:
        """Return where to search, from the data."""
        return _channel.bounds(x["depth"], y)
