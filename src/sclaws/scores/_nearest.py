"""Nearest-neighbour terms that several scores use: Kraskov's, Ross's for labels, and how far their sum can be trusted.

A term belongs to one cell and their mean is the estimate, in nats. ``part`` (n,) cuts the cells into sets that do not
see one another: folds whose latents share no space, or the parts on which the spread of the estimate is measured.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from sclaws import neighbours
from sclaws.hashing import GOLDEN, mix
from sclaws.protocols import Floats, Ints
from sclaws.scores import _estimate

JITTER = 1e-10  # of a standard deviation: breaks ties, moves nothing else
_APART = 1e9  # standard deviations between sets that must not see one another

Terms: TypeAlias = Callable[[Ints], NDArray[np.float64]]  # (n,) part of each cell -> (n,) its term in nats


def spread(values: Floats, salt: int) -> NDArray[np.float64]:
    """Return the standardised varying columns of (n, d), ties broken by a hash of (row, column).

    Jitter inside an atom carries no information and leaves atoms apart, so it does not change what mixed discrete and
    continuous columns know of each other (Gao et al. 2017, NeurIPS, treat the same cells by counting ties).
    """
    out = _estimate.standardised(values)
    cells = np.arange(out.size, dtype=np.uint64).reshape(out.shape)
    with np.errstate(over="ignore"):
        hashed = mix(cells + np.uint64(salt) * GOLDEN)
    return np.asarray(out + JITTER * (hashed / 2.0**64 - 0.5))


def kraskov(x: Floats, y: Floats, part: Ints, k: int) -> NDArray[np.float64]:
    """Return the (n,) terms in nats of estimator 1 of Kraskov et al. (2004, Phys Rev E 69:066138)."""
    from scipy.special import digamma

    x, y = _separate(x, part), _separate(y, part)
    radius = neighbours.kth_distance(np.hstack([x, y]), k)
    inside = digamma(neighbours.count_within(x, radius) + 1) + digamma(neighbours.count_within(y, radius) + 1)
    return np.asarray(digamma(k) + digamma(np.bincount(part)[part]) - inside)


def ross(x: Floats, codes: Ints, part: Ints, k: int) -> NDArray[np.float64]:
    """Return the (n,) terms in nats of Ross (2014, PLoS One 9:e87357); NaN where a class has no more than k cells."""
    from scipy.special import digamma

    both = part * (int(codes.max()) + 1) + codes
    size = np.bincount(both)[both]
    radius = neighbours.kth_distance(_separate(x, both), k)
    # the k-th neighbour itself counts here, and it lies exactly on the radius
    found = neighbours.count_within(_separate(x, part), np.nextafter(radius, np.inf))
    with np.errstate(invalid="ignore"):
        terms = digamma(k) + digamma(np.bincount(part)[part]) - digamma(size) - digamma(found)
    return np.where(size > k, terms, np.nan)


def overlap(terms: Terms, n: int, k: int, seed: int, within: Ints | None = None) -> float:
    """Return how many times larger the standard error is than that of independent terms, at least 1.

    Neighbourhoods overlap, so terms are correlated: measured by cutting the cells into disjoint parts, whose estimates
    *are* independent (Holmes & Nemenman 2019, Phys Rev E 100:022404), and comparing their spread with what their
    terms promise. About fifty parts over a few partitions know it to a tenth; one partition costs 1/16 of the whole.
    ``within`` (n,) are folds that parts may not join.
    """
    fold = np.zeros(n, dtype=np.int64) if within is None else within
    folds = int(fold.max()) + 1
    parts = max(2, min(16, n // folds // (6 * (k + 1))))
    rng = np.random.default_rng(seed)
    seen, promised = [], []
    for _ in range(math.ceil(48 / parts / folds)):
        part = rng.permutation(n) % parts + parts * fold
        values = terms(part)
        for f in range(folds):
            each = [v[np.isfinite(v)] for v in (values[part == p + parts * f] for p in range(parts))]
            each = [v for v in each if len(v) > 1]
            if len(each) > 1:
                seen.append(np.var([v.mean() for v in each], ddof=1))
                promised.append(np.mean([v.var(ddof=1) / len(v) for v in each]))
    return max(1.0, math.sqrt(sum(seen) / sum(promised))) if sum(promised) > 0 else 1.0


def rise(terms: Terms, influence: Floats, fold: Ints, seed: int) -> NDArray[np.float64]:
    """Return (n,) what each term gained over the same term among a random half of its fold; the mean of four halves.

    A class too small for its half has no term there, and gains nothing.
    """
    rng = np.random.default_rng(seed)
    before = [terms(2 * fold + rng.permutation(len(fold)) % 2) for _ in range(4)]
    gained = influence - np.mean(before, axis=0)
    return np.where(np.isfinite(gained), gained, 0.0)


def centred(values: Floats, fold: Ints) -> NDArray[np.float64]:
    """Return latents (n, size) standardised within each fold: folds have encoders, hence units, of their own."""
    out = np.zeros(values.shape)
    for f in range(int(fold.max()) + 1):
        rows = fold == f
        spread = values[rows].std(axis=0)
        out[rows] = (values[rows] - values[rows].mean(axis=0)) / np.where(spread > 1e-9, spread, 1.0)
    return out


def _separate(points: Floats, part: Ints) -> Floats:
    """Return the points with one more coordinate, which puts the parts too far apart to be neighbours."""
    return np.column_stack([points, _APART * part]) if part.any() else points
