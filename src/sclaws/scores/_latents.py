"""Low-dimensional latents of two sides that keep what each says of itself and of the other.

Two encoders, each read by a decoder of its own side and one of the other side (Gowri, Sadalski & Klein 2024, NeurIPS,
arXiv 2409.02732). Every fold has encoders of its own that never saw its cells, and all of them are trained as one.
Columns enter as their 128 largest principal components, which makes 5,000 columns as cheap as 100 and loses what lies
in smaller ones; the verdict says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sclaws.protocols import Floats, Ints
from sclaws.scores import _coordinates, _estimate, _networks

_HIDDEN = (128, 64)
_DROPPED = 0.1  # of what enters each layer of a cross-decoder
_MOST_VALID = 1000
_SCHEDULE = _networks.Schedule(steps=600, rate=2e-3, decay=0.1, batch=256, every=10, patience=15)


def latents(
    pairs: Sequence[tuple[Floats, NDArray[Any]]], fold: Ints, seed: int, size: int
) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Return the out-of-fold latents (n, size) of x (n, d) and of y (n, k), pair by pair, in the order given.

    y of (n,) label codes has no latent: its second array is empty. All pairs are of the same cells, with the same folds
    (n,); those of one shape are trained as one batch, and what a pair becomes does not depend on the others.
    """
    with _estimate.one_thread(), _networks.one_thread() as device:
        sides = [(_components(x), np.eye(int(y.max()) + 1)[y] if y.ndim == 1 else _components(y)) for x, y in pairs]
        shapes = [(a.shape, b.shape, y.ndim) for (a, b), (_, y) in zip(sides, pairs, strict=True)]
        found: list[Any] = [None] * len(pairs)
        for shape in dict.fromkeys(shapes):
            alike = [i for i, other in enumerate(shapes) if other == shape]
            trained = _Pairs([sides[i] for i in alike], shape[2] == 1, fold, seed, size, device)
            trained.train()
            for place, i in enumerate(alike):
                found[i] = trained.out_of_fold(place)
        return found


def _components(values: Floats) -> NDArray[np.float64]:
    return _coordinates.components(np.clip(_estimate.standardised(values), -10, 10))


class _Pairs:
    """Encoders and decoders of all folds of P pairs of equal shape: model p · folds + f is fold f of pair p."""

    def __init__(
        self, pairs: Sequence[tuple[Floats, Floats]], label: bool, fold: Ints, seed: int, size: int, device: str
    ) -> None:
        import torch

        self.fold, self.device, self.label = fold, device, label
        folds, count = int(fold.max()) + 1, len(pairs)
        self.sides = [
            torch.tensor(np.stack(side), dtype=torch.float32, device=device) for side in zip(*pairs, strict=True)
        ]
        self.owner = torch.arange(count, device=device).repeat_interleave(folds)[:, None]
        rests = [np.random.default_rng([seed, f]).permutation(np.flatnonzero(fold != f)) for f in range(folds)]
        stop = min(_MOST_VALID, min(map(len, rests)) // 6)
        self.train_rows = [rest[stop:] for rest in rests] * count
        self.valid_rows = np.stack([rest[:stop] for rest in rests] * count)
        self.seeds = [1000 * seed + 10 * f for f in range(folds)] * count
        self.dropout = [torch.Generator(device=device).manual_seed(s) for s in self.seeds]
        widths = [side.shape[2] for side in self.sides]
        self.encoders = [self._stack((w, *_HIDDEN, size), 1 + i) for i, w in enumerate(widths)]
        self.own = [self._stack((size, *_HIDDEN[::-1], w), 3 + i) for i, w in enumerate(widths)]
        self.other = [self._stack((size, *_HIDDEN[::-1], w), 5 + i) for i, w in enumerate(widths[::-1])]

    def _stack(self, sizes: tuple[int, ...], number: int) -> _networks.Stack:
        return _networks.Stack(sizes, [seed + number for seed in self.seeds], self.device)

    def _losses(self, rows: Any, noisy: bool) -> Any:
        """Return (M,) the sum of the squared errors of each reconstruction, a column's variance being one."""
        noise = self._drop if noisy else lambda hidden: hidden
        given = [side[self.owner, rows] for side in self.sides]
        codes = [encoder(side) for encoder, side in zip(self.encoders, given, strict=True)]
        loss = self._error(self.own[0](codes[0]), given[0], 0) + self._error(
            self.other[0](codes[0], noise), given[1], 1
        )
        if not self.label:
            loss = loss + self._error(self.own[1](codes[1]), given[1], 1)
            loss = loss + self._error(self.other[1](codes[1], noise), given[0], 0)
        return loss

    def _error(self, found: Any, given: Any, side: int) -> Any:
        import torch

        if side == 1 and self.label:
            return -(given * torch.log_softmax(found, -1)).sum(-1).mean(-1)
        return ((found - given) ** 2).mean((-1, -2))

    def _drop(self, hidden: Any) -> Any:
        import torch

        kept = torch.stack(
            [torch.rand(h.shape, generator=g, device=self.device) for h, g in zip(hidden, self.dropout, strict=True)]
        )
        return hidden * (kept > _DROPPED) / (1 - _DROPPED)

    def train(self) -> None:
        """Train every fold; each keeps the weights that reconstruct its own validation cells best, dropout off."""
        import torch

        stacks = [*self.encoders, *self.own, *self.other]
        valid = torch.as_tensor(self.valid_rows, device=self.device)
        rows = _networks.batches(self.train_rows, _SCHEDULE.batch, self.seeds)
        parameters = [p for stack in stacks for p in stack.parameters]
        if self.label:
            parameters = [p for s in (self.encoders[0], self.own[0], self.other[0]) for p in s.parameters]
        _networks.train(
            parameters, lambda r: self._losses(r, True), lambda: self._losses(valid, False), rows, _SCHEDULE
        )

    def out_of_fold(self, pair: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the (n, size) latents of both sides of a pair, each cell by the encoder that never saw it."""
        import torch

        folds = int(self.fold.max()) + 1
        mine = slice(pair * folds, (pair + 1) * folds)
        found = []
        for encoder, side in zip(self.encoders[: 1 if self.label else 2], self.sides, strict=False):
            with torch.no_grad():
                every = encoder.some(mine)(side[pair].expand(folds, -1, -1))
            found.append(np.asarray(every.cpu().numpy()[self.fold, np.arange(len(self.fold))], dtype=np.float64))
        return (found[0], np.empty((len(self.fold), 0))) if self.label else (found[0], found[1])
