"""A fitted law as a surface over its inputs, once for the estimate and once for every joint draw, and budgets on it.

Everything is an array: rows are the estimate followed by the draws, columns are places. ``better`` turns the surface
so that more of it is better, whether the law is one of information (which rises) or of loss (which falls).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sclaws.errors import DesignError
from sclaws.fit.results import Fit
from sclaws.protocols import Floats

Levels = Mapping[str, Floats]  # column of the table -> levels, arrays that broadcast
_HALVINGS = 50
_LEAST = 0.1  # of the smallest level that was fitted: how far down a plan may go
_MOST = 1e9  # of the largest: as good as without limit
_PLACES = {1: 1, 2: 400, 3: 3600}  # places on a budget, by number of inputs


class Priced(Protocol):
    """What a plan asks of prices: money at levels, never falling in any of them, infinite where impossible."""

    @property
    def currency(self) -> str:
        """Return the unit of money."""

    def cost(self, levels: Levels) -> NDArray[np.float64]:
        """Return the money that levels cost."""


@dataclass(frozen=True)
class Surface:
    """A fit as rows × places: row 0 is the estimate, the others its draws."""

    fit: Fit

    def __post_init__(self) -> None:
        if not self.fit.value:
            raise DesignError(f"nothing was fitted to this curve ({self.fit.verdict}), so nothing can be planned on it")
        if not 1 <= len(self.fit.inputs) <= 3:
            raise DesignError(f"a plan needs a law of one to three inputs, and this one has {len(self.fit.inputs)}")

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the law's inputs, in its order."""
        return tuple(self.fit.inputs.values())

    @property
    def now(self) -> dict[str, float]:
        """The largest levels that were fitted."""
        return {column: self.fit.span[column][1] for column in self.columns}

    @property
    def theta(self) -> dict[str, NDArray[np.float64]]:
        """Parameters (rows, 1)."""
        draws = self.fit.draws
        return {name: np.append(value, draws[name].to_numpy())[:, None] for name, value in self.fit.value.items()}

    def at(self, levels: Levels) -> NDArray[np.float64]:
        """Return y (rows, m) at levels by column, each (m,) or (rows, m)."""
        theta = self.theta
        x = {role: np.atleast_2d(np.asarray(levels[column], dtype=float)) for role, column in self.fit.inputs.items()}
        with np.errstate(all="ignore"):
            found = np.asarray(self.fit.law.predict(x, theta), dtype=float)
        size = np.broadcast_shapes(*(v.shape for v in x.values()), (len(self.fit.draws) + 1, 1))
        return np.broadcast_to(found, size)

    @property
    def sign(self) -> float:
        """1.0 where more of the inputs gives more y (information), -1.0 where it gives less (a loss)."""
        low = self.at({c: np.array([self.fit.span[c][0]]) for c in self.columns})[0, 0]
        high = self.at({c: np.array([self.fit.span[c][1]]) for c in self.columns})[0, 0]
        return 1.0 if high >= low else -1.0

    def better(self, levels: Levels) -> NDArray[np.float64]:
        """Return :meth:`at`, turned so that more is better."""
        return self.sign * self.at(levels)

    @property
    def ceiling(self) -> NDArray[np.float64]:
        """Return y (rows,) without limit on any input."""
        if hasattr(self.fit.law, "limit"):
            found = np.asarray(self.fit.law.limit({k: v[:, 0] for k, v in self.theta.items()}), dtype=float)
            return np.broadcast_to(found, (len(self.fit.draws) + 1,))
        return self.at({c: np.array([_MOST * v]) for c, v in self.now.items()})[:, 0]


def least(surface: Surface) -> dict[str, float]:
    """Return the smallest level of every column that a plan looks at: a tenth of the smallest above 0 in the data."""
    spans, points = surface.fit.span, surface.fit.points
    seen = {c: points[c][points[c] > 0] if c in points else pd.Series(dtype=float) for c in surface.columns}
    return {c: _LEAST * float(seen[c].min() if len(seen[c]) else spans[c][0] or spans[c][1]) for c in surface.columns}


def affordable(prices: Priced, levels: Levels, column: str, money: Floats, low: float, high: float) -> Floats:
    """Return the largest level of ``column`` in [low, high] at which the others, as given, cost at most ``money``.

    NaN where even ``low`` costs more. ``money`` and the other levels broadcast.
    """

    def within(level: Floats) -> NDArray[np.bool_]:
        return np.asarray(prices.cost({**levels, column: level}) <= money)

    size = np.broadcast_shapes(np.shape(money), *(np.shape(v) for c, v in levels.items() if c != column))
    found = crossing(within, np.full(size, low), np.full(size, high))
    return np.where(within(np.full(size, low)), found, np.nan)


def crossing(holds: Callable[[Floats], NDArray[np.bool_]], low: Floats, high: Floats) -> Floats:
    """Return the largest levels in [low, high] for which a condition, true at small levels, holds; by bisection."""
    a, b = np.log(low), np.log(high)
    everywhere = holds(np.exp(b))
    for _ in range(_HALVINGS):
        middle = (a + b) / 2
        good = holds(np.exp(middle))
        a, b = np.where(good, middle, a), np.where(good, b, middle)
    return np.where(everywhere, high, np.exp(a))


def on_budget(surface: Surface, prices: Priced, money: float) -> dict[str, NDArray[np.float64]]:
    """Return levels (m,) by column that spend a budget: all but one spread over what can be had, the last what is left.

    Places are spaced evenly in logarithms. Raises ``DesignError`` when the budget does not buy the smallest plan.
    """
    first, *others = surface.columns
    floor = least(surface)
    lowest = float(prices.cost({c: np.array([v]) for c, v in floor.items()})[0])
    if not lowest <= money:
        raise DesignError(
            f"the budget of {money:g} {prices.currency} buys nothing: the smallest plan (fixed costs, and the least of "
            f"everything) costs {lowest:.6g}; raise the budget or change the prices"
        )
    grid = _grid(surface, prices, money, floor, others)
    size = len(next(iter(grid.values()), np.ones(1)))
    level = affordable(prices, {**grid, first: np.ones(size)}, first, np.full(size, money), *_ends(surface, first))
    good = np.isfinite(level)
    return {column: {**grid, first: level}[column][good] for column in surface.columns}


def _grid(surface: Surface, prices: Priced, money: float, floor: dict[str, float], others: list[str]) -> dict[str, Any]:
    """Return levels (m,) of all columns but the first: every combination of what the budget can have of each."""
    count = round(_PLACES[len(surface.columns)] ** (1 / max(len(others), 1)))
    smallest = {c: np.array(v) for c, v in floor.items()}
    sides = []
    for column in others:
        most = affordable(prices, smallest, column, np.array(money), *_ends(surface, column))
        sides.append(np.geomspace(floor[column], float(most), count))
    return {c: v.ravel() for c, v in zip(others, np.meshgrid(*sides, indexing="ij"), strict=True)}


def _ends(surface: Surface, column: str) -> tuple[float, float]:
    return least(surface)[column], _MOST * surface.now[column]


def spread(values: Floats) -> tuple[float, float]:
    """Return the 95 % interval of draws (rows after the first), their quantiles; infinite values stay infinite."""
    low, high = np.quantile(values[1:], [0.025, 0.975], method="nearest") if len(values) > 1 else (math.nan, math.nan)
    return float(low), float(high)
