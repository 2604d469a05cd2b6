"""A table -> curves: the rows of each, which of them are fitted, which held out, which left out, and their errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from sclaws.errors import FitError, TableError
from sclaws.fit import conditions
from sclaws.fit.conditions import Mask
from sclaws.fit.curves import Points, numbered
from sclaws.protocols import Floats
from sclaws.table import Table

MOST = 5000  # different inputs of a curve: the work grows with their square
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
    ceiling: str | None
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
    """One curve: its by-columns' values; its rows, as they are and as ``points``, with masks of those ``used`` in the
    fit, ``held`` out of it by a condition, and ``worse`` than the baseline.
    """

    curve: dict[str, Any]
    rows: pd.DataFrame
    points: Points
    used: Mask
    held: Mask
    worse: Mask

    @property
    def sampling(self) -> Floats | None:
        """(n, n) covariance of the rows' sampling errors, or ``None``."""
        return self.points.sampling

    def lack(self, asked: Asked, p: int) -> str:
        """Return what is missing for fitting ``p`` parameters, or nothing."""
        levels, n = len(np.unique(self.points.x[self.used], axis=0)), int(self.used.sum())
        if levels < 2:
            found = "one level" if levels else "no row"
            return f"underpowered: {found} of {', '.join(asked.x)} only; two are the least"
        return "" if n > max(p, 2) else f"underpowered: {n} points for {p} parameters"

    def smaller(self, asked: Asked, p: int) -> tuple[Mask, Mask] | None:
        """Return the rows below the largest quarter of the levels of every input, and those in it in every input.

        The default test of extrapolation; ``None`` when too few levels would be left to fit ``p`` parameters.
        """
        below, above = self.used.copy(), self.used.copy()
        for k, place in enumerate(asked.places):
            level = numbered(self.rows[place].to_numpy())
            count = np.bincount(level, self.used)
            mean = np.bincount(level, self.used * self.points.x[:, k]) / np.maximum(count, 1)
            ordered = np.flatnonzero(count)[np.argsort(mean[count > 0], kind="stable")]
            largest = np.isin(level, ordered[-max(1, round(len(ordered) / 4)) :])
            below &= ~largest
            above &= largest
        left = len(np.unique(self.points.place[below]))
        return (below, above) if left >= p + LEAST and above.any() else None


def groups(
    table: Table, asked: Asked, stderr: str | None, held_out: Any, train: Any = None, test: Any = None
) -> list[Group]:
    """Return the curves of a table in the order of their names."""
    if asked.y in asked.x:
        raise FitError(f"column {asked.y!r} is both y and an input: name what the law explains, and what it depends on")
    also = [name for name in (stderr, asked.baseline) if name is not None]
    points = _measured(table, asked, also)
    if asked.log_y and (points[asked.y] <= 0).any():
        raise TableError(f"column {asked.y!r} has values of 0 or less, which have no logarithm: use criterion linear")
    wanted = conditions.parse(train, table, "--train"), conditions.parse(test, table, "--test")
    if held_out is not None and wanted != (None, None):
        raise FitError("held_out and train or test say the same thing twice: give one of them")
    chosen = np.zeros(len(table.frame), bool) if held_out is None else np.asarray(held_out, dtype=bool)
    mask = pd.Series(chosen, index=table.frame.index)
    deviations = _deviations(table, points, asked.y)
    grouped = points.groupby(asked.by, dropna=False, sort=True, observed=True) if asked.by else [((), points)]
    made = []
    for key, rows in grouped:
        known = _sampling(rows, None if deviations is None else deviations.loc[rows.index], stderr, asked)
        out = mask.loc[rows.index].to_numpy(bool)
        used, held = conditions.parts(rows, *wanted) if held_out is None else (~out, out)
        curve = dict(zip(asked.by, key, strict=True))
        made.append(Group(curve, rows, _points(rows, asked, known), used, held, np.zeros(len(rows), bool)))
    _refuse_empty(made, wanted)
    if asked.weights == "replicates" and not any(_repeated(group) for group in made):
        raise TableError("weights replicates: no level has several rows whose spread could be seen; use weights none")
    return made if asked.baseline is None else _apart(made, asked)


def _measured(table: Table, asked: Asked, also: list[str]) -> pd.DataFrame:
    """Return the table's points; a ceiling tells no curves apart, and a row need not have one."""
    if (name := asked.ceiling) is None or name in (*asked.x, asked.y, *asked.by, *also):
        return table.points(asked.x, asked.y, asked.by, asked.replicate, also)
    column = table.column(name)
    without = replace(table, frame=table.frame.drop(columns=[name]))
    return without.points(asked.x, asked.y, asked.by, asked.replicate, also).assign(**{name: column})


def _ceiling(rows: pd.DataFrame, asked: Asked) -> float:
    """Return what y of a curve cannot exceed: the largest ceiling of its rows, since it varies with the test cells."""
    if asked.ceiling is None:
        return np.inf
    numbers = pd.to_numeric(rows[asked.ceiling], errors="coerce")
    text = numbers.isna() & rows[asked.ceiling].notna()
    if text.any():
        raise TableError(f"ceiling {asked.ceiling!r}: {rows.loc[text, asked.ceiling].iloc[0]!r} is not a number")
    return float(numbers.max()) if numbers.notna().any() else np.inf


def _points(rows: pd.DataFrame, asked: Asked, sampling: Floats | None) -> Points:
    if (different := len(rows[asked.x].drop_duplicates())) > MOST:
        raise TableError(
            f"a curve has {different:,} different values of {', '.join(asked.x)}, and {MOST:,} are the most: "
            "give the mean of each level, or round the inputs"
        )
    columns = [numbered(rows[name].to_numpy()) for name in asked.places]
    place = columns[0] if len(columns) == 1 else numbered(np.column_stack(columns))
    replicate = None if asked.replicate is None else numbered(rows[asked.replicate].to_numpy())
    x, y = rows[asked.x].to_numpy(float), rows[asked.y].to_numpy(float)
    return Points(x, y, place, replicate, sampling, _ceiling(rows, asked))


def _repeated(group: Group) -> bool:
    return len(np.unique(group.points.x, axis=0)) < len(group.points.x)


def _refuse_empty(made: Sequence[Group], wanted: tuple[Any, Any]) -> None:
    for name, mask, given in zip(("--train", "--test"), ("used", "held"), wanted, strict=True):
        if given is not None and not any(getattr(group, mask).any() for group in made):
            raise FitError(f"{name}: no row of any curve fulfils it; compare it with the values in the table")


# ── baseline ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def direction(made: Sequence[Group]) -> int:
    """Return 1 for a table whose curves mostly rise with the inputs (information), -1 where they fall (loss)."""
    found = [_rises(x, group.points.y) for group in made for x in group.points.x.T]
    return 1 if np.sum(found) >= 0 else -1


def _rises(x: Floats, y: Floats) -> float:
    """Return the rank correlation of a curve; 0 when there is none."""
    if len(np.unique(x)) < 2 or len(np.unique(y)) < 2:
        return 0.0
    return float(np.corrcoef(rankdata(x), rankdata(y))[0, 1])


def _apart(made: list[Group], asked: Asked) -> list[Group]:
    """Leave out the levels whose mean is worse than the baseline's: below it for information, above it for a loss."""
    sign = direction(made)
    out = []
    for group in made:
        gain = group.points.y - group.rows[asked.baseline].to_numpy(float)
        worse = sign * np.bincount(group.points.place, gain)[group.points.place] < 0
        out.append(replace(group, used=group.used & ~worse, held=group.held & ~worse, worse=worse))
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
