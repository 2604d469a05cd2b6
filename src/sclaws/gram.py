"""Sums and products of columns over any number of rows, a block at a time: what a linear model needs of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import get_num_threads, njit, prange
from numpy.typing import NDArray
from scipy import linalg, sparse

_PARTS = 8  # a thread, because the columns that come first have longer rows behind them
_DENSE = 0.15  # share of non-zeros from which multiplying all is faster than looking them up


class Gram:
    """Σ x, Σ x xᵀ over the rows x of blocks (n, g), in float64, about ``shift`` (g,), if dense values lie far from 0.

    Time of a sparse block grows with the square of a row's non-zeros, of a dense one with n·g²; memory is (g, g) and
    one block. Blocks that are sparse are summed row by row: neither the size of blocks nor threads change a bit of it.
    """

    def __init__(self, columns: int, shift: Any = None) -> None:
        self.rows = 0
        self._shift = None if shift is None else np.asarray(shift, dtype=np.float64)
        self._sums = np.zeros(columns)
        self._products = np.zeros((columns, columns))  # what is below the diagonal may be missing

    def add(self, block: Any) -> None:
        """Take in the rows of a block, CSR with sorted columns or dense; a dense product is made in its precision."""
        self.rows += block.shape[0]
        if sparse.issparse(block) and self._shift is None and block.nnz < _DENSE * block.shape[0] * block.shape[1]:
            data = np.asarray(block.data, dtype=np.float64)
            _add(data, block.indices, block.indptr, self._sums, self._products, get_num_threads() * _PARTS)
            return
        dense = block.toarray() if sparse.issparse(block) else np.asarray(block)
        dense = dense if self._shift is None else dense - self._shift
        self._sums += dense.sum(axis=0, dtype=np.float64)
        self._products += dense.T @ dense

    def plus(self, other: Gram, columns: Any) -> None:
        """Take in the rows of another, of whose columns these are ``columns``, ascending; its shift is the same."""
        self.rows += other.rows
        self._sums += other._sums[columns]
        self._products += other._products[np.ix_(columns, columns)]  # what is above the diagonal stays there

    @property
    def mean(self) -> NDArray[np.float64]:
        """(g,) means of the columns."""
        mean = self._sums / max(self.rows, 1)
        return mean if self._shift is None else mean + self._shift

    def covariance(self) -> NDArray[np.float64]:
        """Return the (g, g) covariance of the columns, over n - 1."""
        centre = self._sums / max(self.rows, 1)
        products = self._symmetric()
        products -= np.outer(centre, centre * self.rows)
        products /= max(self.rows - 1, 1)
        return products

    def second_moment(self) -> NDArray[np.float64]:
        """Return the (g, g) mean of x xᵀ: what :meth:`covariance` is without centring. There must be no shift."""
        assert self._shift is None
        return self._symmetric() / max(self.rows, 1)

    def _symmetric(self) -> NDArray[np.float64]:
        upper = np.triu(self._products)
        upper += np.triu(self._products, 1).T
        return upper


def leading(matrix: NDArray[np.float64], dim: int) -> NDArray[np.float64]:
    """Return the (g, dim) eigenvectors of the largest eigenvalues, each with its largest loading positive."""
    last = len(matrix) - 1
    return signed(linalg.eigh(matrix, subset_by_index=[last - dim + 1, last])[1][:, ::-1])


def signed(axes: Any) -> NDArray[np.float64]:
    """Return (g, dim) axes, each with its largest loading positive."""
    loadings = np.asarray(axes, dtype=np.float64)
    return loadings * np.sign(loadings[np.abs(loadings).argmax(axis=0), np.arange(loadings.shape[1])])


def _add(data: Any, indices: Any, indptr: Any, sums: Any, products: Any, parts: int) -> None:
    starts, entries, ends = _by_column(indices, indptr, len(sums))
    _multiply(data, indices, starts, entries, ends, sums, products, parts)


@njit(cache=True, nogil=True)
def _by_column(indices: Any, indptr: Any, columns: int) -> Any:
    """Return where each column's entries begin, the entries column by column, and where the row of each ends."""
    starts = np.zeros(columns + 1, np.int64)
    for column in indices:
        starts[column + 1] += 1
    starts = np.cumsum(starts)
    at = starts[:-1].copy()
    entries, ends = np.empty(len(indices), np.int32), np.empty(len(indices), np.int32)
    for row in range(len(indptr) - 1):
        for entry in range(indptr[row], indptr[row + 1]):
            place = at[indices[entry]]
            entries[place], ends[place] = entry, indptr[row + 1]
            at[indices[entry]] = place + 1
    return starts, entries, ends


@njit(cache=True, parallel=True, nogil=True)
def _multiply(
    data: Any, indices: Any, starts: Any, entries: Any, ends: Any, sums: Any, products: Any, parts: int
) -> None:
    """Add, column by column, its entries times what stands behind them in their rows."""
    for part in prange(parts):
        for column in range(part, len(sums), parts):
            own = products[column]
            for place in range(starts[column], starts[column + 1]):
                entry = entries[place]
                value = data[entry]
                sums[column] += value
                for other in range(entry, ends[place]):
                    own[indices[other]] += value * data[other]
