"""Fewer training cells: the first n of an order, so that the first 1,000 are among the first 10,000.

What differs between ways to choose is the order alone: see docs/selection.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from sclaws import diversity
from sclaws.axes import _boxes, _strata
from sclaws.errors import DataError, PluginError
from sclaws.hashing import ranked
from sclaws.protocols import Ids, Ints, Recipe, View
from sclaws.sketching import in_rounds


@dataclass(frozen=True)
class First:
    """Keep the ``n`` cells that come first in the order of a hash of (seed, cell id)."""

    n: int
    seed: int

    def __call__(self, view: View) -> View:
        """Return the view of those cells."""
        return view.take(ranked(view.cell_ids, self.seed)[: self.n])


@dataclass(frozen=True, eq=False)
class Chosen:
    """Keep the cells with these ids, in the order of a hash of (seed, cell id): it tells nothing of their kinds."""

    cell_ids: Ids
    seed: int

    def __call__(self, view: View) -> View:
        """Return the view of those of its cells."""
        order = ranked(view.cell_ids, self.seed)
        return view.take(order[np.isin(view.cell_ids[order], self.cell_ids)])


@dataclass(frozen=True)
class NCells:
    """Number of training cells. Replicates choose anew; levels within a replicate are nested.

    ``choose``: "uniform"; "reweighted", equal numbers of every label of the ``obs`` column ``by``, what rare ones
    lack shared among the others (water-filling); "sketched" (geometric sketching, Hie et al. 2019), equal numbers from
    boxes of a grid on ``dims`` principal components of the training part, ``boxes`` times as many as its cells;
    "spiked", a ``share`` of cells whose ``by`` is ``spike`` (another data set), and the rest of others. The second and
    third are the schemes of DenAdel et al. 2024, and the fourth theirs with a share of none to all.

    ``types`` names a column of ``obs`` whose diversity is measured on the cells that were chosen, in any way;
    ``vendi`` measures theirs without labels, in a few seconds.
    """

    choose: Literal["uniform", "reweighted", "sketched", "spiked"] = "uniform"
    by: str | None = None
    spike: str | None = None
    share: float = 0.1
    dims: int = 50
    boxes: float = 0.01
    types: str | None = None
    vendi: bool = False
    version: ClassVar[int] = 1
    on: ClassVar[Literal["rows", "values", "features"]] = "rows"
    whole: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, value, users in (("by", self.by, ("reweighted", "spiked")), ("spike", self.spike, ("spiked",))):
            if (value is None) == (self.choose in users):
                verb = "needs" if value is None else "does not use"
                raise PluginError(f"n_cells: choose = {self.choose!r} {verb} the field {name!r}")
        if not (0 <= self.share <= 1 and 0 < self.boxes <= 1 and self.dims >= 1):
            raise PluginError(
                f"n_cells: share = {self.share:g} must lie in [0, 1], boxes = {self.boxes:g} above 0 and up to 1, "
                f"dims = {self.dims} from 1 up"
            )

    @property
    def scheme(self) -> str:
        """How the cells are chosen, in words for tables."""
        if self.choose == "spiked":
            return f"{100 * self.share:g}% spiked with {self.spike}"
        return f"reweighted by {self.by}" if self.choose == "reweighted" else self.choose

    def prepare(self, train: View, level: float, *, seed: int) -> Recipe:
        """Return the recipe for ``level`` cells. "sketched" walks over the training part, once for all levels."""
        if not 2 <= level <= train.n_obs:
            raise DataError(
                f"n_cells = {level:g} is not between 2 and the {train.n_obs:,} training cells that the split leaves; "
                f'lower the level or write "all"'
            )
        if self.types is not None:
            _strata.column(train, self.types, "types")
        if self.choose == "uniform":
            return First(round(level), seed)
        return Chosen(train.cell_ids[self._first(train, round(level), seed)], seed)

    def _first(self, train: View, n: int, seed: int) -> Ints:
        """Return the positions of the first ``n`` cells of the order."""
        if self.choose == "sketched":
            return in_rounds(_boxes.codes(train, self.dims, self.boxes), train.cell_ids, seed)[:n]
        if self.choose == "spiked":
            return _strata.spiked(train, str(self.by), str(self.spike), self.share, n, seed)
        return _strata.reweighted(train, str(self.by), seed)[:n]

    def measure(self, view: View) -> dict[str, float]:
        """Return ``n_cells``, and what of their diversity was asked for and these cells allow.

        ``shannon`` (bits), ``gini_simpson``, ``inverse_simpson`` of the labels in ``types``; ``vendi`` of counts.
        """
        found = {"n_cells": float(view.n_obs)}
        if self.types is not None and self.types in view.obs and (labels := view.obs[self.types].dropna()).size:
            for measure in (diversity.shannon, diversity.gini_simpson, diversity.inverse_simpson):
                found[measure.__name__] = measure(labels)
        if self.vendi and view.counts and not math.isnan(score := diversity.vendi_of_counts(view)):
            found["vendi"] = score
        return found
