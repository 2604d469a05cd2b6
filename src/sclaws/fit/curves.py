"""Rows of a table -> padded arrays, so that many curves are one array computation.

Shapes: C curves, n rows (padded), m levels (padded; rows at the same inputs share one), p parameters, D problems of a
curve that are solved side by side (starts, draws, points of a profile).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sclaws.protocols import Floats, Ints


@dataclass(frozen=True)
class Curves:
    """Some curves, padded to the longest.

    ``x`` one (C, m) array a column, ``z`` (C, m) the first column from 0 (smallest) to 1 (largest), on a log scale
    where all are positive; ``y`` (C, n) on the scale of the criterion; ``at`` (C, n) the level of each row; ``real``
    (C, n) and ``levels`` (C, m) tell padding apart; ``same`` (C, n, n) is 1 where two rows are of one replicate, or
    ``None`` without replicates; ``sampling`` (C, n, n) the known covariance of the rows' sampling errors, or ``None``.
    """

    x: dict[str, Floats]
    z: Floats
    y: Floats
    at: Ints
    real: Floats
    levels: Floats
    same: Floats | None
    sampling: Floats | None

    @property
    def incidence(self) -> Floats:
        """(C, n, m): 1 where a row is at a level; zero for padded rows."""
        n_levels = self.levels.shape[1]
        return np.asarray((self.at[..., None] == np.arange(n_levels)) * self.real[..., None], dtype=float)

    @property
    def n(self) -> Ints:
        """(C,) number of rows."""
        return self.real.sum(axis=1).astype(int)


def stack(
    groups: Sequence[pd.DataFrame],
    x: Sequence[str],
    y: str,
    replicate: str | None,
    sampling: Sequence[Floats | None],
    log_y: bool,
) -> Curves:
    """Return the curves of these groups of rows; ``sampling`` their (n, n) covariances, ``log_y`` takes log y."""
    unique = [np.unique(group[list(x)].to_numpy(float), axis=0, return_inverse=True) for group in groups]
    count, n = len(groups), max(len(group) for group in groups)
    m = max(len(levels) for levels, _ in unique)
    inputs, at = np.empty((count, m, len(x))), np.zeros((count, n), int)
    values, real, exists = np.zeros((count, n)), np.zeros((count, n)), np.zeros((count, m))
    for c, (group, (levels, inverse)) in enumerate(zip(groups, unique, strict=True)):
        inputs[c] = levels[np.minimum(np.arange(m), len(levels) - 1)]  # padding repeats the last level
        at[c, : len(group)] = inverse.ravel()
        values[c, : len(group)] = np.log(group[y].to_numpy(float)) if log_y else group[y].to_numpy(float)
        real[c, : len(group)], exists[c, : len(levels)] = 1.0, 1.0
    columns: dict[str, Floats] = {name: inputs[..., k] for k, name in enumerate(x)}
    same = None if replicate is None else _same(groups, replicate, n)
    return Curves(columns, _unit(inputs[..., 0]), values, at, real, exists, same, _sampling(sampling, n))


def _unit(first: Floats) -> Floats:
    positive = (first > 0).all(axis=1, keepdims=True)
    scale = np.where(positive, np.log(np.where(positive, first, 1.0)), first)
    low, high = scale.min(axis=1, keepdims=True), scale.max(axis=1, keepdims=True)
    return (scale - low) / np.where(high > low, high - low, 1.0)


def _same(groups: Sequence[pd.DataFrame], replicate: str, n: int) -> Floats | None:
    """Rows of one replicate; a curve with a single replicate, or one row each, tells nothing about their effect."""
    same = np.broadcast_to(np.eye(n), (len(groups), n, n)).copy()
    informative = False
    for c, group in enumerate(groups):
        codes = pd.factorize(group[replicate])[0]
        if 1 < len(np.unique(codes)) < len(codes):
            same[c, : len(codes), : len(codes)] = codes[:, None] == codes
            informative = True
    return same if informative else None


def _sampling(sampling: Sequence[Floats | None], n: int) -> Floats | None:
    if all(s is None for s in sampling):
        return None
    known = np.zeros((len(sampling), n, n))
    for c, s in enumerate(sampling):
        if s is not None:
            known[c, : len(s), : len(s)] = s
    return known
