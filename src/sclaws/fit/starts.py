"""Where a search starts: the best points of a coarse grid, linear parameters solved for (variable projection)."""

from __future__ import annotations

import numpy as np

from sclaws.fit.problem import SMALL, Problem, cholesky_solve, cost
from sclaws.protocols import Floats


@np.errstate(all="ignore")  # a trial point may overflow: its cost is then infinite, and it is not taken
def starts(problem: Problem, target: Floats, weight: Floats, count: int = 6, budget: int = 400) -> Floats:
    """Return (C, count, p) starts: the best points of a coarse grid, one for each value of its first parameter."""
    params = list(problem.params.values())
    curved = [k for k, param in enumerate(params) if not param.linear]
    per = int(np.clip(round(budget ** (1 / max(len(curved), 1))), 4, 40)) if curved else 1
    unit = (np.arange(per) + 0.5) / per
    mesh = (
        np.stack(np.meshgrid(*[unit] * len(curved), indexing="ij"), -1).reshape(-1, len(curved))
        if curved
        else np.zeros((1, 0))
    )
    t: Floats = np.repeat(((problem.low + problem.high) / 2)[:, None, :], len(mesh), axis=1)
    t[..., curved] = problem.low[:, None, curved] + mesh * (problem.high - problem.low)[:, None, curved]
    t = _project(problem, t, target, weight)
    return _best_apart(t, cost(problem, target - problem.predict(t), weight), per, count)


def _project(problem: Problem, t: Floats, target: Floats, weight: Floats) -> Floats:
    """Put the parameters that enter linearly at their least-squares values, clipped to the bounds."""
    params = list(problem.params.items())
    linear = [k for k, (_, param) in enumerate(params) if param.linear]
    if not linear:
        return t
    x = {role: values[:, None, :] for role, values in problem.x.items()}
    theta = problem.theta(t)

    def at(one: int | None) -> Floats:
        values = {params[k][0]: np.full((*t.shape[:-1], 1), float(k == one)) for k in linear}
        found = np.asarray(problem.law.predict(x, theta | values), dtype=float)
        return np.broadcast_to(found, (*t.shape[:-1], target.shape[-1]))

    origin = at(None)
    basis = np.stack([at(k) - origin for k in linear], axis=-1)
    y = np.exp(target) if problem.log_y else target
    solved = _least_squares(basis * weight[..., None], (y - origin) * weight)
    for j, k in enumerate(linear):
        value = np.log(np.maximum(solved[..., j], SMALL)) if params[k][1].log else solved[..., j]
        t[..., k] = np.clip(np.nan_to_num(value), problem.low[:, None, k], problem.high[:, None, k])
    return t


def _least_squares(basis: Floats, y: Floats) -> Floats:
    size = np.sqrt((basis**2).sum(axis=-2)) + SMALL
    scaled = basis / size[..., None, :]
    return cholesky_solve(scaled.mT @ scaled, (scaled * y[..., None]).sum(axis=-2), 1e-12) / size


def _best_apart(t: Floats, cost: Floats, per: int, count: int) -> Floats:
    slices = cost.reshape(len(cost), per, -1) if cost.shape[1] % per == 0 else cost[:, None, :]
    inner = slices.argmin(axis=-1)
    best = np.take_along_axis(slices, inner[..., None], axis=-1)[..., 0]
    order = np.argsort(best, axis=1, kind="stable")[:, :count]
    chosen = order * slices.shape[-1] + np.take_along_axis(inner, order, axis=1)
    return np.take_along_axis(t, chosen[..., None], axis=1)
