"""Fewer training cells: the first n in a hashed order, so that the first 1,000 are among the first 10,000."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from sclaws.errors import DataError
from sclaws.hashing import ranked
from sclaws.protocols import Recipe, View


@dataclass(frozen=True)
class First:
    """Keep the ``n`` cells that come first in the order of a hash of (seed, cell id)."""

    n: int
    seed: int

    def __call__(self, view: View) -> View:
        """Return the view of those cells."""
        return view.take(ranked(view.cell_ids, self.seed)[: self.n])


@dataclass(frozen=True)
class NCells:
    """Number of training cells, chosen uniformly. Replicates choose anew; levels within a replicate are nested."""

    version: ClassVar[int] = 1
    on: ClassVar[Literal["rows", "values", "features"]] = "rows"
    whole: ClassVar[bool] = True

    def prepare(self, train: View, level: float, *, seed: int) -> Recipe:
        """Return the recipe for ``level`` cells."""
        if not 2 <= level <= train.n_obs:
            raise DataError(
                f"n_cells = {level:g} is not between 2 and the {train.n_obs:,} training cells that the split leaves; "
                f'lower the level or write "all"'
            )
        return First(round(level), seed)

    def measure(self, view: View) -> dict[str, float]:
        """Return ``n_cells``."""
        return {"n_cells": float(view.n_obs)}
