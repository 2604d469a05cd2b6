"""A sigmoid in the logarithm of depth, with free ends: a rival that knows nothing of channels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from scipy import special

from sclaws.laws import _powers
from sclaws.protocols import Floats, Param


@dataclass(frozen=True)
class Logistic:
    """y(u) = floor + (ceiling − floor) / (1 + (u/u_half)^(−k)): half of the way is gone at u = u_half.

    ``floor`` and ``ceiling`` in the unit of the measure, in any order (a loss falls); ``u_half`` in the unit of the
    depth; ``k`` the slope in ln u (Hill 1910, J. Physiol. 40, with a floor). k = 1 and floor 0 is what the noise law
    becomes for many parallel channels.
    """

    version: ClassVar[int] = 1
    inputs: ClassVar[tuple[str, ...]] = ("depth",)
    params: ClassVar[Mapping[str, Param]] = {
        "floor": Param(-np.inf, np.inf, "unit of the measure", linear=True),
        "ceiling": Param(-np.inf, np.inf, "unit of the measure", linear=True),
        "u_half": Param(0.0, np.inf, "unit of the depth", log=True),
        "k": Param(0.05, 20.0, "", log=True),
    }
    ceiling: ClassVar[str] = "ceiling"
    formula: ClassVar[str] = "y(u) = floor + (ceiling − floor) / (1 + (u/u_half)^(−k))"
    source: ClassVar[str] = "Hill 1910, J. Physiol. 40; a rival without a theory of noise"

    def predict(self, x: Mapping[str, Floats], theta: Mapping[str, Floats]) -> Floats:
        """Return y for ``x["depth"]`` ≥ 0 and ``theta``; arrays broadcast."""
        with np.errstate(divide="ignore"):
            z = theta["k"] * (np.log(np.asarray(x["depth"], dtype=float)) - np.log(theta["u_half"]))
        return np.asarray(theta["floor"] * special.expit(-z) + theta["ceiling"] * special.expit(z))

    def inverse(self, y: Floats, theta: Mapping[str, Floats]) -> Floats:
        """Return the depth at which the value is ``y``: 0 at the floor or before it, infinite from the ceiling on."""
        way = np.asarray(theta["ceiling"]) - theta["floor"]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            ratio = (np.asarray(y) - theta["floor"]) / (theta["ceiling"] - np.asarray(y))
            found = theta["u_half"] * np.power(np.maximum(ratio, 0.0), 1 / np.asarray(theta["k"]))
        gone = (np.asarray(y) - theta["floor"]) * np.sign(way)
        return np.where(gone <= 0, 0.0, np.where(gone < np.abs(way), found, np.inf))

    def limit(self, theta: Mapping[str, Floats]) -> Floats:
        """Return the value at infinite depth, the ceiling."""
        return np.asarray(theta["ceiling"])

    def transition(self, theta: Mapping[str, Floats]) -> tuple[Floats, Floats]:
        """Return the depths at which 5 % and 95 % of the way from floor to ceiling are gone."""
        apart = np.power(19.0, 1 / np.asarray(theta["k"]))
        return np.asarray(theta["u_half"] / apart), np.asarray(theta["u_half"] * apart)

    def bounds(self, x: Mapping[str, Floats], y: Floats) -> dict[str, tuple[float, float]]:
        """Return where to search: the ends far around the data, u_half four decades beyond the depths."""
        depth, ends = x["depth"][x["depth"] > 0], _powers.around(y)
        return {"floor": ends, "ceiling": ends, "u_half": (depth.min() / 1e4, depth.max() * 1e4)}
