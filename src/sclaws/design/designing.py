"""A design for every curve: what limits it, what to buy, what to run next; in sentences, tables and one figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sclaws.design import figure, optimum
from sclaws.design.limits import Limits, limits
from sclaws.design.next_runs import Suggestion, grid_of, suggest
from sclaws.design.optimum import Plan, best, cheapest, pareto, rounded
from sclaws.design.prices import Prices
from sclaws.design.surface import Surface, least
from sclaws.errors import DesignError
from sclaws.fit.results import Fit
from sclaws.table import write_csv

_BUDGETS = 25  # on the front
_RESERVED = {"question", "budget", "cost", "y", "regret", "note", "column", "gain", "share", "verdict", "left"}
_WORTH = 0.01  # share of the plan's variance that a run must take to be named
_FRONT = (0.1, 100.0)  # times what the data would cost at these prices


@dataclass(frozen=True)
class Design:
    """What follows for one curve. ``plan`` and ``way`` are absent when no budget or target was given, or none helps.

    ``front`` has a row a budget. ``notes`` say what could not be done, and what was assumed.
    """

    fit: Fit
    limits: Limits | None
    front: pd.DataFrame
    plan: Plan | None = None
    way: Plan | None = None
    runs: Suggestion | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The curve in words."""
        return _name(self.fit)

    def __str__(self) -> str:
        return "\n".join(_sentences(self))


@dataclass(frozen=True)
class Designs:
    """The designs of all curves of a table, and the prices behind them."""

    designs: tuple[Design, ...]
    prices: Prices
    left_out: tuple[str, ...] = ()

    def __str__(self) -> str:
        said = ["\n\n".join(map(str, self.designs)), ""]
        said += [*(f"Left out: {each}" for each in self.left_out), ""] if self.left_out else []
        return "\n".join([*said, "Assumed:", *(f"- {each}" for each in self.prices.assumed)])

    @property
    def frame(self) -> pd.DataFrame:
        """A row a curve and question (budget, target): levels, intervals, cost, y, regret."""
        rows = [{"question": "budget", **each.plan.row} for each in self.designs if each.plan]
        rows += [{"question": "target", **each.way.row} for each in self.designs if each.way]
        return pd.DataFrame(rows) if rows else pd.DataFrame(columns=["question", "cost"])

    @property
    def front(self) -> pd.DataFrame:
        """The fronts of all curves: a row a curve and budget."""
        return pd.concat([each.front for each in self.designs], ignore_index=True)

    @property
    def limits(self) -> pd.DataFrame:
        """What limits: a row a curve and axis."""
        found = [(each.fit.curve, each.limits) for each in self.designs if each.limits is not None]
        rows = [one.frame.assign(**curve, verdict=one.verdict) for curve, one in found]
        return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=["column", "verdict"])

    @property
    def next(self) -> pd.DataFrame:
        """The next runs of all curves, in their order."""
        rows = [each.runs.runs.assign(**each.fit.curve) for each in self.designs if each.runs is not None]
        return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=["cost", "left"])

    @property
    def plain(self) -> dict[str, Any]:
        """Everything as lists, numbers and sentences, for JSON."""
        frames = {"design": self.frame, "limits": self.limits, "front": self.front, "next": self.next}
        notes = [f"{each.name}: {note}" for each in self.designs for note in each.notes]
        tables = {name: frame.to_dict("records") for name, frame in frames.items()}
        return {**tables, "notes": notes, "left_out": list(self.left_out), "assumed": list(self.prices.assumed)}

    def write(self, folder: Path | str) -> Path:
        """Write design.csv, front.csv, limits.csv, next.csv and design.svg; ``DesignError`` where that fails."""
        folder = Path(folder)
        tables = {"design": self.frame, "front": self.front, "limits": self.limits, "next": self.next}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, frame in tables.items():
                write_csv(frame, folder / f"{name}.csv")
            (folder / "design.svg").write_text(figure.svg(self.front, self.designs[0].fit, self.prices.currency))
        except OSError as error:
            raise DesignError(f"{folder} cannot be written: {error.strerror or error}; choose another --out") from error
        return folder


def design(
    fits: Iterable[Fit], prices: Prices, budget: float | None = None, target: str | float | None = None, k: int = 4
) -> Designs:
    """Return the design of every fitted curve.

    ``budget`` money; ``target`` a value of y, or "90%" of the model's ceiling; ``k`` runs to suggest. A curve for which
    a question has no answer keeps the others, and says why; one that has none at all is left out, and said. Raises
    ``DesignError`` when no curve is left, when an input of the law has no price, for a budget that buys nothing for any
    curve, and for a target that means nothing.
    """
    every = list(fits)
    usable = [one for one in every if one.value]
    if not usable:
        raise DesignError("no curve was fitted: nothing can be planned; see the fits' verdicts")
    if lacking := prices.lacks(usable[0].inputs.values()):
        raise DesignError(
            f"the prices say nothing of {', '.join(map(repr, lacking))}, which the law needs: add a price (0 if free)"
        )
    if clash := _RESERVED & {*usable[0].curve}:
        raise DesignError(f"a column that tells curves apart is called {min(clash)!r}, as one of the plan's: rename it")
    wanted = None if target is None else _target(target)
    if budget is not None:
        optimum.positive("budget", budget)
    designs, left_out = [], [f"{_name(one)}: {one.verdict}" for one in every if not one.value]
    for one in usable:
        try:
            designs.append(_one(one, prices, budget, wanted, k))
        except DesignError as error:
            left_out.append(f"{_name(one)}: {error}")
    if not designs or (budget is not None and not any(each.plan for each in designs)):
        raise DesignError("; ".join(left_out or designs[0].notes))
    return Designs(tuple(designs), prices, tuple(left_out))


def _one(fit: Fit, prices: Prices, budget: float | None, target: tuple[float, bool] | None, k: int) -> Design:
    surface = Surface(fit)
    smallest = _least(surface, prices)
    if not smallest > 0:
        raise DesignError("the smallest plan costs nothing: give a price")
    notes: list[str] = []

    def answer(question: Callable[[], Any]) -> Any:
        try:
            return question()
        except DesignError as error:
            notes.append(str(error))
            return None

    now = answer(lambda: limits(fit, prices))
    plan = None if budget is None else answer(lambda: best(fit, prices, budget))
    way = None if target is None else answer(lambda: cheapest(fit, prices, _value(surface, *target)))
    paid = float(prices.cost({c: np.array([v]) for c, v in surface.now.items()})[0])
    paid = paid if math.isfinite(paid) else (budget or 100 * smallest)
    low, high = (paid * times for times in _FRONT)
    budgets = np.geomspace(max(low, smallest), max(high, budget or 0.0, 2 * smallest), _BUDGETS)
    front = pareto(fit, prices, [float(each) for each in budgets])
    runs = _next(fit, prices, plan or best(fit, prices, max(10 * paid, smallest)), k, notes)
    return Design(fit, now, front, plan, way, runs, tuple(notes))


def _next(fit: Fit, prices: Prices, plan: Plan, k: int, notes: list[str]) -> Suggestion | None:
    """Return the runs that would make a plan surer, among levels up to one step beyond the data."""
    if k < 1:
        return None
    candidates = grid_of(fit, fit.points)
    cost = prices.cost({c: candidates[c].to_numpy(float) for c in fit.inputs.values()})
    possible = np.isfinite(cost) & (cost > 0)
    try:
        return suggest(fit, plan, candidates[possible].reset_index(drop=True), cost[possible], k, worth=_WORTH)
    except DesignError as error:
        notes.append(f"no next run can be named: {error}")
        return None


def _least(surface: Surface, prices: Prices) -> float:
    return 1.02 * float(prices.cost({c: np.array([v]) for c, v in least(surface).items()})[0])


def _target(target: str | float) -> tuple[float, bool]:
    """Return a target as a number, and whether it is a share of the ceiling."""
    if isinstance(target, str) and target.strip().endswith("%"):
        share = _number(target.strip()[:-1]) / 100
        if not 0 < share < 1:
            raise DesignError(f"target = {target!r} must lie between 0% and 100% of the model's ceiling")
        return share, True
    return _number(target), False


def _value(surface: Surface, target: float, share: bool) -> float:
    if share and surface.sign < 0:
        raise DesignError("a target in % is a share of a ceiling, and this law falls to a floor: give a value")
    return target * float(surface.ceiling[0]) if share else target


def _number(text: str | float) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise DesignError(f"target = {text!r} is no number; give a value of y such as 1.5, or a share such as 90%")
    return found


def _name(fit: Fit) -> str:
    return ", ".join(f"{v}" for v in fit.curve.values()) or "all points"


# ── in words ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def _sentences(one: Design) -> list[str]:
    out = [one.name, *(_now(one.limits, one.fit) if one.limits else [])]
    if one.plan:
        plan = one.plan
        out.append(f"  The best for {_money(plan.cost)} {plan.currency}: {_levels(plan)}.")
        out.append(f"    It gives {one.fit.y} {plan.y:.3g} ({plan.y_low:.3g} to {plan.y_high:.3g}). {_sure(plan)}")
    if one.way:
        way = one.way
        cost = f"{_money(way.cost)} {way.currency} ({_money(way.cost_low)} to {_money(way.cost_high)})"
        out.append(f"  The cheapest way to {one.fit.y} {way.target:.3g}: {cost} for {_levels(way)}.")
        out += [f"    But {way.note}."] if way.note else []
    if one.runs is not None and not len(one.runs.runs):
        out.append("  Next runs: no single run among these levels would make the plan much surer.")
    elif one.runs is not None:
        out.append(f"  Next runs, by what they tell for their cost: {_runs(one.runs, list(one.fit.inputs.values()))}.")
    return [*out, *(f"  {note[0].upper()}{note[1:]}." for note in one.notes)]


def _now(now: Limits, fit: Fit) -> list[str]:
    verdict = {
        "model": "the model itself limits: all of everything would better it by {0:.2g} (at most {2:.2g})",
        "cannot tell": "cannot tell which axis limits",
    }.get(now.verdict, f"{now.verdict} limits").format(*now.headroom)
    at = ", ".join(f"{c} = {rounded(v)}" for c, v in now.levels.items())
    out = [f"  Now ({at}; {fit.y} {now.y:.3g}): {verdict}. What {_money(now.extra)} {now.currency} more would buy:"]
    for row in now.frame.to_dict("records"):
        gain, low, high = (now.extra * row[name] for name in ("gain", "low", "high"))
        to = f"{row['column']} alone, to {rounded(row['bought'])}"
        out.append(f"    {to}: {gain:+.2g} ({low:+.2g} to {high:+.2g}), the best buy in {row['share']:.0%} of draws")
    return out


def _levels(plan: Plan) -> str:
    return "; ".join(str(choice) for choice in plan.choices.values())


def _sure(plan: Plan) -> str:
    flat = all(choice.flat[1] > 3 * choice.flat[0] for choice in plan.choices.values())
    lead = "The valley is flat: where exactly hardly matters. " if flat and len(plan.choices) > 1 else ""
    return f"{lead}Who knew the law exactly would gain {plan.regret:.2g} more on average."


def _runs(found: Suggestion, columns: Sequence[str]) -> str:
    counts = found.runs.groupby(list(columns), sort=False).size()
    said = []
    for levels, times in counts.items():
        each = levels if isinstance(levels, tuple) else (levels,)
        name = " × ".join(f"{c} {rounded(v)}" for c, v in zip(columns, each, strict=True))
        said.append(f"{name}{f' ({times} times)' if times > 1 else ''}")
    left = found.runs["left"].iloc[-1]
    return f"{'; '.join(said)}; {_money(found.total)} in all, after which {left:.0%} of the plan's variance is left"


def _money(value: float) -> str:
    return rounded(value) if not math.isfinite(value) or value < 1000 else f"{value:,.0f}"
