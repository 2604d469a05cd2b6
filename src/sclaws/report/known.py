"""What is known of a curve apart from its points: the units of its parameters and, for simulated data, the truth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sclaws.fit import Fit
from sclaws.protocols import Floats
from sclaws.report import words
from sclaws.report.records import Knot


def units(one: Fit, inputs: Sequence[str], y_unit: str) -> dict[str, str]:
    """Return each parameter's unit; "unit of the depth" becomes that of the column which is the depth."""
    roles = dict(zip(one.law.inputs, inputs, strict=False))
    found = {}
    for name, param in one.law.params.items():
        unit = "" if isinstance(param, tuple) else param.unit
        role = unit.removeprefix("unit of the ")
        found[name] = unit if role == unit else words.unit(roles[role]) if role in roles else y_unit
    return found


def parameters(truth: Mapping[str, Any], curve: Mapping[str, Any]) -> dict[str, float]:
    """Return the true parameters of a curve.

    Where the truth says the information of several signals (``protein_information``), a curve's ceiling is that of its
    own signal, and the other parameters hold for the signal that has the truth's ``i_max``.
    """
    mine = _of_data(truth, curve)
    known = {k: float(v) for k, v in mine.items() if isinstance(v, (int, float)) and math.isfinite(v)}
    told = {k.removesuffix("_information"): v for k, v in known.items() if k.endswith("_information")}
    if not told or "signal" not in curve:
        return known
    ceiling = next((v for name, v in told.items() if name in str(curve["signal"])), None)
    return known if ceiling == known.get("i_max") else {} if ceiling is None else {"i_max": ceiling}


def _of_data(truth: Mapping[str, Any], curve: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the truth of a curve's own data set; where curves do not name it, there is only one."""
    nested = {name: value for name, value in truth.items() if isinstance(value, Mapping)}
    if "dataset" in curve:
        return nested.get(str(curve["dataset"]), truth)
    return next(iter(nested.values())) if len(nested) == 1 else truth


def line(one: Fit, grid: Floats, true: Mapping[str, float]) -> tuple[Knot, ...]:
    """Return the law with the true parameters at these inputs; nothing when one of them is not known."""
    if not set(one.law.params) <= set(true):
        return ()
    theta = {name: np.asarray(true[name]) for name in one.law.params}
    values = np.broadcast_to(one.law.predict({next(iter(one.inputs)): grid}, theta), grid.shape)
    return tuple(Knot(float(u), float(v)) for u, v in zip(grid, values, strict=True))
