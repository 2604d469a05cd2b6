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

    ``a`` and ``c`` in the unit of the loss, ``alpha`` the exponent. What is squared matters: residuals of log (L − c)
    give α = .266 (:func:`log_grid_fit`), those of L .529 on the same 18 published points, so every output says which.
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

    def collapse(self, x: Mapping[str, Floats], y: Floats, theta: Mapping[str, Floats]) -> tuple[Floats, Floats]:
        """Return P^α/a and the excess L − c over the floor, which on every curve is one over the other."""
        return np.asarray(x["size"] ** theta["alpha"] / theta["a"]), np.asarray(np.asarray(y) - theta["c"])

    def bounds(self, x: Mapping[str, Floats], y: Floats) -> dict[str, tuple[float, float]]:
        """Return where to search: c far around the data, a to match."""
        return {"a": _powers.coefficient(x["size"], y), "c": _powers.around(y)}


def log_grid_fit(size: Floats, loss: Floats, steps: int = 200) -> dict[str, float]:
    """Return {a, alpha, c, r2} of L = a·P^(−α) + c as Kendiukhov fits it (arXiv 2602.15253): for comparison with it.

    For each of ``steps`` floors c from 0 to .99 of the least loss, ordinary least squares of log (L − c) on log P; the
    c with the highest R² (of the logarithms) is kept. ``size`` and ``loss`` are (n,), positive. The logarithm weighs
    points near the floor most, so α follows what scatters there; :func:`sclaws.fit.fit` squares residuals of L.
    """
    x = np.log(size) - np.log(size).mean()
    floors = np.linspace(0.0, 0.99 * float(np.min(loss)), steps)
    y = np.log(loss - floors[:, None])
    middle = y.mean(axis=1, keepdims=True)
    slope = (y * x).sum(axis=1) / (x**2).sum()
    rest = ((y - middle - slope[:, None] * x) ** 2).sum(axis=1)
    r2 = 1 - rest / ((y - middle) ** 2).sum(axis=1)
    best = int(r2.argmax())
    at_one = middle[best, 0] - slope[best] * np.log(size).mean()
    return {"a": float(np.exp(at_one)), "alpha": float(-slope[best]), "c": float(floors[best]), "r2": float(r2[best])}
