"""Which few runs would make the decision surer, and a loop that runs them until it is sure enough or money is spent.

The decision is an allocation: the logarithms of the best levels for a budget, one vector a draw. A run at some levels
would show y there, which draws disagree on, too; the more the two disagreements go together, the more the run tells of
the decision. Runs are chosen one after the other by how much of the decision's variance they take away for their cost;
after each the draws are moved as if it had been seen (the update of an ensemble Kalman filter, Evensen 1994, J Geophys
Res 99:10143), so that the next is not asked for what is already known. Costs draws × candidates for each run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sclaws.design.optimum import Plan, best
from sclaws.design.surface import Priced, Surface
from sclaws.errors import DesignError
from sclaws.fit.results import Fit
from sclaws.protocols import Floats

_TINY = 1e-12
_SURE = 1e-6  # variance of a plan's log levels below which no run can change it


@dataclass(frozen=True)
class Suggestion:
    """``runs``: the chosen rows of the candidates, with their ``cost`` and ``left``, the share of the plan's variance
    that is expected to be left once this run and those before it were seen. ``total`` is what they cost.
    """

    runs: pd.DataFrame
    total: float


def suggest(
    fit: Fit,
    plan: Plan,
    candidates: pd.DataFrame,
    cost: Floats,
    k: int = 5,
    money: float = np.inf,
    seed: int = 0,
    again: bool = True,
    worth: float = 0.0,
) -> Suggestion:
    """Return the next runs that tell most of a plan for their cost, at most ``k`` of them and no more than ``money``.

    ``candidates`` has the columns of the law's inputs; with ``again`` a row may be chosen more than once (a replicate).
    ``cost`` (m,) positive, in any unit. Runs that would take less than the share ``worth`` of the variance that is left
    are not named, so there may be fewer than ``k``, or none. Raises ``DesignError`` for missing columns, costs that are
    not positive, a fit without draws.
    """
    surface = Surface(fit)
    cost = _checked(surface, candidates, cost, k)
    scale = np.log if fit.criterion == "log" else np.asarray
    seen = np.array(scale(surface.at({c: candidates[c].to_numpy(float) for c in surface.columns})[1:]), dtype=float)
    wanted = np.log(plan.draws[1:])
    good = np.isfinite(seen).all(axis=1) & np.isfinite(wanted).all(axis=1)
    seen, wanted = seen[good], wanted[good]
    if len(wanted) < 20:
        raise DesignError(f"only {len(wanted)} draws of this fit have a finite plan: too few to say what would help")
    whole = wanted.var(axis=0).sum()
    if whole < _SURE:
        return Suggestion(candidates.iloc[:0].assign(cost=[], left=[]), 0.0)
    noise = max(float(fit.sigma) ** 2, _TINY) if np.isfinite(fit.sigma) else _TINY
    rng = np.random.default_rng(seed)
    chosen: list[int] = []
    left: list[float] = []
    spent = 0.0
    for _ in range(k):
        told = _gains(seen, wanted, noise)
        gain = np.where(told > worth * wanted.var(axis=0).sum(), told / cost, -np.inf)
        gain[cost > money - spent] = -np.inf
        gain[[] if again else chosen] = -np.inf
        if not np.isfinite(gain).any():
            break
        i = int(np.argmax(gain))
        chosen.append(i)
        spent += float(cost[i])
        seen, wanted = _as_if_seen(seen, wanted, i, noise, rng)
        left.append(float(wanted.var(axis=0).sum() / whole) if whole > _TINY else 0.0)
    runs = candidates.iloc[chosen].assign(cost=cost[chosen], left=left)
    return Suggestion(runs.reset_index(drop=True), spent)


def loop(
    run: Callable[[pd.DataFrame], pd.DataFrame],
    refit: Callable[[pd.DataFrame], Fit],
    first: pd.DataFrame,
    candidates: pd.DataFrame,
    cost: Callable[[pd.DataFrame], Floats],
    prices: Priced,
    budget: float,
    *,
    money: float,
    regret: float,
    at_once: int = 4,
    again: bool = True,
    said: Callable[[str], None] = lambda text: None,  # noqa: ARG005
) -> tuple[Fit, Plan, pd.DataFrame]:
    """Run, fit, suggest, run ... until the plan's regret is at most ``regret``, or ``money`` (in cost's unit) is spent.

    Without ``again`` levels that were run are not suggested any more. ``run`` returns the rows measured at levels;
    ``refit`` the fit of all rows so far; ``cost`` what levels cost. Starts with the levels ``first``. Returns the last
    fit, its plan and all rows. ``said`` is told of each round.
    """
    rows, spent, left = run(first), float(np.sum(cost(first))), candidates
    done = first
    while True:
        fit = refit(rows)
        plan = best(fit, prices, budget)
        said(f"{len(rows)} rows, {spent:.6g} spent, regret {plan.regret:.3g}")
        if plan.regret <= regret:
            return fit, plan, rows
        if not again:
            left = _without(candidates, done)
        asked = suggest(fit, plan, left, cost(left), at_once, money - spent, seed=len(rows), again=again)
        if not len(asked.runs):
            return fit, plan, rows
        done = pd.concat([done, asked.runs[list(candidates)]], ignore_index=True)
        rows = pd.concat([rows, run(asked.runs[list(candidates)])], ignore_index=True)
        spent += asked.total


def grid_of(fit: Fit, rows: pd.DataFrame, further: int = 1) -> pd.DataFrame:
    """Return every combination of the levels in ``rows``, with ``further`` more above the largest of each, in their
    median step. Measured levels within 10 % of one another are one. Candidates for :func:`suggest` when nothing else
    says what can be run.
    """
    sides = []
    for column in fit.inputs.values():
        levels = _distinct(rows[column].to_numpy(float))
        step = float(np.exp(np.median(np.diff(np.log(levels))))) if len(levels) > 1 else 2.0
        sides.append([*levels, *(levels[-1] * step ** np.arange(1, further + 1))])
    combined = np.meshgrid(*sides, indexing="ij")
    return pd.DataFrame({c: v.ravel() for c, v in zip(fit.inputs.values(), combined, strict=True)})


def _distinct(values: Floats) -> Floats:
    """Return the positive levels, those within 10 % of their neighbour joined into their median."""
    ordered = np.sort(values[values > 0])
    parts = np.split(ordered, np.flatnonzero(np.diff(np.log(ordered)) > 0.1) + 1)
    return np.array([np.median(part) for part in parts if len(part)])


def _without(candidates: pd.DataFrame, done: pd.DataFrame) -> pd.DataFrame:
    known = set(done[list(candidates)].itertuples(index=False, name=None))
    keep = [row not in known for row in candidates.itertuples(index=False, name=None)]
    return candidates[keep].reset_index(drop=True)


def _gains(seen: Floats, wanted: Floats, noise: float) -> NDArray[np.float64]:
    """Return how much of the variance of ``wanted`` (D, p) each column of ``seen`` (D, m) would take away, (m,)."""
    a, b = seen - seen.mean(axis=0), wanted - wanted.mean(axis=0)
    together = a.T @ b / len(a)
    return np.asarray((together**2).sum(axis=1) / (a.var(axis=0) + noise))


def _as_if_seen(seen: Floats, wanted: Floats, i: int, noise: float, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Return both ensembles after an observation of column i at its mean."""
    centred = seen[:, i] - seen[:, i].mean()
    surprise = centred + np.sqrt(noise) * rng.normal(size=len(seen))
    pull = surprise / (centred.var() + noise)
    moved = [v - np.outer(pull, centred @ (v - v.mean(axis=0)) / len(v)) for v in (seen, wanted)]
    return moved[0], moved[1]


def _checked(surface: Surface, candidates: pd.DataFrame, cost: Floats, k: int) -> Floats:
    lacking: Sequence[str] = [c for c in surface.columns if c not in candidates]
    if lacking:
        raise DesignError(f"the candidates have no column {', '.join(map(repr, lacking))}, which the law needs")
    cost = np.array(cost, dtype=np.float64)
    if cost.shape != (len(candidates),) or not (cost > 0).all():
        raise DesignError(f"each of the {len(candidates)} candidates needs one positive cost, got {cost}")
    if k < 1:
        raise DesignError(f"k = {k}: ask for at least one run")
    return cost
