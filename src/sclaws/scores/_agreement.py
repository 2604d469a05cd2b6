"""How far clusters agree with a label, and what each cell does to the number while the clusters stay as they are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sclaws.protocols import Floats, Ints


def nmi(label: Ints, cluster: Ints) -> tuple[float, NDArray[np.float64]]:
    """Return 2 I / (H + H), information over mean entropy, of codes (n,) and (n,), and each cell's influence (n,).

    0 when either has one class alone, 1 when both have, as in scikit-learn.
    """
    both, one, other = _shares(label, cluster)
    shared, entropies = np.log(both / (one * other)), -np.log(one) - np.log(other)
    total = float(entropies.mean())
    if total == 0:
        return 1.0, np.zeros(len(label))
    value = 2 * float(shared.mean()) / total
    return value, (2 * shared - value * entropies) / total


def ari(label: Ints, cluster: Ints) -> tuple[float, NDArray[np.float64]]:
    """Return the Rand index adjusted for chance (Hubert & Arabie 1985) of codes (n,) and (n,), and the influence (n,).

    0 and 1 as for :func:`nmi`. The value counts pairs of different cells; the influence is that of its limit
    for many cells.
    """
    n, shares = len(label), _shares(label, cluster)
    both, one, other = ((n * float(share.mean()) - 1) / (n - 1) for share in shares)  # of pairs that are in one class
    chance, most = one * other, (one + other) / 2
    if most == chance:
        return 1.0, np.zeros(n)
    value = (both - chance) / (most - chance)
    moved, by_one, by_other = (2 * (share - share.mean()) for share in shares)
    of_chance, of_most = one * by_other + other * by_one, (by_one + by_other) / 2
    return value, (moved - of_chance - value * (of_most - of_chance)) / (most - chance)


def _shares(label: Ints, cluster: Ints) -> tuple[Floats, Floats, Floats]:
    """Return, for each cell, the share of all cells that have its label and cluster, its label, its cluster."""
    joint = np.unique(label * (int(cluster.max()) + 1) + cluster, return_inverse=True)[1].reshape(-1)
    both, one, other = (np.bincount(codes)[codes] / len(codes) for codes in (joint, label, cluster))
    return both, one, other
