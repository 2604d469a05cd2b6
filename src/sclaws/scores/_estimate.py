"""What the scores share: the check of what comes in, and the interval of what goes out."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sclaws import multiplier
from sclaws.errors import ScoreError
from sclaws.hashing import mix, ranked
from sclaws.protocols import Estimate, Floats, Ids, Ints

FEWEST = 50  # cells below which no information is estimated: an interval would be as wide as any answer
_FEWEST_GROUPS = 5  # below this a spread between groups is a guess, so cells are resampled instead
_SALT = np.uint64(0x5C1A35)


@dataclass(frozen=True)
class Units:
    """What is resampled: ``ids`` (n,), equal within a unit; ``count`` units; ``note``, a sentence for a fallback."""

    ids: Ids
    count: int
    note: str = ""

    @classmethod
    def of(cls, n: int, ids: Ids | None, groups: Ints | None) -> Units:
        """Return groups as units, or else what the ids name; cells, with a note, where that makes fewer than five."""
        own = default_ids(n) if ids is None else np.asarray(ids, dtype=np.uint64)
        named = own if groups is None else mix(np.asarray(groups).astype(np.int64).astype(np.uint64) ^ _SALT)
        count = len(np.unique(named))
        if count >= min(n, _FEWEST_GROUPS):
            return cls(named, count)
        return cls(distinct(own), n, f"interval over cells: only {count} group{'s' * (count != 1)}")


def default_ids(n: int) -> Ids:
    """Return ids (n,) by position, for arrays whose cells have no names."""
    return np.arange(1, n + 1, dtype=np.uint64)


def distinct(ids: Ids) -> Ids:
    """Return ids (n,) that differ between the rows of one unit, and are the same in any order of the units."""
    order = np.argsort(ids, kind="stable")
    starts = np.flatnonzero(np.r_[True, ids[order][1:] != ids[order][:-1]])
    repeat = np.empty(len(ids), dtype=np.uint64)
    repeat[order] = np.arange(len(ids)) - np.repeat(starts, np.diff(np.r_[starts, len(ids)]))
    return mix(ids ^ mix(repeat))


@dataclass(frozen=True)
class Sample:
    """Checked arrays, in the order of their hashed ids.

    ``x`` (n, d) finite floats; ``y`` (n,) label codes 0..K-1 or (n, k) finite floats.
    """

    x: NDArray[np.float64]
    y: NDArray[Any]
    ids: Ids
    groups: Ints | None

    @property
    def is_label(self) -> bool:
        """Whether ``y`` is a label."""
        return self.y.ndim == 1

    @property
    def units(self) -> Units:
        """What is resampled."""
        return Units.of(len(self.x), self.ids, self.groups)

    def classes_of(self, fewest: int, score: str) -> tuple[Sample, str]:
        """Return the cells whose class has at least ``fewest`` of them, and a sentence when classes were left out."""
        large = np.bincount(self.y) >= fewest
        keep = large[self.y]
        if large.sum() < 2 or keep.sum() < FEWEST:
            raise ScoreError(
                f"{score}: {large.sum()} classes have at least {fewest} cells ({keep.sum()} cells in all); "
                f"two classes and {FEWEST} cells are needed: merge classes, or test on more cells"
            )
        if large.all():
            return self, ""
        codes = np.unique(self.y[keep], return_inverse=True)[1].reshape(-1)
        groups = None if self.groups is None else self.groups[keep]
        left_out = f"{np.sum(~large)} of {len(large)} classes left out: fewer than {fewest} cells"
        return Sample(self.x[keep], codes, self.ids[keep], groups), left_out


def sample(x: Floats, y: NDArray[Any], groups: Ints | None, ids: Ids | None) -> Sample:
    """Return the checked sample; raise ``ScoreError`` for unequal lengths, NaN, under 50 cells or a constant signal.

    A one-dimensional ``y`` of integers, booleans or text is a label; floats, and anything two-dimensional, continuous.
    """
    x, y = np.asarray(x), np.asarray(y)
    if groups is not None and np.asarray(groups).dtype.kind not in "iub":
        groups = _codes(groups)
    for name, part in (("y", y), ("groups", groups), ("ids", ids)):
        if part is not None and len(part) != len(x):
            raise ScoreError(f"x has {len(x)} rows and {name} has {len(part)}: give one row for each cell in both")
    if len(x) < FEWEST:
        raise ScoreError(f"too few cells: {len(x)}, and information needs at least {FEWEST}; test on more cells")
    x = _floats(x, "embedding")
    if y.ndim == 1 and y.dtype.kind in "iubOUS":
        y = _codes(y)
        if y.max() == 0:
            raise ScoreError("the label has only one class among these cells: its information is zero by definition")
    else:
        y = _floats(y, "signal")
        # the partner of a constant embedding is as constant, and known: 0 bits
        if not varying(y).any() and varying(x).any():
            raise ScoreError("the signal is constant among these cells: there is nothing to know about it")
    own = default_ids(len(x)) if ids is None else np.asarray(ids, dtype=np.uint64)
    order = ranked(distinct(own), 0)  # batches and folds are then the same in whatever order cells come
    return Sample(x[order], y[order], own[order], None if groups is None else np.asarray(groups)[order])


def seeded(seed: int) -> int:
    """Return a seed that every library takes; ``ScoreError`` for a negative one."""
    if seed < 0:
        raise ScoreError(f"seed = {seed} must not be negative")
    return int(seed) % 2**31


def ceiling(values: Floats) -> float:
    """Return the bits beyond which nothing can be known of rows (n, d) that repeat: their entropy; else infinity."""
    codes = np.unique(values, axis=0, return_inverse=True)[1].reshape(-1)
    return entropy(codes) if codes.max() + 1 <= len(codes) / 2 else math.inf


def most_bits(given: Sample) -> float:
    """Return the bits that repeated rows of either side allow at most."""
    y = math.inf if given.is_label else ceiling(given.y)
    return min(ceiling(given.x), y)


def copies(given: Sample) -> str:
    """Return a warning when more than a tenth of the cells are copies of others, on both sides."""
    both = np.column_stack([given.x, given.y])
    again = len(both) - len(np.unique(both, axis=0))
    return f"{again} of {len(both)} cells are copies of others: leave them out" if again > 0.1 * len(both) else ""


def _codes(values: NDArray[Any]) -> Ints:
    """Return codes 0..K-1 of labels or groups (n,); ``ScoreError`` where one is missing."""
    values = np.asarray(values)
    if values.dtype.kind == "O":
        missing = [i for i, v in enumerate(values) if v is None or v != v]
        if missing:
            raise ScoreError(
                f"{len(missing)} labels or groups are missing, first in row {missing[0]}: leave those cells out"
            )
        values = values.astype(str)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise ScoreError("some groups are not finite numbers: leave those cells out")
    return np.asarray(np.unique(values, return_inverse=True)[1].reshape(-1))


def _floats(values: NDArray[Any], what: str) -> NDArray[np.float64]:
    try:
        out = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ScoreError(f"the {what} is not made of numbers (dtype {values.dtype})") from error
    out = out.reshape(len(out), int(np.prod(out.shape[1:])))
    bad = ~np.isfinite(out)
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise ScoreError(
            f"the {what} has {bad.sum()} values that are not finite, first {out[row, column]} in row {row}, "
            f"column {column}: a diverged model, or missing values that the signal should leave out"
        )
    return out


def varying(values: Floats) -> NDArray[np.bool_]:
    """Return which columns of (n, d) vary by more than rounding."""
    if values.shape[1] == 0:
        return np.zeros(0, dtype=bool)
    return np.asarray(np.ptp(values, axis=0) > 1e-12 * np.abs(values).max(axis=0))


def standardised(values: Floats) -> NDArray[np.float64]:
    """Return the varying columns of (n, d) at mean zero and variance one; huge values do not overflow."""
    kept = values[:, varying(values)]
    kept = kept / np.abs(kept).max(axis=0)
    kept = kept - kept.mean(axis=0)
    return np.asarray(kept / kept.std(axis=0))


def entropy(codes: Ints) -> float:
    """Return the entropy of label codes (n,) in bits, from their frequencies."""
    share = np.bincount(codes) / len(codes)
    share = share[share > 0]
    return float(-np.sum(share * np.log2(share)))


def dealt(given: Sample, folds: int, seed: int) -> tuple[Ints, str]:
    """Return the (n,) fold of each cell, and a sentence for a fallback.

    Whole groups, when there are two or more and folds then differ little in size; cells otherwise, a label's class by
    class.
    """
    n, note = len(given.y), ""
    if given.groups is not None:
        codes = np.unique(given.groups, return_inverse=True)[1].reshape(-1)
        size = np.bincount(codes)
        if len(size) > 1:
            place = _parted(size, folds, seed)
            if np.bincount(place, weights=size).min() >= n / (4 * folds):
                return place[codes], ""
            note = "folds over cells: the groups are too unequal"
        else:
            note = "folds over cells: only 1 group"
    order = ranked(distinct(given.ids), seed)
    if given.is_label:
        order = order[np.argsort(given.y[order], kind="stable")]
    fold = np.empty(n, dtype=np.int64)
    fold[order] = np.arange(n) % folds
    return fold, note


def _parted(size: Ints, folds: int, seed: int) -> Ints:
    """Return the fold of each group: the largest first, each to the fold that holds least; ties in hashed order."""
    place, held = np.empty(len(size), dtype=np.int64), np.zeros(min(folds, len(size)))
    order = ranked(np.arange(len(size), dtype=np.uint64), seed)
    for group in order[np.argsort(-size[order], kind="stable")]:
        place[group] = int(np.argmin(held))
        held[place[group]] += size[group]
    return place


def one_thread() -> Any:
    """Return a context in which BLAS uses one thread: matrices here are small, and threads that wait for each other
    on a busy machine cost ten times more than they save. It also makes the numbers independent of their number.
    """
    return _libraries(len(sys.modules)).limit(limits=1, user_api="blas")


@functools.lru_cache(maxsize=1)
def _libraries(loaded: int) -> Any:
    """Return the libraries with threads of their own, looked for anew when modules were loaded since: it takes 5 ms."""
    from threadpoolctl import ThreadpoolController

    del loaded
    return ThreadpoolController()


def constant_embedding(given: Sample, **details: Any) -> Estimate:
    """Return zero bits exactly: what a constant embedding knows, whatever the signal."""
    none = (0.0,) * multiplier.DRAWS
    return Estimate(0.0, 0.0, 0.0, 0.0, "bits", len(given.x), "the embedding is constant", details, none)


def estimate(
    value: float,
    influence: Floats,
    units: Units,
    *,
    unit: str = "bits",
    stderr: float | None = None,
    bounds: tuple[float, float] = (-math.inf, math.inf),
    verdicts: tuple[str, ...] = (),
    details: Mapping[str, Any] | None = None,
) -> Estimate:
    """Return value ± t · stderr with draws that agree with it.

    ``influence`` (n,) is each cell's influence on the value, in its unit. ``stderr`` replaces the influence's own
    standard error where theory knows better; draws are scaled to it, so that their variance is stderr². t is
    Student's with as many degrees of freedom as units, less one. ``bounds`` clip value, low and high, not the draws.
    """
    if not (math.isfinite(value) and np.isfinite(influence).all()):
        raise ScoreError("the estimate is not a finite number: too few cells differ for this score; test on more cells")
    own = multiplier.standard_error(influence, units.ids)
    stderr = own if stderr is None else stderr
    # draws have the variance of a sum of squares; standard_error also has G / (G - 1)
    scale = stderr / own * math.sqrt(units.count / (units.count - 1)) if own > 0 else 0.0
    half = half_width(stderr, units)
    value, low, high = (float(np.clip(v, *bounds)) for v in (value, value - half, value + half))
    sentences = [v for v in (*verdicts, units.note) if v]
    draws = tuple(float(v) for v in scale * multiplier.draws(influence, units.ids))
    return Estimate(
        value, low, high, float(stderr), unit, len(influence), "; ".join(sentences) or "ok", dict(details or {}), draws
    )


def half_width(stderr: float, units: Units) -> float:
    """Return half of a 95 % interval: Student's t with as many degrees of freedom as units, less one."""
    from scipy import stats

    return float(stats.t.ppf(0.975, units.count - 1)) * stderr
