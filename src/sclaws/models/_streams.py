"""Counts of training cells that stay on disk, for batches in a shuffled order that reads every stretch once an epoch.

The corpus is shuffled on disk already. An epoch takes its stretches of neighbouring cells in a new order, some at a
time, and mixes the cells of these: a batch is of cells of 8 stretches, and no cell is read twice in an epoch.
"""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy import sparse

from sclaws.models._normalise import checked, count_blocks, read_counts, totals, variable_genes
from sclaws.protocols import Block, Ints, View
from sclaws.tallies import tallied
from sclaws.view import View as Whole

STRETCH = 2**19  # non-zeros that are read together, eight chunks: a few hundred cells, or some thousand
POOL = 8  # stretches whose cells are mixed
HELD = 3 * POOL * STRETCH  # non-zeros of a model that are in memory
Made = TypeVar("Made")


class Stretches(Generic[Made]):
    """A view on disk by stretches of neighbouring cells, each made into what a model needs when it is first asked for.

    Those of two pools are kept, so that rows in the order of :meth:`rows` are read once an epoch, and those of the next
    pool are read while this one is used. Memory: three pools, of 4 million non-zeros each.
    """

    def __init__(self, view: View, make: Callable[[Block], Made]) -> None:
        assert isinstance(view, Whole)  # none other is on disk
        self.view, self._make = view, make
        self.non_zeros = max(view.source.adata.X.non_zeros, 1)  # type: ignore[union-attr]
        self.stretch = int(np.clip(STRETCH // self.non_zeros, 16, 2**14))
        self._edges = _edges(view.n_obs, self.stretch)
        self._held: OrderedDict[int, Made] = OrderedDict()
        self._coming: dict[int, Future[Any]] = {}
        self._thread = ThreadPoolExecutor(1)

    def rows(self, batch: int, seed: int, step: int) -> Ints:
        """Return the (batch,) cells of a step, and begin to read the pool after theirs."""
        self.ahead(batch, seed, step)
        return rows(self.view.n_obs, self.stretch, batch, seed, step)

    def ahead(self, batch: int, seed: int, step: int) -> None:
        """Begin to read the pool after the one that a step is in."""
        for number in _next_pool(self.view.n_obs, self.stretch, seed, step * batch - 1):
            if number not in self._held and number not in self._coming:
                self._coming[number] = self._thread.submit(self.view.read, self._cells(number))

    def parts(self, rows: Ints) -> Iterator[tuple[Made, Ints, Ints]]:
        """Yield each stretch that has some of the rows: what it was made into, which of its cells, and their places."""
        stretches = np.searchsorted(self._edges, rows, side="right") - 1
        order = np.argsort(stretches, kind="stable")
        for mine in np.split(order, np.flatnonzero(np.diff(stretches[order])) + 1):
            number = int(stretches[mine[0]])
            yield self._stretch(number), rows[mine] - self._edges[number], mine

    def _cells(self, number: int) -> Ints:
        return self.view.rows[self._edges[number] : self._edges[number + 1]]

    def _stretch(self, number: int) -> Made:
        if number not in self._held:
            rows = self._cells(number)
            read = self._coming.pop(number).result() if number in self._coming else self.view.read(rows)
            self._held[number] = self._make(self.view.block(rows, read))
            if len(self._held) > 2 * POOL:
                self._held.popitem(last=False)
        self._held.move_to_end(number)
        return self._held[number]


class Stream:
    """The (n, g) counts of a view on disk: ``dense(rows)`` gives some of them. Memory is that of its stretches."""

    def __init__(self, view: View, model: str) -> None:
        self.view, self._model = view, model
        self.shape = (view.n_obs, view.n_vars)
        self.stretches = Stretches(view, lambda block: checked(block.values, model))

    def dense(self, rows: Ints) -> NDArray[np.float32]:
        """Return the (B, g) counts of these cells."""
        out = np.zeros((len(rows), self.shape[1]), dtype=np.float32)
        for counts, mine, places in self.stretches.parts(rows):
            _fill(counts.data, counts.indices, counts.indptr, mine, places, out)
        return out

    def take(self, rows: Ints) -> Stream:
        """Return the stream of these cells, in the order of the view."""
        return self if len(rows) == self.shape[0] else Stream(self.view.take(rows), self._model)

    def blocks(self) -> Iterator[sparse.csr_matrix]:
        """Yield all cells in order: one walk."""
        return count_blocks(self.view, self._model)


@njit(cache=True, nogil=True)
def _fill(data: Any, indices: Any, indptr: Any, rows: Any, into: Any, out: Any) -> None:
    for i in range(len(rows)):
        for entry in range(indptr[rows[i]], indptr[rows[i] + 1]):
            out[into[i], indices[entry]] = data[entry]


Counts: TypeAlias = "sparse.csr_matrix | Stream"


@dataclass(frozen=True)
class Chosen:
    """Training cells: ``counts`` (n, g) of the ``genes`` (g,) of a view, and (n,) totals over all of the view's."""

    counts: Counts
    genes: Ints
    total: NDArray[np.float64]


def chosen(view: View, n_genes: int | Literal["all"], model: str) -> Chosen:
    """Return the counts of the genes that vary most, in memory or from disk as the view is."""
    if not view.on_disk:
        counts = read_counts(view, model)
        genes = variable_genes(counts, n_genes)
        return Chosen(counts[:, genes], genes, totals(counts))
    few = n_genes != "all" and n_genes < view.n_vars
    genes = variable_genes(tallied(count_blocks(view, model), view.n_vars), n_genes) if few else np.arange(view.n_vars)
    return Chosen(Stream(view.choose(genes) if few else view, model), genes, view.totals)


def taken(counts: Counts, rows: Ints) -> Counts:
    """Return some cells, in order."""
    return counts.take(rows) if isinstance(counts, Stream) else counts[rows]


def blocks(counts: Counts) -> Iterator[sparse.csr_matrix]:
    """Yield the cells in order: of what is in memory, all at once."""
    return counts.blocks() if isinstance(counts, Stream) else iter([counts])


def sums(counts: Counts) -> NDArray[np.float64]:
    """Return the (n,) molecules of each cell on these genes."""
    return counts.view.totals if isinstance(counts, Stream) else totals(counts)


def values(counts: Counts) -> tuple[NDArray[Any], ...]:
    """Return arrays that change with the counts, for a checksum: themselves, or what they are made from."""
    return made_from(counts.view) if isinstance(counts, Stream) else (counts.indices, counts.data)


def made_from(view: View) -> tuple[NDArray[Any], ...]:
    """Return arrays that change with the values of a view, which is not walked for it."""
    return view.cell_ids, view.feature_ids, np.frombuffer(repr(view.applied).encode(), dtype=np.uint8)


# ── the order of an epoch ────────────────────────────────────────────────────────────────────────────────────────────
def rows(n: int, stretch: int, batch: int, seed: int, step: int) -> Ints:
    """Return the (batch,) cells of step 1, 2, ...: shuffled epochs, one after another, cut into equal pieces.

    A function of its arguments alone, so training goes on anywhere. Time and memory: a pool of stretches.
    """
    first, last = (step - 1) * batch, step * batch
    found = [
        _between(n, stretch, seed, epoch, max(first - epoch * n, 0), min(last - epoch * n, n))
        for epoch in range(first // n, (last - 1) // n + 1)
    ]
    return np.concatenate(found)


def _between(n: int, stretch: int, seed: int, epoch: int, first: int, last: int) -> Ints:
    ends = _epoch(n, stretch, seed, epoch)[1]
    one, other = (int(np.searchsorted(ends, place, side="right")) for place in (first, last - 1))
    before = int(ends[one - 1]) if one else 0
    cells = [pool(n, stretch, seed, epoch, number) for number in range(one, other + 1)]
    return np.concatenate(cells)[first - before : last - before]


def _next_pool(n: int, stretch: int, seed: int, place: int) -> Ints:
    """Return the stretches of the pool after the one that has the place-th cell of all epochs."""
    order, ends = _epoch(n, stretch, seed, place // n)
    number = int(np.searchsorted(ends, place % n, side="right")) + 1
    if number < len(ends):
        return order[number * POOL : (number + 1) * POOL]
    return _epoch(n, stretch, seed, place // n + 1)[0][:POOL]


@functools.lru_cache(maxsize=256)
def _epoch(n: int, stretch: int, seed: int, epoch: int) -> tuple[Ints, Ints]:
    """Return the order of the stretches in an epoch, and the number of cells after each pool."""
    edges = _edges(n, stretch)
    order = np.random.default_rng([seed, epoch]).permutation(len(edges) - 1)
    ends = np.cumsum(np.diff(edges)[order])
    return order, ends[np.unique(np.append(np.arange(POOL - 1, len(order), POOL), len(order) - 1))]


def pool_of(n: int, stretch: int, batch: int, seed: int, step: int) -> tuple[int, int, int]:
    """Return the seed, epoch and number of the pool that a step of :func:`rows` begins in."""
    epoch, place = divmod((step - 1) * batch, n)
    return seed, epoch, int(np.searchsorted(_epoch(n, stretch, seed, epoch)[1], place, side="right"))


@functools.lru_cache(maxsize=256)
def pool(n: int, stretch: int, seed: int, epoch: int, number: int) -> Ints:
    """Return the cells of a pool, mixed."""
    edges, mine = _edges(n, stretch), _epoch(n, stretch, seed, epoch)[0][number * POOL : (number + 1) * POOL]
    cells = np.concatenate([np.arange(edges[each], edges[each + 1]) for each in mine])
    return np.random.default_rng([seed, epoch, number]).permutation(cells)


@functools.lru_cache(maxsize=64)
def _edges(n: int, stretch: int) -> Ints:
    """Return where stretches of about equal length begin and end."""
    return np.linspace(0, n, max(n // stretch, 1) + 1).astype(np.int64)
