"""Loss against model size and amount of data together, and how a budget of compute is best parted between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sclaws.laws import _powers
from sclaws.protocols import Floats, Param

_FLOP_PER_PARAMETER_AND_TOKEN = 6.0  # forward and backward pass of a dense model, Kaplan et al. 2020


@dataclass(frozen=True)
class Chinchilla:
    """L(P, D) = E + A·P^(−α) + B·D^(−β): a floor, and what too few parameters and too few data add to it.

    ``size`` P parameters, ``data`` D tokens (or cells). ``e``, ``a`` and ``b`` in the unit of the loss (nats a token in
    the papers), ``alpha`` and ``beta`` the exponents (Hoffmann et al. 2022, arXiv 2203.15556, eq. 2 and approach 3).
    ``a`` and ``alpha``, ``b`` and ``beta`` are strongly correlated: read the intervals.
    """

    version: ClassVar[int] = 1
    inputs: ClassVar[tuple[str, ...]] = ("size", "data")
    params: ClassVar[Mapping[str, Param]] = {
        "e": Param(-np.inf, np.inf, "unit of the loss", linear=True),
        "a": Param(0.0, np.inf, "unit of the loss", log=True, linear=True),
        "b": Param(0.0, np.inf, "unit of the loss", log=True, linear=True),
        "alpha": Param(*_powers.EXPONENT, "", log=True),
        "beta": Param(*_powers.EXPONENT, "", log=True),
    }
    formula: ClassVar[str] = "L(P, D) = E + A·P^(−α) + B·D^(−β)"
    source: ClassVar[str] = "Hoffmann et al. 2022, arXiv 2203.15556, eq. 2; Besiroglu et al. 2024, arXiv 2404.10102"

    def predict(self, x: Mapping[str, Floats], theta: Mapping[str, Floats]) -> Floats:
        """Return the loss for ``x["size"]`` > 0, ``x["data"]`` > 0 and ``theta``; arrays broadcast."""
        too_small = theta["a"] * np.exp(-theta["alpha"] * np.log(x["size"]))
        too_few = theta["b"] * np.exp(-theta["beta"] * np.log(x["data"]))
        return np.asarray(theta["e"] + too_small + too_few)

    def frontier(self, flop: Floats, theta: Mapping[str, Floats]) -> tuple[Floats, Floats]:
        """Return (P*, D*), the size and the tokens with the least loss among all with 6·P·D = ``flop``.

        P* = G·(flop/6)^(β/(α+β)) and D* = (flop/6)^(α/(α+β)) / G with G = (α·A / (β·B))^(1/(α+β)) (Hoffmann et al.
        2022, eq. 4). Where D counts cells, give ``flop`` divided by the tokens of a cell.
        """
        alpha, beta = np.asarray(theta["alpha"]), np.asarray(theta["beta"])
        product = np.log(np.asarray(flop, dtype=float) / _FLOP_PER_PARAMETER_AND_TOKEN)
        tilt = np.log(alpha) + np.log(theta["a"]) - np.log(beta) - np.log(theta["b"])
        size = np.exp((tilt + beta * product) / (alpha + beta))
        data = np.exp((alpha * product - tilt) / (alpha + beta))
        return np.asarray(size), np.asarray(data)

    def limit(self, theta: Mapping[str, Floats]) -> Floats:
        """Return the loss of infinite size and data, the floor E."""
        return np.asarray(theta["e"])

    def bounds(self, x: Mapping[str, Floats], y: Floats) -> dict[str, tuple[float, float]]:
        """Return where to search: E far around the data, A and B to match."""
        parts = {"a": _powers.coefficient(x["size"], y), "b": _powers.coefficient(x["data"], y)}
        return {"e": _powers.around(y)} | parts
