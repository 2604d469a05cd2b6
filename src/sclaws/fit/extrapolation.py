"""Does a law predict larger scales than it has seen? Held-out rows, or by default the largest quarter of the levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from sclaws.fit.conditions import Mask
from sclaws.fit.curves import Reading, stack
from sclaws.fit.groups import Asked, Group
from sclaws.fit.judged import predictor
from sclaws.fit.results import Fit, HeldOut
from sclaws.protocols import Floats, Law

DRAWS = 200  # enough for a band
RULE = "the largest quarter of the levels, predicted from a refit to the others"
BANDS = ("predicted", "low", "high")


def bands(one: Fit, asked: Asked, rows: pd.DataFrame, sampling: Floats | None) -> pd.DataFrame:
    """Return predicted, low and high at rows: the 95 % bands of observations there."""
    known = np.zeros(len(rows)) if sampling is None else np.diag(sampling)
    return one.predict({column: rows[column].to_numpy(float) for column in asked.x}, known)


def held_out(asked: Asked, points: pd.DataFrame) -> HeldOut:
    """Return the test on the points that a condition has held out."""
    out = points[points["held_out"]]
    return _compared(asked, out["y"], out, "the rows that were held out")


def refitted(law: Law, columns: dict[str, str], asked: Asked, groups: Sequence[Group], p: int) -> list[Fit | None]:
    """Return for each curve a fit to its smaller levels, if that leaves enough of them, that can only predict."""
    parts = [group.smaller(asked, p) for group in groups]
    which = [i for i, part in enumerate(parts) if part is not None]
    if not which:
        return [None] * len(groups)
    taken = [groups[i].taken(part[0]) for i in which if (part := parts[i]) is not None]
    curves = stack([rows for rows, _ in taken], reading(asked), [known for _, known in taken])
    fewer = replace(asked, n_draws=min(asked.n_draws, DRAWS))
    fits = dict(zip(which, predictor(law, columns, fewer, [groups[i].curve for i in which], curves), strict=True))
    return [fits.get(i) for i in range(len(groups))]


def tested(one: Fit | None, asked: Asked, group: Group, p: int) -> tuple[HeldOut, pd.DataFrame]:
    """Return the default test of a curve, and what the refit says of its rows (NaN for those it was made of)."""
    nothing = pd.DataFrame(np.nan, index=range(len(group.rows)), columns=list(BANDS))
    part = group.smaller(asked, p)
    if one is None or part is None:
        return HeldOut(), nothing
    above: Mask = part[1]
    rows, known = group.taken(above)
    found = bands(one, asked, rows, known)
    nothing.loc[above, list(BANDS)] = found.to_numpy()
    return _compared(asked, rows[asked.y], found, RULE), nothing


def reading(asked: Asked) -> Reading:
    """Return how the rows of a curve are read."""
    apart = bool(np.isfinite(asked.delta))
    return Reading(asked.x, asked.places, asked.y, asked.replicate, asked.log_y, apart, asked.weights == "replicates")


def _compared(asked: Asked, y: pd.Series, found: pd.DataFrame, rule: str) -> HeldOut:
    values = y.to_numpy(float)
    if not len(values) or found["predicted"].isna().all():
        return HeldOut()
    low, middle, high = (found[name].to_numpy() for name in ("low", "predicted", "high"))
    error = np.log(values) - np.log(middle) if asked.log_y else values - middle
    inside = (low <= values) & (values <= high)
    return HeldOut(len(values), float(np.sqrt(np.mean(error**2))), float(inside.mean()), rule)
