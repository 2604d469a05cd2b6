"""Rows of a table -> padded arrays, so that many curves are one array computation.

Shapes: C curves, n rows (padded), m levels (padded; rows at the same inputs share one), p parameters, D problems of a
curve that are solved side by side (starts, draws, left-out levels, points of a profile).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
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
    covariance of the rows' sampling errors, or ``None``.
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
class Reading:
    """How rows are read: columns of inputs and of their nominal levels, y, replicate; with ``log_y`` the log of y.

    ``apart`` keeps every row as a level of its own (for losses that are not squares); ``weighted`` estimates how the
    variance differs between levels from the spread of the rows at each.
    """

    x: Sequence[str]
    places: Sequence[str]
    y: str
    replicate: str | None
    log_y: bool = False
    apart: bool = False
    weighted: bool = False


def stack(groups: Sequence[pd.DataFrame], how: Reading, sampling: Sequence[Floats | None]) -> Curves:
    """Return the curves of these groups of rows; ``sampling`` their (n, n) covariances."""
    unique = [_levels(group[list(how.x)].to_numpy(float), how.apart) for group in groups]
    count, n = len(groups), max(len(group) for group in groups)
    m = max(len(levels) for levels, _ in unique)
    inputs, at = np.empty((count, m, len(how.x))), np.zeros((count, n), int)
    values, real, exists = np.zeros((count, n)), np.zeros((count, n)), np.zeros((count, m))
    place = np.full((count, m), -1)
    for c, (group, (levels, inverse)) in enumerate(zip(groups, unique, strict=True)):
        inputs[c] = levels[np.minimum(np.arange(m), len(levels) - 1)]  # padding repeats the last level
        at[c, : len(group)] = inverse
        y = group[how.y].to_numpy(float)
        values[c, : len(group)] = np.log(y) if how.log_y else y
        real[c, : len(group)], exists[c, : len(levels)] = 1.0, 1.0
        place[c, inverse] = places(group, how.places)
    columns: dict[str, Floats] = {name: inputs[..., k] for k, name in enumerate(how.x)}
    shared = None if how.replicate is None else _shared(groups, how.replicate, n)
    relative = np.ones((count, m))
    if how.weighted:
        relative = np.stack([_relative(values[c], at[c], real[c], exists[c]) for c in range(count)])
    z = _unit(inputs[..., 0])
    return Curves(columns, z, place, values, at, real, exists, shared, relative, _sampling(sampling, n))


def places(rows: pd.DataFrame, columns: Sequence[str]) -> Ints:
    """Return the number of the nominal level of each row: rows that agree in these columns share one."""
    return np.asarray(rows.groupby(list(columns), dropna=False, observed=True).ngroup(), dtype=int)


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


def _shared(groups: Sequence[pd.DataFrame], replicate: str, n: int) -> Ints | None:
    """Number replicates; a curve with a single replicate, or one row each, tells nothing about their effect."""
    shared = np.tile(np.arange(n), (len(groups), 1))
    informative = False
    for c, group in enumerate(groups):
        codes = pd.factorize(group[replicate])[0]
        if 1 < len(np.unique(codes)) < len(codes):
            shared[c, : len(codes)] = codes
            informative = True
    return shared if informative else None


def _sampling(sampling: Sequence[Floats | None], n: int) -> Floats | None:
    if all(s is None for s in sampling):
        return None
    known = np.zeros((len(sampling), n, n))
    for c, s in enumerate(sampling):
        if s is not None:
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
