"""What limits a model now: what one more unit of money buys on each axis, and which axis that speaks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sclaws.design.surface import Priced, Surface, affordable, spread
from sclaws.errors import DesignError
from sclaws.fit.results import Fit

_STEP = 0.1  # of what the present levels cost: the extra money whose yield is asked for
_SURE = 0.95  # share of the draws that must agree
_HEADROOM = 0.05  # of y: when all of everything would bring no more, the model is what limits
_MOST = 1e9


@dataclass(frozen=True)
class Limits:
    """What limits at ``levels``: ``frame``, a row an axis, and the ``verdict``: a column, "model" or "cannot tell".

    ``frame`` columns: column, bought (the level that the extra money reaches), gain (how much better y gets per unit of
    money, so positive for a loss that falls; 95 % interval low and high), share (of draws in which this axis alone
    yields the most). ``headroom`` (value, low, high) is how much better y would be with all of everything.
    """

    curve: Mapping[str, object]
    levels: Mapping[str, float]
    y: float
    extra: float
    currency: str
    frame: pd.DataFrame
    headroom: tuple[float, float, float]
    verdict: str


def limits(fit: Fit, prices: Priced, at: Mapping[str, float] | None = None, extra: float | None = None) -> Limits:
    """Return what extra money buys on each axis from the levels ``at`` (default: the largest that were fitted).

    ``extra`` defaults to a tenth of what the present levels cost. Raises ``DesignError`` for an unknown column.
    """
    surface = Surface(fit)
    levels = {**surface.now, **_known(surface, at or {})}
    here = {c: np.array([v]) for c, v in levels.items()}
    paid = float(prices.cost(here)[0])
    if not np.isfinite(paid):
        raise DesignError(
            f"what limits now cannot be said: the levels that were measured ({_told(levels)}) cannot be bought at "
            "these prices; raise molecules or most, or give other levels with at="
        )
    extra = _STEP * paid if extra is None else extra
    if not extra > 0:
        raise DesignError(f"the levels that were measured ({_told(levels)}) cost nothing: give a price")
    y = surface.better(here)[:, 0]
    rows, gains = [], []
    for column in surface.columns:
        bought = float(
            affordable(prices, here, column, np.array([paid + extra]), levels[column], _MOST * levels[column])[0]
        )
        gain = (surface.better({**here, column: np.array([bought])})[:, 0] - y) / extra
        gains.append(gain)
        rows.append(
            {
                "column": column,
                "bought": bought,
                "gain": gain[0],
                **dict(zip(("low", "high"), spread(gain), strict=True)),
            }
        )
    every = np.stack(gains)[:, 1:] if len(fit.draws) else np.stack(gains)
    most = every.max(axis=0)
    alone = (every >= most - 1e-9 * np.abs(most)).sum(axis=0) == 1  # a tie speaks for no axis
    for row, gain in zip(rows, every, strict=True):
        row["share"] = float(np.mean((gain == most) & alone))
    frame = pd.DataFrame(rows)
    room = surface.sign * surface.ceiling - y
    headroom = (float(room[0]), *spread(room))
    return Limits(
        fit.curve,
        levels,
        surface.sign * float(y[0]),
        extra,
        prices.currency,
        frame,
        headroom,
        _verdict(frame, headroom, y[0]),
    )


def _verdict(frame: pd.DataFrame, headroom: tuple[float, float, float], y: float) -> str:
    if headroom[2] < _HEADROOM * abs(y):
        return "model"
    top = frame.loc[frame["share"].idxmax()]
    return str(top["column"]) if top["share"] >= _SURE else "cannot tell"


def _known(surface: Surface, at: Mapping[str, float]) -> dict[str, float]:
    for column in at:
        if column not in surface.columns:
            raise DesignError(f"{column!r} is no input of this law; its inputs are {', '.join(surface.columns)}")
    return dict(at)


def _told(levels: Mapping[str, float]) -> str:
    return ", ".join(f"{c} = {v:g}" for c, v in levels.items())
