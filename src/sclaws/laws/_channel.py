"""Bits through d equal Gaussian channels at a depth, and back: what the noise laws have in common.

Private: the laws' own files say what the parameters mean. With x = u/ū, the share seen s = x/(1 + x) and
k = 2·ln 2·I/d, the published (d/2)·log₂[(1 + x·2^(2·I/d))/(1 + x)] is d·ln[1 + s·(e^k − 1)]/(2·ln 2), which cancels
nowhere: not for a depth near 0, not for an I near 0, and not for many channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from sclaws.protocols import Floats

TWO_LN2 = 2 * np.log(2.0)
MOST = 50.0  # bits: far beyond any measurement, and e^k is still a number


def bits(depth: Any, u_bar: Any, top: Any, channels: Any = 1.0) -> Floats:
    """Return the information at ``depth`` ≥ 0, from 0 to ``top`` bits; arrays broadcast."""
    depth = np.asarray(depth, dtype=float)
    gain = np.expm1(TWO_LN2 * np.asarray(top) / channels)
    return np.asarray(channels * np.log1p(depth / (depth + u_bar) * gain) / TWO_LN2)


def depth_for(wanted: Any, u_bar: Any, top: Any, channels: Any = 1.0) -> Floats:
    """Return the depth for ``wanted`` bits: 0 when none are wanted, infinite from ``top`` on."""
    wanted, top = np.maximum(np.asarray(wanted, dtype=float), 0.0), np.asarray(top, dtype=float)
    missing = -np.expm1(TWO_LN2 * np.minimum(wanted - top, 0.0) / channels)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        found = u_bar * np.expm1(TWO_LN2 * wanted / channels) * np.exp(-TWO_LN2 * top / channels) / missing
    return np.where(wanted < top, found, np.inf)


def bounds(depth: Floats, y: Floats) -> dict[str, tuple[float, float]]:
    """Return where to search: I_max far above the data, ū as far as such an I_max can push it (a factor 4^I_max).

    Bounds that stop one parameter early would make the other look identified.
    """
    seen, top = depth[depth > 0], max(float(np.max(y)), 0.0)
    most = min(2 * top + 5, MOST)
    return {"i_max": (0.0, most), "u_bar": (seen.min() / 1e4, seen.max() * 4.0 ** min(most, 20))}
