"""A coarser measurement of images: fewer pixels along a side, at the size that they have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from sclaws.errors import DataError
from sclaws.image_averaging import Averaged
from sclaws.pixels import Grid
from sclaws.protocols import Ids, Recipe, View


@dataclass(frozen=True, eq=False)
class Coarser:
    """Average the images of any view that has the same pixels."""

    side: int
    grid: Grid
    feature_ids: Ids

    def __call__(self, view: View) -> View:
        """Return the view of the coarser images."""
        return view.corrupt(Averaged(self.side, self.grid, self.feature_ids))


@dataclass(frozen=True)
class Resolution:
    """Pixels along the shorter side of an image that are left; whole numbers.

    Paper B averages squares of f pixels and plots over u = 1 / f. Here f = side / level, so the level is proportional
    to the published u: a ū found in pixels, divided by the side of the whole image, is in published units. (The number
    of pixels goes with the square of the level.) Images keep their size, so that a model made for it stays the same.
    """

    version: ClassVar[int] = 1
    on: ClassVar[Literal["rows", "values", "features"]] = "values"
    whole: ClassVar[bool] = True

    def prepare(self, train: View, level: float, *, seed: int) -> Recipe:  # noqa: ARG002
        """Return the recipe for ``level`` pixels a side; nothing is random in it."""
        if train.counts:
            raise DataError("resolution averages pixels, and these values are counts; use the axis umis_per_cell")
        grid = Grid.of(train.var)
        if not 1 <= level <= grid.side:
            raise DataError(
                f"resolution = {level:g} is not between 1 and the {grid.side} pixels along the shorter side of these "
                f'images; lower the level, or write "all" for the images as they are'
            )
        return Coarser(round(level), grid, train.feature_ids)

    def measure(self, view: View) -> dict[str, float]:
        """Return ``resolution``: the pixels a side that were left, or all that there are."""
        left = [corruption.side for corruption in view.applied if isinstance(corruption, Averaged)]
        return {"resolution": float(min(left) if left else Grid.of(view.var).side)}
