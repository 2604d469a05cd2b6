"""Cells as sentences of genes: what is most above its usual level comes first (Geneformer, Theodoris et al. 2023).

A gene's usual level is its median over the training cells that have it; a cell's genes are ranked by count over that
median, and the names of the genes, in this order, are all that a model sees.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import get_num_threads, njit, prange
from numpy.typing import NDArray
from scipy import sparse

from sclaws.protocols import Floats, Ints

FIRST = 2  # the first gene's token: 0 fills up, 1 is the mask, as in Geneformer's first version
NO_TOKEN = -1
_MOST_GENES = 2**20
_PARTS = 8  # a thread, so that a few deep cells do not hold up the rest

# A value's place is a 64-bit key, sorted as a whole: the float64's bits, inverted, because the largest comes first, and
# rounded to 44, then 20 of the gene. So values that agree to 1e-10 tie, which undoes the rounding of divisions (2
# molecules over a median of 2/3, and 1 over 1/3), and ties go to the gene that comes first.
_GENE = np.uint64(_MOST_GENES - 1)
_HALF = np.uint64(_MOST_GENES // 2)
# Keys are dropped into buckets of 1/1024 of an octave about the cell's mean logarithm, then put right by insertion.
_BUCKETS = np.uint64(8192)
_SHIFT = np.uint64(42)  # leaves the exponent and ten bits of the mantissa
_ABOVE = np.uint64(3 * 1024)  # three octaves above the mean have buckets of their own, and five below
_CROWDED = 128  # keys in one bucket: more are sorted by comparison, lest insertion take quadratic time
_ALL = np.uint64(2**64 - 1)


@dataclass(frozen=True, eq=False)
class Tokens:
    """The sentences of n cells, one after another.

    ``ids`` (total,) int32 tokens; cell i's are ``ids[starts[i] : starts[i + 1]]``, the highest-ranked first. ``starts``
    (n + 1,) int64. A cell without a gene that has a token has none.
    """

    ids: NDArray[np.int32]
    starts: Ints

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> Ints:
        """(n,) tokens of each cell."""
        return np.diff(self.starts)


def token_ids(medians: Floats, first: int = FIRST) -> NDArray[np.int32]:
    """Return the (p,) token of each gene: genes with a median are numbered from ``first``, the others have -1."""
    known = ~np.isnan(medians)
    return np.where(known, np.cumsum(known) - 1 + first, NO_TOKEN).astype(np.int32)


def rank(
    counts: sparse.csr_matrix, medians: Floats, *, context: int, first: int = FIRST, ids: Ints | None = None
) -> Tokens:
    """Return each cell's tokens in descending order of count over median, at most ``context`` of them.

    ``counts`` (n, p) CSR without stored zeros, columns in order (as ``read_counts`` gives); a cell's total need not be
    known, since it divides all of the cell's values. ``medians`` (p,) above zero, or NaN for a gene that is to
    be passed over. ``ids`` (p,) are the genes' tokens, -1 for none; unless given, those of ``token_ids``. Values that
    agree to 1e-10 tie, and the gene that comes first goes first. Time grows with the non-zeros, 5 to 10 ns each on
    a core; memory is that of the tokens. Does not depend on the number of threads.
    """
    ids = token_ids(medians, first) if ids is None else np.asarray(ids, dtype=np.int32)
    scale = _checked(counts, np.asarray(medians, dtype=np.float64), ids, context)
    lengths = np.minimum(_with_a_token(counts, scale > 0), context)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    out = np.empty(starts[-1], dtype=np.int32)
    bounds = np.linspace(0, len(lengths), get_num_threads() * _PARTS + 1).astype(np.int64)
    _rank(counts.data, counts.indices, counts.indptr, scale, ids, bounds, starts, out)
    return Tokens(out, starts)


def _checked(counts: sparse.csr_matrix, medians: Any, ids: Any, context: int) -> NDArray[np.float64]:
    """Return (p,) what each gene's counts are multiplied by, 0 for one without a token."""
    p = counts.shape[1]
    if medians.shape != (p,) or ids.shape != (p,):
        raise ValueError(f"{p} genes need as many medians and tokens, got {medians.shape} and {ids.shape}")
    if p > _MOST_GENES:
        raise ValueError(f"{p} genes are more than the {_MOST_GENES} that can be ranked; choose fewer")
    if context < 1:
        raise ValueError(f"a context holds at least one token, got {context}")
    used = ~np.isnan(medians) & (ids != NO_TOKEN)
    if not ((medians[used] > 0) & np.isfinite(medians[used])).all():
        raise ValueError("a gene's median must be above 0 and finite, or NaN for a gene without a token")
    return np.divide(1.0, medians, where=used, out=np.zeros(p))


def _with_a_token(counts: sparse.csr_matrix, used: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return (n,) how many of each cell's genes have a token."""
    found = np.diff(counts.indptr).astype(np.int64)
    if not used.all():
        _count(counts.indices, counts.indptr, used.astype(np.uint8), found)
    return found


@njit(cache=True, parallel=True, nogil=True)
def _count(indices: Any, indptr: Any, used: Any, out: Any) -> None:
    for row in prange(len(out)):
        found = np.uint64(0)
        for entry in range(np.uint64(indptr[row]), np.uint64(indptr[row + 1])):
            found += used[np.uint64(indices[entry])]
        out[row] = found


@njit(cache=True, parallel=True, nogil=True)
def _rank(data: Any, indices: Any, indptr: Any, scale: Any, ids: Any, bounds: Any, starts: Any, out: Any) -> None:
    for part in prange(len(bounds) - 1):
        longest = 0
        for row in range(bounds[part], bounds[part + 1]):
            longest = max(longest, indptr[row + 1] - indptr[row])
        keys, ranked = np.empty(longest, np.uint64), np.empty(longest, np.uint64)
        places = np.empty(_BUCKETS + np.uint64(1), np.uint32)  # where each bucket's keys go, from 1 on
        for row in range(bounds[part], bounds[part + 1]):
            at, wanted = np.uint64(starts[row]), np.uint64(starts[row + 1] - starts[row])
            if wanted > 0:
                one_row = slice(indptr[row], indptr[row + 1])
                found, mean = _keys(data[one_row], indices[one_row], scale, keys)
                _highest(keys, found, mean, wanted, places, ranked)
                for i in range(wanted):
                    out[at + i] = ids[ranked[i] & _GENE]


@njit(cache=True, nogil=True)
def _keys(data: Any, indices: Any, scale: Any, keys: Any) -> Any:
    """Write the keys of the genes that have a token; return how many, and the mean of their bucket."""
    found, total = np.uint64(0), np.uint64(0)
    for entry in range(np.uint64(len(indices))):
        gene = np.uint64(indices[entry])
        value = np.float64(data[entry] * scale[gene])
        key = (~(value.view(np.uint64) + _HALF) & ~_GENE) | gene
        keys[found] = key
        used = np.uint64(scale[gene] > 0)
        found += used
        total += used * (key >> _SHIFT)
    return found, total // found


@njit(cache=True, nogil=True)
def _highest(keys: Any, found: Any, mean: Any, wanted: Any, places: Any, ranked: Any) -> None:
    """Write the ``wanted`` smallest of ``found`` keys to ``ranked``, in order; overwrites keys.

    All unsigned, because numba then leaves out what an index below zero would need: twice as fast.
    """
    one = np.uint64(1)
    low = mean - _ABOVE
    places[:] = 0
    for i in range(found):
        places[min(max(keys[i] >> _SHIFT, low) - low, _BUCKETS - one) + one] += np.uint32(1)
    kept, crowd, bucket = np.uint64(0), np.uint32(0), np.uint64(0)
    while kept < wanted:  # from how many keys of a bucket to where they begin; what is not wanted is not looked at
        size = places[bucket + one]
        crowd = max(crowd, size)
        places[bucket + one] = kept
        kept += size
        bucket += one
    few, end = np.uint64(0), low + bucket if bucket < _BUCKETS else _ALL
    for i in range(found):  # without a branch that no processor could foresee
        keys[few] = keys[i]
        few += np.uint64((keys[i] >> _SHIFT) < end)
    for i in range(few):
        own = min(max(keys[i] >> _SHIFT, low) - low, _BUCKETS - one) + one
        ranked[places[own]] = keys[i]
        places[own] += np.uint32(1)
    if crowd > _CROWDED:
        ranked[:few].sort()
    else:
        _insert(ranked, few)


@njit(cache=True, nogil=True)
def _insert(ranked: Any, n: Any) -> None:
    one = np.uint64(1)
    for i in range(one, n):
        key, at = ranked[i], np.uint64(i)
        while at > 0 and ranked[at - one] > key:
            ranked[at] = ranked[at - one]
            at -= one
        ranked[at] = key
