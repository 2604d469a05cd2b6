"""What a number in a price file may be."""

from __future__ import annotations

import math

from sclaws.errors import DesignError


def check_amount(name: str, value: object, *, positive: bool = False, most: float = math.inf) -> None:
    """Raise ``DesignError`` unless the value is a number of 0 or more (above 0 if ``positive``), at most ``most``."""
    bounds = ("above 0" if positive else "of 0 or more") + (f" and at most {most:g}" if most < math.inf else "")
    number = value if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
    if not (math.isfinite(number) and 0 <= number <= most) or (positive and number == 0):
        raise DesignError(f"{name} = {value!r} must be a number {bounds}")


def check_text(name: str, value: object) -> None:
    """Raise ``DesignError`` unless the value is text that is not empty."""
    if not (isinstance(value, str) and value.strip()):
        raise DesignError(f"{name} = {value!r} must be text")


def check_limits(column: object, most: object, held: object) -> None:
    """Raise ``DesignError`` unless a column's name, its largest level and the level it is held at can be."""
    check_text("column", column)
    if most != math.inf:
        check_amount("most", most, positive=True)
    if held is not None:
        check_amount("held", held, most=float(most))  # type: ignore[arg-type]
