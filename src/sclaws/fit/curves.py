"""Rows of a table -> padded arrays, so that many curves are one array computation.

Shapes: C curves, n rows (padded), m levels (padded; rows at the same inputs share one), p parameters, D problems of a
curve that are solved side by side (starts, draws, left-out levels, points of a profile).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import special

from sclaws.protocols import Floats, Ints


@dataclass(frozen=True)
class Curves:
    """Some curves, padded to the longest.

    ``x`` one (C, m) array a column, ``z`` (C, m) the first column from 0 (smallest) to 1 (largest), on a log scale
    where all are positive; ``place`` (C, m) the number of the nominal level that a level belongs to, -1 for padding;
    ``y`` (C, n) on the scale of the criterion; ``at`` (C, n) the level of each row; ``real`` (C, n) and ``levels``
    (C, m) tell padding apart; ``shared`` (C, n) the number of each row's replicate, or ``None`` without replicates;
    ``relative`` (C, m) the variance of a row at a level in units of the curve's; ``sampling`` (C, n, n) the known
    covariance of the rows' sampling errors, or ``None``; ``ceiling`` (C,) what y cannot exceed, infinite if unknown.
    """

    x: dict[str, Floats]
    z: Floats
    place: Ints
    y: Floats
    at: Ints
    real: Floats
    levels: Floats
    shared: Ints | None
    relative: Floats
    sampling: Floats | None
    ceiling: Floats

    @functools.cached_property
    def spectra(self) -> dict[float, Any]:
        """{ρ: :class:`sclaws.fit.spectra.Spectrum`} of those that have been asked for."""
        return {}

    @property
    def n(self) -> Ints:
        """(C,) number of rows."""
        return self.real.sum(axis=1).astype(int)

    @property
    def count(self) -> Floats:
        """(C, m) number of rows at each level."""
        return self.summed(np.ones_like(self.y))

    def summed(self, values: Floats) -> Floats:
        """Return sums over the rows of each level, (C, m), of values at rows (C, n)."""
        curves, m = self.levels.shape
        cells = self.at + m * np.arange(curves)[:, None]
        weights = (values * self.real).ravel()
        return np.asarray(np.bincount(cells.ravel(), weights, minlength=curves * m), dtype=float).reshape(curves, m)

    def spread(self, values: Floats) -> Floats:
        """Return values at levels (C, m, …) as values at rows (C, n, …), zero for padding."""
        shape = (*self.at.shape, *(1,) * (values.ndim - 2))
        return np.take_along_axis(values, self.at.reshape(shape), axis=1) * self.real.reshape(shape)

    @property
    def members(self) -> Floats:
        """(C, n, K): 1 where a row is of a replicate; zero for padded rows."""
        assert self.shared is not None
        groups = np.arange(self.shared.max() + 1)
        return np.asarray((self.shared[..., None] == groups) * self.real[..., None], dtype=float)


@dataclass(frozen=True)
class Points:
    """The rows of one curve as arrays: ``x`` (n, k) inputs, ``y`` (n,) as measured; ``place`` (n,) numbers of nominal
    levels, ``replicate`` (n,) of replicates, or ``None``; ``sampling`` (n, n), or ``None``; ``ceiling`` of y.
    """

    x: Floats
    y: Floats
    place: Ints
    replicate: Ints | None
    sampling: Floats | None
    ceiling: float = math.inf

    def take(self, some: NDArray[np.bool_]) -> Points:
        """Return some of the rows."""
        known = None if self.sampling is None else self.sampling[np.ix_(some, some)]
        replicate = None if self.replicate is None else self.replicate[some]
        return Points(self.x[some], self.y[some], self.place[some], replicate, known, self.ceiling)


@dataclass(frozen=True)
class Reading:
    """How points become curves: the names of the inputs; with ``log_y`` the log of y.

    ``apart`` keeps every row as a level of its own (for losses that are not squares); ``weighted`` estimates how the
    variance differs between levels from the spread of the rows at each.
    """

    names: Sequence[str]
    log_y: bool = False
    apart: bool = False
    weighted: bool = False


def stack(some: Sequence[Points], how: Reading) -> Curves:
    """Return these curves as one."""
    unique = [_levels(points.x, how.apart) for points in some]
    count, n = len(some), max(len(points.y) for points in some)
    m = max(len(levels) for levels, _ in unique)
    inputs, at = np.empty((count, m, len(how.names))), np.zeros((count, n), int)
    values, real, exists = np.zeros((count, n)), np.zeros((count, n)), np.zeros((count, m))
    place = np.full((count, m), -1)
    for c, (points, (levels, inverse)) in enumerate(zip(some, unique, strict=True)):
        size = len(points.y)
        inputs[c] = levels[np.minimum(np.arange(m), len(levels) - 1)]  # padding repeats the last level
        at[c, :size], place[c, inverse] = inverse, points.place
        values[c, :size] = np.log(points.y) if how.log_y else points.y
        real[c, :size], exists[c, : len(levels)] = 1.0, 1.0
    columns: dict[str, Floats] = {name: inputs[..., k] for k, name in enumerate(how.names)}
    relative = np.ones((count, m))
    if how.weighted:
        relative = np.stack([_relative(values[c], at[c], real[c], exists[c]) for c in range(count)])
    z, shared, sampling = _unit(inputs[..., 0]), _shared(some, n), _sampling(some, n)
    ceiling = np.array([points.ceiling for points in some])
    return Curves(columns, z, place, values, at, real, exists, shared, relative, sampling, ceiling)


def numbered(values: NDArray[Any]) -> Ints:
    """Return the number of each distinct value, in order, or of each distinct row."""
    if values.dtype == object:
        return np.asarray(pd.factorize(pd.Series(list(map(str, values))), sort=True)[0], dtype=int)
    return np.asarray(np.unique(values, axis=0, return_inverse=True)[1], dtype=int).ravel()


def _levels(inputs: Floats, apart: bool) -> tuple[Floats, Ints]:
    if apart:
        return inputs, np.arange(len(inputs))
    levels, inverse = np.unique(inputs, axis=0, return_inverse=True)
    return levels, inverse.ravel()


def _unit(first: Floats) -> Floats:
    positive = (first > 0).all(axis=1, keepdims=True)
    scale = np.where(positive, np.log(np.where(positive, first, 1.0)), first)
    low, high = scale.min(axis=1, keepdims=True), scale.max(axis=1, keepdims=True)
    return (scale - low) / np.where(high > low, high - low, 1.0)


def _shared(some: Sequence[Points], n: int) -> Ints | None:
    """Number replicates; a curve with a single replicate, or one row each, tells nothing about their effect."""
    shared = np.tile(np.arange(n), (len(some), 1))
    informative = False
    for c, points in enumerate(some):
        codes = points.replicate
        if codes is not None and 1 < len(np.unique(codes)) < len(codes):
            shared[c, : len(codes)] = numbered(codes)
            informative = True
    return shared if informative else None


def _sampling(some: Sequence[Points], n: int) -> Floats | None:
    if all(points.sampling is None for points in some):
        return None
    known = np.zeros((len(some), n, n))
    for c, points in enumerate(some):
        if (s := points.sampling) is not None:
            known[c, : len(s), : len(s)] = s
    return known


# ── weights ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def _relative(y: Floats, at: Ints, real: Floats, exists: Floats) -> Floats:
    """Return each level's variance over the curve's: its own spread, moderated by that of all levels (Smyth 2004).

    Two or three rows alone say next to nothing about a variance; how much the levels truly differ follows from how
    much more their log variances scatter than those of equal variances would.
    """
    m = len(exists)
    n = np.bincount(at, real, m)
    mean = np.bincount(at, real * y, m) / np.maximum(n, 1)
    freedom = np.maximum(n - 1, 0)
    square = np.bincount(at, real * (y - mean[at]) ** 2, m)
    known = (freedom > 0) & (square > 0)
    if known.sum() < 3:
        return np.ones(m)
    nu, variance = freedom[known], square[known] / freedom[known]
    logs = np.log(variance) - special.digamma(nu / 2) + np.log(nu / 2)
    excess = logs.var(ddof=1) - special.polygamma(1, nu / 2).mean()
    prior = 2 * _inverse_trigamma(excess) if excess > 1e-3 else 1e6
    centre = np.exp(logs.mean() + special.digamma(prior / 2) - np.log(prior / 2))
    found = (prior * centre + square) / (prior + freedom)
    return np.where(exists > 0, found / np.average(found, weights=np.maximum(n, 1e-9)), 1.0)


def _inverse_trigamma(value: float) -> float:
    """Newton's iteration of Smyth 2004, appendix."""
    at = 0.5 + 1 / value
    for _ in range(20):
        slope = special.polygamma(1, at)
        at += slope * (1 - slope / value) / special.polygamma(2, at)
    return float(at)
