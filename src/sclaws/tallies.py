"""How many cells have which count of each gene: of any number of cells, all that a gene's own statistics need.

Means, variances, variances of clipped counts and the likelihood of a dispersion are sums over cells of a function of
the count, and there are few different counts. So one walk over the cells gives them all, whatever they depend on.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import sparse

from sclaws.protocols import Floats, Ids, Ints

COMMON = 64  # counts up to which there is a place for every gene; larger ones are rare, and kept one by one
_PENDING = 2**20  # rare counts that wait to be put in order


class Entries(NamedTuple):
    """Every count above zero that occurs: ``times`` cells have ``counts`` molecules of ``genes``; in that order."""

    genes: Ints
    counts: Floats
    times: Ints

    def sums(self, values: Any, genes: int) -> NDArray[np.float64]:
        """Return (genes,) sums over cells of ``values``, one for each of these counts."""
        return np.asarray(np.bincount(self.genes, self.times * values, minlength=genes), dtype=np.float64)


class Tally:
    """How many of ``cells`` cells have which count of each of ``genes`` genes; exact, in any order of cells.

    Memory: 8·64 bytes a gene, and 16 for each gene and count above 64 that occurs together.
    """

    def __init__(self, genes: int) -> None:
        self.cells, self.genes = 0, genes
        self._common = np.zeros((COMMON, genes), dtype=np.int64)
        self._rare = np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64)
        self._waiting: list[tuple[Ids, Ints]] = []

    def add(self, counts: sparse.csr_matrix) -> None:
        """Count the cells of a (n, genes) matrix of counts, which is not looked at twice: float32, none twice."""
        self.cells += counts.shape[0]
        large = np.empty(1024, dtype=np.uint64)
        found = _tally(counts.data, counts.indices, self._common, large)
        if found > len(large):
            at = np.flatnonzero(counts.data > COMMON)
            large = _keys(counts.indices[at], counts.data[at])
        self._wait(*np.unique(large[:found], return_counts=True))

    def plus(self, others: Iterable[Tally]) -> Tally:
        """Return the tally of these cells and those of the others together."""
        out = Tally(self.genes)
        for each in (self, *others):
            out.cells += each.cells
            out._common += each._common
            for rare in (each._rare, *each._waiting):
                out._wait(*rare)
        return out

    def entries(self) -> Entries:
        """Return the counts that occur, gene by gene, the smallest first."""
        self._settle()
        keys, times = self._rare
        genes, common = np.nonzero(self._common.T)
        all_genes = np.concatenate([genes, (keys >> np.uint64(32)).astype(np.int64)])
        values = (keys & np.uint64(2**32 - 1)).astype(np.uint32).view(np.float32)
        order = np.argsort(all_genes, kind="stable")  # rare ones are larger than those before them
        found = np.concatenate([common + 1.0, values.astype(np.float64)])
        return Entries(all_genes[order], found[order], np.concatenate([self._common.T[genes, common], times])[order])

    @property
    def expressing(self) -> Ints:
        """(genes,) in how many cells each gene is not zero."""
        return self.entries().sums(1, self.genes).astype(np.int64)

    def _wait(self, keys: Ids, times: Ints) -> None:
        if len(keys):
            self._waiting.append((keys, times))
            if sum(len(waiting) for waiting, _ in self._waiting) > max(_PENDING, len(self._rare[0])):
                self._settle()

    def _settle(self) -> None:
        if self._waiting:
            parts = (self._rare, *self._waiting)
            keys, which = np.unique(np.concatenate([part[0] for part in parts]), return_inverse=True)
            times = np.bincount(which, np.concatenate([part[1] for part in parts]), minlength=len(keys))
            self._rare, self._waiting = (keys, times.astype(np.int64)), []


def tallied(blocks: Iterable[sparse.csr_matrix], genes: int) -> Tally:
    """Return the tally of blocks of cells, each (n, genes) counts."""
    tally = Tally(genes)
    for block in blocks:
        tally.add(block)
    return tally


def _keys(genes: Any, counts: Any) -> Ids:
    """Return gene and count in one number, in the order of genes, then counts: a float's bits grow with it."""
    return genes.astype(np.uint64) << np.uint64(32) | counts.astype(np.float32).view(np.uint32).astype(np.uint64)


@njit(cache=True, nogil=True)
def _tally(data: Any, indices: Any, common: Any, large: Any) -> int:
    """Count what is common; write the keys of what is not to ``large`` as far as it goes; return how many these are."""
    found = 0
    for entry in range(len(data)):
        count = data[entry]
        if count <= COMMON:
            if count > 0:
                common[np.int64(count) - 1, indices[entry]] += 1
        else:
            if found < len(large):
                bits = np.uint64(np.float32(count).view(np.uint32))
                large[found] = np.uint64(indices[entry]) << np.uint64(32) | bits
            found += 1
    return found
