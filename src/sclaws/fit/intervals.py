"""95 % intervals by profile: how far a parameter can move, the others following, before the fit is clearly worse.

The rise of the cost that still counts is the square of half the parameter's interval under the full covariance
(:mod:`sclaws.fit.scatter`), over its variance in the fit's own weights: a profile adjusted to the errors there are
(Chandler & Bate 2007, Biometrika 94), equal to the textbook one where the weights are exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from sclaws.fit.problem import Problem, cholesky_solve
from sclaws.fit.solver import solve
from sclaws.protocols import Floats

ROUNDS = 26
SURE = (stats.norm.ppf(0.995) / stats.norm.ppf(0.975)) ** 2


@dataclass(frozen=True)
class Intervals:
    """``low`` and ``high`` (C, p) on the searched scale; infinite where the profile does not close within bounds.

    ``sure`` (C, 2p) whether an end, the low ones first, would close at 99 %, too: one in forty profiles of a parameter
    that the data say nothing of closes at 95 % by chance.
    """

    low: Floats
    high: Floats
    sure: NDArray[np.bool_]

    def settled(self, problem: Problem) -> NDArray[np.bool_]:
        """Return (C, p): does an interval close, and surely?

        Running into 0 closes where 0 is the declared limit; above, a known ceiling closes every interval.
        """
        p = self.low.shape[1]
        natural = (problem.declared[0] == 0) & (problem.low == 0) & ~np.array(problem.is_log)
        below = self.sure[:, :p] | (natural & (self.low == -np.inf))
        return np.asarray(below & (self.sure[:, p:] | problem.capped))


@dataclass(frozen=True)
class _Ends:
    """The search for 2p ends a curve: all (C, 2p), but ``others`` (C, 2p, p), the parameters at ``inside``."""

    inside: Floats
    rise_in: Floats
    outside: Floats
    rise_out: Floats
    others: Floats

    @property
    def bracketed(self) -> NDArray[np.bool_]:
        return np.isfinite(self.outside)


def intervals(
    problem: Problem, target: Floats, weight: Floats, t: Floats, cost: Floats, half: Floats, weighted: Floats
) -> Intervals:
    """Return the intervals of (C, p) optima ``t`` with their (C,) costs, for ``target`` and ``weight`` (C, 1, m).

    ``half`` (C, p) the half widths under the full covariance, were the law a straight line there; ``weighted`` (C, p)
    the variances in the fit's weights.
    """
    p = t.shape[1]
    limit = np.tile(half**2 / weighted, 2)
    side = np.repeat([-1.0, 1.0], p)
    bound = np.concatenate([problem.low, problem.high], axis=1)
    centre = np.tile(t, 2)
    reach = np.tile(np.minimum(half, problem.high - problem.low), 2)
    reach = np.maximum(reach, 1e-12 * (1 + np.abs(centre)))
    nothing = np.full(centre.shape, np.inf)
    ends = _Ends(centre, np.zeros_like(centre), nothing, nothing, np.tile(t[:, None, :], (1, 2 * p, 1)))
    for i in range(ROUNDS):
        nudge = 0.02 if i % 2 else -0.02  # looks on both sides of where the root should be: the bracket closes fast
        trial = np.where(
            ends.bracketed, _between(ends, limit, nudge), _outward(ends.inside, side, reach * 1.7**i, bound)
        )
        ends = _look(problem, target, weight, cost, ends, trial, limit)
        settled = np.abs(ends.outside - ends.inside) <= 1e-3 * reach
        if (settled | (~ends.bracketed & (ends.inside == bound))).all():
            break
    closed = ends.bracketed & ~_cornered(problem, t, ends.others)
    found = np.where(closed, _between(ends, limit), side * np.inf)
    _, furthest = _rise(problem, target, weight, cost, ends, np.where(closed, bound, ends.inside))
    sure = closed & ~(furthest < SURE * limit)
    return Intervals(found[:, :p], found[:, p:], sure)


def _cornered(problem: Problem, t: Floats, others: Floats) -> NDArray[np.bool_]:
    """Return (C, 2p): does an end close only because another parameter has run into the edge of the search?

    An edge that the law itself declares is no edge of the search, but part of the law; nor is a known ceiling.
    """
    p = t.shape[1]
    declared_low, declared_high = problem.declared
    low, high = problem.low[:, None], problem.high[:, None]
    own_edge = (problem.high < declared_high) & ~problem.capped
    at_edge = ((others <= low) & (low > declared_low)) | ((others >= high) & own_edge[:, None])
    left = (t[:, None] > low) & (t[:, None] < high)  # it was not there at the optimum
    own = np.tile(np.eye(p, dtype=bool), (2, 1))
    return np.asarray((at_edge & left & ~own).any(axis=-1))


def _outward(inside: Floats, side: Floats, step: Floats, bound: Floats) -> Floats:
    moved = inside + side * step
    return np.where(side > 0, np.minimum(moved, bound), np.maximum(moved, bound))


def _between(ends: _Ends, limit: Floats, nudge: float = 0.0) -> Floats:
    """Interpolate the root of the rise, which is nearly a straight line, and stay inside the bracket."""
    low, high, aim = np.sqrt(ends.rise_in), np.sqrt(np.minimum(ends.rise_out, 1e30)), np.sqrt(limit)
    share = np.clip((aim - low) / np.maximum(high - low, 1e-300) + nudge, 0.01, 0.99)
    outside = np.where(ends.bracketed, ends.outside, ends.inside)
    return np.asarray(ends.inside + share * (outside - ends.inside))


def _look(
    problem: Problem, target: Floats, weight: Floats, cost: Floats, ends: _Ends, trial: Floats, limit: Floats
) -> _Ends:
    t, rise = _rise(problem, target, weight, cost, ends, trial)
    within = rise < limit
    return replace(
        ends,
        inside=np.where(within, trial, ends.inside),
        rise_in=np.where(within, rise, ends.rise_in),
        outside=np.where(within, ends.outside, trial),
        rise_out=np.where(within, ends.rise_out, rise),
        others=np.where(within[..., None], t, ends.others),
    )


def _rise(
    problem: Problem, target: Floats, weight: Floats, cost: Floats, ends: _Ends, trial: Floats
) -> tuple[Floats, Floats]:
    """Return the parameters (C, 2p, p) of the best fits that hold one parameter at a trial, and what they cost more."""
    p = problem.low.shape[1]
    which = np.tile(np.eye(p, dtype=bool), (2, 1))  # (2p, p): the parameter that is held
    start = np.where(which, trial[..., None], ends.others)
    t, found = solve(problem, target, weight, start, ~which, iterations=30, close=1e-8)
    return t, np.maximum(found - cost[:, None], 0.0)


def inverse(hessian: Floats) -> Floats:
    """Return the inverses of (C, p, p) matrices, scaled first and lightly regularised where a parameter is mute."""
    size = np.sqrt(np.maximum(np.diagonal(hessian, axis1=-2, axis2=-1), 1e-300))
    scaled = hessian / (size[..., None, :] * size[..., None])
    p = size.shape[-1]
    columns = [cholesky_solve(scaled, np.broadcast_to(np.eye(p)[k], size.shape), 1e-12) for k in range(p)]
    return np.stack(columns, axis=-1) / (size[..., None, :] * size[..., None])
