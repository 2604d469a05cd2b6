"""The joint Gaussian that several scores start from: margins by ranks, canonical correlations, the exact bias.

Information does not change when a coordinate is stretched, so each may first be made normal by its ranks (the Gaussian
copula of Ince et al. 2017, Hum Brain Mapp 38:1541). All numbers here are in nats.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sclaws import multiplier
from sclaws.protocols import Floats
from sclaws.scores import _estimate

_RANK = 1e-8  # columns that are a combination of others to this relative precision say nothing new


@dataclass(frozen=True)
class Fitted:
    """A Gaussian fitted to both sides: ``rho`` (m,) sample canonical correlations of dx and dy independent columns.

    ``influence`` (n,) of each cell on the information in nats; ``bias`` of the plug-in and its variance ``null``
    without information, both exact.
    """

    n: int
    dx: int
    dy: int
    rho: NDArray[np.float64]
    influence: NDArray[np.float64]
    bias: float
    null: float

    @property
    def value(self) -> float:
        """The information in nats, unbiased under a Gaussian."""
        return -0.5 * float(np.sum(np.log1p(-(self.rho**2)))) - self.bias

    def stderr(self, units: _estimate.Units) -> float:
        """Return the standard error in nats: first order from the cells' influence, second order from the exact null.

        Estimated canonical directions make the mean square of the influence too large by dx·dy / n (it is the sum of
        the squared sample correlations), which is taken away; n / (n - dx - dy) mends the in-sample shrinkage.
        """
        first = multiplier.standard_error(self.influence, units.ids) ** 2 - self.dx * self.dy / self.n**2
        return math.sqrt(max(first, 0.0) * self.n / (self.n - self.dx - self.dy) + self.null)


def ranks(values: Floats) -> NDArray[np.float64]:
    """Return columns (n, d) made normal by their ranks; tied cells share one value."""
    from scipy import special, stats

    return np.asarray(special.ndtri(stats.rankdata(values, axis=0) / (len(values) + 1)))


def basis(values: Floats) -> NDArray[np.float64]:
    """Return an (n, rank) orthonormal basis of the centred columns, by pivoted QR."""
    from scipy import linalg

    centred = values - values.mean(axis=0)
    orthonormal, upper, _ = linalg.qr(centred, mode="economic", pivoting=True)
    size = np.abs(np.diag(upper))
    return np.asarray(orthonormal[:, size > _RANK * size[0]])


def fitted(ox: Floats, oy: Floats) -> Fitted:
    """Return the Gaussian fitted to two orthonormal bases (n, dx) and (n, dy); n must exceed dx + dy + 2."""
    n, dx, dy = len(ox), ox.shape[1], oy.shape[1]
    left, rho, right = np.linalg.svd(ox.T @ oy, full_matrices=False)
    rho = np.minimum(rho, 1 - 1e-15)
    influence = _influence(math.sqrt(n) * ox @ left, math.sqrt(n) * oy @ right.T, rho)
    return Fitted(n, dx, dy, rho, influence, *_wishart(n, dx, dy))


def _influence(a: Floats, b: Floats, rho: Floats) -> NDArray[np.float64]:
    """Return each cell's influence on the information in nats, from canonical variates (n, m) of variance one.

    It is ½ (q_x + q_y - q_xy), the difference of Mahalanobis terms, written out in canonical coordinates.
    """
    return np.asarray(((rho * a * b - 0.5 * rho**2 * (a**2 + b**2)) / (1 - rho**2)).sum(axis=1))


def _wishart(n: int, dx: int, dy: int) -> tuple[float, float]:
    """Return the bias in nats of the plug-in, and its variance in nats² when there is no information. Both are exact.

    The log-determinant of a Wishart matrix is a sum of independent log-χ²: mean Σ ψ((ν-i)/2), variance Σ ψ'((ν-i)/2).
    The plug-in is ½ (log|S_x| + log|S_y| - log|S_xy|), and log|S_xy| - log|S_x| is independent of |S_x|; so without
    information its variance is ¼ (V_xy - V_x - V_y), to first order dx·dy / (2 n²).
    """
    from scipy import special

    halves = (n - 1 - np.arange(dx + dy)) / 2
    mean, spread = special.digamma(halves), special.polygamma(1, halves)
    bias = 0.5 * (mean[:dx].sum() + mean[:dy].sum() - mean.sum())
    return float(bias), float(0.25 * (spread.sum() - spread[:dx].sum() - spread[:dy].sum()))
