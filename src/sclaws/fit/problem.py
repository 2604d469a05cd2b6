"""What is solved: a law on curves, with bounds, on the scale on which its parameters are searched, and its cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sclaws.errors import FitError
from sclaws.protocols import Floats, Ints, Law, Param

STEP = 1e-7  # of forward differences, relative: their error only slows convergence, it does not move the optimum
SMALL = 1e-300


@dataclass(frozen=True)
class Problem:
    """A law on curves: ``x`` (C, m) by role, bounds ``low`` and ``high`` (C, p) on the searched scale.

    ``ceiling`` (C, p) on that scale is a known upper limit of a parameter, infinite where there is none: a bound that
    is part of the question, and no edge of the search.

    With ``log_y`` the law's logarithm is what is compared. The cost of a prediction f (m,) for level means ȳ with root
    weights w is Σ (w·(ȳ − f))²; with a finite ``delta``, Σ w²·ρ(ȳ − f) with Huber's ρ(r) = r² up to |r| = δ, then
    2δ|r| − δ² (Huber 1964).
    """

    law: Law
    x: Mapping[str, Floats]
    low: Floats
    high: Floats
    log_y: bool
    delta: float = math.inf
    ceiling: Floats | float = math.inf

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

    @property
    def capped(self) -> NDArray[np.bool_]:
        """(C, p): is the upper bound a known ceiling?"""
        return np.asarray(self.high >= self.ceiling)

    def theta(self, t: Floats) -> dict[str, Floats]:
        """Return parameters by name, each (..., 1), from the searched scale (..., p)."""
        logs = zip(self.params, self.is_log, strict=True)
        return {name: (np.exp(t[..., k]) if log else t[..., k])[..., None] for k, (name, log) in enumerate(logs)}

    def predict(self, t: Floats) -> Floats:
        """Return (C, D, m) predictions on the scale of the criterion for ``t`` (C, D, p)."""
        x = {role: values[:, None, :] for role, values in self.x.items()}
        found = np.asarray(self.law.predict(x, self.theta(t)), dtype=float)
        found = np.broadcast_to(found, (*t.shape[:-1], next(iter(self.x.values())).shape[-1]))
        return np.log(found) if self.log_y else found

    def jacobian(self, t: Floats, f: Floats) -> list[Floats]:
        """Return p derivatives (C, D, m) on the searched scale, by differences that stay inside the bounds."""
        low, high = self.low[:, None, :], self.high[:, None, :]
        scale = np.where(self.is_log, 1.0, np.maximum(np.abs(t), 1e-4 * (high - low)))
        h = STEP * scale * np.where(t + STEP * scale > high, -1.0, 1.0)
        columns: list[Floats] = []
        for k in range(t.shape[-1]):
            moved = t.copy()
            moved[..., k] += h[..., k]
            columns.append((self.predict(moved) - f) / (moved[..., k] - t[..., k])[..., None])
        return columns

    def take(self, curves: Ints) -> Problem:
        """Return the problem on these curves, repeated as often as they are named."""
        x = {role: values[curves] for role, values in self.x.items()}
        ceiling = self.ceiling[curves] if isinstance(self.ceiling, np.ndarray) else self.ceiling
        return replace(self, x=x, low=self.low[curves], high=self.high[curves], ceiling=ceiling)


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


def ceilings(law: Law, low: Floats, top: Floats) -> Floats:
    """Return the (C, p) ceilings of parameters on the searched scale, where y of a curve cannot exceed ``top`` (C,).

    Only the parameter that the law calls its ``ceiling`` has one. Raises ``FitError`` when nothing is left of the
    parameter's range, which starts at ``low`` (C, p).
    """
    out = np.full(low.shape, np.inf)
    name = getattr(law, "ceiling", None)
    if name is not None and np.isfinite(top).any():
        k, param = list(law.params).index(name), parameters(law)[name]
        out[:, k] = np.log(top) if param.log else top
        if (out <= low).any():
            raise FitError(f"{type(law).__name__}: a ceiling of {top.min():g} leaves nothing for {name!r}: is it bits?")
    return out


def trust(problem: Problem, residual: Floats) -> Any:
    """Return the root weights by which Huber's loss is reweighted least squares at these residuals."""
    if math.isinf(problem.delta):
        return 1.0
    return np.sqrt(np.minimum(1.0, problem.delta / np.maximum(np.abs(residual), SMALL)))


def cost(problem: Problem, residual: Floats, weight: Floats) -> Floats:
    """Return the (C, D) costs of residuals (C, D, m) with root weights; infinite where the law is not finite."""
    if math.isinf(problem.delta):
        weighted = residual * weight
        found = dot(weighted, weighted)
    else:
        size = np.abs(residual)
        rho = np.where(size <= problem.delta, residual**2, problem.delta * (2 * size - problem.delta))
        found = np.where(weight > 0, rho * weight**2, 0.0).sum(axis=-1)
    return np.where(np.isfinite(found), found, np.inf)


def dot(a: Floats, b: Floats) -> Floats:
    """Return the sums of products over the last axis."""
    return np.asarray(np.einsum("...m,...m->...", a, b))


def cholesky_solve(matrix: Floats, right: Floats, ridge: Any) -> Floats:
    """Return the solution of (matrix + ridge·I) x = right for small symmetric matrices (..., p, p), in array steps."""
    p = right.shape[-1]
    return triangular([[matrix[..., i, j] for j in range(p)] for i in range(p)], right, ridge)


def triangular(matrix: list[list[Any]], right: Floats, ridge: Any) -> Floats:
    """Return the same for a matrix that is given as rows of its entries (...); only the lower half is read."""
    p = len(matrix)
    root: list[list[Any]] = [[None] * p for _ in range(p)]
    half: list[Any] = []
    for i in range(p):
        for j in range(i + 1):
            rest = matrix[i][j] - sum((root[i][k] * root[j][k] for k in range(j)), 0.0)
            root[i][j] = np.sqrt(np.maximum(rest + ridge, 1e-30)) if i == j else rest / root[j][j]
        half.append((right[..., i] - sum((root[i][k] * half[k] for k in range(i)), 0.0)) / root[i][i])
    out: list[Any] = [None] * p
    for i in reversed(range(p)):
        out[i] = (half[i] - sum((root[k][i] * out[k] for k in range(i + 1, p)), 0.0)) / root[i][i]
    return np.stack(out, axis=-1)
