"""Resolution and noise of images: levels, units, and what is refused."""

import numpy as np
import pytest

from sclaws.axes.resolution import Resolution
from sclaws.axes.snr import Snr
from sclaws.errors import DataError
from sclaws.testing import cells


def test_blocks_of_four_pixels_become_their_average():
    view = cells.images(6, side=8)
    coarse = Resolution().prepare(view, 4, seed=0)(view)
    blocks = view.to_adata().X.reshape(6, 4, 2, 4, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(coarse.to_adata().X.reshape(6, 8, 8), np.kron(blocks, np.ones((2, 2))), atol=1e-6)


def test_the_recipe_of_training_images_serves_other_images_and_is_measured():
    view = cells.images(20, side=12)
    train, test = view.take(np.arange(10)), view.take(np.arange(10, 20))
    recipe = Resolution().prepare(train, 5, seed=0)
    np.testing.assert_array_equal(recipe(view).to_adata().X[10:], recipe(test).to_adata().X)
    for seen in (recipe(test), recipe(test).materialise(), recipe(test).materialise().choose([0, 3])):
        assert Resolution().measure(seen) == {"resolution": 5.0}
    assert Resolution().measure(test) == {"resolution": 12.0}


@pytest.mark.parametrize("level", [0, -3, 13, float("nan")])
def test_impossible_levels_are_told(level):
    with pytest.raises(DataError, match="resolution = .* is not between 1 and the 12 pixels along the shorter side"):
        Resolution().prepare(cells.images(4, side=12), level, seed=0)


def test_what_has_no_pixels_is_told_what_to_use():
    with pytest.raises(DataError, match="these values are counts; use the axis umis_per_cell"):
        Resolution().prepare(cells.counts(), 4, seed=0)
    with pytest.raises(DataError, match="these are no images: var has no y, x, channel; the data set images"):
        Resolution().prepare(cells.measured(), 4, seed=0)
    chosen = cells.images(4, side=12).choose([3, 20, 90, 4, 77, 131, 40])
    with pytest.raises(DataError, match="no whole images: 7 features .* do not choose pixels"):
        Resolution().prepare(chosen, 4, seed=0)


def test_noise_of_images_is_in_units_of_pixel_values():
    view = cells.images(50, side=20)
    noisy = Snr().prepare(view, 25.0, seed=0)(view)
    added = noisy.to_adata().X - view.to_adata().X
    assert abs(added.mean()) < 4 * 0.2 / np.sqrt(added.size)
    assert added.var() == pytest.approx(0.04, rel=4 * np.sqrt(2 / added.size))
    assert noisy.to_adata().X.min() < 0  # nothing is cut off at black
    assert Snr().measure(noisy) == {"snr": pytest.approx(25.0)}
