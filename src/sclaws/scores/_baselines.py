"""The two critics that need no network: Gaussian channels between canonical directions, and clusters that meet.

Each is a log density ratio T(x, y), fitted on training pairs, its one hyper-parameter chosen on validation pairs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sclaws.protocols import Floats, Ints
from sclaws.scores._bounds import bound

_RIDGES = (1e-3, 0.3, 3.0)  # added to the columns' covariance, whose mean variance is one
_STILL = 1e-9  # a direction that varies less among training cells is constant there
_FLOOR = 20.0  # pairs that clusters are assumed to have met by chance


@dataclass(frozen=True)
class Channels:
    """Canonical directions ``left`` (d, m) and ``right`` (k, m), and the correlations (m,) of held-out cells there."""

    left: NDArray[np.float64]
    right: NDArray[np.float64]
    rho: NDArray[np.float64]

    def table(self, x: Floats, y: Floats) -> NDArray[np.float64]:
        """Return T (b, b) of coordinates x (b, d) and y (b, k)."""
        a, b, weight = x @ self.left, y @ self.right, 1 / (1 - self.rho**2)
        own = [-0.5 * (v**2) @ (self.rho**2 * weight) for v in (a, b)]
        constant = -0.5 * float(np.log1p(-(self.rho**2)).sum())
        return np.asarray((a * self.rho * weight) @ b.T + own[0][:, None] + own[1][None, :] + constant)


def channels(x: Floats, y: Floats, train: Ints, valid: Ints) -> Channels:
    """Return the canonical directions whose Gaussian critic does best on the validation cells, over ridges."""
    found = [_channels(x, y, train, valid, ridge) for ridge in _RIDGES]
    worth = np.nan_to_num([bound(each.table(x[valid], y[valid])).value for each in found], nan=-np.inf)
    return found[int(np.argmax(np.array(worth) - 1e-3 * np.arange(len(worth))))]


def _channels(x: Floats, y: Floats, train: Ints, valid: Ints, ridge: float) -> Channels:
    """Correlations are those of the validation cells along directions of the training cells, and zero when they could
    be chance: sample correlations of the training cells themselves are far too high in many dimensions.
    """
    tx, ty = x[train], y[train]
    halves = [np.linalg.cholesky(v.T @ v / len(v) + ridge * np.eye(v.shape[1])) for v in (tx, ty)]
    cross = np.linalg.solve(halves[0], np.linalg.solve(halves[1], ty.T @ tx / len(tx)).T)
    u, _, v = np.linalg.svd(cross, full_matrices=False)
    left, right = np.linalg.solve(halves[0].T, u), np.linalg.solve(halves[1].T, v.T)
    sizes = (tx @ left).std(axis=0), (ty @ right).std(axis=0)
    left, right = (v / np.where(size > _STILL, size, np.inf) for v, size in zip((left, right), sizes, strict=True))
    a, b = x[valid] @ left, y[valid] @ right
    rho = (a * b).mean(axis=0) / np.sqrt(np.maximum((a**2).mean(axis=0) * (b**2).mean(axis=0), _STILL))
    return Channels(left, right, np.where(rho > 1.5 / math.sqrt(len(a)), np.minimum(rho, 1 - 1e-5), 0.0))


@dataclass(frozen=True)
class Meetings:
    """Soft clusters of all cells, weighted so that ``log(left @ right.T)`` is T: (n, K) and (n, L)."""

    left: NDArray[np.float64]
    right: NDArray[np.float64]

    def table(self, rows: Ints) -> NDArray[np.float64]:
        """Return T (b, b) of these rows."""
        return np.asarray(np.log(self.left[rows] @ self.right[rows].T))


def meetings(sides: list[tuple[NDArray[np.float64], NDArray[np.float64]]], train: Ints, valid: Ints) -> Meetings:
    """Return the clusters, from pairs of memberships (n, K), (n, L), whose critic does best on the validation cells."""
    found = [_meetings(p, q, train) for p, q in sides]
    return max(found, key=lambda each: bound(each.table(valid)).value)


def _meetings(p: Floats, q: Floats, train: Ints) -> Meetings:
    """How often clusters meet is fitted by maximum likelihood (EM), so that soft memberships do not blur it."""
    shares = [v[train].mean(axis=0) + 1e-9 for v in (p, q)]
    a, b = p / shares[0], q / shares[1]
    independent = np.outer(*shares)
    joint = independent
    for _ in range(60):
        ratio = np.einsum("ij,ij->i", a[train] @ joint, b[train]) + 1e-12
        joint = joint * (a[train].T @ (b[train] / ratio[:, None]))
        joint = (joint + _FLOOR * independent) / (len(train) + _FLOOR)
    return Meetings(a @ joint, b)
