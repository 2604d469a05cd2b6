"""Which laws are fitted: those that are named, or with ``auto`` every installed one that the inputs and y allow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import qmc

from sclaws.errors import FitError
from sclaws.fit.groups import Asked, Group, direction
from sclaws.fit.pooling import can_pool
from sclaws.fit.problem import bounds, parameters
from sclaws.fit.results import law_name
from sclaws.laws.constant import Constant
from sclaws.plugins import Spec, names
from sclaws.protocols import Law

TRIED = 64  # parameters at which a law's direction is looked at


def chosen(law: Any, made: Sequence[Group], asked: Asked) -> list[Law]:
    """Return the laws: objects as they are, names built, "auto" as all that are installed and suit these curves.

    A law suits when it has as many inputs as there are x columns and can run in the direction in which most curves
    run: rising with the inputs, as information does, or falling, as losses do. A constant always competes.
    """
    laws: list[Law] = []
    for each in list(law) if isinstance(law, (list, tuple)) else [law]:
        found = _auto(made, asked) if each == "auto" else [named(each) if isinstance(each, str) else each]
        laws += [one for one in found if one not in laws]
    if not laws:
        raise FitError("no law is named: give one, several, or auto")
    return laws


def named(name: str) -> Law:
    """Return the law of an installed name or of ``file.py:Class``, with its defaults."""
    built: Law = Spec.of("laws", name, Path.cwd()).build()
    return built


def _auto(made: Sequence[Group], asked: Asked) -> list[Law]:
    rows = max((group.rows[group.used] for group in made), key=len)
    sign = direction(made)
    laws = [named(name) for name in names("laws")]
    some = [law for law in laws if len(law.inputs) == len(asked.x) and not isinstance(law, Constant)]
    if asked.ceiling is not None:
        some = [law for law in some if hasattr(law, "ceiling") and not can_pool(law)]
    return [*[law for law in some if _suits(law, rows, asked, sign)], Constant()]


def refuse_ceiling(laws: Sequence[Law], pool: bool | None) -> None:
    """Raise ``FitError`` for a law that has no parameter which a ceiling bounds, or whose priors would meet it."""
    for law in (law for law in laws if not isinstance(law, Constant)):
        if not hasattr(law, "ceiling"):
            having = ", ".join(name for name in names("laws") if hasattr(named(name), "ceiling"))
            raise FitError(f"{law_name(law)} has no parameter that a ceiling bounds; laws that have: {having}")
        if pool is not False and can_pool(law):
            raise FitError(f"{law_name(law)} is fitted with priors, which take no ceiling: leave it out, or pool=False")


def _suits(law: Law, rows: pd.DataFrame, asked: Asked, sign: int) -> bool:
    """Whether the law is finite at all points of a curve and runs that way for some parameters within its bounds."""
    x = {role: rows[column].to_numpy(float) for role, column in zip(law.inputs, asked.x, strict=True)}
    try:
        low, high = bounds(law, x, rows[asked.y].to_numpy(float))
    except FitError:
        return False
    params = parameters(law)
    unit = qmc.Sobol(len(params), scramble=False).random(TRIED)[1:]
    t = low + unit * (high - low)
    theta = {
        name: (np.exp(t[:, k]) if param.log else t[:, k])[:, None] for k, (name, param) in enumerate(params.items())
    }
    with np.errstate(all="ignore"):
        y = np.asarray(law.predict({role: values[None] for role, values in x.items()}, theta), dtype=float)
    y = np.broadcast_to(y, (len(t), len(rows)))
    finite = np.isfinite(y).all(axis=1)
    first, last = (np.argmin(np.sum([v.argsort().argsort() for v in x.values()], axis=0) * s) for s in (1, -1))
    return bool((sign * (y[finite, last] - y[finite, first]) > 0).any())
