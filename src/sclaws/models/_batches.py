"""Counts of M models' cells on a device, and dense batches of them without a loop over cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sclaws.counts import TARGET
from sclaws.hashing import mix
from sclaws.models import _training
from sclaws.models._streams import Counts, Stream
from sclaws.protocols import Ids, Ints


@dataclass(frozen=True)
class Cells:
    """The cells of M models, sparse and one after another: ``first`` (M,) rows at which a model's begin, ``n`` (M,).

    ``library`` (all,) is each cell's total. Memory: 8 bytes a non-zero and a few a cell, on the device. ``sizes``
    (all,) non-zeros of each cell are kept here, so that nobody has to wait for the device to say how large a batch is.
    """

    first: Ints
    n: Ints
    genes: int
    sizes: Ints
    starts: Any
    indices: Any
    data: Any
    library: Any

    @classmethod
    def of(cls, counts: Sequence[sparse.csr_matrix], library: Sequence[NDArray[np.float64]], device: str) -> Cells:
        """Move the (cells, genes) counts of every model to the device."""
        import torch

        joined = sparse.vstack(counts, format="csr") if len(counts) > 1 else counts[0]
        n = np.array([c.shape[0] for c in counts])
        starts, indices, data = (
            torch.from_numpy(np.ascontiguousarray(a)).to(device)
            for a in (joined.indptr.astype(np.int64), joined.indices.astype(np.int32), joined.data.astype(np.float32))
        )
        depth = torch.from_numpy(np.concatenate(library).astype(np.float32)).to(device)
        return cls(np.cumsum(n) - n, n, joined.shape[1], np.diff(joined.indptr), starts, indices, data, depth)

    def rows(self, batch: int, seeds: Sequence[int], step: int) -> Ints:
        """Return the (M, batch) cells of each model at a step, in the order of its seed."""
        return np.stack([_training.rows(n, batch, s, step) for n, s in zip(self.n.tolist(), seeds, strict=True)])

    def batch(self, rows: Ints) -> tuple[Any, Any]:
        """Return counts (M, B, genes) and totals (M, B) of each model's own ``rows`` (M, B).

        A model that has no cells gets another's: what stands there means nothing.
        """
        import torch

        mine = np.minimum(rows + self.first[:, None], len(self.sizes) - 1).ravel()
        flat = torch.from_numpy(mine).to(self.starts.device)
        begin = self.starts[flat]
        size = self.starts[flat + 1] - begin
        total = int(self.sizes[mine].sum())
        row = torch.repeat_interleave(torch.arange(len(flat), device=flat.device), size, output_size=total)
        into = torch.arange(len(row), device=flat.device) + (begin - size.cumsum(0) + size)[row]
        dense = torch.zeros(len(flat), self.genes, device=flat.device)
        dense[row, self.indices[into].long()] = self.data[into]
        return dense.view(*rows.shape, self.genes), self.library[flat].view(*rows.shape)


@dataclass(frozen=True)
class StreamedCells:
    """What :class:`Cells` is, of cells that are read from disk as batches are asked for: three pools a model."""

    streams: Sequence[Stream]
    library: Sequence[NDArray[np.float64]]
    device: str

    @property
    def n(self) -> Ints:
        """(M,) numbers of cells."""
        return np.array([stream.shape[0] for stream in self.streams])

    @property
    def genes(self) -> int:
        """Number of genes."""
        return self.streams[0].shape[1]

    def rows(self, batch: int, seeds: Sequence[int], step: int) -> Ints:
        """Return the (M, batch) cells of each model at a step, in an order that reads what is on disk once an epoch."""
        return np.stack([s.stretches.rows(batch, seed, step) for s, seed in zip(self.streams, seeds, strict=True)])

    def batch(self, rows: Ints) -> tuple[Any, Any]:
        """Return counts (M, B, genes) and totals (M, B) of each model's own ``rows`` (M, B)."""
        import torch

        dense = np.stack([stream.dense(mine) for stream, mine in zip(self.streams, rows, strict=True)])
        depth = np.stack([library[mine] for library, mine in zip(self.library, rows, strict=True)])
        return torch.from_numpy(dense).to(self.device), torch.from_numpy(depth.astype(np.float32)).to(self.device)


def training_cells(
    counts: Sequence[Counts], library: Sequence[NDArray[np.float64]], device: str
) -> Cells | StreamedCells:
    """Return the training cells of M models: on the device if all are in memory, else read as they are asked for."""
    streams = [each for each in counts if isinstance(each, Stream)]
    if not streams:
        return Cells.of([each for each in counts if not isinstance(each, Stream)], library, device)
    if len(streams) < len(counts):
        raise ValueError("cells in memory and cells on disk are no one batch; train them apart")
    return StreamedCells(streams, library, device)


def scaled(counts: Any, library: Any) -> Any:
    """Return log(1 + 10,000·count/total) of counts (M, B, genes) and totals (M, B); an empty cell stays zero."""
    import torch

    return torch.log1p(counts * (TARGET / library.clamp(min=1.0))[..., None])


def hidden(cells: Ids, features: Ids, seed: int, rate: float) -> NDArray[np.bool_]:
    """Return the (n, p) entries that are masked when nothing is learned: a hash of (seed, cell, gene) below ``rate``.

    An entry is masked in any vocabulary or in none, so models of different vocabularies are asked the same questions.
    A cell in which nothing would be masked has its lowest hash masked.
    """
    hashes = mix(_salted(cells, seed)[:, None] ^ np.asarray(features, dtype=np.uint64)[None])
    masked = hashes < np.uint64(int(rate * 2**64))
    none = np.flatnonzero(~masked.any(axis=1))
    masked[none, hashes[none].argmin(axis=1)] = True
    return masked


def hidden_entries(cells: Ids, owner: Ints, features: Ids, seed: int, rate: float) -> NDArray[np.bool_]:
    """Return the same of (T,) entries that are not all genes of a cell: ``owner`` (T,) rises."""
    hashes = mix(_salted(cells, seed)[owner] ^ features)
    masked = hashes < np.uint64(int(rate * 2**64))
    starts = np.flatnonzero(np.diff(owner, prepend=-1)) if len(owner) else np.empty(0, dtype=np.int64)
    if len(starts):
        lowest = np.repeat(np.minimum.reduceat(hashes, starts), np.diff(np.r_[starts, len(owner)]))
        none = np.repeat(~np.logical_or.reduceat(masked, starts), np.diff(np.r_[starts, len(owner)]))
        masked |= none & (hashes == lowest)
    return np.asarray(masked)


def _salted(cells: Ids, seed: int) -> Ids:
    return mix(mix(np.uint64(seed)) ^ np.asarray(cells, dtype=np.uint64))


def positions(masked: NDArray[np.bool_], least: int = 1) -> tuple[Ints, NDArray[np.bool_]]:
    """Return the masked positions (n, K) of each row, K the most that a row has, and which of them are real."""
    number = masked.sum(axis=1)
    order = np.argsort(~masked, axis=1, kind="stable")[:, : max(int(number.max(initial=0)), least)]
    return order.astype(np.int64), np.arange(order.shape[1]) < number[:, None]
