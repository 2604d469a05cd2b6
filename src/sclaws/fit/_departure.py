"""How far a curve departs from its law: a Gaussian process about it, so that predictions say how little a law proves.

No formula of five numbers is true to the percent. Beside independent errors a point therefore has a departure from the
law that its neighbours in the logarithms of the inputs share (Kennedy & O'Hagan 2001, J. R. Stat. Soc. B 63: model
discrepancy): one along each input, and a joint one. Within the data it follows the points; away from them it returns
to the law, and its variance grows. Without it, fifty points that share one bend count as fifty proofs of the bend.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sclaws.protocols import Floats, Law

NORMAL_95 = 1.959963984540054
LEAST = 1e-9  # of the largest input: where an input of 0 lies on the log scale


def matern(distance: Floats) -> Floats:
    """Return the Matérn correlation (ν = 3/2) at scaled distances."""
    far = np.sqrt(3) * distance
    return np.asarray((1 + far) * np.exp(-far))


def kernel(hyper: Floats, size: Floats, a: Floats, b: Floats) -> Floats:
    """Return (C, n, m) covariances of departures at log inputs ``a`` (C, n, K) and ``b`` (C, m, K).

    ``hyper`` (2K + 1): logs of K standard deviations along one input, of the joint one, all in units of the curve's
    ``size`` (C,), and of K length scales in units of the log inputs.
    """
    k = a.shape[-1]
    sd, length = np.exp(2 * hyper[: k + 1]), np.exp(hyper[k + 1 :])
    each = [matern(np.abs(a[:, :, None, j] - b[:, None, :, j]) / length[j]) for j in range(k)]
    found = sum((sd[j] * each[j] for j in range(k)), sd[k] * np.prod(each, axis=0))
    return np.asarray(size[:, None, None] ** 2 * found)


def logs(x: Mapping[str, Floats], least: Floats) -> Floats:
    """Return (m, K) logarithms of inputs by role; those below ``least`` (K,) are put there."""
    columns = np.stack(np.broadcast_arrays(*x.values()), axis=-1).astype(float)
    return np.asarray(np.log(np.maximum(columns, least)))


@dataclass(frozen=True)
class Departure:
    """What predictions of one curve need: its law, draws of its parameters, and the levels that it was fitted to.

    ``theta`` parameters by name, ``draws`` the same (D,); ``x`` (m,) inputs by role and ``y`` (m,) means of the
    levels; ``root`` (m, m) the Cholesky root of their covariance; ``hyper`` and ``size`` as in :func:`kernel`; ``sd``
    the standard deviation of an observation about law and departure.
    """

    law: Law
    theta: Mapping[str, float]
    draws: Mapping[str, Floats]
    x: Mapping[str, Floats]
    y: Floats
    root: Floats
    hyper: Floats
    size: float
    sd: float

    def predict(self, x: Mapping[str, Floats], sampling: Floats | None) -> pd.DataFrame:
        """Return predicted, low and high (95 %) at inputs by role; ``sampling`` adds an observation's own error."""
        least = np.array([LEAST * v.max() for v in self.x.values()])
        seen, asked = logs(self.x, least)[None], logs(x, least)[None]
        size = np.array([self.size])
        across = kernel(self.hyper, size, seen, asked)[0]
        white = np.linalg.solve(self.root, across)
        pull = np.linalg.solve(self.root.T, white)  # (m, t): how the levels' departures are felt at x
        own = np.diagonal(kernel(self.hyper, size, asked, asked)[0]) - (white**2).sum(axis=0)
        centre = self._at(x, {k: np.array(v) for k, v in self.theta.items()}, pull)
        many = self._at(x, {k: v[:, None] for k, v in self.draws.items()}, pull)
        variance = np.maximum(own, 0) + np.nanmean((many - centre) ** 2, axis=0)
        if sampling is not None:
            variance = variance + sampling + self.sd**2
        half = NORMAL_95 * np.sqrt(variance)
        return pd.DataFrame({"predicted": centre, "low": centre - half, "high": centre + half})

    def _at(self, x: Mapping[str, Floats], theta: Mapping[str, Floats], pull: Floats) -> Floats:
        with np.errstate(all="ignore"):
            law = np.asarray(self.law.predict(x, theta), dtype=float)
            left = self.y - np.asarray(self.law.predict(self.x, theta), dtype=float)
        return np.asarray(law + left @ pull)
