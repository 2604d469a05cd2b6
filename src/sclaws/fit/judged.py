"""The whole of a fit for some curves: the law, its rivals, intervals, draws, and the verdict of each curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from sclaws import keys
from sclaws.fit import settling, verdicts, weighted
from sclaws.fit.curves import Curves
from sclaws.fit.groups import Asked
from sclaws.fit.intervals import Intervals, intervals
from sclaws.fit.problem import Problem, parameters
from sclaws.fit.results import Fit, law_name
from sclaws.fit.weighted import Solution
from sclaws.laws._polynomials import Line, Parabola, Thirds
from sclaws.laws.constant import Constant
from sclaws.protocols import Floats, Law, Param


@dataclass(frozen=True)
class Rivals:
    """What competes on some curves, whatever the law: a constant, and a line, a parabola and thirds in log x."""

    constant: Solution
    line: Solution
    parabola: Solution
    steps: Solution

    @classmethod
    def of(cls, asked: Asked, curves: Curves) -> Rivals:
        """Return the rivals, fitted like a law."""
        return cls(
            weighted.solve(Constant(), {"x": asked.x[0]}, curves, asked.log_y, asked.delta),
            # straight and bent on the scale of the criterion: the curves are on it already
            weighted.solve(Line(), {"z": "z"}, curves, log_y=False, delta=asked.delta),
            weighted.solve(Parabola(), {"z": "z"}, curves, log_y=False, delta=asked.delta),
            weighted.solve(Thirds(), {"z": "z"}, curves, log_y=False, delta=asked.delta),
        )


@dataclass(frozen=True)
class _Known:
    """A law on some curves; ``draws`` (C, n_draws, p), ``noise`` (C,) variances and degrees of freedom."""

    law: Law
    columns: dict[str, str]
    found: Solution
    draws: Floats
    noise: tuple[Floats, Floats]


@dataclass(frozen=True)
class _Judged:
    """What is found beyond that: intervals, (C,) errors of left-out levels, rivals."""

    known: _Known
    ends: Intervals
    loo: Floats
    rivals: Rivals


Named = Sequence[dict[str, Any]]  # the by-columns' values of each curve


@np.errstate(all="ignore")
def judge(law: Law, columns: dict[str, str], asked: Asked, named: Named, curves: Curves, rivals: Rivals) -> list[Fit]:
    """Return a law's fits to the curves, in their order."""
    found = weighted.solve(law, columns, curves, asked.log_y, asked.delta)
    draws = found.draws(_generators(asked.seed, law, named), asked.n_draws)
    ends = _ends(found, draws)
    if found.problem.capped.any():
        endless = replace(curves, ceiling=np.full_like(curves.ceiling, np.inf))
        free = weighted.solve(law, columns, endless, asked.log_y, asked.delta)
        ends = _narrower(found, ends, _ends(free, free.draws(_generators(asked.seed, law, named), asked.n_draws)))
    noise = found.scatter.own
    judged = _Judged(_Known(law, columns, found, draws, noise), ends, found.left_out(), rivals)
    made = [_assembled(judged, asked, dict(name), c) for c, name in enumerate(named)]
    which = [c for c, (one, _) in enumerate(made) if one.verdict.startswith(verdicts.OPEN)]
    settled = settling.advice(found, which, noise[0], columns)
    return [replace(one, verdict=verdicts.sentence(replace(facts, settled=settled.get(c, ""))))
            for c, (one, facts) in enumerate(made)]  # fmt: skip


@np.errstate(all="ignore")
def predictor(law: Law, columns: dict[str, str], asked: Asked, named: Named, curves: Curves) -> list[Fit]:
    """Return fits that can only predict: values and draws, no intervals and no verdict."""
    found = weighted.solve(law, columns, curves, asked.log_y, asked.delta)
    draws = found.draws(_generators(asked.seed, law, named), asked.n_draws)
    known = _Known(law, columns, found, draws, found.scatter.own)
    return [_bare(known, asked, dict(name), c) for c, name in enumerate(named)]


def stub(law: Law, columns: dict[str, str], asked: Asked, name: dict[str, Any], verdict: str) -> Fit:
    """Return the fit of a curve that has too few points for one: a verdict and no numbers."""
    nothing = pd.DataFrame(columns=list(parameters(law)))
    return Fit(name, law, columns, asked.y, asked.criterion, {}, nothing, verdict=verdict, note=_how(asked))


def _generators(seed: int, law: Law, named: Named) -> list[np.random.Generator]:
    """A curve's draws depend on its name, not on which other curves are fitted in the same call."""
    words = [[seed, law_name(law), *(f"{k}={v}" for k, v in name.items())] for name in named]
    return [np.random.default_rng(int(keys.key(each), 16)) for each in words]


def _ends(found: Solution, draws: Floats) -> Intervals:
    """Return profile intervals; with Huber's loss the quantiles of the draws, open where they lean on a bound."""
    problem = found.problem
    if math.isinf(problem.delta):
        return intervals(problem, found.target, found.weight, found.t, found.cost, found.half, found.weighted)
    low, high = np.quantile(draws, [0.025, 0.975], axis=1)
    low, high = np.where(low <= problem.low, -np.inf, low), np.where(high >= problem.high, np.inf, high)
    return Intervals(low, high, np.isfinite(np.concatenate([low, high], axis=1)))


def _narrower(found: Solution, ends: Intervals, free: Intervals) -> Intervals:
    """Return the intervals with a ceiling, those of other parameters cut to the ones without it, which hold as well.

    A least-squares fit that is held at a ceiling gives the others a share of the errors that the held one would absorb.
    """
    other = found.problem.capped.any(axis=1, keepdims=True) & ~found.problem.capped
    inside = other & (free.low <= found.t) & (found.t <= free.high)
    low = np.where(inside, np.maximum(ends.low, free.low), ends.low)
    high = np.where(inside, np.minimum(ends.high, free.high), ends.high)
    return Intervals(low, high, ends.sure | (np.tile(inside, 2) & free.sure))


def _bare(known: _Known, asked: Asked, name: dict[str, Any], c: int) -> Fit:
    problem = known.found.problem
    value = {k: float(v[0]) for k, v in problem.theta(known.found.t[c]).items()}
    theta = problem.theta(known.draws[c])
    named = pd.DataFrame(np.concatenate(list(theta.values()), axis=1), columns=list(theta))
    variance, freedom = (float(v[c]) for v in known.noise)
    return Fit(
        *(name, known.law, known.columns, asked.y, asked.criterion, value, named),
        sigma=math.sqrt(variance), freedom=freedom, spread=_spread(known.found.curves, c),
    )  # fmt: skip


def _spread(curves: Curves, c: int) -> tuple[tuple[float, float], ...]:
    """Return (z of the first input's own scale, relative variance) of the levels, when they differ."""
    some = curves.levels[c] > 0
    relative = curves.relative[c][some]
    if (relative == 1).all():
        return ()
    first = next(iter(curves.x.values()))[c][some]
    return tuple(sorted(zip(map(float, first), map(float, relative), strict=True)))


def _assembled(judged: _Judged, asked: Asked, name: dict[str, Any], c: int) -> tuple[Fit, verdicts.Facts]:
    """Return the fit of a curve, and what its verdict rests on."""
    known, found = judged.known, judged.known.found
    bare = _bare(known, asked, name, c)
    limits = {k: _natural(judged.ends, found.problem, p, c, i) for i, (k, p) in enumerate(found.problem.params.items())}
    y, residual = (v[c][found.curves.real[c] > 0] for v in (found.curves.y, found.residual))
    total, rest = float(((y - y.mean()) ** 2).sum()), float((residual**2).sum())
    r2 = 1 - rest / total if total > 0 else math.nan
    aicc, constant = float(found.aicc[c]), float(judged.rivals.constant.aicc[c])
    x = {column: v[c][found.curves.levels[c] > 0] for column, v in found.curves.x.items()}
    facts = _facts(judged, c, bare, limits, r2)
    one = Fit(
        *(name, known.law, known.columns, asked.y, asked.criterion, bare.value, bare.draws),
        low={k: ends[0] for k, ends in limits.items()},
        high={k: ends[1] for k, ends in limits.items()},
        r2=r2,
        rmse=math.sqrt(rest / len(y)),
        aicc=aicc,
        sigma=bare.sigma,
        freedom=bare.freedom,
        verdict=verdicts.sentence(facts),
        note="; ".join([_how(asked), *_edges(found, c)]),
        weights=asked.weights,
        loss=asked.loss,
        constant_aicc=constant,
        loo=float(judged.loo[c]),
        span={column: (float(v.min()), float(v.max())) for column, v in x.items()},
        spread=bare.spread,
    )
    return one, facts


def _edges(found: Solution, c: int) -> list[str]:
    """Return which parameters the search has run to the edge of, unless law or ceiling has that edge of its own."""
    low = found.problem.declared[0]
    t, ends = found.t[c], (found.problem.low[c], found.problem.high[c])
    at = ((t <= ends[0]) & ((low < ends[0]) | (low != 0))) | ((t >= ends[1]) & ~found.problem.capped[c])
    return [f"{name} at the edge of the search" for name, edge in zip(found.problem.params, at, strict=True) if edge]


def _how(asked: Asked) -> str:
    more = [f"weights {asked.weights}"] if asked.weights != "none" else []
    return "; ".join([f"criterion {asked.criterion}", *more, *([asked.loss] if math.isfinite(asked.delta) else [])])


def _natural(ends: Intervals, problem: Problem, param: Param, c: int, i: int) -> tuple[float, float]:
    """Return an interval on the natural scale.

    An end that runs into 0 closes there if 0 is the declared limit, and one that runs into a known ceiling at that.
    """
    low, high = float(ends.low[c, i]), float(ends.high[c, i])
    if high == math.inf and problem.capped[c, i]:
        high = float(problem.high[c, i])
    if param.log:
        return (math.exp(low) if math.isfinite(low) else low), (math.exp(high) if math.isfinite(high) else high)
    closes = low == -math.inf and param.low == 0 == problem.low[c, i]
    return (0.0 if closes else low), high


# ── what a verdict rests on ──────────────────────────────────────────────────────────────────────────────────────────
def _facts(judged: _Judged, c: int, bare: Fit, limits: dict[str, tuple[float, float]], r2: float) -> verdicts.Facts:
    known, rivals = judged.known, judged.rivals
    found = known.found
    x = {role: v[c][found.curves.levels[c] > 0] for role, v in found.problem.x.items()}
    left, reached = _reached(known.law, x, bare.draws)
    return verdicts.Facts(
        gain=_linear(rivals.line, c, 1),
        turns=(_linear(rivals.steps, c, 1), _linear(rivals.steps, c, 2)),
        law=float(found.aicc[c]),
        constant=float(rivals.constant.aicc[c]),
        parabola=float(rivals.parabola.aicc[c]),
        r2=r2,
        limits=limits,
        sure=dict(zip(limits, map(bool, judged.ends.settled(found.problem)[c]), strict=True)),
        units={k: _unit(p, known.columns) for k, p in found.problem.params.items()},
        covered=_covered(known.law, x, bare.value),
        left=left,
        reached=reached,
        is_constant=isinstance(known.law, Constant),
        levels=len(np.unique(found.curves.place[c][found.curves.levels[c] > 0])),
        misfit=_misfit(found, c),
        ceiling=_at_ceiling(judged, c),
    )


def _misfit(found: Solution, c: int) -> float:
    """Return the p value of the F test of lack of fit: do levels depart from the law further than repeats scatter?

    A shift of whole replicates counts as scatter here, which makes the test careful.
    """
    real = found.curves.real[c] > 0
    rest = found.residual[c][real]
    level = np.unique(found.curves.place[c][found.curves.at[c][real]], return_inverse=True)[1]
    count = np.bincount(level)
    mean = np.bincount(level, rest) / count
    between, within = len(count) - found.t.shape[1], len(rest) - len(count)
    scatter = float(((rest - mean[level]) ** 2).sum())
    if between < 1 or within < 1 or scatter <= 0:
        return 1.0
    return float(stats.f.sf((count * mean**2).sum() / between / (scatter / within), between, within))


def _at_ceiling(judged: _Judged, c: int) -> str:
    """Return which parameter is, or may be, at its known ceiling, in words; nothing if its interval closes below."""
    problem = judged.known.found.problem
    at = problem.capped[c] & (judged.ends.high[c] == math.inf)
    if not at.any():
        return ""
    k = int(at.argmax())
    name, param = list(problem.params.items())[k]
    low = _natural(judged.ends, problem, param, c, k)[0]
    sits = judged.known.found.t[c, k] >= problem.high[c, k]
    unit = f" {unit}" if (unit := _unit(param, judged.known.columns)) else ""
    return f"{'at its ceiling' if sits else 'within reach of its ceiling'}, {name} > {low:.3g}{unit} (95 %)"


def _unit(param: Param, columns: dict[str, str]) -> str:
    """Return a parameter's unit for a sentence: "unit of the depth" is the name of the column bound to the depth."""
    words = param.unit.removeprefix("unit of the ")
    return param.unit if words == param.unit else columns.get(words, "")


def _linear(found: Solution, c: int, k: int) -> tuple[float, float]:
    """Return the 95 % interval of a parameter that enters linearly, whose profile is the textbook one."""
    return float(found.t[c, k] - found.half[c, k]), float(found.t[c, k] + found.half[c, k])


def _covered(law: Law, x: dict[str, Floats], value: Any) -> float:
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
