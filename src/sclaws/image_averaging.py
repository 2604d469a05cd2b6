"""Fewer details in an image: its pixels averaged over larger squares, at the size that it has."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sclaws.errors import DataError
from sclaws.pixels import Grid
from sclaws.protocols import Block, Ids

_AT_ONCE = 64  # images in float64


@dataclass(frozen=True, eq=False)
class Averaged:
    """Leave ``side`` pixels along the shorter side of the images, whose features are ``feature_ids`` (p,) on ``grid``.

    An image of h x w becomes one of a x b by averaging over area (a : b as h : w, rounded), and is brought back to
    h x w by letting every pixel show the average of what it lies on. Its mean is kept.
    """

    side: int
    grid: Grid
    feature_ids: Ids

    def apply(self, block: Block) -> NDArray[np.float32]:
        """Return the (n, p) values of the coarser images; raise ``DataError`` where some of the pixels are missing."""
        if not np.array_equal(block.feature_ids, self.feature_ids):
            raise DataError(
                f"resolution: an image is averaged over all of its {len(self.feature_ids):,} pixels, and "
                f"{len(block.feature_ids):,} were chosen; lower the resolution before choosing pixels"
            )
        down, across = (there_and_back(n, self._left(n)) for n in (self.grid.height, self.grid.width))
        out = np.empty(block.values.shape, dtype=np.float32)
        for start in range(0, len(out), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            images = self.grid.images(block.values[some]).astype(np.float64)
            # a product for each image and channel: the same to the last digit, whatever is read at once
            coarse = down @ np.ascontiguousarray(np.moveaxis(images, -1, 1)) @ across
            out[some] = self.grid.values(np.moveaxis(coarse, 1, -1))
        return out

    def _left(self, pixels: int) -> int:
        return max(round(self.side * pixels / self.grid.side), 1)


def area_weights(pixels: int, left: int) -> NDArray[np.float64]:
    """Return (left, pixels) shares of each of ``pixels`` in the averages over ``left`` equal stretches; rows sum to 1.

    ``left`` need not divide ``pixels``: one that lies on a border goes to both sides by its parts. With more stretches
    than pixels each shows the pixel under it.
    """
    borders = np.arange(left + 1) * (pixels / left)
    starts, ends = borders[:-1, None], borders[1:, None]
    places = np.arange(pixels)
    overlap = np.clip(np.minimum(ends, places + 1) - np.maximum(starts, places), 0, None)
    return np.asarray(overlap / overlap.sum(axis=1, keepdims=True))


def there_and_back(pixels: int, left: int) -> NDArray[np.float64]:
    """Return (pixels, pixels) weights: averages over ``left`` stretches, and what every pixel shows of them.

    Symmetric, and rows and columns sum to 1.
    """
    return area_weights(left, pixels) @ area_weights(pixels, left)
