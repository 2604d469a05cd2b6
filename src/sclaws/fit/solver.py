"""Bounded least squares for many problems at once: Levenberg–Marquardt on arrays (curves × problems × parameters).

Parameters are searched as they are, or as logarithms where their law says so; bounds are kept by clipping, and a
parameter that leans on a bound is held there for the step. Starts come from a coarse grid, with the parameters that
enter linearly solved for (variable projection). Everything is deterministic.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sclaws.errors import FitError
from sclaws.protocols import Floats, Ints, Law, Param

STEP = 1e-7  # of forward differences, relative: their error only slows convergence, it does not move the optimum
SMALL = 1e-300


@dataclass(frozen=True)
class Problem:
    """A law on curves: ``x`` (C, m) by role, bounds ``low`` and ``high`` (C, p) on the searched scale, ``whiten``.

    The cost of a prediction f (m,) for level means ȳ is |(ȳ − f) @ whiten|², with ``whiten`` (C, m, m) a root of
    their precision, zero for padding. With ``log_y`` the law's logarithm is what is compared.
    """

    law: Law
    x: Mapping[str, Floats]
    low: Floats
    high: Floats
    whiten: Floats
    log_y: bool

    @property
    def params(self) -> dict[str, Param]:
        """The law's parameters, tuples made whole."""
        return parameters(self.law)

    @property
    def is_log(self) -> tuple[bool, ...]:
        """Which parameters are searched as logarithms."""
        return tuple(param.log for param in self.params.values())

    @property
    def declared(self) -> tuple[Floats, Floats]:
        """(p,) the law's own bounds on the searched scale, which the data's may have tightened."""
        params = self.params.values()
        ends = np.array([[param.low, param.high] for param in params], dtype=float)
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = np.where(np.array(self.is_log)[:, None], np.log(ends), ends)
        return ends[:, 0], ends[:, 1]

    def theta(self, t: Floats) -> dict[str, Floats]:
        """Return parameters by name, each (..., 1), from the searched scale (..., p)."""
        logs = zip(self.params, self.is_log, strict=True)
        return {name: (np.exp(t[..., k]) if log else t[..., k])[..., None] for k, (name, log) in enumerate(logs)}

    def predict(self, t: Floats) -> Floats:
        """Return (C, D, m) predictions on the scale of the criterion for ``t`` (C, D, p)."""
        x = {role: values[:, None, :] for role, values in self.x.items()}
        found = np.asarray(self.law.predict(x, self.theta(t)), dtype=float)
        found = np.broadcast_to(found, (*t.shape[:-1], self.whiten.shape[-1]))
        return np.log(found) if self.log_y else found

    def jacobian(self, t: Floats, f: Floats) -> Floats:
        """Return (C, D, m, p) derivatives on the searched scale, by differences that stay inside the bounds."""
        low, high = self.low[:, None, :], self.high[:, None, :]
        scale = np.where(self.is_log, 1.0, np.maximum(np.abs(t), 1e-4 * (high - low)))
        h = STEP * scale * np.where(t + STEP * scale > high, -1.0, 1.0)
        columns = []
        for k in range(t.shape[-1]):
            moved = t.copy()
            moved[..., k] += h[..., k]
            columns.append((self.predict(moved) - f) / (moved[..., k] - t[..., k])[..., None])
        return np.stack(columns, axis=-1)

    def take(self, curves: Ints) -> Problem:
        """Return the problem on these curves, repeated as often as they are named."""
        x = {role: values[curves] for role, values in self.x.items()}
        return replace(self, x=x, low=self.low[curves], high=self.high[curves], whiten=self.whiten[curves])


def parameters(law: Law) -> dict[str, Param]:
    """Return a law's parameters; a bare tuple (low, high) becomes a :class:`Param`."""
    return {name: p if isinstance(p, Param) else Param(*p) for name, p in law.params.items()}


def bounds(law: Law, x: Mapping[str, Floats], y: Floats) -> tuple[Floats, Floats]:
    """Return (p,) lower and upper bounds of one curve on the searched scale: declared ones tightened by the data's.

    Raises ``FitError`` when a parameter is unbounded, or cannot be positive though it is searched as a logarithm.
    """
    tight = dict(law.bounds(x, y)) if hasattr(law, "bounds") else {}
    low, high = [], []
    for name, param in parameters(law).items():
        found = tight.get(name, (param.low, param.high))
        ends = np.clip(np.array(found, dtype=float), param.low, param.high)
        if param.log:
            ends = np.log(np.maximum(ends, 0.0) + (0.0 if ends[0] > 0 else SMALL))
        if not np.isfinite(ends).all() or ends[0] > ends[1]:
            raise FitError(
                f"{type(law).__name__}: parameter {name!r} has bounds {found[0]:g} .. {found[1]:g}; give finite ones, "
                "low before high, in params or in bounds(x, y)"
            )
        low.append(ends[0])
        high.append(ends[1])
    return np.array(low), np.array(high)


# ── starts ───────────────────────────────────────────────────────────────────────────────────────────────────────────
@np.errstate(all="ignore")  # a trial point may overflow: its cost is then infinite, and it is not taken
def starts(problem: Problem, target: Floats, count: int = 6, budget: int = 400) -> Floats:
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
    t = _project(problem, t, target)
    cost = _cost(problem, target - problem.predict(t))
    return _best_apart(t, cost, per, count)


def _project(problem: Problem, t: Floats, target: Floats) -> Floats:
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
    weight = (np.abs(problem.whiten).sum(axis=-1) > 0)[:, None, :]
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


# ── the iteration ────────────────────────────────────────────────────────────────────────────────────────────────────
@np.errstate(all="ignore")
def solve(
    problem: Problem, target: Floats, start: Floats, free: Any = True, iterations: int = 80
) -> tuple[Floats, Floats]:
    """Return (C, D, p) optima and their (C, D) costs, reached from ``start`` (C, D, p).

    ``target`` (C, 1 or D, m) level means; ``free`` is a mask that broadcasts against ``start``: the others are held.
    A cost is infinite where the law is nowhere finite. Problems that converged early are put aside.
    """
    free = np.broadcast_to(np.asarray(free), start.shape)
    target = np.broadcast_to(target, (*start.shape[:-1], target.shape[-1]))
    state = _State.at(problem, target, np.clip(start, problem.low[:, None], problem.high[:, None]))
    for i in range(iterations):
        state = _advance(problem, target, free, state)
        if state.done.all():
            break
        if i % 4 == 3 and state.done.size > 256 and state.done.mean() > 0.5:
            return _rest(problem, target, free, state, iterations - i - 1)
    return state.t, state.cost


@dataclass(frozen=True)
class _State:
    t: Floats
    f: Floats
    cost: Floats
    damping: Floats
    done: Any

    @classmethod
    def at(cls, problem: Problem, target: Floats, t: Floats) -> _State:
        f = problem.predict(t)
        cost = _cost(problem, target - f)
        return cls(t, f, cost, np.full(cost.shape, 1e-3), ~np.isfinite(cost))


def _advance(problem: Problem, target: Floats, free: Any, now: _State) -> _State:
    residual = np.nan_to_num(target - now.f) @ problem.whiten
    slopes = np.nan_to_num(problem.whiten.mT[:, None] @ np.nan_to_num(problem.jacobian(now.t, now.f)))
    pull = (slopes * residual[..., None]).sum(axis=-2)
    low, high = problem.low[:, None], problem.high[:, None]
    held = ~free | ((now.t <= low) & (pull < 0)) | ((now.t >= high) & (pull > 0))
    slopes = np.where(held[..., None, :], 0.0, slopes)
    step = _step(slopes, np.where(held, 0.0, pull), now.damping)
    t = np.clip(now.t + step, low, high)
    f = problem.predict(t)
    cost = _cost(problem, target - f)
    better = (cost <= now.cost) & ~now.done
    gain = now.cost - cost
    flat = (np.abs(t - now.t) <= 1e-10 * (1 + np.abs(t))).all(axis=-1) | (gain <= 1e-11 * now.cost)
    stuck = now.damping > 1e10
    done = now.done | (better & flat & (now.damping < 1)) | stuck | (better & (cost <= 1e-30 * _cost(problem, target)))
    return _State(
        np.where(better[..., None], t, now.t),
        np.where(better[..., None], f, now.f),
        np.where(better, cost, now.cost),
        np.where(better, np.maximum(now.damping / 8, 1e-14), now.damping * 6),
        done,
    )


def _step(slopes: Floats, pull: Floats, damping: Floats) -> Floats:
    """Solve (H + damping·diag H) step = pull; parameters without any slope stay where they are."""
    size = np.sqrt((slopes**2).sum(axis=-2))
    alive = size > SMALL
    size = np.where(alive, size, 1.0)
    scaled = slopes / size[..., None, :]
    hessian = scaled.mT @ scaled + np.eye(size.shape[-1]) * ~alive[..., None]
    return cholesky_solve(hessian, pull / size, damping) / size


def cholesky_solve(matrix: Floats, right: Floats, ridge: Any) -> Floats:
    """Return the solution of (matrix + ridge·I) x = right for small symmetric matrices (..., p, p), in array steps."""
    p = right.shape[-1]
    root: list[list[Any]] = [[None] * p for _ in range(p)]
    half: list[Any] = []
    for i in range(p):
        for j in range(i + 1):
            rest = matrix[..., i, j] - sum((root[i][k] * root[j][k] for k in range(j)), 0.0)
            root[i][j] = np.sqrt(np.maximum(rest + ridge, 1e-30)) if i == j else rest / root[j][j]
        half.append((right[..., i] - sum((root[i][k] * half[k] for k in range(i)), 0.0)) / root[i][i])
    out: list[Any] = [None] * p
    for i in reversed(range(p)):
        out[i] = (half[i] - sum((root[k][i] * out[k] for k in range(i + 1, p)), 0.0)) / root[i][i]
    return np.stack(out, axis=-1)


def _cost(problem: Problem, residual: Floats) -> Floats:
    cost = ((residual @ problem.whiten) ** 2).sum(axis=-1)
    return np.where(np.isfinite(cost), cost, np.inf)


def _rest(problem: Problem, target: Floats, free: Any, state: _State, iterations: int) -> tuple[Floats, Floats]:
    """Go on with the unfinished problems alone, each as a curve of its own."""
    curve, column = np.nonzero(~state.done)
    t, cost = state.t.copy(), state.cost.copy()
    some = (curve, column)
    found = solve(problem.take(curve), target[some][:, None], t[some][:, None], free[some][:, None], iterations)
    t[some], cost[some] = found[0][:, 0], found[1][:, 0]
    return t, cost


def best(t: Floats, cost: Floats) -> tuple[Floats, Floats]:
    """Return the best (C, p) of the (C, D, p) solutions and its (C,) cost."""
    first = cost.argmin(axis=1)
    rows = np.arange(len(t))
    return t[rows, first], cost[rows, first]
