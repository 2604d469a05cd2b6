"""Loss to task: over the trials of a table, do models with a better loss do better at anything else?

For each two measures (a metric of a score, for a signal, on a data set) that were taken of the same trials: Spearman's
rank correlation, over all trials; *within models* (ranks and means are those of each model's own trials, so that what
models differ by counts for nothing); and of each model alone. All trials together may agree only because models differ
in both (Simpson's paradox), and then a law along cells or size says nothing of use: read the line *within models*.

Intervals are from a bootstrap over clusters: trials that have data set, split, replicate, levels and scheme in common,
which train on the same cells, are drawn together, and ranks are made anew. They hold Fisher's z = artanh ρ within t
quantiles (clusters − 1 degrees of freedom) of its standard deviation over the draws. Levels are taken as a sample of
those that might have been: the correlation is that over this spread of levels. Rows "… untrained" are left out: that
training helps both at all is not asked.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from sclaws.protocols import Floats, Ints
from sclaws.table import Table, falls

MEASURE = ("evaluated_on", "signal", "score", "metric")
COLUMNS = (*(f"{which}_{name}" for which in ("first", "second") for name in MEASURE), "model", "rho", "low", "high",
           "n_trials", "n_clusters", "helpful", "verdict")  # fmt: skip
ALL, WITHIN = "all", "within models"
LEAST = 8  # trials
DRAWS = 500
WEAK = 0.3  # a correlation that leaves nine tenths of the ranks' variance unexplained
LOSS = "loss"  # in the unit of a model's likelihood: models cannot be ranked by it
FIRST = (LOSS, "gain", "information")  # what laws are fitted to, in this order; whatever else comes after
CELLS = ("dataset", "split", "scheme", "replicate")


def agreement(table: Table, lower: Collection[str] | None = None, *, seed: int = 0) -> pd.DataFrame:
    """Return a row for each two measures and all models, within them, and each model, with ``COLUMNS``.

    Rows need columns trial, metric and value; there must be eight trials with both measures, neither of them
    constant, nor the same for all trials of a replicate, as a baseline of the data is.
    Loss and gain of one score are left out: one is the other, turned round. So is a loss over all of several models:
    losses of different likelihoods cannot be ranked, and the gain can. ``lower`` names the metrics that are better
    when smaller, instead of :func:`sclaws.table.falls`. ``helpful`` says whether ``rho`` has the sign with which
    both are better together; ``verdict`` "better together" or "one at the cost of the other" when the interval leaves
    out 0, "weak or none" when it lies within ±.3, else "cannot tell". ``seed`` fixes the bootstrap.
    """
    wide = _wide(table.frame)
    made = []
    for one, two in itertools.combinations(sorted(wide.measures, key=_order), 2):
        if one[:-1] == two[:-1] and {one[-1], two[-1]} == {"loss", "gain"}:
            continue
        down = [falls(m[-1]) if lower is None else m[-1] in lower for m in (one, two)]
        sign = -1 if down[0] != down[1] else 1
        for model, found in _pair(wide, one, two, seed):
            rho, low, high = found[:3]
            said = {"helpful": bool(sign * rho > 0), "verdict": _verdict(*sorted((sign * low, sign * high)))}
            made.append({**_named("first", one), **_named("second", two), "model": model}
                        | dict(zip(COLUMNS[-7:-2], found, strict=True)) | said)  # fmt: skip
    return pd.DataFrame(made, columns=list(COLUMNS))


def _verdict(low: float, high: float) -> str:
    if -WEAK < low and high < WEAK:
        return f"weak or none: |ρ| < {WEAK:g}"
    if low > 0:
        return "better together"
    return "one at the cost of the other" if high < 0 else "cannot tell"


def _order(measure: tuple[str, ...]) -> tuple[Any, ...]:
    metric = measure[-1]
    return (FIRST.index(metric) if metric in FIRST else len(FIRST), *measure)


def _named(which: str, measure: tuple[str, ...]) -> dict[str, str]:
    return {f"{which}_{name}": value for name, value in zip(MEASURE, measure, strict=True)}


# ── what was measured of each trial ──────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Wide:
    """A row a trial and test level: ``values`` (n, measures), NaN where missing; ``model`` and ``cluster`` (n,)."""

    measures: dict[tuple[str, ...], int]
    values: Floats
    model: NDArray[Any]
    cluster: Ints


def _of_models(frame: pd.DataFrame) -> pd.DataFrame:
    """Leave out measures that every model has alike at all of several levels of a replicate: baselines, of the data."""
    measure = [c for c in MEASURE if c in frame]
    replicate = [*measure, *(c for c in ("replicate",) if c in frame)]
    alike = frame.groupby(replicate, dropna=False)["value"].transform("nunique") <= 1
    several = frame.groupby([*replicate, "model"], dropna=False)["value"].transform("size") > 1
    keys = [frame[c] for c in measure]
    whole = [each.groupby(keys, dropna=False).transform(how) for each, how in ((alike, "all"), (several, "any"))]
    return frame[~(whole[0] & whole[1])]


def _wide(frame: pd.DataFrame) -> Wide:
    if not {"trial", "metric", "value"} <= set(frame):
        return Wide({}, np.zeros((0, 0)), np.zeros(0, dtype=object), np.zeros(0, dtype=int))
    if "status" in frame:
        frame = frame[frame["status"].fillna("ok") != "failed"]
    model = frame["model"].astype(str) if "model" in frame else pd.Series("", index=frame.index)
    frame = _of_models(frame.assign(model=model)[~model.str.endswith(" untrained")])
    tests = [c for c in frame if str(c).endswith("_test_level")]
    unit = frame.groupby(["trial", *tests], dropna=False, sort=True).ngroup().to_numpy()
    named = [frame[c].astype(str) if c in frame else pd.Series("", index=frame.index) for c in MEASURE]
    keys = list(zip(*named, strict=True))
    measures = {key: i for i, key in enumerate(sorted(set(keys)))}
    size = int(unit.max()) + 1 if len(unit) else 0
    sums, counts = np.zeros((2, size, len(measures)))
    place = (unit, np.array([measures[key] for key in keys], dtype=int))
    np.add.at(sums, place, frame["value"].to_numpy(float))
    np.add.at(counts, place, 1)
    with np.errstate(invalid="ignore"):
        values = sums / counts
    first = frame.assign(unit=unit).drop_duplicates("unit").sort_values("unit")
    cells = [c for c in first if c in CELLS or (str(c).endswith("_level") and c not in tests)]
    cluster = first.groupby(cells, dropna=False, sort=True).ngroup() if cells else first["unit"]
    return Wide(measures, values, first["model"].to_numpy(), cluster.to_numpy(int))


def _pair(
    wide: Wide, one: tuple[str, ...], two: tuple[str, ...], seed: int
) -> Iterator[tuple[str, tuple[float, float, float, int, int]]]:
    """Yield what is known of a pair of measures over all trials, within models, and in each model."""
    x, y = wide.values[:, wide.measures[one]], wide.values[:, wide.measures[two]]
    both = np.isfinite(x) & np.isfinite(y)
    models = [m for m in sorted(set(wide.model[both])) if (both & (wide.model == m)).sum() >= LEAST]
    together = np.zeros(len(x), dtype=int)
    asked = [(ALL, both, together)]
    if len(set(wide.model[both])) > 1:
        asked = [] if LOSS in (one[-1], two[-1]) else asked
        inside = np.isin(wide.model, models)
        asked += [(WITHIN, both & inside, np.unique(wide.model, return_inverse=True)[1])]
        asked += [(m, both & (wide.model == m), together) for m in models]
    for name, some, group in asked:
        if some.sum() >= LEAST:
            found = correlation(x[some], y[some], group[some], wide.cluster[some], np.random.default_rng(seed))
            if math.isfinite(found[0]):
                yield name, (*found, int(some.sum()), len(np.unique(wide.cluster[some])))


# ── rank correlation ─────────────────────────────────────────────────────────────────────────────────────────────────
def correlation(
    x: Floats, y: Floats, group: Ints, cluster: Ints, rng: np.random.Generator, draws: int = DRAWS
) -> tuple[float, float, float]:
    """Return Spearman's correlation of x and y (n,) within groups (n,), and its 95 % interval over clusters (n,).

    Within one group it is Spearman's own. NaN where one of the two is constant, or, for the ends, under three clusters.
    """
    codes = np.unique(cluster, return_inverse=True)[1].reshape(-1)
    many = int(codes.max()) + 1
    picks = rng.multinomial(many, np.full(many, 1 / many), size=draws)
    weight = np.vstack([np.ones(len(x)), picks[:, codes]])
    parts = [_moments(x[group == g], y[group == g], weight[:, group == g]) for g in np.unique(group)]
    xy, xx, yy = np.sum(parts, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        rho = np.clip(xy / np.sqrt(xx * yy), -1.0, 1.0)
    value, drawn = float(rho[0]), rho[1:][np.isfinite(rho[1:])]
    if not math.isfinite(value) or many < 3 or len(drawn) < draws / 2:
        return value, math.nan, math.nan
    limit = 1 - 6 / (len(x) ** 3 - len(x))  # half way from 1 to the next value that ranks can have
    spread = float(np.std(np.arctanh(np.clip(drawn, -limit, limit))))
    half, centre = float(stats.t.ppf(0.975, many - 1)) * spread, math.atanh(min(max(value, -limit), limit))
    return value, min(math.tanh(centre - half), value), max(math.tanh(centre + half), value)


def _moments(x: Floats, y: Floats, weight: Floats) -> Floats:
    """Return (3, draws) sums of products of the ranks of x and y about their means, with a weight a draw and row.

    Ranks are over the number of rows of each draw, so that groups of different size weigh by their rows.
    """
    ranks = [_ranks(v, weight) for v in (x, y)]
    whole = np.maximum(weight.sum(axis=1, keepdims=True), 1e-300)
    a, b = ((r - (weight * r).sum(axis=1, keepdims=True) / whole) / whole for r in ranks)
    return np.stack([(weight * a * b).sum(axis=1), (weight * a * a).sum(axis=1), (weight * b * b).sum(axis=1)])


def _ranks(values: Floats, weight: Floats) -> Floats:
    """Return (draws, n) mid-ranks of values (n,) of which each row is there ``weight`` (draws, n) times."""
    distinct, place = np.unique(values, return_inverse=True)
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(distinct)))
    there = np.add.reduceat(weight[:, order], starts, axis=1)
    middle = np.cumsum(there, axis=1) - (there - 1) / 2
    return np.asarray(middle[:, place])


__all__ = ["ALL", "COLUMNS", "WITHIN", "agreement", "correlation"]
