"""Information against the depth of the training cells alone: even none at all leaves what an untrained model sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sclaws.laws import _channel
from sclaws.protocols import Floats, Param


@dataclass(frozen=True)
class NoiseWithFloor:
    """I(u) = I_0 + ½·log₂[(1 + x·2^(2·(I_max − I_0))) / (1 + x)], x = u/ū: the noise law on top of a floor.

    For training cells that are degraded while test cells are not: an untrained encoder of clean cells has
    ``i_0`` > 0 bits. ``i_max`` bits is the information at infinite depth, floor included; ``u_bar`` the depth within
    about ½ bit of it. ``i_0`` = 0 is the noise law (Gowri et al. 2025, arXiv 2503.02726, Box 1); an ``i_max`` below
    ``i_0`` means I(u) = I_0, because depth does not take information away.
    """

    version: ClassVar[int] = 1
    inputs: ClassVar[tuple[str, ...]] = ("depth",)
    params: ClassVar[Mapping[str, Param]] = {
        "i_max": Param(0.0, _channel.MOST, "bits"),
        "u_bar": Param(0.0, np.inf, "unit of the depth", log=True),
        "i_0": Param(0.0, _channel.MOST, "bits"),
    }
    ceiling: ClassVar[str] = "i_max"
    formula: ClassVar[str] = "I(u) = I_0 + ½ log₂[(1 + x·2^(2·(I_max − I_0))) / (1 + x)], x = u/ū"
    source: ClassVar[str] = "Gowri, Sadalski, Yin, Klein 2025, arXiv 2503.02726, Box 1; the floor is ours"

    def predict(self, x: Mapping[str, Floats], theta: Mapping[str, Floats]) -> Floats:
        """Return bits for ``x["depth"]`` ≥ 0 and ``theta``; arrays broadcast."""
        return np.asarray(theta["i_0"] + _channel.bits(x["depth"], theta["u_bar"], _gain(theta)))

    def inverse(self, y: Floats, theta: Mapping[str, Floats]) -> Floats:
        """Return the depth at which the information is ``y`` bits: 0 for ``y`` ≤ I_0, infinite for ``y`` ≥ I_max."""
        above = np.asarray(y) - theta["i_0"]
        return np.where(above > 0, _channel.depth_for(above, theta["u_bar"], _gain(theta)), 0.0)

    def limit(self, theta: Mapping[str, Floats]) -> Floats:
        """Return the information at infinite depth."""
        return np.maximum(theta["i_max"], theta["i_0"])

    def transition(self, theta: Mapping[str, Floats]) -> tuple[Floats, Floats]:
        """Return the depths at which 5 % and 95 % of the way from I_0 to I_max are gone."""
        gain = _gain(theta)
        low, high = (_channel.depth_for(share * gain, theta["u_bar"], gain) for share in (0.05, 0.95))
        return low, high

    def bounds(self, x: Mapping[str, Floats], y: Floats) -> dict[str, tuple[float, float]]:
        """Return where to search, from the data: the floor not above them."""
        return _channel.bounds(x["depth"], y) | {"i_0": (0.0, max(float(np.max(y)), 1e-6))}


def _gain(theta: Mapping[str, Floats]) -> Floats:
    return np.maximum(np.asarray(theta["i_max"]) - theta["i_0"], 0.0)
