"""Cells as sentences of genes: which gene has which token, and the ranked tokens of cells, in memory or from disk."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

from sclaws.models import _streams, _training
from sclaws.models._batches import hidden_entries
from sclaws.models._normalise import checked
from sclaws.models._streams import Stretches
from sclaws.models._tokens import Tokens, rank
from sclaws.protocols import Block, Ids, Ints, View

NAME = "geneformer"
MASK = 0.15  # the share of tokens that is hidden


@dataclass(frozen=True)
class Vocabulary:
    """Which gene has which token: ``ids`` (p,), -1 for none, and ``medians`` (p,), of ``features`` (p,)."""

    features: pd.Index
    ids: NDArray[np.int32]
    medians: NDArray[np.float64]
    mask: int = 1
    pad: int = 0

    def known(self, view: View) -> float:
        """Return the share of the genes with tokens that are in a view."""
        here = self.features[(self.ids >= 0) & np.isfinite(self.medians)].isin(view.feature_names)
        return float(here.mean()) if len(here) else 0.0

    def of(self, view: View, context: int) -> Ranking:
        """Return how the cells of a view become sentences of at most ``context`` tokens.

        Genes that the model does not know have no token, and ties go to the gene that it has first, whatever the order
        of the view's.
        """
        place = view.feature_names.get_indexer(self.features)
        there = np.flatnonzero((place >= 0) & (self.ids >= 0) & np.isfinite(self.medians))
        at = place[there]
        if (np.diff(at) < 0).any():
            view, at = view.choose(at), np.arange(len(at))
        ids, medians = np.full(view.n_vars, -1, dtype=np.int32), np.full(view.n_vars, np.nan)
        ids[at], medians[at] = self.ids[there], self.medians[there]
        genes = np.zeros(int(self.ids.max(initial=0)) + 1, dtype=np.uint64)
        genes[ids[at]] = view.feature_ids[at]
        return Ranking(view, ids, medians, genes, context)


@dataclass(frozen=True, eq=False)
class Ranking:
    """How the cells of ``view`` become sentences: the token and the median of each of its genes.

    ``genes`` is the gene id of each token.
    """

    view: View
    ids: NDArray[np.int32]
    medians: NDArray[np.float64]
    genes: Ids
    context: int

    def tokens(self, block: Block) -> Tokens:
        """Return the ranked tokens of some cells; raise ``ModelError`` where the values are no counts."""
        return rank(checked(block.values, NAME), self.medians, context=self.context, ids=self.ids)

    def blocks(self) -> Iterator[tuple[Ids, Tokens]]:
        """Yield the ids of some thousand cells at a time, and their tokens: one walk."""
        for block in self.view.batches():
            yield block.cell_ids, self.tokens(block)


@dataclass(frozen=True, eq=False)
class Piece:
    """Sentences of n cells: ``cells`` (n,) ids, ``genes`` the gene id of each token, ``ids`` (T,), ``lengths`` (n,)."""

    cells: Ids
    genes: Ids
    ids: Ints
    lengths: Ints

    @property
    def owner(self) -> Ints:
        """(T,) which cell a token belongs to."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def hidden(self, seed: int) -> NDArray[np.bool_]:
        """Return the (T,) tokens that are hidden when nothing is learned: at least one of every cell that has any."""
        return hidden_entries(self.cells, self.owner, self.genes[self.ids], seed, MASK)

    def averaged(self, values: NDArray[Any], hide: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Return the (n,) means over each cell's hidden tokens, 0 where there are none."""
        owner, n = self.owner[hide], len(self.lengths)
        return np.bincount(owner, weights=values, minlength=n) / np.maximum(np.bincount(owner, minlength=n), 1)


@dataclass(frozen=True, eq=False)
class Sentences:
    """Cells in memory: their ids, ranked tokens, and the gene id of each token. Memory grows with the tokens."""

    cells: Ids
    genes: Ids
    tokens: Tokens

    @property
    def lengths(self) -> Ints:
        """(n,) tokens of each cell."""
        return self.tokens.lengths

    def occurrences(self, vocabulary: int) -> Ints:
        """Return (vocabulary,) how often each token occurs."""
        return np.bincount(self.tokens.ids, minlength=vocabulary)

    def rows(self, batch: int, seed: int, step: int) -> Ints:
        """Return the (batch,) cells of a step."""
        return _training.rows(len(self.cells), batch, seed, step)

    def piece(self, rows: Ints) -> Piece:
        """Return some of the cells."""
        lengths = self.lengths[rows]
        at = np.repeat(self.tokens.starts[rows] - np.cumsum(lengths) + lengths, lengths) + np.arange(lengths.sum())
        return Piece(self.cells[rows], self.genes, self.tokens.ids[at].astype(np.int64), lengths)

    def with_tokens(self) -> Sentences:
        """Return those that have a token."""
        some = np.flatnonzero(self.lengths)
        starts = np.r_[0, np.cumsum(self.lengths[some])]  # the cells that go have no tokens: nothing is copied
        return Sentences(self.cells[some], self.genes, Tokens(self.tokens.ids, starts))

    def values(self) -> tuple[NDArray[Any], ...]:
        """Return what a checksum is of."""
        return self.tokens.ids, self.tokens.starts


@dataclass(frozen=True, eq=False)
class StreamedSentences:
    """What :class:`Sentences` are, of cells on disk, ranked as they are asked for: three pools and 8 bytes a cell."""

    ranking: Ranking
    lengths: Ints
    counted: Ints  # (vocabulary,)
    stretches: Stretches[Tokens]

    @classmethod
    def of(cls, ranking: Ranking) -> StreamedSentences:
        """Rank all cells once, to know how long their sentences are and how often each token occurs."""
        lengths: list[Ints] = [np.empty(0, np.int64)]
        counted = np.zeros(len(ranking.genes), np.int64)
        for _, found in ranking.blocks():
            lengths.append(found.lengths)
            counted += np.bincount(found.ids, minlength=len(counted))
        return cls(ranking, np.concatenate(lengths), counted, Stretches(ranking.view, ranking.tokens))

    @property
    def cells(self) -> Ids:
        """(n,) ids of the cells."""
        return self.ranking.view.cell_ids

    @property
    def genes(self) -> Ids:
        """The gene id of each token."""
        return self.ranking.genes

    def occurrences(self, vocabulary: int) -> Ints:
        """Return (vocabulary,) how often each token occurs."""
        return np.pad(self.counted, (0, vocabulary - len(self.counted)))

    def rows(self, batch: int, seed: int, step: int) -> Ints:
        """Return the (batch,) cells of a step, in an order that reads what is on disk once an epoch."""
        return self.stretches.rows(batch, seed, step)

    def piece(self, rows: Ints) -> Piece:
        """Return some of the cells."""
        lengths = self.lengths[rows]
        starts, ids = np.cumsum(lengths) - lengths, np.empty(int(lengths.sum()), np.int64)
        for found, mine, places in self.stretches.parts(rows):
            _copy(found.ids, found.starts[mine], starts[places], lengths[places], ids)
        return Piece(self.cells[rows], self.genes, ids, lengths)

    def with_tokens(self) -> StreamedSentences:
        """Return those that have a token."""
        some = np.flatnonzero(self.lengths)
        if len(some) == len(self.lengths):
            return self
        ranking = Ranking(**{**vars(self.ranking), "view": self.ranking.view.take(some)})
        return StreamedSentences(ranking, self.lengths[some], self.counted, Stretches(ranking.view, ranking.tokens))

    def values(self) -> tuple[NDArray[Any], ...]:
        """Return what a checksum is of: what the tokens are made from."""
        return *_streams.made_from(self.ranking.view), self.ranking.ids, self.ranking.medians


Cells: TypeAlias = "Sentences | StreamedSentences"


@njit(cache=True, nogil=True)
def _copy(source: Any, begin: Any, into: Any, lengths: Any, out: Any) -> None:
    for i in range(len(lengths)):
        for k in range(lengths[i]):
            out[into[i] + k] = source[begin[i] + k]


def sentences(words: Vocabulary, view: View, context: int) -> Cells:
    """Return the sentences of a view: in memory, or of a view on disk read as they are asked for."""
    ranking = words.of(view, context)
    return StreamedSentences.of(ranking) if view.on_disk else read(ranking)


def read(ranking: Ranking) -> Sentences:
    """Return the sentences of all cells, in memory; it grows with the tokens."""
    nothing = np.empty(0, np.uint64), Tokens(np.empty(0, np.int32), np.zeros(1, np.int64))
    cells, tokens = zip(nothing, *ranking.blocks(), strict=True)
    starts = np.r_[0, np.cumsum(np.concatenate([found.lengths for found in tokens]))]
    ids = np.concatenate([found.ids for found in tokens])
    return Sentences(np.concatenate(cells), ranking.genes, Tokens(ids, starts))


def places(lengths: Ints) -> Ints:
    """Return the (T,) place of every token in its own sentence, of cells of ``lengths`` one after another."""
    ends = np.cumsum(lengths)
    return np.arange(int(ends[-1]) if len(ends) else 0) - np.repeat(ends - lengths, lengths)


def chosen(hide: NDArray[np.bool_], lengths: Ints) -> Ints:
    """Return (n, K) places of each cell's hidden tokens, -1 where it has fewer than K; ``hide`` is (T,)."""
    owner = np.repeat(np.arange(len(lengths)), lengths)[hide]
    number = np.bincount(owner, minlength=len(lengths))
    out = np.full((len(lengths), int(number.max(initial=0))), -1, dtype=np.int64)
    out[owner, np.arange(len(owner)) - np.repeat(np.cumsum(number) - number, number)] = places(lengths)[hide]
    return out
