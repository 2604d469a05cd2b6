"""Does a law predict larger scales than it has seen? Held-out rows, or by default the largest quarter of the levels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from sclaws.fit.curves import Points, Reading, stack
from sclaws.fit.groups import Asked, Group
from sclaws.fit.judged import predictor
from sclaws.fit.results import Fit, HeldOut
from sclaws.protocols import Floats, Law

DRAWS = 200  # enough for a band
RULE = "the largest quarter of the levels, predicted from a refit to the others"
BANDS = ("predicted", "low", "high")


def bands(one: Fit, asked: Asked, points: Points) -> dict[str, Floats]:
    """Return predicted, low and high at points: the 95 % bands of observations there."""
    known = np.zeros(len(points.y)) if points.sampling is None else np.diag(points.sampling)
    return one.band({name: points.x[:, k] for k, name in enumerate(asked.x)}, known)


def held_out(asked: Asked, points: pd.DataFrame) -> HeldOut:
    """Return the test on the points that a condition has held out."""
    out = points[points["held_out"]]
    found = {name: out[name].to_numpy(float) for name in BANDS}
    return _compared(asked, out["y"].to_numpy(float), found, "the rows that were held out")


def refitted(law: Law, columns: dict[str, str], asked: Asked, groups: Sequence[Group], p: int) -> list[Fit | None]:
    """Return for each curve a fit to its smaller levels, if that leaves enough of them, that can only predict."""
    parts = [group.smaller(asked, p) for group in groups]
    taken = [group.points.take(part[0]) for group, part in zip(groups, parts, strict=True) if part]
    if not taken:
        return [None] * len(groups)
    fewer = replace(asked, n_draws=min(asked.n_draws, DRAWS))
    named = [group.curve for group, part in zip(groups, parts, strict=True) if part]
    fits = iter(predictor(law, columns, fewer, named, stack(taken, reading(asked))))
    return [next(fits) if part else None for part in parts]


def tested(one: Fit | None, asked: Asked, group: Group, p: int) -> tuple[HeldOut, dict[str, Floats]]:
    """Return the default test of a curve, and what the refit says of its rows (NaN for those it was made of)."""
    said = {name: np.full(len(group.rows), np.nan) for name in BANDS}
    part = group.smaller(asked, p)
    if one is None or part is None:
        return HeldOut(), said
    points = group.points.take(part[1])
    found = bands(one, asked, points)
    for name, values in found.items():
        said[name][part[1]] = values
    return _compared(asked, points.y, found, RULE), said


def reading(asked: Asked) -> Reading:
    """Return how the rows of a curve are read."""
    return Reading(asked.x, asked.log_y, bool(np.isfinite(asked.delta)), asked.weights == "replicates")


def _compared(asked: Asked, y: Floats, found: dict[str, Floats], rule: str) -> HeldOut:
    middle, low, high = (found[name] for name in BANDS)
    if not len(y) or np.isnan(middle).all():
        return HeldOut()
    error = np.log(y) - np.log(middle) if asked.log_y else y - middle
    inside = (low <= y) & (y <= high)
    return HeldOut(len(y), float(np.sqrt(np.mean(error**2))), float(inside.mean()), rule)
