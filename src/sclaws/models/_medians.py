"""Each gene's usual level, the median of what it has in cells that have it, of any number of cells in one walk."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray
from scipy import sparse

from sclaws.counts import TARGET
from sclaws.protocols import Floats

HELD = 2**25  # values up to which all are held, and medians exact: 400 MB, and as much again while they are sorted
ERROR = 2.0**-9  # of a median beyond that: half of the widest bin, relative to where it begins
_BITS = 8  # of the mantissa, which with the exponent make the bin: 256 bins an octave
_BINS = 1 << _BITS
_LOWEST = 1023 - 40  # the exponent of the first octave: values from 10⁻¹² of 10,000 molecules up
_OCTAVES = 64  # to 2²⁴, far above 10,000, which no share of 10,000 exceeds


def medians(blocks: Iterable[sparse.csr_matrix], totals: Floats, genes: int) -> NDArray[np.float64]:
    """Return the (genes,) median of each gene's count/total·10,000 over the cells in which it is not zero, NaN if none.

    ``blocks`` are CSR counts (n_b, genes) of the *training* cells without stored zeros, walked once; ``totals`` (n,)
    the molecules of each cell in the whole transcriptome, not only in these genes. Exact up to 2²⁵ values. Beyond, the
    values are counted in bins, 256 to an octave, and every median is within 1/512 (0.2 %) of the exact one: the
    histograms of DDSketch (Masson, Rim & Lee 2019, VLDB 12:2195), with bins cut from a float's bits. Geneformer's own
    are a t-digest's, which has no such bound. Memory: 1 KB for every octave that a gene's values reach, some 10 KB a
    gene, whatever the number of cells. ``ValueError`` where a cell has molecules and a total that is not above zero.
    """
    held: list[sparse.csr_matrix] = []
    size, sketch = 0, None
    for block in _shares(blocks, np.asarray(totals, dtype=np.float64)):
        if sketch is not None:
            sketch.add(block)
            continue
        held.append(block)
        size += block.nnz
        if size > HELD:
            sketch = Sketch(genes)
            while held:
                sketch.add(held.pop())
    return sketch.medians() if sketch else _exact(held, genes)


def _shares(blocks: Iterable[sparse.csr_matrix], totals: NDArray[np.float64]) -> Iterator[sparse.csr_matrix]:
    """Yield count/total·10,000 of each block."""
    start = 0
    for block in blocks:
        own = totals[start : (start := start + block.shape[0])]
        per_cell = np.diff(block.indptr)
        if len(own) != len(per_cell) or not (own[per_cell > 0] > 0).all():
            raise ValueError(_needed(len(totals), start))
        values = block.data / np.repeat(own, per_cell) * TARGET
        yield sparse.csr_matrix((values, block.indices, block.indptr), shape=block.shape)
    if start != len(totals):
        raise ValueError(_needed(len(totals), start))


def _needed(given: int, cells: int) -> str:
    return f"a total above 0 is needed for each of the {cells} cells that has molecules, and {given} are given"


def _exact(blocks: list[sparse.csr_matrix], genes: int) -> NDArray[np.float64]:
    out = np.full(genes, np.nan)
    if blocks:
        by_gene = sparse.vstack(blocks, format="csr").tocsc()
        blocks.clear()
        _medians(by_gene.data, by_gene.indptr, out)
    return out


class Sketch:
    """Histograms of ``genes`` genes' values, from which a median is read to 0.2 %.

    A gene has 256 places for every octave in which it has a value, made when the first comes.
    """

    def __init__(self, genes: int) -> None:
        self._page = np.full((genes, _OCTAVES), -1, dtype=np.int32)
        self._counts = np.zeros((64, _BINS), dtype=np.uint32)
        self._pages = 0

    def add(self, values: sparse.csr_matrix) -> None:
        """Count the values of (n, genes) cells, above zero."""
        data = np.asarray(values.data, dtype=np.float64)
        done = 0
        while done < len(data):
            done, self._pages = _count(data, values.indices, done, self._page, self._counts, self._pages)
            if done < len(data):
                self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])

    def medians(self) -> NDArray[np.float64]:
        """Return (genes,) the mean of the middles of the bins of the middle two values, NaN where there is none."""
        out = np.full(len(self._page), np.nan)
        for gene in np.flatnonzero((self._page >= 0).any(axis=1)):
            octaves = np.flatnonzero(self._page[gene] >= 0)
            counts = self._counts[self._page[gene, octaves]].astype(np.int64).ravel()
            below = np.cumsum(counts)
            at = np.searchsorted(below, [(below[-1] + 1) // 2, below[-1] // 2 + 1])  # one and the same of an odd number
            middles = np.ldexp(1 + (at % _BINS + 0.5) / _BINS, octaves[at // _BINS] + _LOWEST - 1023)
            out[gene] = middles.mean()
        return out


@njit(cache=True, nogil=True)
def _count(data: Any, indices: Any, start: int, page: Any, counts: Any, pages: int) -> Any:
    """Count values from ``start`` on; return where a new page did not fit, or the end, and the number of pages."""
    for entry in range(start, len(data)):
        bits = np.int64(np.float64(data[entry]).view(np.int64)) >> (52 - _BITS)
        octave = min(max((bits >> _BITS) - _LOWEST, 0), _OCTAVES - 1)
        gene = indices[entry]
        own = page[gene, octave]
        if own < 0:
            if pages == len(counts):
                return entry, pages
            own = pages
            page[gene, octave] = own
            pages += 1
        counts[own, bits & (_BINS - 1)] += np.uint32(1)
    return len(data), pages


@njit(cache=True, parallel=True, nogil=True)
def _medians(values: Any, ends: Any, out: Any) -> None:
    for gene in prange(len(out)):
        if ends[gene + 1] > ends[gene]:
            out[gene] = np.median(values[ends[gene] : ends[gene + 1]])
