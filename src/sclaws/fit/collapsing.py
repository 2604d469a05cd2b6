"""All curves of a law on its universal curve: inputs and values rescaled by each curve's own parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from sclaws.fit.results import Fit


def frame(fits: Sequence[Fit]) -> pd.DataFrame:
    """Return a row a point of every fit whose law says how to rescale; see :meth:`sclaws.fit.Fits.collapse`."""
    columns = ["law", "x", "y", "x_scaled", "y_scaled", "predicted_scaled", "held_out"]
    some = [one for one in fits if one.value and hasattr(one.law, "collapse") and len(one.inputs) == 1]
    by = dict.fromkeys(name for one in fits for name in one.curve)
    if not some:
        return pd.DataFrame(columns=[*by, *columns])
    return pd.concat([_scaled(one) for one in some], ignore_index=True)[[*by, *columns]]


def _scaled(one: Fit) -> pd.DataFrame:
    ((role, column),) = one.inputs.items()
    theta = {name: np.array([value]) for name, value in one.value.items()}
    rows = one.points
    x = rows[column].to_numpy(float)
    with np.errstate(all="ignore"):
        inner, y = one.law.collapse({role: x}, rows["y"].to_numpy(float), theta)  # type: ignore[attr-defined]
        _, predicted = one.law.collapse({role: x}, rows["predicted"].to_numpy(float), theta)  # type: ignore[attr-defined]
    kept = rows[[*one.curve, "law", "held_out"]].assign(x=x, y=rows["y"])
    return kept.assign(x_scaled=inner, y_scaled=y, predicted_scaled=predicted)
