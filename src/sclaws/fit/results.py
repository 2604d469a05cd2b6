"""What a fit gives back: one :class:`Fit` a curve and law, and all of them as :class:`Fits`."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from sclaws.errors import TableError
from sclaws.fit._departure import Departure
from sclaws.fit.solver import parameters
from sclaws.protocols import Floats, Law
from sclaws.table import write_csv

LAST = ("r2", "rmse", "aicc", "verdict", "note")


def law_name(law: Law) -> str:
    """Return "saturating-power" for ``SaturatingPower()``, with the fields that differ from their defaults."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", type(law).__name__).lower()
    if not is_dataclass(law):
        return name
    given = [f"{f.name}={getattr(law, f.name)}" for f in fields(law) if getattr(law, f.name) != f.default]
    return f"{name}({','.join(given)})" if given else name


@dataclass(frozen=True)
class Fit:
    """A law on one curve.

    ``curve`` the values of the by-columns; ``inputs`` {role: column}. ``value``, ``low``, ``high`` by parameter: the
    estimate and its 95 % interval, infinite at an end that does not close within the bounds of the search; empty when
    there were too few points. ``draws`` (n_draws × parameters) are joint: a parametric bootstrap. ``r2``, ``rmse``
    and ``sigma`` (standard deviation of a point about the law beyond its known sampling error, replicate effect
    included, with ``freedom`` degrees of freedom) are on the scale of the criterion. ``departure`` of a pooled fit
    (:mod:`sclaws.fit.pooling`) is how the curve departs from its law; predictions follow it.
    """

    curve: Mapping[str, Any]
    law: Law
    inputs: Mapping[str, str]
    y: str
    criterion: str
    value: Mapping[str, float]
    low: Mapping[str, float]
    high: Mapping[str, float]
    draws: pd.DataFrame
    r2: float
    rmse: float
    aicc: float
    sigma: float
    freedom: float
    verdict: str
    note: str = ""
    departure: Departure | None = None

    @property
    def row(self) -> dict[str, Any]:
        """The row of the fit in :attr:`Fits.frame`."""
        row = {**self.curve, "law": law_name(self.law)}
        for name, value in self.value.items():
            row |= {name: value, f"{name}_low": self.low[name], f"{name}_high": self.high[name]}
        return row | {name: getattr(self, name) for name in LAST}

    def predict(self, x: Any, sampling: Any = None) -> pd.DataFrame:
        """Return predicted, low and high (95 %) at inputs ``x``: an array, or {column: array} for several inputs.

        The band of the law itself; with ``sampling``, the variance of the sampling error of a new observation there
        (0 when there is none), the band in which that observation is expected.
        """
        columns = x if isinstance(x, Mapping) else {next(iter(self.inputs.values())): x}
        at = {role: np.atleast_1d(np.asarray(columns[c], dtype=float)) for role, c in self.inputs.items()}
        size = max(len(v) for v in at.values())
        if not self.value:
            return pd.DataFrame(np.nan, index=range(size), columns=["predicted", "low", "high"])
        if self.departure is not None:
            whole = {role: np.broadcast_to(v, size) for role, v in at.items()}
            return self.departure.predict(whole, None if sampling is None else np.asarray(sampling, dtype=float))
        centre = np.broadcast_to(self._scaled(at, {n: np.array(v) for n, v in self.value.items()}), size)
        theta = {n: self.draws[n].to_numpy()[:, None] for n in self.value}
        many = self._scaled({r: v[None] for r, v in at.items()}, theta)
        low, high = np.nanquantile(np.broadcast_to(many, (len(self.draws), size)), [0.025, 0.975], axis=0)
        if sampling is not None:
            more = self._spread(np.broadcast_to(np.asarray(sampling, dtype=float), size))
            low = centre - np.hypot(np.maximum(centre - low, 0), more)
            high = centre + np.hypot(np.maximum(high - centre, 0), more)
        frame = pd.DataFrame({"predicted": centre, "low": low, "high": high})
        return np.exp(frame) if self.criterion == "log" else frame

    def _scaled(self, x: Mapping[str, Floats], theta: Mapping[str, Floats]) -> Floats:
        with np.errstate(all="ignore"):
            found = np.asarray(self.law.predict(x, theta), dtype=float)
            return np.log(found) if self.criterion == "log" else found

    def _spread(self, sampling: Floats) -> Floats:
        """Return half the width of the 95 % band of one observation's own error, degrees of freedom combined."""
        total = sampling + self.sigma**2
        freedom = total**2 / np.maximum(self.sigma**4 / self.freedom, 1e-12 * total**2 + 1e-300)
        return np.asarray(stats.t.ppf(0.975, np.maximum(freedom, 1)) * np.sqrt(total))

    def _repr_html_(self) -> str:
        return _html(pd.DataFrame([self.row]))

    def __str__(self) -> str:
        where = ", ".join(f"{k} = {v}" for k, v in self.curve.items()) or "all points"
        said = [f"{n} = {v:.4g} [{self.low[n]:.4g}, {self.high[n]:.4g}]" for n, v in self.value.items()]
        return f"{where}: {law_name(self.law)}, {', '.join(said)}: {self.verdict}"


@dataclass(frozen=True)
class Fits:
    """Fits of one or several laws to the curves of a table, in the order of the curves.

    ``predictions`` has a row a point and law: the by-columns, the law, inputs, y, predicted, low, high (95 %, for an
    observation) and held_out.
    """

    fits: tuple[Fit, ...] = ()
    predictions: pd.DataFrame = field(default_factory=pd.DataFrame)

    @classmethod
    def join(cls, several: Iterable[Fits]) -> Fits:
        """Return the fits of several calls as one."""
        several = [fits for fits in several if len(fits)]
        frames = [fits.predictions for fits in several]
        joined = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame()
        return cls(tuple(fit for fits in several for fit in fits), joined)

    def __len__(self) -> int:
        return len(self.fits)

    def __iter__(self) -> Iterator[Fit]:
        return iter(self.fits)

    def __getitem__(self, index: int) -> Fit:
        return self.fits[index]

    @property
    def frame(self) -> pd.DataFrame:
        """One row a curve and law: by-columns, law, parameters with _low and _high, r2, rmse, aicc, verdict, note."""
        if not self.fits:
            return pd.DataFrame(columns=["law", *LAST])
        by = dict.fromkeys(name for fit in self.fits for name in fit.curve)
        names = dict.fromkeys(name for fit in self.fits for name in parameters(fit.law))
        params = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
        return pd.DataFrame([fit.row for fit in self.fits]).reindex(columns=[*by, "law", *params, *LAST])

    def to_pandas(self) -> pd.DataFrame:
        """Return :attr:`frame`."""
        return self.frame

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
