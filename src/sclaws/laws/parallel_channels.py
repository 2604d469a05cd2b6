"""Information against depth, seen through several channels at once: a gentler rise than the noise law's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sclaws.laws import _channel
from sclaws.protocols import Floats, Param


@dataclass(frozen=True)
class ParallelChannels:
    """I(u) = (d/2)·log₂[(1 + x·2^(2·I_max/d)) / (1 + x)], x = u/ū: d equal channels of I_max/d bits each.

    ``d`` = 1 is the noise law; d → ∞ gives I_max·x/(1 + x). Exact for d independent Gaussian channels of equal
    signal-to-noise ratio (Gowri et al. 2025, arXiv 2503.02726, Box 1, for a vector). ``i_max`` in bits; ``u_bar`` in
    the unit of the depth is *not* comparable between curves of different ``d`` (its gap to I_max is ½ bit for d = 1
    and I_max/2 for many channels): compare :meth:`half_bit_depth`. Whether one more parameter earns its place is for
    the comparison of laws to say.
    """

    version: ClassVar[int] = 1
    inputs: ClassVar[tuple[str, ...]] = ("depth",)
    params: ClassVar[Mapping[str, Param]] = {
        "i_max": Param(0.0, _channel.MOST, "bits"),
        "u_bar": Param(0.0, np.inf, "unit of the depth", log=True),
        "d": Param(1.0, 64.0, "channels", log=True),
    }
    ceiling: ClassVar[str] = "i_max"
    formula: ClassVar[str] = "I(u) = (d/2)·log₂[(1 + x·2^(2·I_max/d)) / (1 + x)], x = u/ū"
    source: ClassVar[str] = "Gowri, Sadalski, Yin, Klein 2025, arXiv 2503.02726, Box 1, for d equal channels"

    def predict(self, x: Mapping[str, Floats], theta: Mapping[str, Floats]) -> Floats:
        """Return bits for ``x["depth"]`` ≥ 0 and ``theta``; arrays broadcast."""
        return _channel.bits(x["depth"], theta["u_bar"], theta["i_max"], theta["d"])

    def inverse(self, y: Floats, theta: Mapping[str, Floats]) -> Floats:
        """Return the depth at which the information is ``y`` bits: 0 for ``y`` ≤ 0, infinite for ``y`` ≥ I_max."""
        return _channel.depth_for(y, theta["u_bar"], theta["i_max"], theta["d"])

    def half_bit_depth(self, theta: Mapping[str, Floats]) -> Floats:
        """Return the depth at which ½ bit is missing to I_max, comparable between any d; 0 if I_max is ½ or less.

        u = ū·(2^((2·I_max − 1)/d) − 1) / (2^(2·I_max/d) − 2^((2·I_max − 1)/d)).
        """
        return self.inverse(np.asarray(theta["i_max"]) - 0.5, theta)

    def limit(self, theta: Mapping[str, Floats]) -> Floats:
        """Return the information at infinite depth, I_max."""
        return np.asarray(theta["i_max"])

    def transition(self, theta: Mapping[str, Floats]) -> tuple[Floats, Floats]:
        """Return the depths at which the information is 5 % and 95 % of I_max."""
        top = np.asarray(theta["i_max"])
        return self.inverse(0.05 * top, theta), self.inverse(0.95 * top, theta)

    def bounds(self, x: Mapping[str, Floats], y: Floats) -> dict[str, tuple[float, float]]:
        """Return where to search, from the data; d keeps its declared bounds."""
        return _channel.bounds(x["depth"], y)
