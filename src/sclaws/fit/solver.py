"""Bounded least squares for many problems at once: Levenberg–Marquardt on arrays (curves × problems × parameters).

Parameters are searched as they are, or as logarithms where their law says so; bounds are kept by clipping, and a
parameter that leans on a bound is held there for the step. Everything is deterministic.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sclaws.fit.problem import SMALL, Problem, cost, dot, triangular, trust
from sclaws.protocols import Floats

ROUNDING = 1e-13  # a full step that makes the cost worse by so little has been taken at the optimum


@np.errstate(all="ignore")
def solve(
    problem: Problem,
    target: Floats,
    weight: Floats,
    start: Floats,
    free: Any = True,
    iterations: int = 80,
    close: float = 1e-11,
) -> tuple[Floats, Floats]:
    """Return (C, D, p) optima and their (C, D) costs, reached from ``start`` (C, D, p).

    ``target`` level means and ``weight`` root weights, (C, 1 or D, m); ``free`` is a mask that broadcasts against
    ``start``: the others are held. It ends when a step gains less than ``close`` of the cost. A cost is infinite where
    the law is nowhere finite. Problems that converged early are put aside.
    """
    free = np.broadcast_to(np.asarray(free), start.shape)
    target, weight = (np.broadcast_to(v, (*start.shape[:-1], v.shape[-1])) for v in (target, weight))
    state = _State.at(problem, target, weight, np.clip(start, problem.low[:, None], problem.high[:, None]))
    for i in range(iterations):
        state = _advance(problem, target, weight, free, state, close)
        if state.done.all():
            break
        if state.done.size > 256 and state.done.mean() > 0.5:
            return _rest(problem, target, weight, free, state, iterations - i - 1, close)
    return state.t, state.cost


@dataclass(frozen=True)
class _State:
    t: Floats
    f: Floats
    cost: Floats
    damping: Floats
    done: Any

    @classmethod
    def at(cls, problem: Problem, target: Floats, weight: Floats, t: Floats) -> _State:
        f = problem.predict(t)
        found = cost(problem, target - f, weight)
        return cls(t, f, found, np.full(found.shape, 1e-3), ~np.isfinite(found))


def _advance(problem: Problem, target: Floats, weight: Floats, free: Any, now: _State, close: float) -> _State:
    step = _newton(problem, target - now.f, weight, free, now)
    t = np.clip(now.t + step, problem.low[:, None], problem.high[:, None])
    f = problem.predict(t)
    found = cost(problem, target - f, weight)
    better = (found <= now.cost) & ~now.done
    gain = now.cost - found
    still = (np.abs(t - now.t) <= 1e-10 * (1 + np.abs(t))).all(axis=-1)
    flat = np.abs(gain) <= np.where(gain < 0, ROUNDING, close) * now.cost
    stuck = now.damping > 1e10
    exact = found <= 1e-30 * ((weight * target) ** 2).sum(axis=-1)
    return _State(
        np.where(better[..., None], t, now.t),
        np.where(better[..., None], f, now.f),
        np.where(better, found, now.cost),
        np.where(better, np.maximum(now.damping / 8, 1e-14), now.damping * 6),
        now.done | stuck | ((still | flat) & (now.damping < 1)) | (better & exact),
    )


def _newton(problem: Problem, residual: Floats, weight: Floats, free: Any, now: _State) -> Floats:
    """Return the step of Gauss and Newton, damped after Levenberg and Marquardt; held parameters stay."""
    weight = weight * trust(problem, residual)
    slopes: list[Floats] = [_finite(column) * weight for column in problem.jacobian(now.t, now.f)]
    residual = _finite(residual) * weight
    pull = np.stack([dot(column, residual) for column in slopes], axis=-1)
    low, high = problem.low[:, None], problem.high[:, None]
    held = ~free | ((now.t <= low) & (pull < 0)) | ((now.t >= high) & (pull > 0))
    return _step(slopes, pull, held, now.damping)


def _finite(values: Floats) -> Floats:
    return values if np.isfinite(values.sum()) else np.nan_to_num(values)


def _step(slopes: list[Floats], pull: Floats, held: Any, damping: Floats) -> Floats:
    """Solve (H + damping·diag H) step = pull; parameters that are held or without any slope stay where they are."""
    p = len(slopes)
    size = np.sqrt(np.stack([dot(column, column) for column in slopes], axis=-1))
    alive = (size > SMALL) & ~held
    inverse = np.where(alive, 1 / np.where(alive, size, 1.0), 0.0)
    hessian: list[list[Any]] = [[1.0] * p for _ in range(p)]
    for i in range(p):
        for j in range(i):
            hessian[i][j] = dot(slopes[i], slopes[j]) * inverse[..., i] * inverse[..., j]
    return triangular(hessian, pull * inverse, damping) * inverse


def _rest(
    problem: Problem, target: Floats, weight: Floats, free: Any, state: _State, iterations: int, close: float
) -> tuple[Floats, Floats]:
    """Go on with the unfinished problems alone, each as a curve of its own."""
    curve, column = np.nonzero(~state.done)
    t, costs = state.t.copy(), state.cost.copy()
    some = (curve, column)
    wanted, weight, start, free = (v[some][:, None] for v in (target, weight, t, free))
    found = solve(problem.take(curve), wanted, weight, start, free, iterations, close)
    t[some], costs[some] = found[0][:, 0], found[1][:, 0]
    return t, costs


def best(t: Floats, costs: Floats) -> tuple[Floats, Floats]:
    """Return the best (C, p) of the (C, D, p) solutions and its (C,) cost."""
    first = costs.argmin(axis=1)
    rows = np.arange(len(t))
    return t[rows, first], costs[rows, first]
