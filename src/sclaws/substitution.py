"""Errors in sequences: a residue becomes another if a hash of (seed, sequence, position) lies below a rate.

No state, no order, as in :mod:`sclaws.thinning`. Levels are nested: what is substituted at a low rate is substituted
at any higher one, and by the same residue.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from sclaws.hashing import GOLDEN, mix64
from sclaws.protocols import Block
from sclaws.residues import AMINO_ACIDS

_KINDS = len(AMINO_ACIDS)
_U53 = 2.0**-53


@dataclass(frozen=True)
class Substitute:
    """Replace each amino acid, with probability ``rate`` in [0, 1], by one of the other 19, all equally likely.

    Unknown residues, gaps and padding stay what they are.
    """

    rate: float
    seed: int

    def apply(self, block: Block) -> NDArray[np.integer[Any]]:
        """Return the (n, p) codes after substitution, in the dtype of the block."""
        out = np.array(block.values, order="C")
        _substitute(block.cell_ids, block.feature_ids, np.uint64(self.seed), self.rate, out)
        return out


def total_rate(rates: list[float]) -> float:
    """Return the probability that a residue differs from what it was before independent substitutions at ``rates``.

    A second substitution may undo the first (Jukes & Cantor 1969, for 20 letters): 1 - 20/19·p of each multiply.
    """
    most = (_KINDS - 1) / _KINDS
    if len(rates) == 1:
        return rates[0]
    return most * (1 - float(np.prod([1 - rate / most for rate in rates])))


@njit(cache=True, parallel=True, nogil=True)
def _substitute(cells: Any, features: Any, seed: Any, rate: float, out: Any) -> None:
    for i in prange(len(cells)):
        row = mix64(mix64(seed) ^ cells[i])
        for j in range(len(features)):
            old = out[i, j]
            if old < 0 or old >= _KINDS:
                continue
            first = mix64(row ^ features[j])
            if float(first >> np.uint64(11)) * _U53 < rate:
                second = mix64(first + GOLDEN)
                other = int(float(second >> np.uint64(11)) * _U53 * (_KINDS - 1))
                out[i, j] = other if other < old else other + 1
