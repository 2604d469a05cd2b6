"""One law on many curves: the least-squares fit, what it leaves, and how well each parameter is then known.

The estimate is plain least squares, or each level is weighed by the inverse of its variance; correlations never enter
the weights, since a fit that is weighed by them may pass beside all of its points (Peelle's puzzle). They enter the
intervals, which use the full covariance and so are right for these weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.random import Generator

from sclaws.errors import FitError
from sclaws.fit import solver
from sclaws.fit.curves import Curves
from sclaws.fit.intervals import inverse
from sclaws.fit.problem import Problem, bounds, ceilings, trust
from sclaws.fit.scatter import Scatter, scatter
from sclaws.fit.starts import starts
from sclaws.protocols import Floats, Law

CLOSE = 1e-6  # a draw need not be more exact than its own error
STAGES = 8  # from least squares to a small delta of Huber's loss


@dataclass(frozen=True)
class Solution:
    """The best fit of a law to each of C curves.

    ``t`` (C, p) on the searched scale with its (C,) ``cost``; ``target`` and root ``weight`` (C, 1, m) of the levels;
    ``fitted`` (C, n); ``half`` (C, p) half widths of 95 % intervals under the full covariance, were the law straight;
    ``weighted`` (C, p) variances in the fit's own weights; ``aicc`` (C,).
    """

    problem: Problem
    curves: Curves
    t: Floats
    cost: Floats
    target: Floats
    weight: Floats
    fitted: Floats
    scatter: Scatter
    half: Floats
    weighted: Floats
    aicc: Floats

    @property
    def residual(self) -> Floats:
        """(C, n) residuals, zero for padding."""
        return (self.curves.y - self.fitted) * self.curves.real

    def draws(self, generators: list[Generator], count: int) -> Floats:
        """Return (C, count, p) refits to simulated points: a parametric bootstrap.

        With Huber's loss, which is for errors that no normal describes, refits to points drawn with replacement.
        """
        start = np.repeat(self.t[:, None, :], count, axis=1)
        if math.isfinite(self.problem.delta):
            weight = self.weight * np.sqrt(_counts(self.curves, generators, count))
            return solver.solve(self.problem, self.target, weight, start, iterations=60, close=CLOSE)[0]
        noise = self.scatter.noise(generators, count) @ _means(self.curves)
        simulated = self.problem.predict(self.t[:, None, :]) + noise
        return solver.solve(self.problem, simulated, self.weight, start, iterations=40, close=CLOSE)[0]

    def left_out(self) -> Floats:
        """Return (C,) root mean squared errors of rows that are predicted from a fit without their nominal level."""
        numbers = np.arange(self.curves.place.max() + 1)
        kept = (self.curves.place[:, None, :] != numbers[None, :, None]).astype(float)  # (C, D, m)
        start = np.repeat(self.t[:, None, :], len(numbers), axis=1)
        t = solver.solve(self.problem, self.target, self.weight * kept, start, iterations=40, close=CLOSE)[0]
        at = np.maximum(self.curves.place, 0)[:, None, :]
        predicted = np.take_along_axis(self.problem.predict(t), at, axis=1)[:, 0]
        error = (self.curves.y - self.curves.spread(predicted)) * self.curves.real
        return np.sqrt((error**2).sum(axis=1) / self.curves.n)


@np.errstate(all="ignore")
def solve(law: Law, columns: dict[str, str], curves: Curves, log_y: bool, delta: float = math.inf) -> Solution:
    """Return the fits of ``law``, whose roles are bound by ``columns`` {role: column}; raises ``FitError``."""
    x = {role: curves.z if column == "z" else curves.x[column] for role, column in columns.items()}
    low, high = _bounds(law, x, curves, log_y)
    top = ceilings(law, low, curves.ceiling)
    problem = Problem(law, x, low, np.minimum(high, top), log_y, ceiling=top)
    count = curves.count
    target = (curves.summed(curves.y) / np.maximum(count, 1))[:, None, :]
    weight = np.sqrt(count / curves.relative)[:, None, :]
    iterations = 4 if all(param.linear for param in problem.params.values()) else 80  # then starts are the answer
    many, costs = solver.solve(problem, target, weight, starts(problem, target, weight), iterations=iterations)
    t, cost = solver.best(many, costs)
    if not np.isfinite(cost).all():
        where = ", ".join(columns.values())
        raise FitError(
            f"{type(law).__name__} gives no finite value at some point: does it allow {where} = 0, or numbers of this "
            "size? leave out the law or the row"
        )
    if math.isfinite(delta):
        problem, t, cost = _robust(problem, target, weight, many, delta)
    return _described(problem, curves, t, cost, target, weight)


def _robust(
    problem: Problem, target: Floats, weight: Floats, many: Floats, delta: float
) -> tuple[Problem, Floats, Floats]:
    """Follow the minimum from least squares to Huber's loss, because a small delta alone makes it hard to find."""
    rest = np.abs(target - problem.predict(many))
    widest = max(float(rest[np.isfinite(rest)].max()), delta)
    for stage in np.geomspace(widest, delta, STAGES):
        problem = replace(problem, delta=float(stage))
        many, costs = solver.solve(problem, target, weight, many, iterations=200, close=1e-13)
    t, cost = solver.best(many, costs)
    return problem, t, cost


def _bounds(law: Law, x: dict[str, Floats], curves: Curves, log_y: bool) -> tuple[Floats, Floats]:
    both = []
    for c in range(len(curves.y)):
        some = curves.levels[c] > 0
        y = curves.y[c][curves.real[c] > 0]
        both.append(bounds(law, {role: v[c][some] for role, v in x.items()}, np.exp(y) if log_y else y))
    return np.stack([low for low, _ in both]), np.stack([high for _, high in both])


def _means(curves: Curves) -> Floats:
    """Return (C, n, m): what takes values at rows to their means at levels."""
    at = curves.at[..., None] == np.arange(curves.levels.shape[1])
    return np.asarray(at * curves.real[..., None] / np.maximum(curves.count, 1)[:, None, :])


def _counts(curves: Curves, generators: list[Generator], count: int) -> Floats:
    """Return (C, count, m): how often each row, a level of its own, is drawn with replacement."""
    out = np.zeros((len(generators), count, curves.levels.shape[1]))
    for c, (generator, n) in enumerate(zip(generators, curves.n, strict=True)):
        out[c, :, :n] = generator.multinomial(n, np.full(n, 1 / n), size=count)
    return out


def _described(problem: Problem, curves: Curves, t: Floats, cost: Floats, target: Floats, weight: Floats) -> Solution:
    f = problem.predict(t[:, None])
    slopes = np.nan_to_num(np.stack([column[:, 0] for column in problem.jacobian(t[:, None], f)], axis=-1))
    fitted = curves.spread(f[:, 0])
    found = scatter(curves, (curves.y - fitted) * curves.real, curves.spread(slopes))
    root = weight[:, 0] * np.broadcast_to(trust(problem, target - f), weight.shape)[:, 0]
    half, weighted = _widths(found, curves, slopes, root)
    pinned = problem.capped & (t + half >= problem.high)
    if pinned.any():
        half = _beside(pinned, half, weighted, *_widths(found, curves, slopes * ~pinned[:, None, :], root))
    aicc = _aicc(found, curves, t.shape[1])
    return Solution(problem, curves, t, cost, target, weight, fitted, found, half, weighted, aicc)


def _widths(found: Scatter, curves: Curves, slopes: Floats, root: Floats) -> tuple[Floats, Floats]:
    """Return (C, p) half widths under the full covariance, and variances in the fit's own weights."""
    pulls = slopes * root[..., None] ** 2
    covariance = inverse(pulls.mT @ slopes)
    each = curves.spread(pulls / np.maximum(curves.count, 1)[..., None])  # (C, n, p): how far each point pulls
    return found.half_width(covariance @ each.mT), np.diagonal(covariance, axis1=1, axis2=2)


def _beside(pinned: Any, half: Floats, weighted: Floats, held: Floats, alone: Floats) -> Floats:
    """Return the half widths beside a parameter that may lie at its ceiling: the larger of two rises counts.

    Where it cannot move, errors that it would absorb, such as a replicate's shift, fall to the others.
    """
    other = pinned.any(axis=1, keepdims=True) & ~pinned
    return np.where(other, np.maximum(half, held * np.sqrt(weighted / alone)), half)


def _aicc(found: Scatter, curves: Curves, p: int) -> Floats:
    """Akaike's criterion with the small-sample term (Hurvich & Tsai 1989); infinite when there are too few points."""
    k = p + 1 + (curves.shared is not None)
    spare = curves.n - k - 1
    return np.where(spare > 0, -2 * found.likelihood + 2 * k + 2 * k * (k + 1) / np.maximum(spare, 1), np.inf)
