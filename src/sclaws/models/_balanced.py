"""Training cells drawn in equal shares of their kinds: from anywhere in memory, or pool by pool from disk."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sclaws.models import _streams
from sclaws.models._batches import Cells
from sclaws.models._normalise import read_counts
from sclaws.models._streams import Counts, Stream
from sclaws.models._triplets import Kinds, drawn
from sclaws.protocols import Ints

KEPT = 2**24  # non-zeros of the cells of every kind that stay in memory, some 130 MB


class Balanced(Protocol):
    """What training asks of its cells."""

    def rows(self, batch: int, seed: int, step: int) -> Ints:
        """Return the (batch,) cells of a step, drawn with replacement: types equally often, and studies of a type."""

    def batch(self, rows: Ints) -> tuple[Any, Any]:
        """Return the counts (1, B, genes) and totals (1, B) of some cells."""


def balanced(counts: Counts, total: NDArray[np.float64], kinds: Kinds, device: str, model: str) -> Balanced:
    """Return the training cells of a model, wherever they are."""
    if isinstance(counts, Stream):
        return _Pooled(counts, total, kinds, device, model)
    return _Anywhere(Cells.of([counts], [total], device), kinds.balance())


@dataclass(frozen=True)
class _Anywhere:
    cells: Cells
    shares: NDArray[np.float64]

    def rows(self, batch: int, seed: int, step: int) -> Ints:
        return drawn(self.shares, batch, seed, step)

    def batch(self, rows: Ints) -> tuple[Any, Any]:
        return self.cells.batch(rows[None])


class _Pooled:
    """Cells on disk. A step draws from one pool of stretches, the next one when as many were drawn as are in it.

    A kind, a type in a study, may be so rare that a pool has none of it. So some cells of each kind are kept in memory,
    as many of each as fit into ``KEPT``, and join a pool that has fewer of theirs. Then shares are the same as in
    memory: only which cells of a kind can be drawn at a step is not, unless one pool holds them all. Memory: three
    pools, ``KEPT``, and some 40 bytes a cell.
    """

    def __init__(self, stream: Stream, total: NDArray[np.float64], kinds: Kinds, device: str, model: str) -> None:
        self._stream, self._total, self._kinds, self._device = stream, total, kinds, device
        codes, self._group = kinds.groups()
        self._most = max(KEPT // (stream.stretches.non_zeros * len(codes)), 1)
        self._kept = _firsts(self._group, self._most)
        self._counts: sparse.csr_matrix = read_counts(stream.view.take(self._kept).materialise(), model)
        self._shares = functools.lru_cache(maxsize=2)(self._shares_of)

    def rows(self, batch: int, seed: int, step: int) -> Ints:
        stretches = self._stream.stretches
        stretches.ahead(batch, seed, step)
        there, shares = self._shares(*_streams.pool_of(self._stream.shape[0], stretches.stretch, batch, seed, step))
        return np.asarray(there[drawn(shares, batch, seed, step)])

    def _shares_of(self, seed: int, epoch: int, pool: int) -> tuple[Ints, NDArray[np.float64]]:
        cells = _streams.pool(self._stream.shape[0], self._stream.stretches.stretch, seed, epoch, pool)
        few = np.bincount(self._group[cells], minlength=int(self._group.max()) + 1) < self._most
        there = np.union1d(self._kept[few[self._group[self._kept]]], cells)
        return there, self._kinds.of(there).balance()

    def batch(self, rows: Ints) -> tuple[Any, Any]:
        import torch

        at = np.minimum(np.searchsorted(self._kept, rows), len(self._kept) - 1)
        kept = self._kept[at] == rows
        values = np.empty((1, len(rows), self._stream.shape[1]), np.float32)
        values[0, kept] = self._counts[at[kept]].toarray()
        if not kept.all():
            values[0, ~kept] = self._stream.dense(rows[~kept])
        total = self._total[rows][None].astype(np.float32)
        return torch.from_numpy(values).to(self._device), torch.from_numpy(total).to(self._device)


def _firsts(group: Ints, most: int) -> Ints:
    """Return, in order, the positions of the first ``most`` members of every group."""
    order = np.argsort(group, kind="stable")
    _, starts, sizes = np.unique(group[order], return_index=True, return_counts=True)
    rank = np.arange(len(group)) - np.repeat(starts, sizes)
    return np.sort(order[rank < most])
