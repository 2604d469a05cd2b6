"""A table -> curves: the rows of each, which of them are fitted, which held out, which left out, and their errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from sclaws.errors import FitError, TableError
from sclaws.fit import conditions
from sclaws.fit.conditions import Mask
from sclaws.fit.curves import places
from sclaws.protocols import Floats
from sclaws.table import Table

LEAST = 2  # levels beyond the number of parameters that stay when the largest are held out


@dataclass(frozen=True)
class Asked:
    """What a user asked for; ``places`` are the columns of nominal levels, ``delta`` is infinite for least squares."""

    x: list[str]
    places: list[str]
    y: str
    by: list[str]
    replicate: str | None
    criterion: str
    weights: str
    delta: float
    baseline: str | None
    seed: int
    n_draws: int

    @property
    def log_y(self) -> bool:
        """Whether residuals are those of log y."""
        return self.criterion == "log"

    @property
    def loss(self) -> str:
        """The name of the loss."""
        return "squares" if np.isinf(self.delta) else f"huber, delta {self.delta:g}"


@dataclass(frozen=True)
class Group:
    """One curve: its by-columns' values; its rows, with masks of those ``used`` in the fit, ``held`` out of it by a
    condition, and ``worse`` than the baseline; the covariance of sampling errors, if it is known.
    """

    curve: dict[str, Any]
    rows: pd.DataFrame
    used: Mask
    held: Mask
    worse: Mask
    sampling: Floats | None

    def lack(self, asked: Asked, p: int) -> str:
        """Return what is missing for fitting ``p`` parameters, or nothing."""
        levels, n = len(self.rows.loc[self.used, asked.x].drop_duplicates()), int(self.used.sum())
        if levels < 2:
            return (
                f"underpowered: {'one level' if levels else 'no row'} of {', '.join(asked.x)} only; two are the least"
            )
        return "" if n > max(p, 2) else f"underpowered: {n} points for {p} parameters"

    def taken(self, mask: Mask) -> tuple[pd.DataFrame, Floats | None]:
        """Return some rows with the covariance of their sampling errors."""
        return self.rows[mask], None if self.sampling is None else self.sampling[np.ix_(mask, mask)]

    def smaller(self, asked: Asked, p: int) -> tuple[Mask, Mask] | None:
        """Return the rows below the largest quarter of the levels of every input, and those in it in every input.

        The default test of extrapolation; ``None`` when too few levels would be left to fit ``p`` parameters.
        """
        below, above = self.used.copy(), self.used.copy()
        for x, place in zip(asked.x, asked.places, strict=True):
            level = np.full(len(self.rows), -1)
            level[self.used] = places(self.rows[self.used], [place])
            middle = self.rows[self.used].groupby(level[self.used])[x].mean().sort_values()
            largest = list(middle.index[-max(1, round(len(middle) / 4)) :])
            below &= ~np.isin(level, largest)
            above &= np.isin(level, largest)
        left = len(self.rows.loc[below, asked.places].drop_duplicates())
        return (below, above) if left >= p + LEAST and above.any() else None


def groups(
    table: Table, asked: Asked, stderr: str | None, held_out: Any, train: Any = None, test: Any = None
) -> list[Group]:
    """Return the curves of a table in the order of their names."""
    also = [name for name in (stderr, asked.baseline) if name is not None]
    points = table.points(asked.x, asked.y, asked.by, asked.replicate, also)
    if asked.log_y and (points[asked.y] <= 0).any():
        raise TableError(f"column {asked.y!r} has values of 0 or less, which have no logarithm: use criterion linear")
    wanted = conditions.parse(train, table, "--train"), conditions.parse(test, table, "--test")
    if held_out is not None and wanted != (None, None):
        raise FitError("held_out and train or test say the same thing twice: give one of them")
    mask = pd.Series(np.zeros(len(table.frame), bool) if held_out is None else held_out, index=table.frame.index)
    deviations = _deviations(table, points, asked.y)
    grouped = points.groupby(asked.by, dropna=False, sort=True, observed=True) if asked.by else [((), points)]
    made = []
    for key, rows in grouped:
        known = _sampling(rows, None if deviations is None else deviations.loc[rows.index], stderr, asked)
        out = mask.loc[rows.index].to_numpy(bool)
        used, held = conditions.parts(rows, *wanted) if held_out is None else (~out, out)
        curve = dict(zip(asked.by, key, strict=True))
        made.append(Group(curve, rows, used, held, np.zeros(len(rows), bool), known))
    _refuse_empty(made, wanted)
    return made if asked.baseline is None else _apart(made, asked)


def _refuse_empty(made: Sequence[Group], wanted: tuple[Any, Any]) -> None:
    for name, mask, given in zip(("--train", "--test"), ("used", "held"), wanted, strict=True):
        if given is not None and not any(getattr(group, mask).any() for group in made):
            raise FitError(f"{name}: no row of any curve fulfils it; compare it with the values in the table")


# ── baseline ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def rises(rows: pd.DataFrame, x: str, y: str) -> float:
    """Return the rank correlation of a curve, the sign of its direction; 0 when there is none."""
    found = rows[x].rank().corr(rows[y].rank()) if rows[x].nunique() > 1 and rows[y].nunique() > 1 else 0.0
    return float(np.nan_to_num(found))


def direction(made: Sequence[Group], asked: Asked) -> int:
    """Return 1 for a table whose curves mostly rise with the inputs (information), -1 where they fall (loss)."""
    found = [rises(group.rows, name, asked.y) for group in made for name in asked.x]
    return 1 if np.sum(found) >= 0 else -1


def _apart(made: list[Group], asked: Asked) -> list[Group]:
    """Leave out the levels whose mean is worse than the baseline's: below it for information, above it for a loss."""
    sign = direction(made, asked)
    out = []
    for group in made:
        gain = group.rows[asked.y] - group.rows[asked.baseline]
        level = places(group.rows, asked.places)
        worse = (sign * gain.groupby(level).transform("mean")).to_numpy() < 0
        out.append(Group(group.curve, group.rows, group.used & ~worse, group.held & ~worse, worse, group.sampling))
    return out


# ── sampling errors ──────────────────────────────────────────────────────────────────────────────────────────────────
def _deviations(table: Table, points: pd.DataFrame, y: str) -> pd.DataFrame | None:
    """Return each row's draws, zero where a row has none; ``None`` when the table has none for this column."""
    if table.draws is None or y != "value" or not {"run", "metric"} <= set(points):
        return None
    wanted = pd.MultiIndex.from_frame(points[["run", "metric"]])
    return table.draws.reindex(wanted).fillna(0.0).set_index(points.index)


def _sampling(rows: pd.DataFrame, deviations: pd.DataFrame | None, stderr: str | None, asked: Asked) -> Floats | None:
    """Return the known covariance of the rows' errors, on the scale of the criterion."""
    scale = rows[asked.y].to_numpy(float) if asked.log_y else np.ones(len(rows))
    if deviations is not None:
        d = deviations.to_numpy(float) / scale[:, None]
        return np.asarray(d @ d.T / d.shape[1]) if d.any() else None
    if stderr is not None:
        return np.diag((rows[stderr].to_numpy(float) / scale) ** 2)
    return None
