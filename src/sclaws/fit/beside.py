"""What a law says beside a rule: a verdict on the curve, and where the law itself comes to a share of its limit.

A rule (:mod:`sclaws.saturation`) looks at the levels that were measured and calls the largest the end. A law says
whether there is a curve at all, and where it would end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sclaws import fit
from sclaws.errors import FitError, TableError
from sclaws.fit import targets
from sclaws.fit.results import Fit, Fits, law_name
from sclaws.laws.constant import Constant
from sclaws.table import Table

COLUMNS = ("law", "law_at", "law_low", "law_high", "law_verdict")
RISING, FALLING = "saturating-power", "power-with-floor"


def fitted(
    rows: Table, x: str, y: str, by: Sequence[str], replicate: str | None, falling: Iterable[Mapping[str, Any]]
) -> Fits:
    """Return a law of each curve of the rows: saturating-power, or power-with-floor for those in ``falling``.

    Curves in ``falling`` are named by their by-columns. Rows at level 0 have no place on these laws and must be gone.
    """
    down = {tuple(str(curve[c]) for c in by) for curve in falling}
    keys = rows.frame[list(by)].astype(str).apply(tuple, axis=1) if by else pd.Series([()] * len(rows.frame))
    mask = keys.isin(down).to_numpy() if len(keys) else keys.to_numpy(bool)
    found = []
    for law, some in ((RISING, ~mask), (FALLING, mask)):
        if some.any():
            try:
                part = rows.where(some)
                nothing = np.zeros(len(part.frame), bool)  # else the law would be fitted again, to its smaller levels
                found.append(fit.fit(part, law, x, y, by, replicate, baseline="none", held_out=nothing))
            except TableError:  # no curve of this law has points enough: its rows stay blank
                continue
    return Fits.join(found)


def beside(frame: pd.DataFrame, fits: Fits, share: float) -> pd.DataFrame:
    """Return the rows with the columns ``COLUMNS``: the fit of the same curve, if there is one.

    A fit belongs to a row when its by-columns, as far as the row has them, and its input ``x`` are the same. Of several
    laws it is the one that was marked best, else the first that is no constant. ``law_at`` is ``x`` where the law comes
    to ``share`` of its limit, with its 95 % interval: infinite where it is open, blank where the law says nothing.
    """
    some = [_row(_chosen(row, fits), share) for row in frame.to_dict("records")]
    return pd.concat([frame, pd.DataFrame(some, columns=list(COLUMNS), index=frame.index)], axis=1)


def _chosen(row: Mapping[Any, Any], fits: Fits) -> Fit | None:
    mine = [one for one in fits if list(one.inputs.values()) == [row["x"]] and _same(one.curve, row)]
    ordered = sorted(mine, key=lambda one: (not one.best, isinstance(one.law, Constant)))
    return ordered[0] if ordered else None


def _same(curve: Mapping[str, Any], row: Mapping[Any, Any]) -> bool:
    shared = [c for c in curve if c in row]
    return all(curve[c] == row[c] or (pd.isna(curve[c]) and pd.isna(row[c])) for c in shared)


def _row(one: Fit | None, share: float) -> tuple[Any, ...]:
    if one is None:
        return ("", math.nan, math.nan, math.nan, "")
    try:
        found = targets.near(one, share)
        ends = (found.value, found.low, found.high)
    except FitError:
        ends = (math.nan, math.nan, math.nan)
    return (law_name(one.law), *ends, one.verdict)
