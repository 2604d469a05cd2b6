"""Low-dimensional latents of two sides that keep what each says of itself and of the other.

Two encoders, each read by a decoder of its own side and one of the other side (Gowri, Sadalski & Klein 2024, NeurIPS,
arXiv 2409.02732). Every fold has encoders of its own that never saw its cells, and all of them are trained as one.
Columns enter as principal components, which loses nothing that a reconstruction could keep and makes 5,000 columns as
cheap as 100.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sclaws.protocols import Floats, Ints
from sclaws.scores import _coordinates, _estimate, _networks

_HIDDEN = (128, 64)
_DROPPED = 0.2  # of what enters each layer of a cross-decoder
_MOST_VALID = 1000
_SCHEDULE = _networks.Schedule(steps=600, rate=2e-3, decay=0.01, batch=256, every=10, patience=15)


def latents(
    x: Floats, y: NDArray[Any], fold: Ints, seed: int, size: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the out-of-fold latents (n, size) of x (n, d) and of y (n, k); of x alone when y is (n,) label codes."""
    with _estimate.one_thread(), _networks.one_thread() as device:
        pair = _Pairs(x, y, fold, seed, size, device)
        pair.train()
        return pair.out_of_fold(0), pair.out_of_fold(1)


def _components(values: Floats) -> NDArray[np.float64]:
    return _coordinates.components(np.clip(_estimate.standardised(values), -10, 10))


class _Pairs:
    """Encoders and decoders of all folds."""

    def __init__(self, x: Floats, y: NDArray[Any], fold: Ints, seed: int, size: int, device: str) -> None:
        import torch

        self.fold, self.device = fold, device
        self.label = y.ndim == 1
        sides = [_components(x), np.eye(int(y.max()) + 1)[y] if self.label else _components(y)]
        self.sides = [torch.tensor(side, dtype=torch.float32, device=device) for side in sides]
        folds = int(fold.max()) + 1
        self.seeds = [1000 * seed + 10 * f for f in range(folds)]
        rests = [np.random.default_rng([seed, f]).permutation(np.flatnonzero(fold != f)) for f in range(folds)]
        stop = min(_MOST_VALID, min(map(len, rests)) // 6)
        self.train_rows, self.valid_rows = [r[stop:] for r in rests], np.stack([r[:stop] for r in rests])
        self.dropout = [torch.Generator(device=device).manual_seed(s) for s in self.seeds]
        widths = [side.shape[1] for side in self.sides]
        self.encoders = [self._stack((w, *_HIDDEN, size), 1 + i) for i, w in enumerate(widths)]
        self.own = [self._stack((size, *_HIDDEN[::-1], w), 3 + i) for i, w in enumerate(widths)]
        self.other = [self._stack((size, *_HIDDEN[::-1], w), 5 + i) for i, w in enumerate(widths[::-1])]

    def _stack(self, sizes: tuple[int, ...], number: int) -> _networks.Stack:
        return _networks.Stack(sizes, [seed + number for seed in self.seeds], self.device)

    def _losses(self, rows: Any, noisy: bool) -> Any:
        """Return (M,) the sum of the squared errors of each reconstruction, a column's variance being one."""
        noise = self._drop if noisy else lambda hidden: hidden
        given = [side[rows] for side in self.sides]
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

    def out_of_fold(self, side: int) -> NDArray[np.float64]:
        """Return the (n, size) latents of one side, each cell by the encoder that never saw it."""
        import torch

        with torch.no_grad():
            every = self.encoders[side](self.sides[side].expand(len(self.seeds), -1, -1))
        return np.asarray(every.cpu().numpy()[self.fold, np.arange(len(self.fold))], dtype=np.float64)
