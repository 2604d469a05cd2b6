"""Averages over area, against a loop over finely cut pixels."""

import anndata
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sclaws.errors import DataError
from sclaws.image_averaging import Averaged, area_weights, there_and_back
from sclaws.pixels import Grid
from sclaws.view import View


def images(height=6, width=8, channels=3, n=5):
    y, x, channel = (place.ravel() for place in np.indices((height, width, channels)))
    values = np.random.default_rng(0).random((n, len(y)), dtype=np.float32)
    names = [f"y{j}x{i}c{c}" for j, i, c in zip(y, x, channel, strict=True)]
    return View.of(anndata.AnnData(values, var=pd.DataFrame({"y": y, "x": x, "channel": channel}, index=names)))


def coarse(view, side):
    return view.corrupt(Averaged(side, Grid.of(view.var), view.feature_ids))


def by_counting(row, left):
    """Cut each pixel into ``left`` parts: then as many parts as there are pixels make an average, exactly."""
    averages = np.repeat(row, left).reshape(left, len(row)).mean(axis=1)
    return averages, np.repeat(averages, len(row)).reshape(len(row), left).mean(axis=1)


@given(st.integers(1, 17), st.integers(1, 17))
def test_averages_are_those_of_a_count(pixels, left):
    row = np.random.default_rng(pixels).random(pixels)
    averages, shown = by_counting(row, left)
    np.testing.assert_allclose(area_weights(pixels, left) @ row, averages, atol=1e-12)
    np.testing.assert_allclose(there_and_back(pixels, left) @ row, shown, atol=1e-12)


@pytest.mark.parametrize("side", [1, 2, 4, 5])
def test_an_image_is_averaged_over_area_and_brought_back(side):
    view = images()
    before = Grid.of(view.var).images(view.to_adata().X)
    after = Grid.of(view.var).images(coarse(view, side).to_adata().X)
    across = round(side * 8 / 6)
    for image, found in zip(before, after, strict=True):
        for c in range(3):
            down = np.stack([by_counting(column, side)[1] for column in image[..., c].T]).T
            expected = np.stack([by_counting(line, across)[1] for line in down])
            np.testing.assert_allclose(found[..., c], expected, atol=1e-6)


@pytest.mark.parametrize("side", [1, 3, 4, 6])
def test_the_mean_is_kept_and_as_many_pixels_are_left(side):
    view = images(6, 6, 1)
    found = coarse(view, side).to_adata().X
    np.testing.assert_allclose(found.mean(axis=1), view.to_adata().X.mean(axis=1), rtol=1e-5)
    ranks = [np.linalg.matrix_rank(image.reshape(6, 6), tol=1e-5) for image in found]
    assert ranks == [side] * 5


def test_the_whole_side_changes_nothing():
    view = images()
    np.testing.assert_array_equal(coarse(view, 6).to_adata().X, view.to_adata().X)


def test_chosen_pixels_are_refused_and_pixels_chosen_afterwards_are_not():
    view = images()
    after = coarse(view, 2).materialise().choose([5, 3])
    np.testing.assert_array_equal(after.to_adata().X, coarse(view, 2).to_adata().X[:, [5, 3]])
    with pytest.raises(DataError, match="averaged over all of its 144 pixels, and 2 were chosen; lower the resolution"):
        coarse(view, 2).choose([5, 3]).to_adata()
