"""How much is needed for a target: the law turned round, at the best fit and at every joint draw.

Two published rules say when depth is enough, and differ up to tenfold: ``fraction`` (I = .9·I_max) and ``gap``
(I = I_max + log2 .95, which is .074 bits below it). Both are relative to the ceiling of the same draw.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from sclaws.errors import FitError
from sclaws.laws.constant import Constant
from sclaws.protocols import Floats

if TYPE_CHECKING:
    from sclaws.fit.results import Fit

RULES = ("fraction", "gap")
FAR = 1e9  # times the largest input: where a law without a closed limit is taken to have reached it
COLUMNS = ("rule", "target", "column", "needed", "low", "high", "beyond_data", "note")


@dataclass(frozen=True)
class Need:
    """What is needed of ``column`` to reach ``target`` by a ``rule``: ``value``, with its 95 % interval.

    Infinite where the law does not get there. ``beyond``: more than the largest value that was fitted.
    """

    rule: str
    target: float
    column: str
    value: float
    low: float
    high: float
    beyond: bool
    note: str = ""

    def __str__(self) -> str:
        said = f"{self.column} = {self.value:.4g} [{self.low:.4g}, {self.high:.4g}] for {self.target:.4g} ({self.rule})"
        return f"{said}{', beyond the data' if self.beyond else ''}{f'; {self.note}' if self.note else ''}"


def need(one: Fit, rule: str, x: str | None, at: Mapping[str, float] | None) -> Need:
    """Return what a rule asks for; see :meth:`sclaws.fit.Fit.need`."""
    if rule not in RULES:
        raise FitError(f"rule {rule!r} is unknown; valid: {', '.join(RULES)}, or reach() with a number")
    role, others = _question(one, x, at)
    theta = _theta(one)
    ceiling, start = _ceiling(one, role, others, theta), _at(one, role, others, theta, one.span[one.inputs[role]][0])
    if not ceiling[0] > start[0]:
        name = type(one.law).__name__
        raise FitError(f"the rules are for information that rises to a ceiling, which {name} does not: give a number")
    return _solved(one, rule, 0.9 * ceiling if rule == "fraction" else ceiling + math.log2(0.95), role, others, theta)


def near(one: Fit, share: float, x: str | None = None, at: Mapping[str, float] | None = None) -> Need:
    """Return where the law comes to a share of its own limit: of a loss, to the limit over the share.

    Raises ``FitError`` for a constant, and for a limit that is not positive, a share of which means nothing.
    """
    role, others = _question(one, x, at)
    theta = _theta(one)
    limit, start = _ceiling(one, role, others, theta), _at(one, role, others, theta, one.span[one.inputs[role]][0])
    if isinstance(one.law, Constant) or not limit[0] > 0:
        raise FitError(f"{type(one.law).__name__} with a limit of {limit[0]:.3g} does not come to a share of it")
    target = share * limit if limit[0] > start[0] else limit / share
    return _solved(one, f"{share:g} of the limit", target, role, others, theta)


def reach(one: Fit, target: float, x: str | None, at: Mapping[str, float] | None) -> Need:
    """Return what a value of y asks for; see :meth:`sclaws.fit.Fit.reach`."""
    role, others = _question(one, x, at)
    theta = _theta(one)
    return _solved(one, "value", np.full(len(next(iter(theta.values()))), float(target)), role, others, theta)


def frame(fits: Sequence[Fit], rules: Sequence[str | float]) -> pd.DataFrame:
    """Return a row a fit and rule; a constant has none, since nothing moves it."""
    some = [one for one in fits if one.value and not isinstance(one.law, Constant)]
    rows = [{**one.curve, "law": one.row["law"], **_row(one, rule)} for one in some for rule in rules]
    by = dict.fromkeys(name for one in fits for name in one.curve)
    return pd.DataFrame(rows, columns=[*by, "law", *COLUMNS])


def _row(one: Fit, rule: str | float) -> dict[str, Any]:
    try:
        found = one.need(rule) if isinstance(rule, str) else one.reach(rule)
    except FitError as error:
        column = next(iter(one.inputs.values()))
        nothing = (math.nan,) * 3
        return dict(zip(COLUMNS, (rule, math.nan, column, *nothing, None, str(error)), strict=True))
    values = (found.rule, found.target, found.column, found.value, found.low, found.high, found.beyond, found.note)
    return dict(zip(COLUMNS, values, strict=True))


# ── the law turned round ─────────────────────────────────────────────────────────────────────────────────────────────
def _question(one: Fit, x: str | None, at: Mapping[str, float] | None) -> tuple[str, dict[str, float]]:
    """Return the role that is looked for, and the values of the other roles."""
    if not one.value:
        raise FitError(f"nothing was fitted to this curve ({one.verdict}), so nothing can be said of a target")
    roles = {column: role for role, column in one.inputs.items()}
    column = next(iter(roles)) if x is None else x
    if column not in roles:
        raise FitError(f"{column!r} is no input of this fit; its inputs are {', '.join(roles)}")
    given = dict(at or {})
    others = {role: given.get(c, one.span[c][1]) for c, role in roles.items() if c != column}
    return roles[column], others


def _theta(one: Fit) -> dict[str, Floats]:
    """Return parameters (1 + n_draws, 1): the estimate first."""
    return {name: np.append(value, one.draws[name].to_numpy())[:, None] for name, value in one.value.items()}


def _at(one: Fit, role: str, others: Mapping[str, float], theta: Mapping[str, Floats], x: Any) -> Floats:
    inputs = {name: np.full((1, 1), value) for name, value in others.items()}
    inputs[role] = np.asarray(x, dtype=float).reshape(-1, 1)
    with np.errstate(all="ignore"):
        found = np.asarray(one.law.predict({r: inputs[r] for r in one.inputs}, theta), dtype=float)
    return np.broadcast_to(found, (len(next(iter(theta.values()))), 1))[:, 0]


def _ceiling(one: Fit, role: str, others: Mapping[str, float], theta: Mapping[str, Floats]) -> Floats:
    if hasattr(one.law, "limit") and not others:
        return np.asarray(one.law.limit(theta), dtype=float).reshape(-1)
    return _at(one, role, others, theta, FAR * one.span[one.inputs[role]][1])


def _solved(
    one: Fit, rule: str, y: Floats, role: str, others: Mapping[str, float], theta: Mapping[str, Floats]
) -> Need:
    if hasattr(one.law, "inverse") and not others:
        with np.errstate(all="ignore"):
            x = np.asarray(one.law.inverse(y[:, None], theta), dtype=float)[:, 0]
    else:
        x = _bisected(one, role, others, theta, y)
    x = np.where(np.isnan(x), np.inf, np.maximum(x, 0.0))
    low, high = np.quantile(x[1:], [0.025, 0.975], method="nearest") if len(x) > 1 else (math.nan, math.nan)
    column = one.inputs[role]
    note = ""
    if not one.closed:  # draws are kept within the bounds of the search; the truth need not be
        high, note = math.inf, "the law is not identifiable here: no upper limit"
    return Need(rule, float(y[0]), column, float(x[0]), float(low), float(high), bool(x[0] > one.span[column][1]), note)


def _bisected(one: Fit, role: str, others: Mapping[str, float], theta: Mapping[str, Floats], y: Floats) -> Floats:
    """Return where the law crosses y, by bisection in log x: 0 if it starts beyond y, infinite if it never does."""
    smallest, largest = one.span[one.inputs[role]]
    low = np.full(len(y), math.log((smallest or largest) / FAR))
    high = np.full(len(y), math.log(largest * FAR))
    first, last = (_at(one, role, others, theta, np.exp(end)) for end in (low, high))
    sign = np.where(last >= first, 1.0, -1.0)
    for _ in range(80):
        middle = (low + high) / 2
        short = sign * (_at(one, role, others, theta, np.exp(middle)) - y) < 0
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    never, at_once = sign * (last - y) < 0, sign * (first - y) >= 0
    return np.where(at_once, 0.0, np.where(never, np.inf, np.exp(high)))
