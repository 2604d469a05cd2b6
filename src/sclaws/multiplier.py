"""The sampling error of a score, remembered so that runs on the same cells share it.

A score on n cells is, to first order, its expectation plus the mean of the cells' influence values. Multiply each
cell's influence by a random sign and average: that is one draw of the multiplier bootstrap (van der Vaart & Wellner
1996, §2.9). The 64 signs of a cell are the bits of a hash of its id. So every run that is scored on a cell uses the
same signs for it, and the 64 draws of two runs correlate exactly as their sampling errors do, whatever the run, the
process or the day. Bits of a good hash are independent, so draws of runs on disjoint cells are uncorrelated.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sclaws.hashing import mix
from sclaws.protocols import Floats, Ids

DRAWS = 64


def draws(influence: Floats, ids: Ids) -> NDArray[np.float64]:
    """Return the (64,) deviations of a mean of influence values.

    ``influence`` (n,) in the score's unit, centred here; ``ids`` (n,) names the resampled unit: cells of one group
    share their signs, so the draws are then cluster-robust. Time and memory grow as 64 n.
    """
    centred = np.asarray(influence, dtype=np.float64) - np.mean(influence)
    hashed = np.ascontiguousarray(mix(ids).astype("<u8"))
    bits = np.unpackbits(hashed.view(np.uint8).reshape(-1, 8), axis=1)
    return np.asarray((2.0 * bits - 1.0).T @ centred / len(centred))


def standard_error(influence: Floats, ids: Ids) -> float:
    """Return the standard error of a mean of influence values (n,), in their unit.

    Values of one id are added before they are squared, so it is robust to any dependence inside a group, with the
    small-sample factor G / (G - 1) for G distinct ids; NaN for one id alone.
    """
    values = np.asarray(influence, dtype=np.float64)
    _, unit = np.unique(ids, return_inverse=True)
    sums = np.bincount(unit.reshape(-1), weights=values - values.mean())
    if len(sums) < 2:
        return float("nan")
    return float(np.sqrt(len(sums) / (len(sums) - 1) * np.sum(sums**2)) / len(values))


def covariance(first: Floats, second: Floats) -> float:
    """Return the covariance of two scores' sampling errors from their draws (64,)."""
    return float(np.dot(first, second) / DRAWS)
