"""One curve of a metric: where it saturates under each rule (:mod:`sclaws.saturation`), and how sure that is.

Intervals of levels are from resamples. Replicates are drawn anew with replacement, the same at all levels where all
have the same three or more, else at each level; their distance from the mean is widened by √(R/(R − 1)), because R of
them scatter less about their own mean than about the truth. What the test cells have in common over replicates comes
from the table's draws (:mod:`sclaws.multiplier`). One replicate without draws has no interval. Resamples of so few know
too little of a mean (two of them hold it in 6 of 10 cases): intervals of means are Student's, of all levels' scatter.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from sclaws.multiplier import DRAWS
from sclaws.protocols import Floats

RULES = ("published", "mean", "gain")
POINTS = ("level", "value", "low", "high", "replicates")
RESAMPLES = 1000
NONE = "no gain"


@dataclass(frozen=True)
class Level:
    """One level of a curve: where it is, its R ``values`` with the replicates' ``names``, and ``draws`` (R, 64)."""

    at: float
    values: Floats
    names: tuple[str, ...]
    draws: Floats

    @property
    def common(self) -> Floats:
        """(64,) deviations of the mean that replicates do not show, because they share their test cells."""
        mean, r = self.draws.mean(axis=0), len(self.draws)
        whole = float(mean @ mean)
        if r == 1 or not whole > 0:
            return np.asarray(mean)
        own = float((self.draws**2).sum())
        shared = (whole * r**2 - own) / (r * (r - 1))  # of two different replicates
        return np.asarray(mean * math.sqrt(min(max(shared / whole, 0.0), 1.0)))


@dataclass(frozen=True)
class Curve:
    """The levels of a curve in ascending order, that of the untrained model, if any, and whether smaller is better."""

    levels: tuple[Level, ...]
    untrained: Level | None
    falls: bool

    def judged(self, share: float, rng: np.random.Generator) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Return what stands in the row of the curve, and a row a level of its means."""
        own, again = [one.values[None] for one in self._all], self._again(rng)
        covers = self._covers
        ats = np.array([*(one.at for one in self.levels), math.inf])  # the last: no level
        found = {rule: ats[where] for rule, where in self._rules(own, share).items()}
        many = {rule: ats[where] for rule, where in self._rules(again, share).items()}
        gains, gain = self._gains(again), self._gains(own)
        best = self._best(self._means(own)[0])
        row: dict[str, Any] = {"levels": len(self.levels), "whole": self.levels[-1].at, "best": best}
        row["replicates"] = min(len(one.values) for one in self.levels)
        row |= self._gained(gain, gains, bool(covers)) | {"covers": covers}
        for rule in RULES:
            at = float(found[rule][0]) if rule in found else math.nan
            known = math.isfinite(at) and not (rule == "gain" and row["gained"] == NONE)
            ends = (
                np.quantile(many[rule], [0.025, 0.975], method="inverted_cdf") if known and covers else [math.nan] * 2
            )
            row |= dict(zip((rule, f"{rule}_low", f"{rule}_high"), (at if known else math.nan, *ends), strict=True))
        return row, self._points(bool(covers))

    @property
    def _all(self) -> list[Level]:
        return [*([self.untrained] if self.untrained else []), *self.levels]

    @property
    def _covers(self) -> str:
        parts = ["replicates"] if min(len(one.values) for one in self.levels) > 1 else []
        parts += ["test cells"] if any(one.draws.any() for one in self.levels) else []
        return " and ".join(parts)

    def _again(self, rng: np.random.Generator) -> list[Floats]:
        """Return (n, R) values of each level, as if its replicates were run anew on other test cells."""
        same = len({one.names for one in self._all}) == 1 and len(self.levels[0].names) > 2
        signs = rng.standard_normal((RESAMPLES, DRAWS)) / math.sqrt(DRAWS)
        picks, made = np.zeros(0, dtype=int), []
        for one in self._all:
            r = len(one.values)
            if not (same and picks.size):
                picks = rng.integers(r, size=(RESAMPLES, r))
            mean = one.values.mean()
            wide = math.sqrt(r / (r - 1)) if r > 1 else 0.0
            made.append(mean + wide * (one.values[picks] - mean) + (signs @ one.common)[:, None])
        return made

    def _rules(self, values: Sequence[Floats], share: float) -> dict[str, Any]:
        """Return (n,) the number of the level by each rule, one past the last where there is none."""
        trained = values[-len(self.levels) :]
        single = np.stack([v.min(axis=1) if self.falls else v.max(axis=1) for v in trained], axis=1)
        found = {
            "published": self._first(single, share, self.falls, strict=True),
            "mean": self._first(self._means(values), share, self.falls),
        }
        gains = self._gains(values)
        return found if gains is None else found | {"gain": self._first(gains, share, falls=False)}

    def _first(self, values: Floats, share: float, falls: bool, strict: bool = False) -> Any:
        """Return the first level within the share of the best, for values (n, levels)."""
        best = (values.min(axis=1) if falls else values.max(axis=1))[:, None]
        bar = best / share if falls else best * share
        ahead = bar - values if falls else values - bar
        reached = ((ahead > 0) if strict else (ahead >= 0)) & (best > 0)
        return np.where(reached.any(axis=1), reached.argmax(axis=1), len(self.levels))

    def _means(self, values: Sequence[Floats]) -> Floats:
        return np.stack([v.mean(axis=1) for v in values[-len(self.levels) :]], axis=1)

    def _gains(self, values: Sequence[Floats]) -> Floats | None:
        if self.untrained is None:
            return None
        gain = self._means(values) - values[0].mean(axis=1)[:, None]
        return -gain if self.falls else gain

    def _best(self, means: Floats) -> float:
        return float(means.min() if self.falls else means.max())

    def _gained(self, gain: Floats | None, gains: Floats | None, known: bool) -> dict[str, Any]:
        """Return whether there is a gain. The largest of several is large by chance, too: its limit allows for it."""
        if gain is None or gains is None or self.untrained is None:
            return {"gained": "", "untrained": math.nan, "largest_gain": math.nan, "gain_at_least": math.nan}
        most = float(gain.max())
        reach = float(np.quantile((gains - gain).max(axis=1), 0.975)) if known else 0.0
        least = most - max(reach, 0.0)
        said = {"gained": "gain" if least > 0 else NONE, "untrained": float(self.untrained.values.mean())}
        return said | {"largest_gain": most, "gain_at_least": least if known else math.nan}

    def _points(self, known: bool) -> list[dict[str, Any]]:
        """Return the means with Student's intervals; a replicate's variance is taken to be the same at all levels."""
        freedom = sum(len(one.values) - 1 for one in self._all)
        squares = sum(float(((one.values - one.values.mean()) ** 2).sum()) for one in self._all)
        reach = float(stats.t.ppf(0.975, freedom)) * math.sqrt(squares / freedom) if freedom else 0.0
        rows = []
        for one in self._all:
            own, common = reach**2 / len(one.values), 1.96**2 * float(one.common @ one.common) / DRAWS
            mean, half = float(one.values.mean()), math.sqrt(own + common) if known else math.nan
            numbers = (one.at, mean, mean - half, mean + half, len(one.values))
            rows.append(dict(zip(POINTS, numbers, strict=True)))
        return rows
