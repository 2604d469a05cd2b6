"""What would settle a curve that does not identify its law: the fewest further levels at which every interval closes.

The levels go on at the step of those there are, on one side, with as many rows each. They are tried on points without
noise on the best fit, with the errors that the curve's own points have: it is a forecast, and holds if the fit does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sclaws.fit.intervals import intervals, inverse
from sclaws.fit.problem import Problem, bounds
from sclaws.fit.weighted import Solution
from sclaws.protocols import Floats

MOST = 4
WIDER = 3.0  # half widths are taken so much wider, for the best fit is uncertain: four in five forecasts then hold
WORDS = ("", "one", "two", "three", "four")
DEPTHS = re.compile("umi|depth|read|count|snr", re.IGNORECASE)  # columns that a law's depth may be called by that name
PLURAL = {"depth": "depths", "cells": "numbers of cells", "size": "sizes"}


@dataclass(frozen=True)
class _Design:
    """A curve ``c`` with ``more`` levels on one side (1 above, -1 below): its levels and the rows at each."""

    c: int
    more: int
    side: int
    levels: Floats
    count: Floats


def advice(found: Solution, which: Sequence[int], noise: Floats, columns: dict[str, str]) -> dict[int, str]:
    """Return {number of a curve: sentence} for these curves; ``noise`` (C,) a point's variance."""
    if len(found.problem.x) != 1:
        return {}
    designs = [design for c in which for design in _designs(found, c)]
    if not designs:
        return {}
    settles = _settles(found, designs, noise)
    out = {}
    for c in sorted({design.c for design in designs}):
        mine = [design for design, good in zip(designs, settles, strict=True) if good and design.c == c]
        out[c] = _sentence(min(mine, key=lambda d: d.more) if mine else None, found, c, columns)
    return out


def _designs(found: Solution, c: int) -> list[_Design]:
    x = next(iter(found.problem.x.values()))[c]
    some = (found.curves.levels[c] > 0) & (x > 0)
    levels = np.sort(x[some])
    if len(levels) < 2 or levels[-1] <= levels[0]:
        return []
    nominal = max(len(np.unique(found.curves.place[c][some])), 2)
    step = (levels[-1] / levels[0]) ** (1 / (nominal - 1))
    rows = np.full(MOST, max(1.0, round(found.curves.n[c] / nominal)))
    k = np.arange(1, MOST + 1)
    beyond = {1: levels[-1] * step**k, -1: levels[0] / step**k}
    count = found.curves.count[c]
    return [
        _Design(c, int(more), side, np.append(x, beyond[side][:more]), np.append(count, rows[:more]))
        for side in (1, -1)
        for more in k
    ]


def _settles(found: Solution, designs: list[_Design], noise: Floats) -> list[bool]:
    """Return for each design whether every interval would close; not where the fit has no value at the new levels."""
    old, role = found.problem, next(iter(found.problem.x))
    m = max(len(design.levels) for design in designs)
    which = np.array([design.c for design in designs])
    x, count = np.empty((len(designs), m)), np.zeros((len(designs), m))
    for i, design in enumerate(designs):
        x[i] = design.levels[np.minimum(np.arange(m), len(design.levels) - 1)]
        count[i, : len(design.levels)] = design.count
    t = found.t[which]
    target = Problem(old.law, {role: x}, old.low[which], old.high[which], old.log_y).predict(t[:, None])
    good = np.asarray(np.isfinite(target).all(axis=(1, 2)))
    if good.any():
        x, count, t, target = x[good], count[good], t[good], target[good]
        least = _problem(old.take(which[good]), role, x, count, t, target)
        good[good] = _closes(least, t, target, count, noise[which[good]])
    return [bool(one) for one in good]


def _problem(old: Problem, role: str, x: Floats, count: Floats, t: Floats, target: Floats) -> Problem:
    """Return the law on the designs, with the bounds that it would have there."""
    y = np.exp(target[:, 0]) if old.log_y else target[:, 0]
    ends = [bounds(old.law, {role: u[n > 0]}, v[n > 0]) for u, v, n in zip(x, y, count, strict=True)]
    low, high = (np.stack(side) for side in zip(*ends, strict=True))
    high = np.minimum(np.maximum(high, t), old.ceiling)
    return replace(old, x={role: x}, low=np.minimum(low, t), high=high)


def _closes(problem: Problem, t: Floats, target: Floats, count: Floats, noise: Floats) -> NDArray[np.bool_]:
    slopes = np.nan_to_num(np.stack([s[:, 0] for s in problem.jacobian(t[:, None], target)], axis=-1))
    weighted = np.diagonal(inverse((slopes * count[..., None]).mT @ slopes), axis1=1, axis2=2)
    freedom = np.maximum(count.sum(axis=1) - t.shape[1], 1)
    half = (WIDER * stats.t.ppf(0.975, freedom) * np.sqrt(noise))[:, None] * np.sqrt(weighted)
    made = intervals(problem, target, np.sqrt(count)[:, None], t, np.zeros(len(t)), half, weighted)
    return np.asarray(made.settled(problem).all(axis=1), dtype=bool)


def _sentence(design: _Design | None, found: Solution, c: int, columns: dict[str, str]) -> str:
    role = next(iter(found.problem.x))
    noun = PLURAL.get(role, "levels") if role != "depth" or DEPTHS.search(columns[role]) else "levels"
    if design is None:
        return f"{WORDS[MOST]} more {noun} on either side would not settle it"
    x = next(iter(found.problem.x.values()))[c][found.curves.levels[c] > 0]
    noun = noun if design.more > 1 else {"numbers of cells": "number of cells"}.get(noun, noun.removesuffix("s"))
    edge, last = (x.max() if design.side > 0 else x[x > 0].min()), design.levels[-1]
    side = "above" if design.side > 0 else "below"
    reach = f"{'up' if design.side > 0 else 'down'} to {_plain(last)}"
    text = f"{WORDS[design.more]} more {noun} {side} {_plain(edge)} {columns[role]} ({reach})"
    return f"{text} would settle it, if the best fit holds"


def _plain(value: float) -> str:
    return f"{float(f'{value:.2g}'):,.0f}" if 10 <= value < 1e7 else f"{value:.2g}"
