"""Numbers and names as a reader wants them: sensible digits, an interval beside a value, plain words for columns."""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Sequence
from typing import Any

SYMBOLS = {
    "i_max": "I_max",
    "i_inf": "I_∞",
    "i_0": "I_0",
    "u_bar": "ū",
    "n_sat": "N_sat",
    "alpha": "α",
    "beta": "β",
}
MEANINGS = {
    "i_max": "the ceiling: what this model would know if the measurement were perfect",
    "u_bar": "the depth at which the model comes within half a bit of its ceiling",
    "i_inf": "what this model would know with unlimited training cells",
    "n_sat": "the number of training cells at which 1 of the unit (one bit, say) is still missing",
    "s": "how fast the missing information shrinks with more cells",
    "alpha": "how fast the loss falls with size",
    "a": "the size of the part that can still be gained",
    "c": "the floor that no larger model gets below",
    "value": "the one value that fits all points",
}
COLUMNS = {
    "umis_per_cell": "depth (UMI per cell)",
    "umis_per_cell_test": "depth of the test cells (UMI per cell)",
    "n_cells": "training cells",
    "n_genes": "genes",
    "n_params": "parameters",
    "snr": "signal-to-noise ratio",
    "evaluated_on": "evaluated on",
}
UNITS = {"umis_per_cell": "UMI per cell", "n_cells": "cells", "n_genes": "genes", "n_params": "parameters", "snr": ""}
SIGNIFICANT = 3
WIDE_RATIO = 20.0  # an interval over more than this factor has no decimal place that suits both its ends
GROUP_FROM = 10_000_000  # from here on, powers of ten are easier to read than groups of three digits


def symbol(name: str) -> str:
    """Return a parameter's usual symbol: ``u_bar`` -> ``ū``; a name we do not know stays as it is."""
    return SYMBOLS.get(name, name)


def column(name: str) -> str:
    """Return a column's name in words: ``umis_per_cell`` -> ``depth (UMI per cell)``."""
    bare = name.removesuffix("_level")
    return COLUMNS.get(bare, bare.replace("_", " "))


def name(value: Any) -> str:
    """Return the name of a signal without the words of the study file: ``obsm(key=protein)`` -> ``protein``."""
    found = re.fullmatch(r"obsm?\((?:key|column)=([^,()]+)\)", str(value))
    return found.group(1) if found else str(value)


def unit(name: str) -> str:
    """Return the unit of a column: that of ours is known, a column of one's own is named by itself."""
    bare = name.removesuffix("_level").removesuffix("_test")
    return UNITS.get(bare, bare.replace("_", " "))


def finite(value: Any) -> bool:
    """Return whether the value is a number, and a finite one."""
    return isinstance(value, numbers.Real) and math.isfinite(value)


def number(value: Any, digits: int = SIGNIFICANT) -> str:
    """Return a number with ``digits`` significant digits, whole parts in full: ``4,861``, ``0.0123``, ``2.5 × 10⁷``."""
    if not finite(value):
        return "unknown"
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if abs(value) >= GROUP_FROM or size < -4:
        return _power(value, digits)
    return _fixed(value, max(0, digits - 1 - size))


def _fixed(value: float, decimals: int) -> str:
    """Return the value rounded to so many decimals; negative ones round to tens, hundreds …"""
    return f"{round(value, decimals) + 0.0:,.{max(0, decimals)}f}".replace("-", "−")


def _power(value: float, digits: int) -> str:
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    raised = str(int(exponent)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"{mantissa} × 10{raised}".replace("-", "−")


def level(value: Any) -> str:
    """Return a level of an axis, every digit of a whole number kept: ``21,544``; an infinite one is ``all``."""
    if not finite(value):
        return "all" if value == math.inf else str(value)
    return f"{value:,.0f}" if float(value).is_integer() and abs(value) < GROUP_FROM else number(value)


def interval(value: float, low: float, high: float, unit: str = "") -> str:
    """Return ``4,900 (3,600 to 6,200) UMI per cell``; a side that does not close gives ``> 812`` or ``< 30`` alone.

    Two digits of the interval's width are kept, in all three numbers alike.
    """
    tail = f" {unit}" if unit else ""
    closed_low, closed_high = finite(low), finite(high)
    if closed_low and closed_high:
        one, two, three = _alike(value, low, high)
        return f"{one} ({two} to {three}){tail}"
    if closed_low:
        return f"> {number(low)}{tail}"
    if closed_high:
        return f"< {number(high)}{tail}"
    return f"not determined{tail and f' ({unit})'}"


def _alike(value: float, low: float, high: float) -> list[str]:
    three = [value, low, high]
    largest = max(map(abs, three))
    wide = 0 < low < high / WIDE_RATIO
    if wide or high <= low or largest >= GROUP_FROM or largest < 1e-4:
        return [number(v, 2 if wide else SIGNIFICANT) for v in three]
    decimals = 1 - math.floor(math.log10(high - low))
    return [_fixed(v, decimals) for v in three]


def sentence(text: str) -> str:
    """Return the text with a capital and a full stop."""
    text = text.strip()
    return text and text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def listing(parts: Sequence[str]) -> str:
    """Return ``a, b and c``."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def count(n: int, noun: str) -> str:
    """Return ``1 run`` or ``1,200 runs``."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
