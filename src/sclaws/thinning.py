"""Fewer molecules: each is kept or not by a hash of (seed, cell, gene, molecule index) against a threshold.

No state, no order: the same molecule is kept in any batch, on any thread, in any process. Levels are nested, because a
hash below 10 % of the range is also below 30 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import get_num_threads, njit, prange
from numpy.typing import NDArray
from scipy import sparse

from sclaws.errors import DataError
from sclaws.hashing import GOLDEN, mix64
from sclaws.protocols import Block, Ids
from sclaws.view import View

_FULL = 2**64 - 1
PARTS = 8  # more parts than threads, so that one deep cell does not hold up the rest


@dataclass(frozen=True, eq=False)
class Thin:
    """Keep the molecules whose hash is at most the threshold.

    ``thresholds`` holds one 64-bit integer, or one for each feature of the *source* view it was made for together
    with ``feature_ids`` to find it again. Kept counts are binomial(count, (threshold + 1) / 2⁶⁴), independent between
    cells and genes. Time grows with the molecules (about 1 ns each on a core), memory with the non-zeros of a block.
    """

    thresholds: Ids
    seed: int
    feature_ids: Ids | None = None

    @classmethod
    def keep(cls, fraction: float, seed: int) -> Thin:
        """Return the corruption that keeps each molecule with probability ``fraction`` in [0, 1]."""
        if not 0 <= fraction <= 1:
            raise ValueError(f"a fraction of molecules lies in [0, 1], got {fraction}")
        return cls(np.array([max(min(int(fraction * 2**64), 2**64) - 1, 0)], dtype=np.uint64), seed)

    def apply(self, block: Block) -> sparse.csr_matrix:
        """Return the (n, p) thinned counts, without explicit zeros, in the dtype of the block."""
        counts = sparse.csr_matrix(block.values)
        thresholds = self._for(block.feature_ids)
        kept = np.empty_like(counts.data)
        ends = np.zeros_like(counts.indptr)
        _thin(
            counts.data, counts.indices, counts.indptr, block.cell_ids, block.feature_ids,
            np.uint64(self.seed), thresholds, kept, ends, get_num_threads() * PARTS,
        )  # fmt: skip
        np.cumsum(ends, out=ends)
        data, indices = np.empty(ends[-1], kept.dtype), np.empty(ends[-1], counts.indices.dtype)
        _compact(kept, counts.indices, counts.indptr, ends, data, indices)
        return sparse.csr_matrix((data, indices, ends), shape=counts.shape)

    def _for(self, feature_ids: Ids) -> Ids:
        if self.feature_ids is None:
            return self.thresholds
        order = np.argsort(self.feature_ids)
        at = order[np.searchsorted(self.feature_ids, feature_ids, sorter=order) % len(order)]
        if (self.feature_ids[at] != feature_ids).any():
            raise DataError("this thinning was made gene by gene, for other genes; thin before choosing genes")
        return self.thresholds[at]


def exact_total(view: View, fraction: float, seed: int) -> Thin:
    """Keep exactly ``int(total * fraction)`` molecules of the *whole* view: the ``global`` mode of paper B, version 1.

    A uniform draw without replacement (multivariate hypergeometric), made by taking the molecules of smallest hash;
    so it depends on which rows are in the view. Memory: 8 bytes a molecule.
    """
    hashes = molecule_hashes(view, seed)[0]
    return Thin(np.array([_kth(hashes, int(len(hashes) * fraction))], dtype=np.uint64), seed)


def exact_per_gene(view: View, fraction: float, seed: int) -> Thin:
    """Keep exactly ``int(total_g * fraction)`` molecules of each gene: ``per-gene-floor``, paper B, version 2.

    The floor erases every gene with ``total_g * fraction < 1``, which is why it is here for comparison only. (The
    published code works in chunks of 300,000 cells; this one takes the view as one chunk.)
    """
    hashes, genes = molecule_hashes(view, seed)
    order = np.argsort(genes, kind="stable")
    ends = np.cumsum(np.bincount(genes, minlength=view.n_vars))
    parts = np.split(hashes[order], ends[:-1])
    thresholds = np.array([_kth(part, int(len(part) * fraction)) for part in parts], dtype=np.uint64)
    return Thin(thresholds, seed, view.feature_ids)


def molecule_hashes(view: View, seed: int) -> tuple[Ids, NDArray[np.int64]]:
    """Return the hash and the gene's position of every molecule in a view, cell by cell."""
    hashes, genes = [], []
    for block in view.batches():
        counts = sparse.csr_matrix(block.values)
        per_entry = counts.data.astype(np.int64)
        first = np.concatenate([[0], np.cumsum(per_entry)])
        out = np.empty(first[-1], dtype=np.uint64)
        _hashes(counts.indices, counts.indptr, first, block.cell_ids, block.feature_ids, np.uint64(seed), out)
        hashes.append(out)
        genes.append(np.repeat(counts.indices.astype(np.int64), per_entry))
    return np.concatenate(hashes), np.concatenate(genes)


def _kth(hashes: Ids, k: int) -> int:
    """Return the threshold that keeps k molecules: the k-th smallest hash (0 keeps none, but with chance 2⁻⁶⁴)."""
    return int(np.partition(hashes, k - 1)[k - 1]) if k else 0


@njit(cache=True, parallel=True, nogil=True)
def _thin(
    data: Any, indices: Any, indptr: Any, cells: Any, genes: Any, seed: Any, thresholds: Any, out: Any, ends: Any,
    parts: int,
) -> None:  # fmt: skip
    n = len(cells)
    many = len(thresholds) > 1
    for part in prange(parts):
        for row in range(part * n // parts, (part + 1) * n // parts):
            cell = mix64(mix64(seed) ^ cells[row])
            filled = 0
            for entry in range(indptr[row], indptr[row + 1]):
                gene = indices[entry]
                threshold = thresholds[gene] if many else thresholds[0]
                state = mix64(cell ^ genes[gene])
                kept = 0
                for _ in range(int(data[entry])):
                    state += GOLDEN
                    kept += mix64(state) <= threshold
                out[entry] = kept
                filled += kept > 0
            ends[row + 1] = filled


@njit(cache=True, parallel=True, nogil=True)
def _compact(kept: Any, indices: Any, indptr: Any, ends: Any, data: Any, out: Any) -> None:
    for row in prange(len(ends) - 1):
        at = ends[row]
        for entry in range(indptr[row], indptr[row + 1]):
            if kept[entry] > 0:
                data[at] = kept[entry]
                out[at] = indices[entry]
                at += 1


@njit(cache=True, nogil=True)
def _hashes(indices: Any, indptr: Any, first: Any, cells: Any, genes: Any, seed: Any, out: Any) -> None:
    for row in range(len(cells)):
        cell = mix64(mix64(seed) ^ cells[row])
        for entry in range(indptr[row], indptr[row + 1]):
            state = mix64(cell ^ genes[indices[entry]])
            for at in range(first[entry], first[entry + 1]):
                state += GOLDEN
                out[at] = mix64(state)
