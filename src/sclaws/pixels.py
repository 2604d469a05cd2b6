"""Where the pixels of an image are among the features of a view, and images out of its values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from sclaws.errors import DataError
from sclaws.protocols import Ints

if TYPE_CHECKING:
    import pandas as pd

WHERE = ("y", "x", "channel")


@dataclass(frozen=True, eq=False)
class Grid:
    """Images of ``height`` x ``width`` pixels and ``channels``; ``order`` (p,) are the features' positions in it."""

    height: int
    width: int
    channels: int
    order: Ints

    @classmethod
    def of(cls, var: pd.DataFrame) -> Grid:
        """Return the grid of a view's ``var``; raise ``DataError`` unless y, x and channel give every pixel once."""
        if missing := [name for name in WHERE if name not in var]:
            raise DataError(
                f"these are no images: var has no {', '.join(missing)}; the data set images gives them, "
                "or add the columns y, x and channel (0, 1, 2, ...) to yours"
            )
        places = tuple(np.asarray(var[name], dtype=np.int64) for name in WHERE)
        sizes = [int(place.max(initial=-1)) + 1 for place in places]
        order = np.lexsort(places[::-1])
        inside = len(var) > 0 and min(int(place.min()) for place in places) >= 0
        if not inside or not np.array_equal(np.ravel_multi_index(places, sizes)[order], np.arange(len(var))):
            raise DataError(
                f"these are no whole images: {len(var)} features for {' x '.join(map(str, sizes))} places "
                "(y, x, channel); do not choose pixels"
            )
        return cls(sizes[0], sizes[1], sizes[2], order)

    @property
    def side(self) -> int:
        """Pixels along the shorter side."""
        return min(self.height, self.width)

    def images(self, values: Any) -> NDArray[Any]:
        """Return (n, height, width, channels) of (n, p) values."""
        return np.asarray(values)[:, self.order].reshape(-1, self.height, self.width, self.channels)

    def values(self, images: NDArray[Any]) -> NDArray[Any]:
        """Return (n, p) values of (n, height, width, channels), each where its feature is."""
        out = np.empty((len(images), len(self.order)), dtype=images.dtype)
        out[:, self.order] = images.reshape(len(images), -1)
        return out
