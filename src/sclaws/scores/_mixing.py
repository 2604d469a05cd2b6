"""How many batches meet around a cell: the local inverse Simpson index (Korsunsky et al. 2019, LISI)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sclaws.protocols import Floats, Ints

_TRIES = 50
_CLOSE = 1e-5  # in nats, as published


@dataclass(frozen=True)
class Mixing:
    """LISI of each cell: ``lisi`` (n,), from 1 to the number of batches, 1 / sum over batches of (share of weight)².

    Weights of the neighbours are exp(-beta d), beta such that their entropy is log(perplexity); a cell is not its own
    neighbour. ``index``, ``weight`` (n, k); ``codes`` (n,) of the batches; ``shares`` (n, batches).
    """

    lisi: NDArray[np.float64]
    index: Ints
    weight: NDArray[np.float64]
    codes: Ints
    shares: NDArray[np.float64]

    @classmethod
    def of(cls, index: Ints, far: Floats, codes: Ints, perplexity: float) -> Mixing:
        """Return the mixing of neighbours (n, k), themselves first, at distances (n, k)."""
        weight = _weights(far[:, 1:], math.log(perplexity))
        shares = np.zeros((len(index), codes.max() + 1))
        np.add.at(shares, (np.arange(len(index))[:, None], codes[index[:, 1:]]), weight)
        return cls(1 / np.einsum("ij,ij->i", shares, shares), index[:, 1:], weight, codes, shares)

    def influence(self, of: Floats) -> NDArray[np.float64]:
        """Return (n,) the change of sum(of · lisi), to first order, when a cell is there twice, its own term left out.

        The neighbours' beta is left as it is.
        """
        towards = np.take_along_axis(self.shares, self.codes[self.index], 1) - (1 / self.lisi)[:, None]
        change = -2 * (of * self.lisi**2)[:, None] * self.weight * towards
        return np.asarray(np.bincount(self.index.ravel(), change.ravel(), len(of)), dtype=np.float64)


def _weights(far: Floats, target: float) -> NDArray[np.float64]:
    """Return (n, k) weights that add up to 1, of the wanted entropy in nats; beta is sought as published."""
    n = len(far)
    beta, low, high = np.ones(n), np.full(n, -np.inf), np.full(n, np.inf)
    weight, todo = np.empty(far.shape), np.arange(n)
    for step in range(_TRIES + 1):
        weight[todo], found = _weighed(far[todo], beta[todo])
        off = np.abs(found - target) >= _CLOSE
        todo, above = todo[off], found[off] > target
        if step == _TRIES or not len(todo):
            break
        low[todo[above]], high[todo[~above]] = beta[todo[above]], beta[todo[~above]]
        up = np.where(np.isinf(high[todo]), beta[todo] * 2, (beta[todo] + high[todo]) / 2)
        down = np.where(np.isinf(low[todo]), beta[todo] / 2, (beta[todo] + low[todo]) / 2)
        beta[todo] = np.where(above, up, down)
    return weight


def _weighed(far: Floats, beta: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return weights (n, k) that add up to 1, and their entropies (n,), free of underflow."""
    nearest = far.min(axis=1, keepdims=True)
    weight = np.exp(-(far - nearest) * beta[:, None])
    total = weight.sum(axis=1)
    weight /= total[:, None]
    return weight, np.log(total) + beta * ((far - nearest) * weight).sum(axis=1)
