"""The best allocation for a budget, the cheapest way to a target, and the front between them, with how sure each is.

A budget is spent in the way that is best *on average over the draws*; a target is met by the estimate. Intervals are
those of the draws' own optima. How much it matters is the regret: what a draw's own optimum has more, on average. Where
that is nothing, the valley is flat, and its width is said instead of a point being praised.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sclaws.design.surface import Priced, Surface, crossing, least, on_budget, spread
from sclaws.errors import DesignError
from sclaws.fit.results import Fit
from sclaws.protocols import Floats

_SAME = 1e-4  # of the best y: of places that differ by less, the cheapest is taken
_FLAT = 0.01  # of the best y on a budget: places that lose less than this are as good
_FAR = 1e9  # times the largest level: without limit
_PLACES = {1: 1, 2: 200, 3: 1600}  # places on the way to a target, by number of inputs


@dataclass(frozen=True)
class Choice:
    """A level of one column: ``value``, the 95 % interval of where the best is, and the levels that do as well."""

    column: str
    value: float
    low: float
    high: float
    flat: tuple[float, float]
    beyond: float
    below: bool = False

    def __str__(self) -> str:
        low, high = self.flat
        flat = f"; {rounded(low)} to {rounded(high)} do within 1 % as well" if high > 1.5 * low else ""
        far = f"; {self.beyond:.2g} times the largest that was measured" if self.beyond > 1.001 else ""
        far = "; below the smallest that was measured" if self.below else far
        return f"{self.column} {rounded(self.value)} ({rounded(self.low)} to {rounded(self.high)}{flat}{far})"


@dataclass(frozen=True)
class Plan:
    """What to buy: ``choices`` by column, their ``cost``, the ``y`` expected there with its interval, and the regret.

    ``regret``: how much more the best allocation of a draw has there, on average over draws, in the unit of y.
    ``cost_low`` and ``cost_high``: the 95 % interval of what a ``target`` costs (equal to ``cost`` on a budget).
    ``y`` follows the departures of a pooled fit, the levels its law: they may differ a little.
    """

    curve: Mapping[str, object]
    choices: Mapping[str, Choice]
    cost: float
    cost_low: float
    cost_high: float
    y: float
    y_low: float
    y_high: float
    regret: float
    currency: str
    note: str = ""
    target: float = math.nan
    draws: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)), repr=False)

    @property
    def row(self) -> dict[str, object]:
        """The plan as a row of a table."""
        out: dict[str, object] = {
            **self.curve,
            "cost": self.cost,
            "cost_low": self.cost_low,
            "cost_high": self.cost_high,
        }
        for c in self.choices.values():
            names = ("", "_low", "_high", "_flat_low", "_flat_high", "_beyond_data")
            values = (c.value, c.low, c.high, *c.flat, c.beyond)
            out |= {f"{c.column}{name}": value for name, value in zip(names, values, strict=True)}
        return out | {"y": self.y, "y_low": self.y_low, "y_high": self.y_high, "regret": self.regret, "note": self.note}


def best(fit: Fit, prices: Priced, budget: float) -> Plan:
    """Return the allocation of a budget with the best y on average over the draws of a fit.

    Whole libraries and flow cells are bought when prices say so. Time and memory: draws × 400 places for two inputs.
    Raises ``DesignError`` for a budget that buys nothing, or is not a positive number.
    """
    budget = positive("budget", budget)
    surface = Surface(fit)
    places = on_budget(surface, prices, budget)
    found = surface.better(places)
    mean = np.nanmean(found[1:] if len(found) > 1 else found, axis=0)
    own = np.argmax(found, axis=1)
    money = np.where(mean >= mean.max() - _SAME * abs(mean.max()), prices.cost(places), np.inf)
    chosen = int(np.argmin(np.where(money <= money.min() * (1 + 1e-9), -mean, np.inf)))
    good = mean >= mean[chosen] - _FLAT * abs(mean[chosen])
    choices = {c: _choice(surface, c, v[chosen], v[own], v[good]) for c, v in places.items()}
    regret = float(np.mean(found[np.arange(len(found)), own] - found[:, chosen]))
    levels = {c: float(v[chosen]) for c, v in places.items()}
    cost = float(prices.cost({c: np.array([v]) for c, v in levels.items()})[0])
    return _plan(
        surface, prices, choices, (cost, cost, cost), regret, np.stack([v[own] for v in places.values()], axis=1)
    )


def cheapest(fit: Fit, prices: Priced, target: float) -> Plan:
    """Return the cheapest levels at which the estimate reaches a target, with the interval of what that costs.

    Raises ``DesignError`` for a target that no level reaches, naming the ceiling.
    """
    surface = Surface(fit)
    wanted = surface.sign * target
    ceiling = surface.sign * surface.ceiling
    if not ceiling[0] > wanted:
        low, high = sorted(surface.sign * v for v in spread(ceiling))
        most = surface.sign * float(ceiling[0])
        end, ask = ("ceiling", "less") if surface.sign > 0 else ("floor", "more")
        raise DesignError(
            f"no {_words(surface.columns)} reaches {target:g}: the model's {end} is {most:.4g} "
            f"({low:.4g} to {high:.4g}); ask for {ask}"
        )
    first, *others = surface.columns
    floor, now = least(surface), surface.now
    count = round(_PLACES[len(surface.columns)] ** (1 / max(len(others), 1)))
    sides = [np.geomspace(floor[c], _beyond(surface, c, wanted), count) for c in others]
    grid = {c: v.ravel() for c, v in zip(others, np.meshgrid(*sides, indexing="ij"), strict=True)}
    size = (len(ceiling), len(next(iter(grid.values()), np.ones(1))))

    def short(level: Floats) -> NDArray[np.bool_]:
        return np.asarray(surface.better({**grid, first: level}) < wanted)

    level = crossing(short, np.full(size, floor[first]), np.full(size, _FAR * now[first]))
    level = np.where(surface.better({**grid, first: level * (1 + 1e-9)}) < wanted, np.inf, level)
    with np.errstate(invalid="ignore"):
        cost = np.asarray(prices.cost({**{c: np.broadcast_to(v, size) for c, v in grid.items()}, first: level}))
    cost = np.where(np.isfinite(level) & np.isfinite(cost), cost, np.inf)
    if not np.isfinite(cost[0]).any():
        raise DesignError(
            f"{target:.4g} is short of the model's limit of {surface.sign * ceiling[0]:.4g}, but reached nowhere that "
            "the prices allow: see their molecules and limits (most)"
        )
    own = np.argmin(cost, axis=1)
    rows = np.arange(len(own))
    levels = {c: np.broadcast_to(v, size)[rows, own] for c, v in grid.items()} | {first: level[rows, own]}
    paid = cost[rows, own]
    levels = {c: np.where(np.isfinite(paid), levels[c], np.inf) for c in surface.columns}
    near = cost[0] <= (1 + _FLAT) * paid[0]
    flat = {c: np.broadcast_to(v, size)[0, near] for c, v in {**grid, first: level}.items()}
    filled = best(fit, prices, float(paid[0]) * (1 + 1e-9)).choices  # for the same money: whole libraries are filled
    choices = {c: _choice(surface, c, filled[c].value, v, flat[c]) for c, v in levels.items()}
    never = float(np.mean(~np.isfinite(paid[1:]))) if len(paid) > 1 else 0.0
    share = "less than 1%" if never < 0.01 else f"{never:.0%}"
    note = f"in {share} of the draws no level that can be bought reaches it" if never > 0 else ""
    if all(v[0] <= 1.001 * floor[c] for c, v in levels.items()):
        note = "it is reached at the smallest levels that a plan looks at"
    found = _plan(
        surface, prices, choices, (float(paid[0]), *spread(paid)), math.nan, np.stack([*levels.values()], axis=1), note
    )
    return replace(found, target=float(target))


def pareto(fit: Fit, prices: Priced, budgets: Sequence[float]) -> pd.DataFrame:
    """Return the row of the best plan for each budget, and whether what limits there is beyond the data."""
    return pd.DataFrame([{"budget": float(budget), **best(fit, prices, budget).row} for budget in budgets])


def _choice(surface: Surface, column: str, value: float, own: Floats, good: Floats) -> Choice:
    low, high = spread(own)
    flat = (float(np.nanmin(good)), float(np.nanmax(good)))
    below = bool(value < 0.999 * surface.fit.span[column][0])
    return Choice(column, float(value), low, high, flat, float(value) / surface.now[column], below)


def _plan(
    surface: Surface, prices: Priced, choices: dict[str, Choice], cost: tuple[float, float, float], regret: float,
    draws: NDArray[np.float64], note: str = "",
) -> Plan:  # fmt: skip
    at = surface.fit.predict({c: np.array([choice.value]) for c, choice in choices.items()}).iloc[0]
    y = (float(at["predicted"]), float(at["low"]), float(at["high"]))
    return Plan(surface.fit.curve, choices, *cost, *y, regret, prices.currency, note, draws=draws)


def _beyond(surface: Surface, column: str, wanted: float) -> float:
    """Return a level of a column beyond which more of it changes nothing: the estimate lacks a thousandth there."""
    now = surface.now
    ends = {c: np.array([_FAR * v]) for c, v in now.items()}
    steps = now[column] * np.logspace(0, 9, 91)
    found = surface.better({**{c: np.full(91, v[0]) for c, v in ends.items()}, column: steps})[0]
    enough = np.flatnonzero(found >= found[-1] - 1e-3 * abs(found[-1] - wanted) - 1e-9)
    return float(steps[enough[0]])


def rounded(value: float) -> str:
    """Return a level to three figures, without powers of ten."""
    if not math.isfinite(value):
        return "no limit"
    digits = 2 - math.floor(math.log10(abs(value))) if value else 0
    return f"{round(value, digits):,.{max(digits, 0)}f}"


def positive(name: str, value: float) -> float:
    """Return an amount of money; ``DesignError`` unless it is positive and finite."""
    if not (math.isfinite(value) and value > 0):
        raise DesignError(f"{name} = {value:g} must be a positive amount of money")
    return float(value)


def _words(columns: Sequence[str]) -> str:
    return " or ".join(columns)
