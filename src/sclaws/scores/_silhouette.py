"""Silhouettes of many cells in little memory, and what each cell does to their mean.

Distances are made for some rows at a time and summed at once, so memory grows as n K (times two) and time as n² d.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sclaws.protocols import Floats, Ints

_ENTRIES = 2**21  # distances held at a time: 16 MB


@dataclass(frozen=True)
class Silhouette:
    """Rousseeuw's widths s = (b - a) / max(a, b) (1987, J. Comput. Appl. Math. 20) of cells in K clusters.

    a is the mean Euclidean distance to the others of a cell's own cluster, b the least mean distance to another
    cluster; a cell alone in its cluster, or with a = b = 0, has s = 0, as in scikit-learn. ``widths`` (n,).
    """

    widths: NDArray[np.float64]
    _x: NDArray[np.float64]
    _codes: Ints
    _size: NDArray[np.float64]
    _nearest: Ints
    _a: NDArray[np.float64]
    _b: NDArray[np.float64]
    _live: NDArray[np.bool_]

    @classmethod
    def of(cls, x: NDArray[np.float64], codes: Ints) -> Silhouette:
        """Return the widths of x (n, d) in clusters (n,) 0..K-1, none of them empty; K of two or more."""
        size = np.bincount(codes).astype(np.float64)
        rows = np.arange(len(x))
        sums = _summed(x, np.eye(len(size))[codes])
        a = sums[rows, codes] / np.maximum(size[codes] - 1, 1)
        means = sums / size
        means[rows, codes] = np.inf
        nearest = means.argmin(axis=1)
        b = means[rows, nearest]
        live = (size[codes] > 1) & (np.maximum(a, b) > 0)
        widths = np.divide(b - a, np.maximum(a, b), out=np.zeros(len(x)), where=live)
        return cls(widths, x, codes, size, nearest, a, b, live)

    def influence(self, of: Floats) -> NDArray[np.float64]:
        """Return (n,) the change of the sum of w(s) over all other cells, to first order, when a cell is there twice.

        ``of`` (n,) is the derivative of w at each s. Another cell in a cluster moves the mean distance of every cell
        that looks at this cluster by (its distance - the mean) / size. With w(s) of the cell itself this is Hájek's
        projection of the sum; it takes one more pass over the distances.
        """
        rows, codes, size = np.arange(len(of)), self._codes, self._size
        slope = np.divide(of, np.maximum(self._a, self._b) ** 2, out=np.zeros(len(of)), where=self._live)
        own, other = -slope * self._b / np.maximum(size[codes] - 1, 1), slope * self._a / size[self._nearest]
        weights = np.zeros((len(of), len(size)))
        weights[rows, codes] = own
        weights[rows, self._nearest] = other
        level = np.bincount(codes, own * self._a, len(size)) + np.bincount(self._nearest, other * self._b, len(size))
        return np.asarray(_summed(self._x, weights)[rows, codes] - level[codes] + own * self._a)


def blocks(x: NDArray[np.float64]) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """Yield (rows, squared Euclidean distances (rows, n)) of x (n, d), some 16 MB at a time."""
    x = x - x.mean(axis=0)  # the subtraction below loses digits to a distant origin
    square = np.einsum("ij,ij->i", x, x)
    step = max(1, _ENTRIES // len(x))
    for start in range(0, len(x), step):
        rows = slice(start, min(start + step, len(x)))
        far = -2.0 * x[rows] @ x.T
        far += square
        far += square[rows, None]
        np.maximum(far, 0.0, out=far)
        yield rows, far


def _summed(x: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (n, K) sums of weights (n, K) times the distances between cells."""
    out = np.empty(weights.shape)
    for rows, far in blocks(x):
        np.sqrt(far, out=far)
        far[np.arange(len(far)), np.arange(rows.start, rows.stop)] = 0.0  # rounding apart
        out[rows] = far @ weights
    return out
