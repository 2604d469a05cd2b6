"""What the report is made of, once table and fits have been read: panels of curves, with everything as plain values."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sclaws.report import words

OPEN = float("nan")


@dataclass(frozen=True)
class Parameter:
    """A fitted parameter with its 95 % interval; an end that does not close is NaN. ``truth`` is NaN when unknown."""

    name: str
    value: float
    low: float
    high: float
    unit: str = ""
    log: bool = False
    truth: float = OPEN

    @property
    def text(self) -> str:
        """Value and interval in words, with the unit."""
        return words.interval(self.value, self.low, self.high, self.unit)

    @property
    def side(self) -> str:
        """Which limit exists: "closed" both, "up" (only a lower one: it lies above), "down", or "none"."""
        low, high = words.finite(self.low), words.finite(self.high)
        return "closed" if low and high else "up" if low else "down" if high else "none"

    @property
    def covered(self) -> bool | None:
        """Whether the interval contains the truth; ``None`` when that is not known."""
        if not words.finite(self.truth):
            return None
        above = not words.finite(self.low) or self.low <= self.truth
        return above and (not words.finite(self.high) or self.truth <= self.high)


@dataclass(frozen=True)
class Point:
    """One row of the table on a curve; ``low`` and ``high`` are NaN when the row has no interval."""

    x: float
    y: float
    low: float = OPEN
    high: float = OPEN
    predicted: float = OPEN
    replicate: str = ""
    held_out: bool = False
    note: str = ""


@dataclass(frozen=True)
class Knot:
    """One place on a law's line with its predictive band."""

    x: float
    y: float
    low: float = OPEN
    high: float = OPEN


@dataclass(frozen=True)
class Curve:
    """One curve of a panel; ``levels`` is its level of each slice, ``None`` where it has none (drawn at every one)."""

    model: str
    levels: tuple[str | None, ...]
    points: tuple[Point, ...]
    line: tuple[Knot, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    verdict: str = ""
    note: str = ""
    r2: float = OPEN
    rmse: float = OPEN
    baseline: bool = False


@dataclass(frozen=True)
class Slice:
    """A second axis that varies within a panel; ``levels`` as text, in order, the largest last, and their ``values``.

    ``within``: it is an input of the law itself, so that one set of parameters holds for all its levels.
    """

    column: str
    levels: tuple[str, ...]
    values: dict[str, float] = field(default_factory=dict)
    within: bool = False

    @property
    def numeric(self) -> bool:
        """Whether every level is a number, so that a parameter can be drawn against it."""
        return all(level in self.values for level in self.levels)


Scaled = tuple[int, float, float, bool]  # number of the curve, x, y, was it held out


@dataclass(frozen=True)
class Panel:
    """Curves that are compared: one signal, score, data set and law; models and slices vary within.

    ``scaled`` their points on the universal curve of the law, ``universal`` that curve itself; empty without one.
    """

    title: str
    law: str
    formula: str
    source: str
    x: str
    y: str
    unit: str
    criterion: str
    slices: tuple[Slice, ...]
    curves: tuple[Curve, ...]
    truth: tuple[Knot, ...] = ()
    bound: float = OPEN
    constants: tuple[tuple[str, str], ...] = ()
    scaled: tuple[Scaled, ...] = ()
    universal: tuple[Scaled, ...] = ()

    @property
    def models(self) -> dict[str, bool]:
        """Model -> is it a baseline: in order of appearance, baselines last."""
        found = {c.model: c.baseline for c in self.curves}
        return dict(sorted(found.items(), key=lambda item: item[1]))

    @property
    def fitted(self) -> tuple[Curve, ...]:
        """Curves to which the law was fitted."""
        return tuple(c for c in self.curves if c.verdict)

    @property
    def largest(self) -> tuple[str, ...]:
        """The largest level of each slice: what is shown first."""
        return tuple(s.levels[-1] for s in self.slices)

    def at(self, levels: tuple[str, ...]) -> Iterator[Curve]:
        """Yield the curves at these levels, and those without levels."""
        for curve in self.curves:
            if all(own in (None, level) for own, level in zip(curve.levels, levels, strict=True)):
                yield curve
