"""Images out of values, and back, whatever order the pixels are in."""

import numpy as np
import pandas as pd
import pytest

from sclaws.errors import DataError
from sclaws.pixels import Grid


def var(height, width, channels):
    y, x, channel = (place.ravel() for place in np.indices((height, width, channels)))
    return pd.DataFrame({"y": y, "x": x, "channel": channel})


def test_a_pixel_comes_to_its_place_from_any_order():
    places = var(3, 4, 2).sample(frac=1, random_state=0)
    grid = Grid.of(places)
    assert (grid.height, grid.width, grid.channels, grid.side) == (3, 4, 2, 3)
    values = 100 * places["y"] + 10 * places["x"] + places["channel"]
    (image,) = grid.images(np.asarray(values)[None])
    assert all(image[j, i, c] == 100 * j + 10 * i + c for j in range(3) for i in range(4) for c in range(2))
    np.testing.assert_array_equal(grid.values(image[None])[0], values)


@pytest.mark.parametrize(
    ("places", "says"),
    [
        (pd.DataFrame({"x": [0], "gene": [1]}), "these are no images: var has no y, channel; the data set images"),
        (var(3, 3, 1).drop(index=4), r"no whole images: 8 features for 3 x 3 x 1 places .* do not choose pixels"),
        (pd.concat([var(2, 2, 1).iloc[:3], var(2, 2, 1).iloc[2:3]]), "no whole images: 4 features for 2 x 2 x 1"),
        (var(2, 2, 1) - 1, "no whole images"),
        (var(2, 2, 1).iloc[:0], "no whole images: 0 features"),
    ],
)
def test_what_is_no_image_is_told(places, says):
    with pytest.raises(DataError, match=says):
        Grid.of(places)
