"""Where to search for the floors and coefficients of powers: what the power laws have in common. Private."""

from __future__ import annotations

import numpy as np

from sclaws.protocols import Floats

EXPONENT = (0.001, 5.0)  # a flatter power is a logarithm, a steeper one a step


def around(y: Floats) -> tuple[float, float]:
    """Return bounds for a value that the curve tends to: ten times its range away, and more."""
    low, high = float(np.min(y)), float(np.max(y))
    reach = 10 * (high - low) + max(abs(high), abs(low), 1e-6)
    return low - reach, high + reach


def coefficient(size: Floats, y: Floats) -> tuple[float, float]:
    """Return bounds for a in a·x^(−α), x = ``size`` > 0: a thousandth to a thousand times the range, for every α."""
    low, high = float(np.min(y)), float(np.max(y))
    fall = (high - low) + 1e-9 * max(abs(high), abs(low), 1e-9)
    scale = float(size.min()) ** np.array(EXPONENT)
    return float(1e-3 * fall * scale.min()), float(1e3 * fall * scale.max())
