"""More noise on values that are not counts: standard normals hashed from (seed, cell, feature), scaled by a level."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from sclaws.hashing import GOLDEN, mix64
from sclaws.protocols import Block

_U53 = 2.0**-53


@dataclass(frozen=True)
class AdditiveNoise:
    """Add normal noise of standard deviation ``sigma`` (in the values' unit) to a dense block.

    The normals do not depend on ``sigma``: levels of one seed differ in scale alone.
    """

    sigma: float
    seed: int

    def apply(self, block: Block) -> NDArray[np.float32]:
        """Return the (n, p) noisy values."""
        values = np.ascontiguousarray(block.values, dtype=np.float32)
        return values + np.float32(self.sigma) * normals(block, self.seed)


def normals(block: Block, seed: int) -> NDArray[np.float32]:
    """Return the (n, p) standard normals that belong to the block's cells and features."""
    out = np.empty((len(block.cell_ids), len(block.feature_ids)), dtype=np.float32)
    _normals(block.cell_ids, block.feature_ids, np.uint64(seed), out)
    return out


@njit(cache=True, parallel=True, nogil=True)
def _normals(cells: Any, features: Any, seed: Any, out: Any) -> None:
    for i in prange(len(cells)):
        row = mix64(mix64(seed) ^ cells[i])
        for j in range(len(features)):
            first = mix64(row ^ features[j])
            second = mix64(first + GOLDEN)
            radius = math.sqrt(-2.0 * math.log((float(first >> np.uint64(11)) + 0.5) * _U53))  # Box & Muller 1958
            out[i, j] = radius * math.cos(2.0 * math.pi * float(second >> np.uint64(11)) * _U53)
