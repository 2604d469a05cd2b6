"""What a fit gives back: one :class:`Fit` a curve and law, and all of them as :class:`Fits`."""

from __future__ import annotations

import functools
import html
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from sclaws.errors import TableError
from sclaws.fit import collapsing, targets
from sclaws.fit._departure import Departure
from sclaws.fit.problem import parameters
from sclaws.fit.targets import Need
from sclaws.protocols import Floats, Law
from sclaws.table import write_csv

LAST = ("r2", "rmse", "aicc", "verdict", "note")
MORE = ("criterion", "weights", "loss", "constant_aicc", "best", "loo")
HELD = ("held_out", "held_out_rmse", "held_out_coverage")


def law_name(law: Law) -> str:
    """Return "saturating-power" for ``SaturatingPower()``, with the fields that differ from their defaults."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", type(law).__name__).lower()
    if not is_dataclass(law):
        return name
    given = [f"{f.name}={getattr(law, f.name)}" for f in fields(law) if getattr(law, f.name) != f.default]
    return f"{name}({','.join(given)})" if given else name


@dataclass(frozen=True)
class HeldOut:
    """A test on rows that were not fitted: how many, their root mean squared error, the share inside the 95 % band.

    ``rule`` says which rows: those of a condition, or by default those at the largest levels, predicted from a refit.
    """

    n: int = 0
    rmse: float = math.nan
    coverage: float = math.nan
    rule: str = ""


@dataclass(frozen=True)
class Fit:
    """A law on one curve.

    ``curve`` the values of the by-columns; ``inputs`` {role: column}. ``value``, ``low``, ``high`` by parameter: the
    estimate and its 95 % interval, infinite at an end that does not close within the bounds of the search; empty when
    there were too few points. ``draws`` (n_draws × parameters) are joint: a parametric bootstrap. ``r2``, ``rmse``,
    ``loo`` (error of a level that is left out) and ``sigma`` (standard deviation of a point about the law beyond its
    known sampling error, replicate effect included, with ``freedom`` degrees of freedom) are on the scale of the
    criterion. ``best``: of the laws on this curve it has the lowest AICc, and a constant's is no lower. ``span`` the
    smallest and largest input that was fitted, by column; ``spread`` the relative variance at inputs, if it varies;
    ``points`` its rows of :attr:`Fits.predictions`; ``departure`` of a pooled fit (:mod:`sclaws.fit.pooling`) is how
    the curve departs from its law, which predictions follow.
    """

    curve: Mapping[str, Any]
    law: Law
    inputs: Mapping[str, str]
    y: str
    criterion: str
    value: Mapping[str, float]
    draws: pd.DataFrame
    low: Mapping[str, float] = field(default_factory=dict)
    high: Mapping[str, float] = field(default_factory=dict)
    r2: float = math.nan
    rmse: float = math.nan
    aicc: float = math.nan
    sigma: float = math.nan
    freedom: float = math.nan
    verdict: str = ""
    note: str = ""
    weights: str = "none"
    loss: str = "squares"
    constant_aicc: float = math.nan
    best: bool = False
    loo: float = math.nan
    held_out: HeldOut = HeldOut()
    span: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    spread: tuple[tuple[float, float], ...] = ()
    points: pd.DataFrame = field(default_factory=pd.DataFrame)
    departure: Departure | None = None

    @property
    def row(self) -> dict[str, Any]:
        """The row of the fit in :attr:`Fits.frame`."""
        row = {"x": ", ".join(self.inputs.values()), **self.curve, "law": law_name(self.law)}
        for name, value in self.value.items():
            row |= {name: value, f"{name}_low": self.low[name], f"{name}_high": self.high[name]}
        row |= {name: getattr(self, name) for name in (*LAST, *MORE)}
        return row | dict(zip(HELD, (self.held_out.n, self.held_out.rmse, self.held_out.coverage), strict=True))

    @property
    def closed(self) -> bool:
        """Whether every parameter's interval closes within the bounds of the search."""
        ends = [*self.low.values(), *self.high.values()]
        return bool(ends) and all(map(math.isfinite, ends))

    def need(self, rule: str = "gap", x: str | None = None, at: Mapping[str, float] | None = None) -> Need:
        """Return how much of an input a published rule asks for: ``gap`` I_max + log2 .95, ``fraction`` .9·I_max.

        ``x`` is the column that is looked for (default: the first input); ``at`` the other inputs' values (default: the
        largest that were fitted). Raises ``FitError`` for a law that does not rise to a ceiling.
        """
        return targets.need(self, rule, x, at)

    def reach(self, target: float, x: str | None = None, at: Mapping[str, float] | None = None) -> Need:
        """Return how much of an input is needed for y to be ``target``, with its 95 % interval from the joint draws."""
        return targets.reach(self, target, x, at)

    def predict(self, x: Any, sampling: Any = None) -> pd.DataFrame:
        """Return predicted, low and high (95 %) at inputs ``x``: an array, or {column: array} for several inputs.

        The band of the law itself; with ``sampling``, the variance of the sampling error of a new observation there
        (0 when there is none), the band in which that observation is expected.
        """
        columns = x if isinstance(x, Mapping) else {next(iter(self.inputs.values())): x}
        return pd.DataFrame(
            self.band({c: np.atleast_1d(np.asarray(v, dtype=float)) for c, v in columns.items()}, sampling)
        )

    def band(self, x: Mapping[str, Floats], sampling: Any = None) -> dict[str, Floats]:
        """Return the same as arrays, for arrays by column."""
        at = dict(zip(self.inputs, np.broadcast_arrays(*(x[column] for column in self.inputs.values())), strict=True))
        size = len(next(iter(at.values())))
        if not self.value:
            return {name: np.full(size, np.nan) for name in ("predicted", "low", "high")}
        if self.departure is not None:
            found = self.departure.predict(at, None if sampling is None else np.asarray(sampling, dtype=float))
            return {name: found[name].to_numpy() for name in ("predicted", "low", "high")}
        places, back = np.unique(np.stack(list(at.values())), axis=1, return_inverse=True)  # replicates share theirs
        centre, low, high = (v[back.ravel()] for v in self._law(dict(zip(at, places, strict=True))))
        if sampling is not None:
            first = np.broadcast_to(next(iter(at.values())), size)
            more = self._own(np.broadcast_to(np.asarray(sampling, dtype=float), size), first)
            low = centre - np.hypot(np.maximum(centre - low, 0), more)
            high = centre + np.hypot(np.maximum(high - centre, 0), more)
        ends = {"predicted": centre, "low": low, "high": high}
        return {k: np.exp(v) for k, v in ends.items()} if self.criterion == "log" else ends

    def _law(self, at: Mapping[str, Floats]) -> tuple[Floats, Floats, Floats]:
        """Return the law at the estimate and its 95 % limits over the draws, on the scale of the criterion."""
        size = len(next(iter(at.values())))
        centre = np.broadcast_to(self._scaled(at, {n: np.array(v) for n, v in self.value.items()}), size)
        theta = {n: self.draws[n].to_numpy()[:, None] for n in self.value}
        many = np.broadcast_to(self._scaled({r: v[None] for r, v in at.items()}, theta), (len(self.draws), size))
        quantile = np.quantile if np.isfinite(many).all() else np.nanquantile
        low, high = quantile(many, [0.025, 0.975], axis=0)
        return centre, low, high

    def _scaled(self, x: Mapping[str, Floats], theta: Mapping[str, Floats]) -> Floats:
        with np.errstate(all="ignore"):
            found = np.asarray(self.law.predict(x, theta), dtype=float)
            return np.log(found) if self.criterion == "log" else found

    def _own(self, sampling: Floats, first: Floats) -> Floats:
        """Return half the width of the 95 % band of one observation's own error, degrees of freedom combined."""
        own = np.full(len(first), self.sigma**2)
        if self.spread:
            x, relative = np.array(self.spread).T
            own *= np.exp(np.interp(first, x, np.log(relative)))
        total = sampling + own
        freedom = total**2 / np.maximum(own**2 / self.freedom, 1e-12 * total**2 + 1e-300)
        return np.asarray(stats.t.ppf(0.975, np.maximum(freedom, 1)) * np.sqrt(total))

    def _repr_html_(self) -> str:
        return _html(pd.DataFrame([self.row]))

    def __str__(self) -> str:
        where = ", ".join(f"{k} = {v}" for k, v in self.curve.items()) or "all points"
        said = [f"{n} = {v:.4g} [{self.low[n]:.4g}, {self.high[n]:.4g}]" for n, v in self.value.items()]
        return f"{where}: {law_name(self.law)}, {', '.join(said)}: {self.verdict}"


@dataclass(frozen=True)
class Fits:
    """Fits of one or several laws to the curves of a table, in the order of the curves."""

    fits: tuple[Fit, ...] = ()

    @functools.cached_property
    def predictions(self) -> pd.DataFrame:
        """A row a point and law: the by-columns, the law, inputs, y, predicted, low, high (95 %, for an observation),
        held_out, worse_than_baseline, and extrapolated with _low and _high: what a refit to the smaller levels alone
        says of the largest, where that test could be made.
        """
        frames = [fit.points for fit in self.fits]
        return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()

    @classmethod
    def join(cls, several: Iterable[Fits]) -> Fits:
        """Return the fits of several calls as one."""
        return cls(tuple(fit for fits in several for fit in fits))

    def __len__(self) -> int:
        return len(self.fits)

    def __iter__(self) -> Iterator[Fit]:
        return iter(self.fits)

    def __getitem__(self, index: int) -> Fit:
        return self.fits[index]

    @property
    def frame(self) -> pd.DataFrame:
        """One row a curve and law: by-columns, law, parameters with _low and _high, then LAST, MORE, HELD and ``x``.

        ``x`` names the inputs: the same law may have been fitted to a curve along one axis and along another.
        """
        after = [*LAST, *MORE, *HELD, "x"]
        if not self.fits:
            return pd.DataFrame(columns=["law", *after])
        by = dict.fromkeys(name for fit in self.fits for name in fit.curve)
        names = dict.fromkeys(name for fit in self.fits for name in parameters(fit.law))
        params = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
        columns = dict.fromkeys([*by, "law", *params, *after])
        return pd.DataFrame([fit.row for fit in self.fits]).reindex(columns=[*columns])

    def to_pandas(self) -> pd.DataFrame:
        """Return :attr:`frame`."""
        return self.frame

    def targets(self, rules: Sequence[str | float]) -> pd.DataFrame:
        """Return a row a fit and rule ("gap", "fraction" or a number): what is needed, its interval, and a flag.

        Columns: by-columns, law, rule, target, column, needed, low, high, beyond_data, note.
        """
        return targets.frame(self.fits, rules)

    def collapse(self) -> pd.DataFrame:
        """Return every point on the universal curve of its law: by-columns, law, x and y as they were and scaled.

        For laws with ``collapse(x, y, theta)``; others have no rows. ``predicted_scaled`` is the law itself there.
        """
        return collapsing.frame(self.fits)

    def write(self, folder: Path | str) -> Path:
        """Write fits.csv and predictions.csv into a folder; raises ``TableError`` when it cannot be written."""
        folder = Path(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_csv(self.frame, folder / "fits.csv")
            write_csv(self.predictions, folder / "predictions.csv")
        except OSError as error:
            raise TableError(f"{folder} cannot be written: {error}; give another folder") from error
        return folder

    def _repr_html_(self) -> str:
        return _html(self.frame)

    def __str__(self) -> str:
        return "\n".join(map(str, self.fits)) or "no fits"


def _html(frame: pd.DataFrame) -> str:
    shown = frame.map(lambda v: f"{v:.4g}" if isinstance(v, float) else html.escape(str(v)))
    return str(shown.to_html(index=False, escape=False))
