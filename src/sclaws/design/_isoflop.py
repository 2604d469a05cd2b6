"""The best size of each budget read off its own runs, with no law of size and data (Hoffmann et al. 2022, approach 2).

Rows are parted by their budget of compute. Within one, a parabola (or a cubic) in log size is fitted to the losses, and
its minimum is the best size. Where the loss still falls at the largest size, or the smallest, the minimum is not among
the runs: such a budget is "open", and left out. Through the minima that were read runs a straight line in log budget:
its slope is the exponent.

A parabola is the law's isoFLOP curve near its minimum alone. Far from it, and with exponents that differ, the curve is
lopsided, and the parabola's minimum lies beside the true one whatever the number of runs (Czech et al. 2026, arXiv
2603.22339). A test says when the runs show it; a cubic then follows the curve further, at two to three times the width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, special, stats

from sclaws.design._estimate import Estimate
from sclaws.errors import DesignError
from sclaws.protocols import Floats
from sclaws.table import Table

FLOP = 6.0  # of a parameter and token, forward and backward (Kaplan et al. 2020)
LEAST = 3  # sizes of a budget; a cubic takes one more
STEPS = np.geomspace(1e-9, 30.0, 500)  # of log sizes, from a minimum outwards: a factor of 1e13 is no end
LOPSIDED = 0.01  # p of the test that says so: it is a warning, not a finding
READ = "read"


@dataclass(frozen=True)
class Line:
    """log P* = ``level`` + ``slope``·(log C − ``centre``), with the variances of both and degrees of freedom."""

    centre: float
    level: float
    slope: float
    var_level: float
    var_slope: float
    freedom: float

    @property
    def exponent(self) -> Estimate:
        """The slope with its 95 % interval."""
        half = self._quantile * math.sqrt(self.var_slope)
        return Estimate(self.slope, self.slope - half, self.slope + half)

    def at(self, flop: Floats) -> tuple[Floats, Floats, Floats]:
        """Return the best sizes at budgets, and the lower and upper ends of their 95 % intervals."""
        along = np.log(flop) - self.centre
        middle = self.level + self.slope * along
        half = self._quantile * np.sqrt(self.var_level + self.var_slope * along**2)
        return np.exp(middle), np.exp(middle - half), np.exp(middle + half)

    @property
    def _quantile(self) -> float:
        return float(stats.t.ppf(0.975, self.freedom))


@dataclass(frozen=True)
class Curve:
    """The runs of one budget: (n,) log sizes about their mean ``centre``, and losses."""

    flop: float
    centre: float
    z: Floats
    loss: Floats

    @property
    def sizes(self) -> int:
        """How many different sizes there are."""
        return len(np.unique(self.z))

    def fitted(self, degree: int) -> Polynomial | None:
        """Return the polynomial of least squares, ``None`` with too few sizes for it."""
        if self.sizes < degree + 1:
            return None
        powers = np.vander(self.z, degree + 1, increasing=True)
        inverse = np.linalg.inv(powers.T @ powers)
        found = inverse @ (powers.T @ self.loss)
        return Polynomial(found, inverse, float(((self.loss - powers @ found) ** 2).sum()), len(self.z) - degree - 1)


@dataclass(frozen=True)
class Polynomial:
    """Coefficients from the constant on, their covariance in units of the losses' variance, what is left, freedom."""

    coefficients: Floats
    inverse: Floats
    rest: float
    freedom: int

    def minimum(self) -> float:
        """Return where the slope goes from below zero to above it; NaN where it nowhere does."""
        _, first, second, third = [*self.coefficients, 0.0][:4]
        discriminant = second**2 - 3 * first * third
        below = second + math.sqrt(max(discriminant, 0.0))  # half of the curvature there, when all is well
        return -first / below if discriminant >= 0 and below != 0 else math.nan

    def curvature(self, z: float) -> float:
        """Return the second derivative."""
        return float(np.polynomial.Polynomial(self.coefficients).deriv(2)(z))

    def variance(self, z: float) -> float:
        """Return the variance of the minimum at z to first order, in units of the losses' variance."""
        slope = self._slopes(np.array([z]))[0]
        return float(slope @ self.inverse @ slope) / self.curvature(z) ** 2

    def ends(self, z: float, limit: float) -> tuple[float, float]:
        """Return the interval about z where the slope's square is at most ``limit`` times its variance.

        Fieller's interval (1954): exact for a parabola with normal errors, which first order is not. An end is infinite
        where the curve may as well have no minimum.
        """
        return z - self._reach(z, -1.0, limit), z + self._reach(z, 1.0, limit)

    def _reach(self, z: float, side: float, limit: float) -> float:
        def excess(steps: Floats) -> Floats:
            slopes = self._slopes(z + side * steps)
            return (slopes @ self.coefficients) ** 2 - limit * ((slopes @ self.inverse) * slopes).sum(axis=1)

        outside = np.flatnonzero(excess(STEPS) > 0)
        if not len(outside):
            return math.inf
        steps, k = STEPS, int(outside[0])
        for _ in range(3):  # k = 0: exact runs, whose minimum is known
            steps = np.linspace(steps[max(k - 1, 0)], steps[k], 200)
            k = int(np.argmax(excess(steps) > 0))
        return float(steps[k])

    def _slopes(self, z: Floats) -> Floats:
        """Return (n, degree + 1): what takes coefficients to the slopes at (n,) places."""
        powers = np.arange(len(self.coefficients))
        return np.asarray(powers * z[:, None] ** np.maximum(powers - 1, 0))


# ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def curves(
    table: Table | pd.DataFrame, size: str, loss: str, flop: str | None, data: str | None, tokens: float, gap: float
) -> list[Curve]:
    """Return the runs of a table by budget, the smallest first; raises ``TableError`` and ``DesignError``."""
    if (flop is None) == (data is None):
        raise DesignError("give flop, the column of budgets, or data, that of what was trained on: one of the two")
    table = table if isinstance(table, Table) else Table(table.reset_index(drop=True))
    other = str(flop if data is None else data)
    rows = table.points([other, size], loss)
    p, x, y = (rows[name].to_numpy(float) for name in (size, other, loss))
    for name, values in ((size, p), (other, x)):
        if (values <= 0).any():
            raise DesignError(f"column {name!r} has values of 0: sizes, data and budgets are positive")
    budget = x if data is None else FLOP * tokens * p * x
    return list(_parted(np.log(p), np.log(budget), y, gap))


def _parted(p: Floats, budget: Floats, loss: Floats, gap: float) -> Iterator[Curve]:
    order = np.argsort(budget, kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(budget[order]) > math.log1p(gap)) + 1):
        spread = math.exp(np.ptp(budget[part]))
        if spread > (1 + gap) ** 2 * (1 + 1e-9):
            raise DesignError(
                f"budgets from {math.exp(budget[part[0]]):.3g} to {math.exp(budget[part[-1]]):.3g} FLOP run into one "
                f"another: no gap of {100 * gap:.3g} % parts them; name a column of nominal budgets (flop=), or give a "
                "smaller tolerance"
            )
        centre = float(p[part].mean())
        yield Curve(math.exp(budget[part].mean()), centre, p[part] - centre, loss[part])


def minima(some: Sequence[Curve], degree: int, tokens: float) -> tuple[pd.DataFrame, Floats, float]:
    """Return a row a budget, (budgets,) variances of log P*, and the degrees of freedom behind them.

    Without freedom variances are relative, and intervals have no ends.
    """
    found = [curve.fitted(degree) for curve in some]
    square, freedom = _variances(found)
    limits = stats.t.ppf(0.975, freedom) ** 2 * square if freedom > 0 else np.full(len(found), np.inf)
    frame = pd.DataFrame([_row(c, fit, degree, limit) for c, fit, limit in zip(some, found, limits, strict=True)])
    frame["variance"] *= square if freedom > 0 else 1.0
    for end, other in (("", ""), ("_low", "_high"), ("_high", "_low")):
        frame[f"data{end}"] = frame["flop"] / (FLOP * tokens * frame[f"size{other}"])
    columns = ["flop", "runs", "sizes", *(f"{n}{e}" for n in ("size", "data") for e in ("", "_low", "_high")), "loss"]
    return frame[[*columns, "state"]], frame["variance"].to_numpy(float), freedom


def _variances(found: Sequence[Polynomial | None]) -> tuple[Floats, float]:
    """Return (budgets,) variances of a loss and their degrees of freedom.

    A few runs alone say little of a variance, and one wild run at one budget is no reason to doubt the others. So each
    budget's own is moderated by all of them, as far as they are alike (Smyth 2004, Stat. Appl. Genet. Mol. Biol. 3).
    """
    rest, freedom = np.array([(one.rest, float(one.freedom)) if one else (0.0, 0.0) for one in found]).T
    pooled = rest.sum() / max(freedom.sum(), 1)
    known = (freedom > 0) & (rest > 0)
    if known.sum() < 3:
        return np.full(len(rest), pooled), float(freedom.sum())
    nu = freedom[known]
    logs = np.log(rest[known] / nu) - special.digamma(nu / 2) + np.log(nu / 2)
    excess = logs.var(ddof=1) - special.polygamma(1, nu / 2).mean()
    if excess < special.polygamma(1, freedom.sum() / 2):  # no less alike than if all were one
        return np.full(len(rest), pooled), float(freedom.sum())
    prior = 2 * optimize.brentq(lambda at: special.polygamma(1, at) - excess, 1e-3, freedom.sum() / 2)
    centre = np.exp(logs.mean() + special.digamma(prior / 2) - np.log(prior / 2))
    return (prior * centre + rest) / (prior + freedom), float(prior + nu.min())


def _row(curve: Curve, found: Polynomial | None, degree: int, limit: float) -> dict[str, Any]:
    row: dict[str, Any] = {"flop": curve.flop, "runs": len(curve.z), "sizes": curve.sizes}
    row |= dict.fromkeys(("size", "size_low", "size_high", "loss", "variance"), math.nan)
    z = found.minimum() if found else math.nan
    row["state"] = _state(curve, found, z, degree)
    if found is None or row["state"] != READ:
        return row
    low, high = found.ends(z, limit) if math.isfinite(limit) else (-math.inf, math.inf)
    if math.isfinite(limit) and high - low == math.inf:
        return row | {"state": "open: no clear minimum, the curve may as well have none"}
    size, below, above = (float(np.exp(end + curve.centre)) for end in (z, low, high))
    loss = float(np.polynomial.Polynomial(found.coefficients)(z))
    return row | {"size": size, "size_low": below, "size_high": above, "loss": loss, "variance": found.variance(z)}


def _state(curve: Curve, found: Polynomial | None, z: float, degree: int) -> str:
    """Say whether the minimum can be read, or why not."""
    if found is None:
        return f"open: {curve.sizes} sizes, and {degree + 1} are the least"
    if math.isnan(z):
        return "open: the curve has no minimum"
    if not curve.z.min() < z < curve.z.max():
        side = "largest" if z >= curve.z.max() else "smallest"
        return f"open: the loss still falls at the {side} size"
    return READ


def line(frame: pd.DataFrame, variance: Floats, freedom: float) -> Line | None:
    """Return the straight line through the minima, each weighed by its precision; ``None`` with fewer than two.

    From three budgets on, its errors are those of the scatter about the line, with Student's t of their freedom. Two
    leave no scatter: then those of the minima themselves.
    """
    some = (frame["state"] == READ).to_numpy()
    k = int(some.sum())
    if k < 2:
        return None
    x, y, w = np.log(frame["flop"].to_numpy()[some]), np.log(frame["size"].to_numpy()[some]), 1 / variance[some]
    centre, level = np.average(x, weights=w), np.average(y, weights=w)
    about = (w * (x - centre) ** 2).sum()
    slope = (w * (x - centre) * (y - level)).sum() / about
    scatter = (w * (y - level - slope * (x - centre)) ** 2).sum() / max(k - 2, 1)
    scale, spare = (scatter, k - 2) if k > 2 else (1.0 if freedom > 0 else math.inf, max(freedom, 1))
    return Line(float(centre), float(level), float(slope), float(scale / w.sum()), float(scale / about), float(spare))


def lopsided(some: Sequence[Curve], degree: int) -> float:
    """Return the p value of an F test that the curves need one degree more; NaN where no curve can tell."""
    able = [curve for curve in some if curve.sizes > degree + 2]
    both = [(curve.fitted(degree), curve.fitted(degree + 1)) for curve in able]
    pairs = [(one, more) for one, more in both if one and more]
    if not pairs:
        return math.nan
    square, freedom = _variances([more for _, more in pairs])
    gain = np.array([one.rest - more.rest for one, more in pairs])
    return float(stats.f.sf((gain / np.maximum(square, 1e-300)).mean(), len(pairs), freedom))
