"""Where critics look from: principal coordinates of columns made normal, a distance, and soft clusters of one side.

All of it is learnt from one side alone, so cells that a critic is judged on may take part: their partners do not.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
from numpy.typing import NDArray

from sclaws.protocols import Floats
from sclaws.scores import _estimate, _normal

WIDEST = 128  # principal components that networks see
_GROUPED = 16  # of which this many are clustered
_MOST = 5000  # cells from which clusters are learnt


def principal(values: Floats) -> NDArray[np.float64]:
    """Return the principal components (n, m) of the columns made normal by their ranks."""
    return components(_normal.ranks(_estimate.standardised(values)))


def components(columns: Floats, widest: int = WIDEST) -> NDArray[np.float64]:
    """Return at most ``widest`` principal components (n, m) of columns (n, d), the largest first.

    They keep their relative sizes; their mean variance is one. Copies and combinations of columns drop out.
    """
    columns = columns - columns.mean(axis=0)
    if min(columns.shape) > 2 * widest:
        from sklearn.utils.extmath import randomized_svd

        left, size, _ = randomized_svd(columns, widest, random_state=0)
    else:
        left, size, _ = np.linalg.svd(columns, full_matrices=False)
    keep = (size > 1e-6 * size[0]) & (np.arange(len(size)) < widest)
    found = left[:, keep] * size[keep]
    return np.asarray(found / math.sqrt(np.mean(found**2)))


def cut(columns: Floats, what: str) -> str:
    """Return a warning when columns (n, d) have more components than networks see, and those hold more than 1 %."""
    if min(columns.shape) <= WIDEST:
        return ""
    centred = columns - columns.mean(axis=0)
    found = components(columns)
    scale = np.linalg.lstsq(found, centred, rcond=None)[0]
    kept = float(np.sum((found @ scale) ** 2) / np.sum(centred**2))
    if kept > 0.99:
        return ""
    return f"only the {found.shape[1]} largest components of the {what} were looked at ({kept:.0%} of its variance)"


def distance(values: Floats) -> NDArray[np.float64]:
    """Return (n, 1) the log-distance from the medians in units of the median deviations, standardised.

    It is what ranks hide, and all that two vectors of independent directions and one scale share: a cell's size.
    """
    values = _estimate.standardised(values)
    deviation = np.abs(values - np.median(values, axis=0))
    typical = np.median(deviation, axis=0)
    scaled = deviation / np.where(typical > 0, typical, deviation.mean(axis=0))
    far = np.log(np.sqrt((scaled**2).mean(axis=1)) + 1e-6)[:, None]
    return np.asarray((far - far.mean()) / (far.std() + 1e-12))


def clusters(coordinates: Floats, count: int, seed: int) -> NDArray[np.float64]:
    """Return the (n, count) probabilities of belonging to each cluster: a mixture of axis-parallel Gaussians."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    rows = np.random.default_rng(seed).permutation(len(coordinates))[:_MOST]
    seen = coordinates[:, :_GROUPED]
    mixture = GaussianMixture(
        min(count, len(np.unique(seen[rows], axis=0))), covariance_type="diag", reg_covar=1e-3, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(mixture.fit(seen[rows]).predict_proba(seen))
