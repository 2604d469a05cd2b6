"""The compute-optimal frontier: the size and data of least loss at each budget of compute, by a law and without one.

::

    by_law = frontier(fit(table, Chinchilla(), ["params", "tokens"], "loss")[0], [1e22, 1e24])
    read = isoflop(table, "params", "loss", data="tokens")
    print(compare(by_law, read).text)

A law can be asked beyond its data and takes all runs together; isoFLOP readings assume no law, and need budgets at
which several sizes were run. Where the two disagree, one of them is wrong, and the warning says so.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sclaws.design import _isoflop
from sclaws.design._estimate import Estimate, ends
from sclaws.design._isoflop import FLOP, LOPSIDED, READ, Line
from sclaws.errors import DesignError
from sclaws.fit.results import Fit, law_name
from sclaws.protocols import Floats
from sclaws.table import Table

__all__ = ["Comparison", "Estimate", "Frontier", "IsoFlop", "compare", "frontier", "isoflop"]

FEWEST_DRAWS = 39  # the first and last of fewer are no 95 % interval


@dataclass(frozen=True)
class Frontier:
    """What a fitted law says of budgets.

    ``frame`` a row a budget: ``flop``; ``size``, ``data`` and ``loss`` with ``_low`` and ``_high`` (95 %, from the
    joint draws); ``times_data``, the budget over that of the largest run that was fitted (``largest``, in FLOP). ``a``
    and ``b``: size ∝ C^a, data ∝ C^b. ``tokens`` of one unit of the data.
    """

    fit: Fit
    frame: pd.DataFrame
    a: Estimate
    b: Estimate
    largest: float
    tokens: float = 1.0

    @property
    def text(self) -> str:
        """Plain sentences."""
        said = [f"{law_name(self.fit.law)}: the best size grows with compute as C^{self.a}, the data as C^{self.b}."]
        for row in self.frame.itertuples():
            parts = [f"{name} {_estimate(row, name)}" for name in ("size", "data", "loss")]
            far = f"; {_beyond(row.times_data)}" if row.times_data > 1 else ""
            said.append(f"At {row.flop:.3g} FLOP: {', '.join(parts)}{far}.")
        if not self.fit.closed:
            said.append(
                "Not all parameters are identifiable from these runs: sizes, data and exponents have no interval."
            )
        return "\n".join(said)

    def loss(self, flop: Floats, size: Floats) -> Floats:
        """Return the law's loss of sizes that are given the whole of budgets ``flop``, at the best fit."""
        theta = {name: np.array(value) for name, value in self.fit.value.items()}
        return np.asarray(self.fit.law.predict({"size": size, "data": flop / (FLOP * self.tokens * size)}, theta))


@dataclass(frozen=True)
class IsoFlop:
    """What the runs of each budget say by themselves.

    ``frame`` a row a budget: ``flop``, ``runs``, ``sizes`` (different ones); ``size`` and ``data`` of the minimum with
    ``_low`` and ``_high`` (95 %), its ``loss``, and ``state``: "read", or "open: …" with the reason, left out of
    ``line``. ``a`` and ``b`` are its exponents, ``None`` with fewer than two readings. ``lopsided``: the p value of a
    test that a polynomial of this ``degree`` is too stiff for the curves.
    """

    frame: pd.DataFrame
    line: Line | None
    degree: int
    lopsided: float
    tokens: float = 1.0

    @property
    def a(self) -> Estimate | None:
        """The exponent of size."""
        return self.line.exponent if self.line else None

    @property
    def b(self) -> Estimate | None:
        """The exponent of data, 1 − a."""
        return Estimate(1 - self.a.value, 1 - self.a.high, 1 - self.a.low) if self.a else None

    def at(self, flop: Any) -> pd.DataFrame:
        """Return the line at budgets: flop, and size and data with _low and _high; raises ``DesignError``."""
        if self.line is None:
            raise DesignError("fewer than two budgets could be read, so there is no line; see the states in frame")
        flop = _budgets(flop)
        size, low, high = self.line.at(flop)
        columns = {"flop": flop, "size": size, "size_low": low, "size_high": high}
        product = flop / (FLOP * self.tokens)
        return pd.DataFrame(columns | {"data": product / size, "data_low": product / high, "data_high": product / low})

    @property
    def text(self) -> str:
        """Plain sentences."""
        read = self.frame[self.frame["state"] == READ]
        said = [f"A best size could be read at {len(read)} of {len(self.frame)} budgets."]
        said += [f"At {row.flop:.3g} FLOP: size {_estimate(row, 'size')}." for row in read.itertuples()]
        left = self.frame[self.frame["state"] != READ]
        said += [f"At {row.flop:.3g} FLOP, left out: {row.state}." for row in left.itertuples()]
        if self.a is None:
            said.append("Two are the least for an exponent.")
        else:
            said.append(f"The best size grows with compute as C^{self.a}, the data as C^{self.b}.")
        return "\n".join([*said, *_stiff(self)])


@dataclass(frozen=True)
class Comparison:
    """A law's frontier and isoFLOP readings side by side.

    ``frame`` a row a budget of the frontier: ``flop``, ``size`` by the law and ``isoflop_size`` by the line, both with
    ``_low`` and ``_high``; ``agree``, whether the intervals overlap; ``cost``, the loss above the least, by the law, of
    running the size of the readings; ``times_data`` and ``times_isoflop``, the budget over the largest run that was
    fitted, and over the largest budget that was read. ``warnings`` are empty where the two agree within the data.
    """

    frontier: Frontier
    isoflop: IsoFlop
    frame: pd.DataFrame
    warnings: tuple[str, ...]

    @property
    def text(self) -> str:
        """Plain sentences: both exponents, both sizes at each budget, the warnings."""
        said = [f"The best size grows as C^{self.frontier.a} by the law, as C^{self.isoflop.a} by isoFLOP readings."]
        said += [
            f"At {row.flop:.3g} FLOP: size {_estimate(row, 'size')} by the law, {_estimate(row, 'isoflop_size')} by "
            f"the readings; running the latter costs {row.cost:.2g} of loss, by the law."
            for row in self.frame.itertuples()
        ]
        if not any("disagree" in warning for warning in self.warnings):
            said.append("Their intervals overlap.")
        return "\n".join([*said, *(f"Warning: {warning}" for warning in self.warnings)])


# ── by a law ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def frontier(fit: Fit, flop: Any, tokens: float = 1.0) -> Frontier:
    """Return the size and data of least loss at budgets ``flop``, with intervals from the fit's joint draws.

    For :class:`sclaws.laws.chinchilla.Chinchilla`, or a law of yours with inputs ``size`` and ``data`` and the same
    method ``frontier(flop, theta)``: 6·size·data·``tokens`` = flop, where ``tokens`` are those of one unit of the data
    (of a cell, where data counts cells). The exponents are the law's slopes in log compute at the largest budget (for
    Chinchilla β/(α+β) and α/(α+β), everywhere). Where a parameter of the fit is not identifiable, sizes, data and
    exponents have no ends. Raises ``DesignError``.
    """
    _refuse(fit, tokens)
    budget = _budgets(flop)
    value = _asked(fit, {name: np.array([v]) for name, v in fit.value.items()}, budget, tokens)
    draws = _asked(fit, {name: fit.draws[name].to_numpy() for name in fit.value}, budget, tokens)
    largest = _largest(fit, tokens)
    columns: dict[str, Any] = {"flop": budget}
    for name in ("size", "data", "loss"):
        low, high = ends(draws[name])
        if name != "loss" and not fit.closed:  # draws are kept within the bounds of the search; the truth need not be
            low, high = np.zeros_like(low), np.full_like(high, np.inf)
        columns |= {name: value[name][0], f"{name}_low": low, f"{name}_high": high}
    a = Estimate(float(value["slope"][0]), *(ends(draws["slope"]) if fit.closed else (-math.inf, math.inf)))
    frame = pd.DataFrame(columns | {"times_data": budget / largest})
    return Frontier(fit, frame, a, Estimate(1 - a.value, 1 - a.high, 1 - a.low), largest, tokens)


def _asked(fit: Fit, theta: dict[str, Floats], budget: Floats, tokens: float) -> dict[str, Floats]:
    """Return size, data and loss (draws, budgets) and the slope (draws,) of log size in log compute."""
    theta = {name: values[:, None] for name, values in theta.items()}
    law: Any = fit.law
    both = np.append(budget, budget.max() * math.e) / tokens
    size, data = (np.asarray(v, dtype=float) for v in law.frontier(both, theta))
    loss = np.asarray(law.predict({"size": size, "data": data}, theta), dtype=float)
    slope = np.log(size[:, -1] / size[:, int(budget.argmax())])
    return {"size": size[:, :-1], "data": data[:, :-1], "loss": loss[:, :-1], "slope": slope}


def _largest(fit: Fit, tokens: float) -> float:
    """Return the FLOP of the largest run that was fitted; NaN for a fit without points."""
    points = fit.points
    if not len(points):
        return math.nan
    used = points[~(points["held_out"] | points["worse_than_baseline"])]
    return float(FLOP * tokens * (used[fit.inputs["size"]] * used[fit.inputs["data"]]).max())


def _refuse(fit: Fit, tokens: float) -> None:
    name = law_name(fit.law)
    if not hasattr(fit.law, "frontier") or set(fit.law.inputs) != {"size", "data"}:
        raise DesignError(f"{name} has no frontier of size and data: fit the law chinchilla, x = size, data")
    if not fit.value:
        raise DesignError(f"nothing was fitted to this curve ({fit.verdict}), so it has no frontier")
    if len(fit.draws) < FEWEST_DRAWS:
        raise DesignError(
            f"the fit has {len(fit.draws)} draws, and a 95 % interval takes {FEWEST_DRAWS}: fit with n_draws=200"
        )
    _positive("tokens", tokens)


# ── without one ──────────────────────────────────────────────────────────────────────────────────────────────────────
def isoflop(
    table: Table | pd.DataFrame,
    size: str = "size",
    loss: str = "loss",
    *,
    flop: str | None = None,
    data: str | None = None,
    tokens: float = 1.0,
    tolerance: float = 0.1,
    degree: int = 2,
) -> IsoFlop:
    """Read the best size at each budget off the runs of a table (Hoffmann et al. 2022, approach 2).

    ``size`` and ``loss`` are columns; ``flop`` that of budgets, or ``data`` that of what was trained on, when compute
    is 6·size·data·``tokens``. Budgets are parted where the next is more than ``tolerance`` larger. ``degree`` 2 is the
    published parabola, 3 a cubic for curves that are lopsided. The error of a loss is estimated from what the curves
    leave; intervals of minima are Fieller's.

    Raises ``TableError`` for rows that cannot be used, ``DesignError`` when budgets run into one another.
    """
    if degree not in (2, 3):
        raise DesignError(f"degree {degree!r} is not valid: 2 is a parabola, 3 a cubic")
    _positive("tolerance", tolerance)
    _positive("tokens", tokens)
    some = _isoflop.curves(table, size, loss, flop, data, tokens, tolerance)
    frame, variance, freedom = _isoflop.minima(some, degree, tokens)
    line = _isoflop.line(frame, variance, freedom)
    return IsoFlop(frame, line, degree, _isoflop.lopsided(some, degree), tokens)


# ── side by side ─────────────────────────────────────────────────────────────────────────────────────────────────────
def compare(law: Frontier, reading: IsoFlop) -> Comparison:
    """Hold a law's frontier against isoFLOP readings, at the budgets of the frontier.

    Both intervals are 95 %. That they do not overlap is rarer than one in twenty where nothing is wrong: a warning is
    meant to be believed. Raises ``DesignError`` when fewer than two budgets could be read.
    """
    line = reading.at(law.frame["flop"])
    ours = law.frame[["flop", "size", "size_low", "size_high"]]
    theirs = line[["size", "size_low", "size_high"]].add_prefix("isoflop_")
    frame = pd.concat([ours, theirs], axis=1)
    frame["agree"] = (frame["size_low"] <= line["size_high"]) & (line["size_low"] <= frame["size_high"])
    flop = frame["flop"].to_numpy()
    best, other = law.loss(flop, frame["size"].to_numpy()), law.loss(flop, line["size"].to_numpy())
    read = reading.frame.loc[reading.frame["state"] == READ, "flop"].max()
    frame = frame.assign(cost=other - best, times_data=law.frame["times_data"], times_isoflop=flop / read)
    return Comparison(law, reading, frame, tuple(_warnings(law, reading, frame)))


def _warnings(law: Frontier, reading: IsoFlop, frame: pd.DataFrame) -> list[str]:
    said = []
    if reading.a is not None and not law.a.meets(reading.a):
        said.append(f"the exponents of size disagree: {law.a} by the law, {reading.a} by the isoFLOP readings")
    apart = frame[~frame["agree"]]
    if len(apart):
        row = next(apart.sort_values("flop", ascending=False).itertuples())
        said.append(
            f"the best sizes disagree at {len(apart)} of {len(frame)} budgets; at {row.flop:.3g} FLOP the law says "
            f"{_estimate(row, 'size')}, the isoFLOP readings {_estimate(row, 'isoflop_size')}"
        )
    far = frame.loc[frame["flop"].idxmax()]
    for times, what in ((far["times_data"], "run that was fitted"), (far["times_isoflop"], "budget that was read")):
        if times > 1 + 1e-9:
            said.append(f"{far['flop']:.3g} FLOP is {_beyond(times, what)}")
    return [*said, *_stiff(reading)]


def _stiff(reading: IsoFlop) -> Sequence[str]:
    if not reading.lopsided < LOPSIDED:
        return ()
    remedy = "read with degree=3" if reading.degree == 2 else "run sizes nearer to the minimum"
    return (f"curves are lopsided (p = {reading.lopsided:.1g}), which moves the minima of these polynomials: {remedy}",)


# ── words and numbers ────────────────────────────────────────────────────────────────────────────────────────────────
def _estimate(row: Any, name: str) -> Estimate:
    return Estimate(*(float(getattr(row, f"{name}{end}")) for end in ("", "_low", "_high")))


def _beyond(times: float, what: str = "run that was fitted") -> str:
    return f"{times:.3g} times the largest {what}"


def _budgets(flop: Any) -> Floats:
    found = np.atleast_1d(np.asarray(flop, dtype=float))
    if found.ndim != 1 or not len(found) or not (np.isfinite(found) & (found > 0)).all():
        raise DesignError(f"budgets are positive numbers of FLOP, one or a list; got {flop!r}")
    return found


def _positive(name: str, value: float) -> None:
    if not 0 < value < math.inf:
        raise DesignError(f"{name} {value!r} must be a positive number")
