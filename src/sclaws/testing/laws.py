"""What a law must do: broadcast over curves and draws, stay finite inside its bounds, be linear where it says so."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sclaws.protocols import Param

Theta = dict[str, NDArray[np.float64]]
_SHAPE = (3, 2, 1)  # curves, draws, points


def check(law: Any) -> None:
    """Raise ``AssertionError`` unless this is a law of inputs above 0."""
    assert not isinstance(law.inputs, str) and len(law.inputs), f"inputs = {law.inputs!r}; a tuple of roles is needed"
    assert isinstance(law.params, Mapping) and law.params, "no params: {name: (low, high)} is needed"
    params = {name: p if isinstance(p, Param) else Param(*p) for name, p in law.params.items()}
    for name, param in params.items():
        assert param.low < param.high, f"{name}: bounds {param.low} .. {param.high}"
        assert not param.log or param.low >= 0, f"{name}: searched as a logarithm, from {param.low}"
    ceiling = getattr(law, "ceiling", next(iter(params)))
    assert ceiling in params, f"ceiling = {ceiling!r}, which is no parameter"
    x = {role: np.geomspace(10, 1e4, 7) * np.array([1, 2, 3]).reshape(3, 1, 1) for role in law.inputs}
    theta = {name: _inside(param, turn) for turn, (name, param) in enumerate(params.items())}
    found = _predicted(law, x, theta)
    for curve, draw in np.ndindex(3, 2):
        alone = law.predict({k: v[curve, 0] for k, v in x.items()}, {k: v[curve, draw] for k, v in theta.items()})
        assert np.allclose(found[curve, draw], alone, rtol=1e-9), "predict differs between one curve and many"
    _linear(law, params, x, theta)
    _bounds(law, params, {role: v[0, 0] for role, v in x.items()}, found[0, 0])


def _inside(param: Param, turn: int) -> NDArray[np.float64]:
    """Return (3, 2, 1) values inside the bounds, all different, in another order for each ``turn``."""
    low, high = max(param.low, -1e6), min(param.high, 1e6)
    share = np.roll(np.linspace(0.4, 0.6, 6), turn).reshape(_SHAPE)
    if low > 0:
        return np.asarray(low * (high / low) ** share)
    return low + share * (high - low)


def _predicted(law: Any, x: Mapping[str, Any], theta: Theta) -> NDArray[np.float64]:
    found = np.asarray(law.predict(x, theta))
    due = (3, 2, 7)
    fits = len(found.shape) == 3 and all(mine in (1, whole) for mine, whole in zip(found.shape, due, strict=True))
    assert fits, f"predict gave {found.shape}; {due} is due"
    assert np.isfinite(found).all(), "predict is not finite inside the bounds"
    return np.broadcast_to(found, due)


def _linear(law: Any, params: Mapping[str, Param], x: Mapping[str, Any], theta: Theta) -> None:
    """Between two values of all linear parameters at once the law is half way at half way."""
    names = [name for name, param in params.items() if param.linear]
    moved = theta | {name: theta[name][::-1] * 1.5 for name in names}
    middle = theta | {name: (theta[name] + moved[name]) / 2 for name in names}
    ends = [_predicted(law, x, end) for end in (theta, moved)]
    scale = np.abs(ends).max()
    half = np.allclose(_predicted(law, x, middle), (ends[0] + ends[1]) / 2, rtol=1e-9, atol=1e-9 * scale)
    assert half, f"not linear in {', '.join(names)}, and linear = True is said of it"


def _bounds(law: Any, params: Mapping[str, Param], x: Mapping[str, Any], y: NDArray[np.float64]) -> None:
    tight = dict(law.bounds(x, y)) if hasattr(law, "bounds") else {}
    assert set(tight) <= set(params), f"bounds has {sorted(set(tight) - set(params))}, which are no parameters"
    for name, param in params.items():
        given = tight.get(name, (param.low, param.high))
        low, high = np.clip(given, param.low, param.high)
        good = math.isfinite(low) and math.isfinite(high) and low < high
        assert good, f"{name}: no finite bounds to search within, in params or in bounds(x, y), but {given}"
