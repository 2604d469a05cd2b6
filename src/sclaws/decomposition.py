"""What the model lost and what the measurement lost when values are degraded before training, before the test, or both.

With I(q, r) the information when training cells are degraded to level q and test cells to level r (1 is "all"):

- *model* = I(1, 1) − I(q, 1): trained on degraded cells, asked about whole ones;
- *measurement* = I(1, 1) − I(1, q): trained on whole cells, asked about degraded ones. **This part includes a shift
  between training and test cells**: the model has never seen cells like these;
- *both* = I(1, 1) − I(q, q), and *interaction* = both − model − measurement.

Each part is a mean over replicates, with a 95 % interval of two sources. Test cells are a sample: the table's draws
(:mod:`sclaws.multiplier`) of the four results go into the same sum as their values, so what they share cancels.
Replicates differ in more than that (split, thinning, initialisation): by how much follows from the variance of the part
between replicates, pooled over the levels and signals of a model, beyond what sampling explains (:class:`Spread`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import optimize, stats

from sclaws.errors import TableError
from sclaws.multiplier import DRAWS
from sclaws.protocols import Floats
from sclaws.table import Table

# Each part as a sum over the kinds of result: nothing degraded, training cells, test cells, both.
KINDS = ("none", "train", "test", "both")
PARTS = {
    "model": (1, -1, 0, 0),
    "measurement": (1, 0, -1, 0),
    "interaction": (-1, 1, 1, -1),
    "both": (1, 0, 0, -1),
}
DIFFERENCE = (0, -1, 1, 0)  # model − measurement: which of the two is larger
NAMES = ("dataset", "evaluated_on", "split", "scheme", "model", "signal", "score", "metric")
COLUMNS = ("axis", "level", "share", "full", "part", "value", "low", "high", "unit", "replicates", "verdict")
METRICS = ("information", "gain")  # what rises with knowledge: a part of a loss would have the other sign
ALONE = "one replicate: only test cells vary"
NO_LOSS = "no loss is seen"
RHO = np.sin((np.arange(12) + 0.5) / 12 * np.pi / 2) ** 2  # equal weights on these are the arcsine prior
SIZES = 300  # of a variance, on a log scale


@dataclass(frozen=True)
class Decomposition:
    """What was lost, and by what: ``frame`` has a row a condition, level and part; ``skipped`` says in sentences which
    levels lack a kind of result.

    Columns of ``frame``: the condition (data set, model, signal, score, metric, …, and the levels of the other axes);
    ``axis`` and ``level``; ``share``, the level over the whole measurement, where that is known; ``full``, I(1, 1);
    ``part`` ("model", "measurement", "interaction", "both"), its ``value`` with the 95 % ``low`` and ``high``, in
    ``unit``; ``replicates`` behind it; ``verdict``: "model" or "measurement", whichever lost more, or
    "cannot tell" when the interval of their difference holds 0, "no loss is seen" when the larger one's own does. The
    measurement's part includes a shift between training and test cells.
    """

    frame: pd.DataFrame
    skipped: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return len(self.frame) > 0


def decompose(table: Table, frozen: Collection[str] = ()) -> Decomposition:
    """Return the parts of the loss on every axis of a study's table that degrades values; empty if kinds are lacking.

    An axis has columns ``…_level`` and ``…_test_level``, where infinite is "all". ``frozen`` names models that do not
    train, whose result never depends on training cells: their model part is 0. Raises ``TableError`` when rows of one
    condition, replicate and levels are not alone.
    """
    frame = _measured(table.frame)
    made, said = [], []
    for axis in axes(frame):
        by = [c for c in NAMES if c in frame] + [
            c for c in frame if c.endswith("_level") and c not in (f"{axis}_level", f"{axis}_test_level")
        ]
        cells: list[Cell] = []
        for key, rows in frame.groupby(by, dropna=False, sort=True, observed=True):
            condition = dict(zip(by, key, strict=True))
            found, lacks = _cells(condition, rows, axis, table.draws, condition.get("model") in frozen)
            cells += found
            said += lacks
        made += [row for group in _pools(cells) for row in _rows(axis, group)]
    columns = [*dict.fromkeys(c for row in made for c in row if c not in COLUMNS), *COLUMNS]
    return Decomposition(pd.DataFrame(made, columns=columns), tuple(said))


def axes(frame: pd.DataFrame) -> list[str]:
    """Return the axes whose test-side level is a column beside the training-side one."""
    tests = [str(c).removesuffix("_test_level") for c in frame if str(c).endswith("_test_level")]
    return [axis for axis in tests if f"{axis}_level" in frame]


def _measured(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the rows that did not fail, of the metrics that rise with knowledge."""
    if "status" in frame:
        frame = frame[frame["status"].fillna("ok") != "failed"]
    if "metric" in frame:
        frame = frame[frame["metric"].isin(METRICS)]
    return frame


# ── results that belong together ─────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Cell:
    """One condition and level with R ``replicates``: ``values`` (R, 4) and ``draws`` (R, 4, 64) by kind; ``share`` is
    the level's of the whole measurement.
    """

    condition: Mapping[str, Any]
    level: float
    share: float
    unit: str
    replicates: tuple[Any, ...]
    values: Floats
    draws: Floats

    def sum(self, part: Sequence[int]) -> tuple[Floats, Floats]:
        """Return a part of each replicate, (R,), and its deviations, (R, 64)."""
        return self.values @ np.array(part), np.einsum("rkj,k->rj", self.draws, np.array(part, dtype=float))


def _cells(
    condition: dict[str, Any], rows: pd.DataFrame, axis: str, draws: pd.DataFrame | None, frozen: bool
) -> tuple[list[Cell], list[str]]:
    """Return a cell for each level that has every kind of result in some replicate, and what others lack."""
    replicate = rows["replicate"] if "replicate" in rows else pd.Series(0, index=rows.index)
    train, test = (rows[f"{axis}{end}"].astype(float) for end in ("_level", "_test_level"))
    where: dict[tuple[Any, float, float], int] = {}
    for place, key in enumerate(zip(replicate, train, test, strict=True)):
        if where.setdefault(key, place) != place:
            what = ", ".join(f"{k} = {v}" for k, v in condition.items())
            raise TableError(f"{what}: replicate {key[0]} has two results at {axis} = {key[1]:g} (test {key[2]:g})")
    values, deviations = rows["value"].to_numpy(float), _deviations(rows, draws)
    whole = _whole(rows, axis, test)
    made, lacks = [], []
    for level in sorted(v for v in {*train, *test} if math.isfinite(v)):
        kinds = [_kind(level, k, frozen) for k in range(len(KINDS))]
        at = {r: [where.get((r, *kind)) for kind in kinds] for r in dict.fromkeys(replicate)}
        if complete := {r: each for r, each in at.items() if None not in each}:
            full = np.array(list(complete.values()))
            one = Cell(condition, level, level / whole, _unit(rows), tuple(complete), values[full], deviations[full])
            made.append(one)
        elif any(each[1] is not None or each[2] is not None for each in at.values()):
            missing = [k for i, k in enumerate(KINDS) if all(each[i] is None for each in at.values())]
            why = _words(missing or ["one replicate"])
            lacks.append(f"{_name(condition)}: {axis} = {level:g} lacks a result with {why}")
    return made, lacks


def _kind(level: float, k: int, frozen: bool) -> tuple[float, float]:
    """Return the training and test levels of a kind; for a model that does not train every training level is "all"."""
    train = level if k in (1, 3) and not frozen else math.inf
    return train, level if k >= 2 else math.inf


def _words(missing: Sequence[str]) -> str:
    words = {
        "none": "nothing degraded", "train": "training cells alone degraded", "test": "test cells alone degraded",
        "both": "both degraded", "one replicate": "every kind in one replicate",
    }  # fmt: skip
    return " and with ".join(words[kind] for kind in missing)


def _name(condition: Mapping[str, Any]) -> str:
    return ", ".join(str(condition[c]) for c in ("model", "signal") if c in condition) or "all rows"


def _unit(rows: pd.DataFrame) -> str:
    return str(rows["unit"].iloc[0]) if "unit" in rows else ""


def _whole(rows: pd.DataFrame, axis: str, test: pd.Series) -> float:
    """Return what test cells measure when nothing is taken away; NaN where that is infinite or not in the table."""
    column = f"{axis}_test"
    if column not in rows:
        return math.nan
    found = pd.to_numeric(rows.loc[np.isinf(test), column], errors="coerce").mean()
    return float(found) if math.isfinite(found) else math.nan


def _deviations(rows: pd.DataFrame, draws: pd.DataFrame | None) -> Floats:
    """Return (n, 64) draws of the rows, zero where there are none."""
    if draws is None or not {"run", "metric"} <= set(rows):
        return np.zeros((len(rows), DRAWS))
    return draws.reindex(pd.MultiIndex.from_frame(rows[["run", "metric"]])).fillna(0.0).to_numpy(float)


# ── intervals ────────────────────────────────────────────────────────────────────────────────────────────────────────
def _pools(cells: Sequence[Cell]) -> Iterator[list[Cell]]:
    """Yield the cells whose replicates are judged together: those of one model, data set, score and metric."""
    pools: dict[tuple[Any, ...], list[Cell]] = {}
    for cell in cells:
        same = (c for c in NAMES if c != "signal" and c in cell.condition)
        pools.setdefault(tuple(str(cell.condition[c]) for c in same), []).append(cell)
    yield from pools.values()


@dataclass(frozen=True)
class Spread:
    """How replicates of a part differ, over the L cells (levels and signals) of a pool.

    Their differences have variance v = ``sampling`` + all else, and a correlation ρ between cells, because all of a
    replicate share its split, its whole-depth model and nested noise. ``common`` and ``own`` are the sums of squares of
    what a replicate's cells share and of the rest, with ``freedom`` (of both): v·(1 + (L − 1)·ρ)·χ² and v·(1 − ρ)·χ².
    Two or three replicates tell neither v nor ρ: both are averaged over, on a grid weighed by that likelihood, with a
    flat prior on log v, v ≥ ``sampling``, and the arcsine prior on ρ, as for a fit (:mod:`sclaws.fit.scatter`).
    """

    common: float
    own: float
    freedom: tuple[int, int]
    size: int
    sampling: float

    @classmethod
    def of(cls, cells: Sequence[Cell], part: Sequence[int]) -> Spread:
        """Return the spread of a part over the cells of a pool."""
        sums, counts = dict[Any, float](), dict[Any, int]()
        total, known, spare = 0.0, 0.0, 0
        for cell in cells:
            value, deviation = cell.sum(part)
            apart = value - value.mean()
            total += float((apart**2).sum())
            known += float(((deviation - deviation.mean(axis=0)) ** 2).sum() / DRAWS)
            spare += len(value) - 1
            for name, each in zip(cell.replicates, apart, strict=True):
                sums[name], counts[name] = sums.get(name, 0.0) + float(each), counts.get(name, 0) + 1
        common = sum(sums[name] ** 2 / counts[name] for name in sums)
        shared = min(len(sums) - 1, spare)
        return cls(common, max(total - common, 0.0), (shared, spare - shared), len(cells), known / max(spare, 1))

    def half(self, own: float, replicates: int) -> float:
        """Return half of the 95 % interval of a mean of replicates; ``own`` is the variance that sampling gives it.

        The quantile of the mixture of normals over the grid; NaN where nothing is known of either source.
        """
        more, weight = self._more()
        variance = own + more / replicates
        if not variance.max() > 0:
            return 0.0 if self.freedom[0] else math.nan
        scale = np.sqrt(np.maximum(variance, 1e-12 * variance.max()))
        freedom = DRAWS / np.maximum((own / scale**2) ** 2, 1e-9)  # own comes from 64 draws
        most = float(3 * scale.max())
        return float(optimize.brentq(lambda h: stats.t.sf(h / scale, freedom) @ weight - 0.025, 0.0, most))

    def _more(self) -> tuple[Floats, Floats]:
        """Return variances beyond sampling and their weights; nothing at all for one replicate."""
        total = self.common + self.own
        if not self.freedom[0] or not total + self.sampling > 0:
            return np.zeros(1), np.ones(1)
        centre = max(total / sum(self.freedom), self.sampling)
        least = max(self.sampling, 1e-3 * centre)
        v = np.geomspace(least, 1e8 * centre, SIZES)[:, None]
        shared, rest = v * (1 + (self.size - 1) * RHO), v * (1 - RHO)
        log = -0.5 * (self.freedom[0] * np.log(shared) + self.common / shared)
        log -= 0.5 * (self.freedom[1] * np.log(rest) + self.own / rest)
        weight = np.exp(log - log.max()).sum(axis=1)
        weight[0] /= 2  # trapezoids
        return np.maximum(v.ravel() - self.sampling, 0.0), weight / weight.sum()


def _rows(axis: str, cells: Sequence[Cell]) -> Iterator[dict[str, Any]]:
    spreads = {part: Spread.of(cells, part) for part in (*PARTS.values(), DIFFERENCE)}
    for cell in cells:
        found = {name: _interval(cell, part, spreads[part]) for name, part in PARTS.items()}
        said = _verdict(_interval(cell, DIFFERENCE, spreads[DIFFERENCE]), found, len(cell.values))
        common = {"axis": axis, "level": cell.level, "share": cell.share, "full": float(cell.values[:, 0].mean())}
        for name, (value, low, high) in found.items():
            part = {"part": name, "value": value, "low": low, "high": high, "unit": cell.unit}
            yield {**cell.condition, **common, **part, "replicates": len(cell.values), "verdict": said}


def _interval(cell: Cell, part: Sequence[int], spread: Spread) -> tuple[float, float, float]:
    """Return the mean of a part over replicates and its 95 % interval."""
    values, deviations = cell.sum(part)
    own = float(np.mean(deviations.mean(axis=0) ** 2))
    value, half = float(values.mean()), spread.half(own, len(values))
    return value, value - half, value + half


def _verdict(
    difference: tuple[float, float, float], parts: Mapping[str, tuple[float, float, float]], replicates: int
) -> str:
    """Return which part is larger; a part that may be nothing, or a gain, is no loss however small the other is."""
    value, low, high = difference
    found = "cannot tell"
    if low > 0 or high < 0:
        larger = "model" if value > 0 else "measurement"
        found = larger if parts[larger][1] > 0 else NO_LOSS
    return f"{found} ({ALONE})" if replicates == 1 else found


__all__ = ["COLUMNS", "PARTS", "Decomposition", "decompose"]
