"""One law on many curves: first plain least squares, then weighted by the scatter that is found, with its variances."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.random import Generator

from sclaws.errors import FitError
from sclaws.fit import solver
from sclaws.fit.curves import Curves
from sclaws.fit.intervals import inverse
from sclaws.fit.scatter import Scatter, scatter
from sclaws.fit.solver import Problem
from sclaws.protocols import Floats, Law


@dataclass(frozen=True)
class Solution:
    """The best fit of a law to each of C curves.

    ``t`` (C, p) on the searched scale with its (C,) ``cost``; ``target`` (C, 1, m) the weighted level means, ``means``
    (C, m, n) what takes points to them; ``fitted`` (C, n). ``variance`` and ``freedom`` (C, p) under the full
    covariance, ``weighted`` (C, p) variances in the fit's own weights; ``aicc`` (C,).
    """

    problem: Problem
    curves: Curves
    t: Floats
    cost: Floats
    target: Floats
    means: Floats
    fitted: Floats
    scatter: Scatter
    variance: Floats
    freedom: Floats
    weighted: Floats
    aicc: Floats

    def residual(self) -> Floats:
        """(C, n) residuals, zero for padding."""
        return (self.curves.y - self.fitted) * self.curves.real

    def draws(self, generators: list[Generator], count: int) -> Floats:
        """Return (C, count, p) refits to points simulated from this fit and its scatter: a parametric bootstrap."""
        noise = self.scatter.noise(generators, count)
        expected = self.problem.predict(self.t[:, None, :])
        simulated = expected + noise @ self.means.mT
        start = np.repeat(self.t[:, None, :], count, axis=1)
        return solver.solve(self.problem, simulated, start, iterations=40)[0]


@np.errstate(all="ignore")
def solve(law: Law, columns: dict[str, str], curves: Curves, log_y: bool) -> Solution:
    """Return the fits of ``law``, whose roles are bound by ``columns`` {role: column}; raises ``FitError``.

    With replicates or known sampling errors the weights come from the scatter of the fit before: twice, which is
    enough for them to settle.
    """
    x = {role: curves.z if column == "z" else curves.x[column] for role, column in columns.items()}
    low, high = _bounds(law, x, curves, log_y)
    problem = Problem(law, x, low, high, curves.levels, log_y)
    eye = np.broadcast_to(np.eye(curves.real.shape[1]), (len(curves.y), *curves.real.shape[1:], curves.real.shape[1]))
    problem, target, means, white = _weigh(problem, curves, eye)
    many, costs = solver.solve(problem, target, solver.starts(problem, target))
    t, cost = solver.best(many, costs)
    if not np.isfinite(cost).all():
        raise FitError(f"{type(law).__name__} gives no finite value at some point: does it allow an input of 0?")
    if curves.same is not None or curves.sampling is not None:
        for _ in range(2):
            problem, target, means, white = _weigh(problem, curves, _scatter(problem, curves, t).weighing())
            t, cost = solver.best(*solver.solve(problem, target, np.concatenate([t[:, None], many], axis=1)))
    return _described(problem, curves, t, cost, target, means, white)


def _bounds(law: Law, x: dict[str, Floats], curves: Curves, log_y: bool) -> tuple[Floats, Floats]:
    both = []
    for c in range(len(curves.y)):
        some = curves.levels[c] > 0
        y = curves.y[c][curves.real[c] > 0]
        both.append(solver.bounds(law, {role: v[c][some] for role, v in x.items()}, np.exp(y) if log_y else y))
    return np.stack([low for low, _ in both]), np.stack([high for _, high in both])


def _weigh(problem: Problem, curves: Curves, covariance: Floats) -> tuple[Problem, Floats, Floats, Floats]:
    """Return the problem with weights, the level means (C, 1, m), (C, m, n) the means' weights, and V⁻¹P (C, n, m)."""
    incidence = curves.incidence
    white = np.linalg.solve(covariance, incidence)
    missing = (1 - curves.levels)[:, :, None] * np.eye(curves.levels.shape[1])
    precision = incidence.mT @ white + missing
    means = np.linalg.solve(precision, white.mT)
    root = np.linalg.cholesky((precision + precision.mT) / 2) * curves.levels[:, None, :] * curves.levels[:, :, None]
    target = (means @ curves.y[..., None])[..., 0] * curves.levels
    return replace(problem, whiten=root), target[:, None, :], means, white


def _at_points(curves: Curves, values: Floats) -> Floats:
    """Return values at levels (C, m, …) as values at points (C, n, …), zero for padding."""
    shape = (*curves.at.shape, *(1,) * (values.ndim - 2))
    return np.take_along_axis(values, curves.at.reshape(shape), axis=1) * curves.real.reshape(shape)


def _scatter(problem: Problem, curves: Curves, t: Floats) -> Scatter:
    f = problem.predict(t[:, None])
    slopes = np.nan_to_num(problem.jacobian(t[:, None], f)[:, 0])
    return scatter(curves, (curves.y - _at_points(curves, f[:, 0])) * curves.real, _at_points(curves, slopes))


def _described(
    problem: Problem, curves: Curves, t: Floats, cost: Floats, target: Floats, means: Floats, white: Floats
) -> Solution:
    found = _scatter(problem, curves, t)
    f = problem.predict(t[:, None])
    slopes = np.nan_to_num(problem.jacobian(t[:, None], f)[:, 0])
    whitened = problem.whiten.mT @ slopes
    covariance = inverse(whitened.mT @ whitened)
    linear = covariance @ (white @ slopes).mT  # (C, p, n): how far each point pulls each parameter
    variance, freedom = found.variance(linear)
    weighted = np.diagonal(covariance, axis1=1, axis2=2)
    fitted = _at_points(curves, f[:, 0])
    return Solution(
        *(problem, curves, t, cost, target, means, fitted, found),
        *(variance, freedom, weighted, _aicc(found, curves, t.shape[1])),
    )


def _aicc(found: Scatter, curves: Curves, p: int) -> Floats:
    """Akaike's criterion with the small-sample term (Hurvich & Tsai 1989); infinite when there are too few points."""
    k = p + 1 + (curves.same is not None)
    spare = curves.n - k - 1
    return np.where(spare > 0, -2 * found.likelihood + 2 * k + 2 * k * (k + 1) / np.maximum(spare, 1), np.inf)
