"""Law × table -> fits: parameters with joint draws and intervals, predictions, and a verdict in words.

::

    table = Table.read("results.csv")
    fits = fit(table, Noise(), x="umi", y="mi", by=["model"])

Curves and draws are solved together as arrays, whatever the law: one of ours, or a plain class of yours.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd

from sclaws.errors import FitError, TableError
from sclaws.fit.curves import stack
from sclaws.fit.judged import Asked, judge, stub
from sclaws.fit.pooling import can_pool, pooled
from sclaws.fit.results import Fit, Fits, law_name
from sclaws.fit.solver import parameters
from sclaws.protocols import Floats, Law
from sclaws.table import Table

__all__ = ["Fit", "Fits", "fit"]

Criterion = Literal["linear", "log"]
MEMORY = 4e6  # numbers in the largest array of a chunk of curves


def fit(
    table: Table | pd.DataFrame,
    law: Law | Sequence[Law],
    x: str | Sequence[str],
    y: str = "value",
    by: str | Sequence[str] = (),
    replicate: str | None = None,
    criterion: Criterion = "linear",
    *,
    stderr: str | None = None,
    held_out: Any = None,
    pool: bool | None = None,
    seed: int = 0,
    n_draws: int = 200,
) -> Fits:
    """Fit one law or several to every curve of a table.

    ``x`` columns stand in the order of the laws' inputs; ``by`` columns tell curves apart; rows of a curve with one
    value of ``replicate`` share an unknown shift. ``criterion`` says on which scale residuals are squared: "linear", or
    "log" (of y, which must then be positive). Sampling errors are known from the table's draws when y is its "value",
    else from a ``stderr`` column if one is named, else not at all. ``held_out`` is a mask over the table's rows that
    are predicted and not fitted. ``pool`` fits the curves together, as a population, with priors, for laws that bring
    them (:mod:`sclaws.fit.pooling`); by default those laws do, and ``False`` is least squares, curve by curve. ``seed``
    fixes the ``n_draws`` joint draws of each curve's parameters.

    Raises ``TableError`` for rows that cannot be used (:meth:`sclaws.table.Table.points`) and ``FitError`` for a law
    that cannot be used with them. How it is done, and how far intervals can be trusted: docs/laws.md.
    """
    table = table if isinstance(table, Table) else Table(table.reset_index(drop=True))
    laws: list[Law] = _listed(law)
    asked = Asked(_listed(x), y, _listed(by), replicate, criterion, seed, n_draws)
    groups = _groups(table, asked, stderr, held_out)
    made = [_fit_one(each, asked, groups, pool) for each in laws]
    fits = [one for several in zip(*made, strict=True) for one in several]
    rows = [group for group in groups for _ in laws]
    if not any(one.value for one in fits):
        raise TableError(f"no curve can be fitted: {fits[0].verdict}")
    frames = [_predictions(one, asked, group) for one, group in zip(fits, rows, strict=True)]
    return Fits(tuple(fits), pd.concat(frames, ignore_index=True))


@dataclass(frozen=True)
class _Group:
    """One curve: its by-columns' values, all its rows, which of them are fitted, the covariance of sampling errors."""

    curve: dict[str, Any]
    rows: pd.DataFrame
    used: Any
    sampling: Floats | None

    def lack(self, x: list[str], p: int) -> str:
        """Return what is missing for fitting ``p`` parameters, or nothing."""
        levels, n = len(self.rows.loc[self.used, x].drop_duplicates()), int(self.used.sum())
        if levels < 2:
            return f"underpowered: {'one level' if levels else 'no row'} of {', '.join(x)} only; two are the least"
        return "" if n > max(p, 2) else f"underpowered: {n} points for {p} parameters"


# ── what is fitted ───────────────────────────────────────────────────────────────────────────────────────────────────
def _groups(table: Table, asked: Asked, stderr: str | None, held_out: Any) -> list[_Group]:
    if asked.criterion not in get_args(Criterion):
        raise FitError(f"criterion {asked.criterion!r} is unknown; valid: {', '.join(get_args(Criterion))}")
    points = table.points(asked.x, asked.y, asked.by, asked.replicate)
    if asked.criterion == "log" and (points[asked.y] <= 0).any():
        raise TableError(f"column {asked.y!r} has values of 0 or less, which have no logarithm: use criterion linear")
    mask = pd.Series(np.zeros(len(table.frame), bool) if held_out is None else held_out, index=table.frame.index)
    deviations = _deviations(table, points, asked.y)
    if stderr is not None:
        table.column(stderr)
    grouped = points.groupby(asked.by, dropna=False, sort=True, observed=True) if asked.by else [((), points)]
    made = []
    for key, rows in grouped:
        known = _sampling(rows, None if deviations is None else deviations.loc[rows.index], stderr, asked)
        curve = dict(zip(asked.by, key, strict=True))
        made.append(_Group(curve, rows, ~mask.loc[rows.index].to_numpy(), known))
    return made


def _deviations(table: Table, points: pd.DataFrame, y: str) -> pd.DataFrame | None:
    """Return each row's draws, zero where a row has none; ``None`` when the table has none for this column."""
    if table.draws is None or y != "value" or not {"run", "metric"} <= set(points):
        return None
    wanted = pd.MultiIndex.from_frame(points[["run", "metric"]])
    return table.draws.reindex(wanted).fillna(0.0).set_index(points.index)


def _sampling(rows: pd.DataFrame, deviations: pd.DataFrame | None, stderr: str | None, asked: Asked) -> Floats | None:
    """Return the known covariance of the rows' errors, on the scale of the criterion."""
    scale = rows[asked.y].to_numpy(float) if asked.criterion == "log" else np.ones(len(rows))
    if deviations is not None:
        d = deviations.to_numpy(float) / scale[:, None]
        return np.asarray(d @ d.T / d.shape[1]) if d.any() else None
    if stderr is not None:
        return np.diag((rows[stderr].to_numpy(float) / scale) ** 2)
    return None


# ── fitting ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def _fit_one(law: Law, asked: Asked, groups: list[_Group], pool: bool | None) -> list[Fit]:
    """Return the fits of one law to all curves, in their order; curves without enough points get a verdict alone."""
    columns, p = _bound(law, asked.x), len(parameters(law))
    lacks = [group.lack(asked.x, p) for group in groups]
    found: dict[int, Fit] = {
        i: stub(law, columns, asked, groups[i].curve, lack) for i, lack in enumerate(lacks) if lack
    }
    enough = [i for i, lack in enumerate(lacks) if not lack]
    if can_pool(law) if pool is None else pool:
        found |= dict(zip(enough, pooled(law, columns, asked, [groups[i] for i in enough]), strict=True))
        enough = []
    for part in _chunks(enough, groups, asked, p):
        some = [groups[i] for i in part]
        rows = [group.rows[group.used] for group in some]
        known = [None if g.sampling is None else g.sampling[np.ix_(g.used, g.used)] for g in some]
        curves = stack(rows, asked.x, asked.y, asked.replicate, known, asked.criterion == "log")
        found |= dict(zip(part, judge(law, columns, asked, [g.curve for g in some], curves), strict=True))
    return [found[i] for i in range(len(groups))]


def _bound(law: Law, x: list[str]) -> dict[str, str]:
    """Return {role: column}; a law with fewer inputs than columns takes the first."""
    roles = tuple(law.inputs)
    if len(roles) > len(x):
        raise FitError(f"{law_name(law)} needs {len(roles)} inputs ({', '.join(roles)}); x names {', '.join(x)}")
    return dict(zip(roles, x, strict=False))


def _chunks(which: list[int], groups: list[_Group], asked: Asked, p: int) -> Iterator[list[int]]:
    part: list[int] = []
    longest = 0
    for i in which:
        n = max(longest, len(groups[i].rows))
        need = (len(part) + 1) * max(n * n * 3, n * max(asked.n_draws, 500) * (p + 1), 41 * n * (p + 2))
        if part and need > MEMORY:
            yield part
            part, n = [], len(groups[i].rows)
        part, longest = [*part, i], n
    if part:
        yield part


def _predictions(one: Fit, asked: Asked, group: _Group) -> pd.DataFrame:
    """Return a row a point: by-columns, law, inputs, y, predicted, low, high, held_out."""
    rows = group.rows
    known = np.zeros(len(rows)) if group.sampling is None else np.diag(group.sampling)
    bands = one.predict({c: rows[c].to_numpy() for c in asked.x}, known)
    named = rows[[*asked.by, *asked.x]].reset_index(drop=True)
    named.insert(len(asked.by), "law", law_name(one.law))
    return named.assign(y=rows[asked.y].to_numpy(), **bands, held_out=~group.used)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
