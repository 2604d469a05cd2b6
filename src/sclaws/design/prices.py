"""What levels cost: a price file of a few lines (docs/prices.md), turned into money at any number of places at once.

A cost never falls when a level rises, and is infinite where a level cannot be had: more UMI than the library holds
molecules, more cells than there are. Libraries and flow cells are bought whole, so costs rise in steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sclaws.design._amounts import check_amount, check_text
from sclaws.design._price_file import read_words
from sclaws.design._saturation import Saturation
from sclaws.design._sections import Cells, Depth, FlowCell, Library, Other, Parameters, Training
from sclaws.errors import DesignError
from sclaws.protocols import Floats

__all__ = ["Cells", "Depth", "FlowCell", "Library", "Other", "Parameters", "Prices", "Saturation", "Training"]
PARTS = ("fixed", "cells", "libraries", "sequencing", "training")


@dataclass(frozen=True)
class Prices:
    """The prices of a study, in one ``currency``; sections that are ``None`` cost nothing.

    ``fixed``: money for an order of any size; ``source`` and ``date``: where and when prices were seen. Raises
    ``DesignError`` when numbers are negative or not numbers, when sections contradict each other, or nothing is priced.
    """

    currency: str
    fixed: float = 0.0
    cells: Cells | None = None
    depth: Depth | None = None
    parameters: Parameters | None = None
    training: Training | None = None
    other: tuple[Other, ...] = ()
    source: str = ""
    date: str = ""

    def __post_init__(self) -> None:
        check_text("currency", self.currency)
        check_amount("fixed", self.fixed)
        for name in ("source", "date"):
            if not isinstance(getattr(self, name), str):
                raise DesignError(f"{name} = {getattr(self, name)!r} must be text")
        if not self._sections:
            raise DesignError("nothing is priced; add [cells], [depth], [parameters] or [[other]]")
        if self.parameters is not None and self.training is not None:
            raise DesignError("[parameters] and [training] both price training; give one of them")
        if self.cells is None and (self.depth or self.parameters or self.training):
            raise DesignError("[depth] and training are paid for every cell, so [cells] is needed; price = 0 if free")
        for column in self.columns:
            if self.columns.count(column) > 1:
                raise DesignError(f"column {column!r} is priced twice; give each column one section")

    @classmethod
    def read(cls, path: Path | str) -> Prices:
        """Return the prices in a TOML file (docs/prices.md); raises ``DesignError`` with file, field and remedy."""
        path = Path(path)
        words = read_words(path)
        try:
            return cls(**words)
        except DesignError as error:
            raise DesignError(f"{path}: {error}") from error

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the table that have a price."""
        return tuple(section.column for section in self._sections)

    def lacks(self, columns: Iterable[str]) -> list[str]:
        """Return those of the columns, in their order, that no price mentions."""
        return [column for column in columns if column not in self.columns]

    def cost(self, levels: Mapping[str, Floats]) -> NDArray[np.float64]:
        """Return the money that levels cost: column -> levels, arrays that broadcast; infinite where impossible.

        A priced column that is not among the levels is taken at what its section says under ``held``. Other columns
        cost nothing (:meth:`lacks`). Raises ``DesignError`` for a level below 0, or for one that is not given.
        """
        return np.asarray(np.sum([*self.parts(levels).values()], axis=0), dtype=np.float64)

    def parts(self, levels: Mapping[str, Floats]) -> dict[str, NDArray[np.float64]]:
        """Return :meth:`cost` by what is paid for; the parts sum to it.

        "fixed", "cells", "libraries", "sequencing" and "training" are always there; "other: COLUMN" for each other.
        """
        size = np.broadcast_shapes(*(np.shape(level) for level in levels.values()))
        asked = {section.column: _asked(section, levels) for section in self._sections}
        beyond = {section.column: _beyond(section, asked[section.column]) for section in self._sections}
        had = {column: np.where(np.isfinite(level), level, 0.0) for column, level in asked.items()}
        found: dict[str, Floats] = dict.fromkeys(PARTS, np.zeros(()))
        found["fixed"] = np.asarray(self.fixed, dtype=np.float64)
        if self.cells is not None:
            cells = had[self.cells.column]
            found["cells"] = self.cells.each(cells) + beyond[self.cells.column]
            found["libraries"] = self.cells.libraries(cells)
            found |= self._per_cell(cells, had, beyond)
        for each in self.other:
            found[f"other: {each.column}"] = had[each.column] * each.price + beyond[each.column]
        return {name: np.array(np.broadcast_to(money, size), dtype=float) for name, money in found.items()}

    def _per_cell(self, cells: Floats, had: Mapping[str, Floats], beyond: Mapping[str, Floats]) -> dict[str, Floats]:
        found: dict[str, Floats] = {}
        if self.depth is not None and self.cells is not None:
            column = self.depth.column
            found["sequencing"] = self.depth.money(self.cells.sequenced(cells), had[column]) + beyond[column]
        if self.parameters is not None:
            column = self.parameters.column
            found["training"] = self.parameters.money(cells, had[column]) + beyond[column]
        elif self.training is not None:
            found["training"] = self.training.money(cells)
        return found

    @property
    def assumed(self) -> list[str]:
        """Sentences on what these prices take for granted and nobody measured, for the printed plan."""
        return [*self._origin(), *self._of_cells(), *self._of_depth(), *self._of_training(), *self._held()]

    def _origin(self) -> list[str]:
        if not self.source:
            return ["The prices name no source; put your own quotes in."]
        return [f"Prices as of {self.date or 'an unknown date'}: {self.source.strip().rstrip('.')}."]

    def _of_cells(self) -> list[str]:
        if self.cells is None:
            return []
        if self.cells.recovered == self.cells.kept == 1:
            return ["Every cell that is paid for counts: none is lost, set aside or fails quality control."]
        return [
            f"Of loaded cells {100 * self.cells.recovered:.3g} % are sequenced, and {100 * self.cells.kept:.3g} % of "
            "these count: as the price file says."
        ]

    def _of_depth(self) -> list[str]:
        if self.depth is None:
            return []
        if self.depth.saturation is None:
            return ["Every further UMI costs the same: without saturation, deep sequencing looks cheaper than it is."]
        told = self.depth.saturation.told
        return [told, "A cell's molecules are equally likely to be read; if they are not, depth is dearer than this."]

    def _of_training(self) -> list[str]:
        if self.parameters is not None:
            each = self.parameters
            return [
                "A model is trained once, with 6 FLOP a parameter and token, "
                f"{each.tokens_per_cell:,.6g} tokens a cell, {each.epochs:g} epochs "
                f"and {each.flop_per_second:.3g} FLOP a second."
            ]
        if self.training is not None:
            return [
                f"A model is trained once, with {self.training.flop_per_cell:.3g} FLOP a cell at any depth and "
                f"{self.training.flop_per_second:.3g} FLOP a second."
            ]
        return []

    def _held(self) -> list[str]:
        held = [f"{each.column} at {each.held:,.6g}" for each in self._sections if each.held is not None]
        return [f"Where a law does not vary them, these are held: {', '.join(held)}."] if held else []

    @property
    def _sections(self) -> tuple[Cells | Depth | Parameters | Other, ...]:
        sections = (self.cells, self.depth, self.parameters, *self.other)
        return tuple(section for section in sections if section is not None)


def _asked(section: Cells | Depth | Parameters | Other, levels: Mapping[str, Floats]) -> NDArray[np.float64]:
    """Return the levels of a section's column, or the one that it is held at."""
    level = levels.get(section.column, section.held)  # type: ignore[arg-type]
    if level is None:
        raise DesignError(
            f"{section.column} has a price and no level; give its level, or write held = ... in its section of prices"
        )
    found = np.asarray(level, dtype=np.float64)
    if np.any(found < 0):
        raise DesignError(f"{section.column} = {np.nanmin(found):g} is below 0; give levels of 0 or more")
    return found


def _beyond(section: Cells | Depth | Parameters | Other, level: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return infinity where a level is above the largest that can be had, or is no number; 0 elsewhere."""
    return np.where((level <= section.most) & np.isfinite(level), 0.0, np.inf)
