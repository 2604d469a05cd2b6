"""The whole of a fit for some curves: the law, its rivals, intervals, draws, and the verdict of each curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from sclaws import keys
from sclaws.fit import verdicts, weighted
from sclaws.fit.curves import Curves
from sclaws.fit.intervals import Intervals, intervals
from sclaws.fit.results import Fit, law_name
from sclaws.fit.solver import parameters
from sclaws.fit.weighted import Solution
from sclaws.laws._polynomials import Line, Parabola
from sclaws.laws.constant import Constant
from sclaws.protocols import Floats, Law, Param


@dataclass(frozen=True)
class Asked:
    """What a user asked for: columns, criterion, seed, number of draws."""

    x: list[str]
    y: str
    by: list[str]
    replicate: str | None
    criterion: str
    seed: int
    n_draws: int


@dataclass(frozen=True)
class _Judged:
    """All that is found about some curves; ``draws`` (C, n_draws, p), ``noise`` variances and degrees of freedom."""

    law: Law
    columns: dict[str, str]
    found: Solution
    ends: Intervals
    draws: Floats
    noise: tuple[Floats, Floats]
    constant: Solution
    line: Solution
    parabola: Solution


@np.errstate(all="ignore")
def judge(
    law: Law, columns: dict[str, str], asked: Asked, names: Sequence[dict[str, Any]], curves: Curves
) -> list[Fit]:
    """Return a law's fits to the curves, in their order; ``names`` the by-columns' values of each."""
    log_y = asked.criterion == "log"
    found = weighted.solve(law, columns, curves, log_y)
    ends = intervals(found.problem, found.target, found.t, found.cost, found.variance, found.freedom, found.weighted)
    draws = found.draws([_generator(asked.seed, law, name) for name in names], asked.n_draws)
    known = _Judged(
        *(law, columns, found, ends, draws, _own_noise(found)),
        constant=weighted.solve(Constant(), {"x": asked.x[0]}, curves, log_y),
        # straight and bent on the scale of the criterion: the curves are on it already
        line=weighted.solve(Line(), {"z": "z"}, curves, log_y=False),
        parabola=weighted.solve(Parabola(), {"z": "z"}, curves, log_y=False),
    )
    return [_assembled(known, asked, dict(name), c) for c, name in enumerate(names)]


def stub(law: Law, columns: dict[str, str], asked: Asked, name: dict[str, Any], verdict: str) -> Fit:
    """Return the fit of a curve that has too few points for one: a verdict and no numbers."""
    nothing, nan = pd.DataFrame(columns=list(parameters(law))), math.nan
    return Fit(name, law, columns, asked.y, asked.criterion, {}, {}, {}, nothing, nan, nan, nan, nan, nan, verdict)


def _generator(seed: int, law: Law, name: dict[str, Any]) -> np.random.Generator:
    """A curve's draws depend on its name, not on which other curves are fitted in the same call."""
    words = [seed, law_name(law), *(f"{k}={v}" for k, v in name.items())]
    return np.random.default_rng(int(keys.key(words), 16))


def _own_noise(found: Solution) -> tuple[Floats, Floats]:
    """Return (C,) variance of a point about the law beyond its sampling error, and its degrees of freedom."""
    weight, sigma2 = found.scatter.weight, found.scatter.sigma2
    mean = (weight / sigma2).sum(axis=1)
    spread = (weight * (1 / sigma2 - mean[:, None]) ** 2).sum(axis=1)
    return 1 / mean, np.maximum(2 * mean**2 / np.maximum(spread, 1e-300), 1.0)


def _assembled(known: _Judged, asked: Asked, name: dict[str, Any], c: int) -> Fit:
    found = known.found
    value = {k: float(v[0]) for k, v in found.problem.theta(found.t[c]).items()}
    limits = {k: _ends(known, param, c, i) for i, (k, param) in enumerate(found.problem.params.items())}
    draws = pd.DataFrame({k: v[:, 0] for k, v in found.problem.theta(known.draws[c]).items()})
    y, residual = (v[c][found.curves.real[c] > 0] for v in (found.curves.y, found.residual()))
    total, rest = float(((y - y.mean()) ** 2).sum()), float((residual**2).sum())
    r2 = 1 - rest / total if total > 0 else math.nan
    low, high = ({k: ends[i] for k, ends in limits.items()} for i in (0, 1))
    return Fit(
        *(name, known.law, known.columns, asked.y, asked.criterion, value, low, high, draws),
        *(r2, math.sqrt(rest / len(y)), float(found.aicc[c])),
        *(math.sqrt(known.noise[0][c]), float(known.noise[1][c])),
        verdicts.sentence(_facts(known, c, value, limits, draws, r2)),
        _note(known, asked, c),
    )


def _note(known: _Judged, asked: Asked, c: int) -> str:
    worse = float(known.constant.aicc[c] - known.found.aicc[c])
    if isinstance(known.law, Constant) or not math.isfinite(worse):
        return f"criterion {asked.criterion}"
    return f"criterion {asked.criterion}; AICc of a constant: {worse:+.4g}"


def _ends(known: _Judged, param: Param, c: int, i: int) -> tuple[float, float]:
    """Return an interval on the natural scale; an end that runs into 0 closes there if 0 is the declared limit."""
    low, high = float(known.ends.low[c, i]), float(known.ends.high[c, i])
    if param.log:
        return (math.exp(low) if math.isfinite(low) else low), (math.exp(high) if math.isfinite(high) else high)
    closes = low == -math.inf and param.low == 0 == known.found.problem.low[c, i]
    return (0.0 if closes else low), high


def _facts(
    known: _Judged,
    c: int,
    value: dict[str, float],
    limits: dict[str, tuple[float, float]],
    draws: pd.DataFrame,
    r2: float,
) -> verdicts.Facts:
    x = {role: v[c] for role, v in known.found.problem.x.items()}
    left, reached = _reached(known.law, x, draws)
    return verdicts.Facts(
        gain=_linear(known.line, c, 1),
        turns=(_linear(known.parabola, c, 1), _linear(known.parabola, c, 2)),
        law=float(known.found.aicc[c]),
        constant=float(known.constant.aicc[c]),
        parabola=float(known.parabola.aicc[c]),
        r2=r2,
        limits=limits,
        units={k: _unit(p, known.columns) for k, p in known.found.problem.params.items()},
        covered=_covered(known.law, x, value),
        left=left,
        reached=reached,
        is_constant=isinstance(known.law, Constant),
    )


def _unit(param: Param, columns: dict[str, str]) -> str:
    """Return a parameter's unit for a sentence: "unit of the depth" is the name of the column bound to the depth."""
    words = param.unit.removeprefix("unit of the ")
    return param.unit if words == param.unit else columns.get(words, "")


def _linear(found: Solution, c: int, k: int) -> tuple[float, float]:
    """Return the 95 % interval of a parameter that enters linearly, whose profile is the textbook one."""
    half = stats.t.ppf(0.975, found.freedom[c, k]) * math.sqrt(found.variance[c, k])
    return float(found.t[c, k] - half), float(found.t[c, k] + half)


def _covered(law: Law, x: dict[str, Floats], value: dict[str, float]) -> float:
    """Return the share of the law's transition, on a log scale, that lies between the smallest and largest input."""
    if not hasattr(law, "transition"):
        return math.nan
    low, high = (float(np.log(end)) for end in law.transition({k: np.array(v) for k, v in value.items()}))
    first = next(iter(x.values()))
    seen = np.log(first[first > 0])
    share = (min(high, seen.max()) - max(low, seen.min())) / (high - low)
    return float(np.clip(share, 0, 1)) if math.isfinite(share) else math.nan


def _reached(law: Law, x: dict[str, Floats], draws: pd.DataFrame) -> tuple[float, float]:
    """Return 97.5 % limits: most that is left beyond the largest input, least share of the change that it reaches."""
    if not hasattr(law, "limit") or len(x) != 1 or isinstance(law, Constant):
        return math.nan, math.nan
    theta = {k: v.to_numpy()[:, None] for k, v in draws.items()}
    role, first = next(iter(x.items()))
    at = np.asarray(law.predict({role: np.array([[first.min(), first.max()]])}, theta), dtype=float)
    limit = np.asarray(law.limit(theta))[:, 0]
    left, share = np.abs(limit - at[:, 1]), (at[:, 1] - at[:, 0]) / (limit - at[:, 0])
    return float(np.quantile(left, 0.975)), float(np.quantile(np.nan_to_num(share, nan=0.0), 0.025))
