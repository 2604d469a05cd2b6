"""From how many cells on a metric no longer rises: three rules, side by side, each with an interval.

With ``share`` = .95 and levels of ``x`` (cells, percent):

- *published*: M is the largest value of all replicates and levels; the smallest level at which any single replicate
  exceeds .95·M (DenAdel et al., "Evaluating the role of pre-training dataset size and diversity on single-cell
  foundation model performance"). The best of several noisy replicates counts, so it comes early; and a metric whose
  untrained model has .95·M already saturates at the smallest level, whatever training does;
- *mean*: the smallest level whose mean of replicates is at least .95 of the largest mean;
- *gain*: the same of the gain over the untrained model: over its mean, which is subtracted. There is "no gain" when the
  largest gain's interval is not above 0.

Metrics that fall with knowledge (:func:`sclaws.table.falls`) are turned round: a value v is within the share of the
best b, the smallest, when v ≤ b/.95. No rule says anything of a best that is not positive: a share of it means nothing.

How intervals are made: :mod:`sclaws.saturation_rules`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from sclaws.errors import TableError
from sclaws.multiplier import DRAWS
from sclaws.protocols import Floats
from sclaws.saturation_rules import POINTS, RULES, Curve, Level
from sclaws.table import Table, falls

SHARE = 0.95
REPLICATE = "replicate"  # the column, where nothing is said: a table need not have it
NAMES = ("dataset", "evaluated_on", "split", "model", "scheme", "signal", "score", "metric")
ENDS = [f"{rule}{end}" for rule in RULES for end in ("", "_low", "_high")]
COLUMNS = ("x", "levels", "whole", "replicates", "best", *ENDS, "gained", "untrained", "largest_gain", "gain_at_least",
           "covers")  # fmt: skip
LEAST = 3  # levels: fewer are no curve
UNTRAINED = " untrained"  # a model's name goes on so before it was trained


@dataclass(frozen=True)
class Saturation:
    """Where curves saturate: ``frame`` has a row a curve, ``points`` a row a curve and level, of the table ``rows``.

    Columns of ``frame``: what tells curves apart; ``x``; how many ``levels``; ``whole``, the largest; the fewest
    ``replicates`` of a level; ``best``, the best mean; for each rule its level with ``_low`` and ``_high`` (95 %, blank
    where unknown, infinite where the rule finds none); ``gained``: "gain", "no gain", or "" without an untrained model;
    the mean of the ``untrained`` model, the ``largest_gain``, and ``gain_at_least``, below which it lies in one of 40
    cases, looked for over all levels; ``covers``: over what intervals are taken. ``points``: ``level``, its
    ``portion`` of the whole, the mean ``value`` with ``low`` and ``high``; level 0 is the untrained model.
    """

    frame: pd.DataFrame
    points: pd.DataFrame = field(default_factory=pd.DataFrame)
    rows: Table = field(default_factory=lambda: Table(pd.DataFrame()))
    by: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return len(self.frame) > 0


def saturate(
    table: Table | pd.DataFrame,
    x: str = "n_cells",
    y: str = "value",
    by: Sequence[str] | None = None,
    replicate: str | None = REPLICATE,
    *,
    share: float = SHARE,
    whole: float | None = math.inf,
    lower: Collection[str] | None = None,
    seed: int = 0,
) -> Saturation:
    """Return where each curve with three levels of ``x`` saturates; empty if there is none.

    ``by`` columns tell curves apart (default: of ``NAMES`` those there are, and the levels of other axes). Levels are
    the column ``…_level`` if there is one, where infinite is "all", which is placed at the largest measured ``x``.
    Rows at level ``whole`` are the same for every ``scheme`` of choosing cells: a scheme that has none gets those of
    another; ``None`` leaves curves without, as was published. The untrained model are rows at level 0, or of the model
    "… untrained". ``lower`` names the metrics that are better when smaller, instead of :func:`sclaws.table.falls`; the
    metric is the column "metric", or ``y``. ``seed`` fixes the resamples. Raises ``TableError`` for rows that cannot be
    used.
    """
    if not 0 < share < 1:
        raise TableError(f"share = {share!r} must lie between 0 and 1; .95 is usual")
    table = table if isinstance(table, Table) else Table(table.reset_index(drop=True))
    by = _by(table.frame, x) if by is None else list(by)
    if clash := sorted({*by} & {*COLUMNS, *POINTS, "portion"}):
        raise TableError(f"column {clash[0]!r} is called as a column of the results is: rename it in the table")
    replicate = None if replicate == REPLICATE and REPLICATE not in table.frame else replicate
    frame = table.points([x], y, by, replicate)
    place = f"{x}_level" if f"{x}_level" in frame else x
    frame = with_whole(frame, place, by, whole) if "scheme" in by and whole is not None else frame
    frame = frame.reset_index(drop=True)
    known = _Rows.of(frame, x, y, place, replicate, table.draws)
    made, points, used = [], [], []
    for curve, rows in _groups(frame, by):
        trained = rows[rows[place] > 0]
        if str(curve.get("model", "")).endswith(UNTRAINED) or trained[place].nunique() < LEAST:
            continue
        floor = _untrained(frame, curve, place, by)
        metric = str(curve.get("metric", y))
        one = Curve(
            tuple(known.levels(trained)),
            known.level(0.0, floor.index.to_numpy()) if len(floor) else None,
            falls(metric) if lower is None else metric in lower,
        )
        found, means = one.judged(share, np.random.default_rng(seed))
        made.append({**curve, "x": x, **found})
        points += [{**curve, **mean} for mean in means]
        used.append(trained.assign(**{x: trained[x].where(np.isfinite(trained[place]), one.levels[-1].at)}))
    rows = pd.concat(used, ignore_index=True) if used else frame[:0]
    return Saturation(
        pd.DataFrame(made, columns=[*by, *COLUMNS]),
        _portions(pd.DataFrame(points, columns=[*by, *POINTS]), by),
        Table(rows, table.draws),
        tuple(by),
    )


def _portions(points: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Return the points with their portion of the largest level that any scheme has."""
    same = [c for c in by if c != "scheme"]
    most = (
        points.groupby(same, dropna=False, observed=True)["level"].transform("max") if same else points["level"].max()
    )
    return points.assign(portion=points["level"] / most)


# ── rows of a curve ──────────────────────────────────────────────────────────────────────────────────────────────────
def _by(frame: pd.DataFrame, x: str) -> list[str]:
    levels = [str(c) for c in frame if str(c).endswith("_level") and c not in (f"{x}_level", f"{x}_test_level")]
    return [c for c in NAMES if c in frame] + levels


def _groups(frame: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    if not by:
        yield {}, frame
        return
    for key, rows in frame.groupby(list(by), dropna=False, sort=True, observed=True):
        yield dict(zip(by, key, strict=True)), rows


def with_whole(frame: pd.DataFrame, place: str, by: Sequence[str], whole: float) -> pd.DataFrame:
    """Return the rows, those at the level ``whole`` copied to the schemes that have none of their own.

    All cells are the same cells, whatever the ``scheme`` by which fewer are chosen, and are trained on once. ``by`` are
    the columns that tell curves apart, ``place`` is that of the levels.
    """
    more = []
    for _, rows in _groups(frame, [c for c in by if c != "scheme"]):
        at = rows[rows[place] == whole]
        if at.empty:
            continue
        given = at[at["scheme"] == at["scheme"].iloc[0]]
        more += [given.assign(scheme=s) for s in rows["scheme"].unique() if s not in set(at["scheme"])]
    return pd.concat([frame, *more], ignore_index=True) if more else frame


def _untrained(frame: pd.DataFrame, curve: Mapping[str, Any], place: str, by: Sequence[str]) -> pd.DataFrame:
    """Return the rows of a curve's untrained model: at level 0, or under the name that it has; of whatever scheme.

    Under its name it may have been made at several levels of ``x``, which change its random weights at most: the
    largest stands for all.
    """
    same = [c for c in by if c not in ("model", "scheme")]
    loose = [c for c in same if not c.endswith("_level") or c.endswith("_test_level")]
    zero = _where(frame[frame[place] == 0], {c: curve[c] for c in by if c != "scheme"})
    if len(zero) or "model" not in by:
        return _once(zero)
    named = frame[frame["model"] == f"{curve['model']}{UNTRAINED}"]
    exact = _where(named, {c: curve[c] for c in same})
    rows = exact if len(exact) else _where(named, {c: curve[c] for c in loose})
    return _once(rows[rows[place] == rows[place].max()])


def _once(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows once that stand there for several schemes."""
    return rows.drop_duplicates([c for c in rows if c != "scheme"])


def _where(frame: pd.DataFrame, values: Mapping[str, Any]) -> pd.DataFrame:
    for column, value in values.items():
        frame = frame[frame[column].isna() if pd.isna(value) else frame[column] == value]
    return frame


@dataclass(frozen=True)
class _Rows:
    """The columns of a frame's rows by their number: place and ``x``, values, replicates' names, (N, 64) draws."""

    place: Floats
    x: Floats
    y: Floats
    names: Any
    draws: Floats

    @classmethod
    def of(
        cls, frame: pd.DataFrame, x: str, y: str, place: str, replicate: str | None, draws: pd.DataFrame | None
    ) -> _Rows:
        deviations = np.zeros((len(frame), DRAWS))
        if draws is not None and y == "value" and {"run", "metric"} <= set(frame):
            known = draws.reindex(pd.MultiIndex.from_frame(frame[["run", "metric"]]))
            deviations = known.fillna(0.0).to_numpy(float)
        names = frame[replicate].astype(str).to_numpy(object) if replicate else None
        at, inputs, values = (frame[name].to_numpy(float) for name in (place, x, y))
        return cls(at, inputs, values, names, deviations)

    def levels(self, rows: pd.DataFrame) -> Iterator[Level]:
        """Yield the levels of some rows, smallest first."""
        some = rows.index.to_numpy()
        for at in np.unique(self.place[some]):
            yield self.level(float(at), some[self.place[some] == at])

    def level(self, at: float, some: Any) -> Level:
        """Return rows of these numbers as one level, replicates in the order of their names."""
        names: tuple[str, ...] = ()
        if self.names is not None:
            some = some[np.argsort(self.names[some], kind="stable")]
            names = tuple(self.names[some])
        where = at if math.isfinite(at) else float(self.x[some].max())
        draws = np.asfortranarray(self.draws[some])  # the order in which they are added up, to the last bit
        return Level(where, self.y[some], names, draws)


__all__ = ["COLUMNS", "POINTS", "RULES", "Saturation", "saturate"]
