"""A shallower measurement: fewer molecules (UMI) in every cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Literal

from sclaws import thinning
from sclaws.errors import DataError
from sclaws.protocols import Recipe, View

Mode = Literal["per-molecule", "global", "per-gene-floor"]


@dataclass(frozen=True)
class ThinTo:
    """Keep a fraction of the molecules of any view."""

    fraction: float
    seed: int
    mode: Mode

    def __call__(self, view: View) -> View:
        """Return the thinned view."""
        exact: dict[Mode, Callable[..., thinning.Thin]] = {
            "global": thinning.exact_total,
            "per-gene-floor": thinning.exact_per_gene,
        }
        if self.mode in exact:
            return view.corrupt(exact[self.mode](view, self.fraction, self.seed))
        return view.corrupt(thinning.Thin.keep(self.fraction, self.seed))


@dataclass(frozen=True)
class UmisPerCell:
    """Mean UMI per cell over all measured genes.

    A level is brought about by one kept fraction, level / (mean depth of the whole training part), which is then
    applied to training, validation and test cells alike: deep cells stay deeper than shallow ones, and the fraction
    does not depend on how many cells train. ``mode``: "per-molecule" (binomial, the default), or the procedures of
    paper B, "global" (v1: an exact share of all molecules) and "per-gene-floor" (v2: of each gene's, which erases rare
    genes); the latter two depend on the set of rows, and are there for comparison.
    """

    mode: Mode = "per-molecule"
    version: ClassVar[int] = 1
    on: ClassVar[Literal["rows", "values", "features"]] = "values"

    def prepare(self, train: View, level: float, *, seed: int) -> Recipe:
        """Return the recipe for a mean depth of ``level``. One walk over the training cells."""
        depth = self.measure(train)["umis_per_cell"]
        if not 0 < level <= depth:
            raise DataError(
                f"umis_per_cell = {level:g} is not above 0 and within the {depth:.5g} UMI per cell of the training "
                f'cells; lower the level or write "all"'
            )
        return ThinTo(level / depth, seed, self.mode)

    def measure(self, view: View) -> dict[str, float]:
        """Return ``umis_per_cell``, the mean over cells."""
        return {"umis_per_cell": float(view.totals.mean()) if view.n_obs else 0.0}
