"""Where cells lie in a packed tensor of tokens, and attention within each of them.

Two kinds: cells of one length (every gene is a token) are a reshape; cells of any length are sorted into groups of
nearly equal length, and only within a group, only for attention, are the shorter ones filled up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from sclaws.protocols import Ints

_FILL = 0.8  # shortest over longest cell of a group: the average cell is filled up by less than a tenth


class Packing(Protocol):
    """Cells in (M, T, d) tokens, of which (M, Q) positions are wanted."""

    def select(self, x: Any) -> Any:
        """Return (M, Q, d), the wanted positions of (M, T, d)."""
        ...

    def attend(self, q: Any, k: Any, v: Any, heads: int, wanted: bool) -> Any:
        """Return what the queries (M, T or Q, d) read within their own cells, of the same shape."""
        ...


@dataclass(frozen=True)
class Equal:
    """``cells`` cells of ``length`` tokens in each of M models; ``wanted`` (M, cells, K) positions within a cell."""

    cells: int
    length: int
    wanted: Any = None

    def select(self, x: Any) -> Any:
        """Return (M, cells·K, d)."""
        d = x.shape[-1]
        index = self.wanted.unsqueeze(-1).expand(-1, -1, -1, d)
        return x.view(-1, self.cells, self.length, d).gather(2, index).view(x.shape[0], -1, d)

    def attend(self, q: Any, k: Any, v: Any, heads: int, wanted: bool) -> Any:
        """Attend; models and cells are one batch."""
        import torch

        queries = self.wanted.shape[-1] if wanted else self.length
        parts = (_heads(t, size, heads) for t, size in ((q, queries), (k, self.length), (v, self.length)))
        read = torch.nn.functional.scaled_dot_product_attention(*parts)
        return read.transpose(1, 2).reshape(q.shape)


def _heads(x: Any, length: int, heads: int) -> Any:
    """Return (cells, heads, length, d/heads) of (M, cells·length, d)."""
    return x.reshape(-1, length, heads, x.shape[-1] // heads).transpose(1, 2)


@dataclass(frozen=True)
class Ragged:
    """Cells of any length. ``groups`` hold, for keys and for wanted queries, the flat positions (cells, longest).

    ``back`` (M, T) and ``back_wanted`` (M, Q) say where in the groups' joined outputs a position's own is.
    """

    groups: tuple[tuple[Any, Any, Any], ...]  # keys (G, L), their mask (G, 1, 1, L) or None, wanted queries (G, K)
    back: Any
    wanted: Any = None  # (M, Q) flat positions
    back_wanted: Any = None

    def select(self, x: Any) -> Any:
        """Return (M, Q, d)."""
        return x.reshape(-1, x.shape[-1])[self.wanted.reshape(-1)].view(*self.wanted.shape, -1)

    def attend(self, q: Any, k: Any, v: Any, heads: int, wanted: bool) -> Any:
        """Attend group by group; every position is gathered once and put back once."""
        import torch

        d = q.shape[-1]
        q, k, v = (t.reshape(-1, heads, d // heads) for t in (q, k, v))
        read = []
        for keys, mask, queries in self.groups:
            asked = q[queries if wanted else keys].transpose(1, 2)
            one = torch.nn.functional.scaled_dot_product_attention(
                asked, k[keys].transpose(1, 2), v[keys].transpose(1, 2), attn_mask=mask
            )
            read.append(one.transpose(1, 2).reshape(-1, d))
        back = self.back_wanted if wanted else self.back
        if not read:  # no cell has a token
            return q.new_zeros(*back.shape, d)
        return torch.cat(read)[back.reshape(-1)].view(*back.shape, d)


def ragged(lengths: Ints, positions: Ints | None, device: str) -> Ragged:
    """Return the packing of M models' cells, ``lengths`` (M, cells), each model's tokens one after another.

    ``positions`` (M, cells, K) are the wanted ones within a cell, -1 where there are fewer than K; the wanted of a
    model come one after another too. Shorter models are filled up to the longest one's T and Q; what stands there is
    finite and means nothing. Time and memory grow with the tokens; no loop over cells.
    """
    models = len(lengths)
    starts = np.cumsum(lengths, axis=1) - lengths + (np.arange(models) * lengths.sum(axis=1).max())[:, None]
    back = np.zeros((models, lengths.sum(axis=1).max()), dtype=np.int64).ravel()
    asked, wanted, starts_wanted = _wanted(lengths, positions, starts)
    back_wanted = np.zeros(wanted.size, dtype=np.int64)
    groups, first, first_wanted = [], 0, 0
    for chosen in _groups(lengths.ravel()):
        own, begin = lengths.ravel()[chosen], starts.ravel()[chosen]
        longest = int(own[0])
        inside = np.arange(longest) < own[:, None]
        keys = begin[:, None] + np.where(inside, np.arange(longest), 0)
        back[keys[inside]] = (first + np.arange(keys.size)).reshape(keys.shape)[inside]
        number = asked.ravel()[chosen]
        slots = np.arange(int(number.max(initial=0)))
        real = slots < number[:, None]
        into = starts_wanted.ravel()[chosen][:, None] + np.where(real, slots, 0)
        back_wanted[into[real]] = (first_wanted + np.arange(into.size)).reshape(into.shape)[real]
        mask = None if inside.all() else _tensor(inside[:, None, None, :], device)
        groups.append((_tensor(keys, device), mask, _tensor(np.minimum(into, max(wanted.size - 1, 0)), device)))
        first, first_wanted = first + keys.size, first_wanted + into.size
    shaped = (models, -1)
    return Ragged(
        tuple(groups), _tensor(back.reshape(shaped), device), _tensor(wanted, device),
        _tensor(back_wanted.reshape(shaped), device) if wanted.size else None,
    )  # fmt: skip


def _wanted(lengths: Ints, positions: Ints | None, starts: Ints) -> tuple[Ints, Ints, Ints]:
    """Return how many positions each cell is asked for, (M, Q) flat positions, and where each cell's begin in them."""
    models = len(lengths)
    if positions is None:
        return np.zeros_like(lengths), np.zeros((models, 0), dtype=np.int64), np.zeros_like(lengths)
    real = positions >= 0
    asked = real.sum(axis=2)
    most = int(asked.sum(axis=1).max())
    wanted = np.zeros((models, most), dtype=np.int64) + starts[:, :1]  # what is filled up reads a first token
    for m in range(models):
        flat = (starts[m][:, None] + positions[m])[real[m]]
        wanted[m, : len(flat)] = flat
    return asked, wanted, np.cumsum(asked, axis=1) - asked + (np.arange(models) * most)[:, None]


def _groups(lengths: Ints) -> list[Ints]:
    """Return cells (positions) in groups of nearly equal length, longest first; empty cells are in none."""
    order = np.argsort(-lengths, kind="stable")
    order = order[lengths[order] > 0]
    groups: list[Ints] = []
    start = 0
    while start < len(order):
        longest = lengths[order[start]]
        end = start + int(np.searchsorted(-lengths[order[start:]], -_FILL * longest, side="right"))
        groups.append(order[start:end])
        start = end
    return groups


def _tensor(array: Any, device: str) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(array)).to(device)
