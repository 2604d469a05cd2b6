"""Are these counts? Turns any matrix of molecules into the one form that the rest relies on, or says what is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit, prange
from scipy import sparse

from sclaws.errors import DataError

TARGET = 1e4  # molecules that every cell is scaled to, the field's custom
_LARGEST_LOG = 20.0  # log1p of half a billion: no log-normalised value is larger


def as_csr(values: Any) -> sparse.csr_matrix:
    """Return (n, p) values as float32 CSR with sorted column indices and no stored zeros; as they are, if they are so.

    float32 holds every integer up to 2²⁴, far above any count of molecules of one gene in one cell.
    """
    if _is_tidy(values):
        return values  # type: ignore[no-any-return]
    csr = sparse.csr_matrix(values, dtype=np.float32, copy=True)  # the caller's matrix is not ours to tidy
    csr.sum_duplicates()
    csr.eliminate_zeros()
    csr.sort_indices()
    return csr


def _is_tidy(values: Any) -> bool:
    is_csr = isinstance(values, sparse.csr_matrix) and values.dtype == np.float32
    return bool(is_csr and values.has_canonical_format and values.data.all())


def checked(values: Any, cells: Sequence[Any], genes: Sequence[Any], *, where: str, remedy: str) -> sparse.csr_matrix:
    """Return the values as CSR counts.

    Raises ``DataError`` naming the first value that is no count, its cell and gene, what the values look like instead,
    and the ``remedy``. ``where`` says which matrix this is, e.g. "data.h5ad, X".
    """
    csr = as_csr(values)
    if problem := first_problem(csr):
        entry, what = problem
        row = int(np.searchsorted(csr.indptr, entry, side="right")) - 1
        cell, gene, value = cells[row], genes[int(csr.indices[entry])], csr.data[entry]
        raise DataError(f"{where}: the value of cell {cell!r}, gene {gene!r} is {value:g}, {what}; {remedy}")
    return csr


def first_problem(csr: sparse.csr_matrix) -> tuple[int, str] | None:
    """Return (position in ``csr.data``, what is wrong with it), or ``None`` for finite non-negative whole numbers."""
    if csr.dtype == np.float32 and _are_counts(csr.data):
        return None
    finite = np.isfinite(csr.data)
    if not finite.all():
        return int(np.argmin(finite)), "which is no finite number"
    good = (csr.data >= 0) & (csr.data == np.rint(csr.data))
    return None if good.all() else (int(np.argmin(good)), _looks_like(csr.data))


@njit(cache=True, nogil=True)
def _are_counts(data: Any) -> bool:
    """Whether all are finite, whole and not below zero: one look at each, where numpy makes five copies."""
    good = True
    for value in data:
        good &= (value >= 0) & (value < np.inf) & (value == np.floor(value))
    return good


def _looks_like(data: Any) -> str:
    if (data == np.rint(data)).all():
        return "and counts are not negative"
    if data.min() < 0:
        return "and counts are not negative: these look like scaled values"
    if data.max() <= _LARGEST_LOG:
        return "which is no whole number: these look like log-normalised values"
    return "which is no whole number: these look like normalised values"


def log_normalised(values: Any, depth: Any = None) -> sparse.csr_matrix:
    """Return (n, p) counts as float64 CSR log(1 + 10,000 count / depth); an empty cell stays zero.

    ``depth`` (n,) is each cell's; without it, the sum of these values.
    """
    out = as_csr(values).astype(np.float64)
    depth = np.asarray(out.sum(axis=1)).ravel() if depth is None else depth
    out.data = np.log1p(out.data * np.repeat(TARGET / np.maximum(depth, 1.0), np.diff(out.indptr)))
    return out


def log_of(counts: sparse.csr_matrix, genes: Any) -> sparse.csr_matrix:
    """Return (n, g) float64 CSR log(1 + 10,000 count / total) of some genes, a cell's total being over all.

    ``genes`` (g,) in ascending order: ``log_normalised(counts)[:, genes]``, without the columns that are not wanted.
    """
    place = np.full(counts.shape[1], -1, dtype=np.int64)
    place[genes] = np.arange(len(genes))
    ends = np.zeros(counts.shape[0] + 1, dtype=np.int64)
    _count_chosen(counts.indices, counts.indptr, place, ends)
    np.cumsum(ends, out=ends)
    data, indices = np.empty(ends[-1], dtype=np.float64), np.empty(ends[-1], dtype=np.int32)
    scale = TARGET / np.maximum(np.asarray(counts.sum(axis=1), dtype=np.float64).ravel(), 1.0)
    _log_of(counts.data, counts.indices, counts.indptr, place, scale, ends, data, indices)
    return sparse.csr_matrix((data, indices, ends.astype(np.int32)), shape=(counts.shape[0], len(genes)))


@njit(cache=True, parallel=True, nogil=True)
def _count_chosen(indices: Any, indptr: Any, place: Any, ends: Any) -> None:
    for row in prange(len(ends) - 1):
        found = 0
        for entry in range(indptr[row], indptr[row + 1]):
            found += place[indices[entry]] >= 0
        ends[row + 1] = found


@njit(cache=True, parallel=True, nogil=True)
def _log_of(data: Any, indices: Any, indptr: Any, place: Any, scale: Any, ends: Any, out: Any, columns: Any) -> None:
    for row in prange(len(ends) - 1):
        at = ends[row]
        for entry in range(indptr[row], indptr[row + 1]):
            column = place[indices[entry]]
            if column >= 0:
                out[at] = np.log1p(data[entry] * scale[row])
                columns[at] = column
                at += 1
