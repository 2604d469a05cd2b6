"""Blocks of tissue: of equal size, where the places are, and apart for each section."""

import anndata
import numpy as np
import pandas as pd
import pytest

from sclaws.datasets.h5ad import H5ad
from sclaws.errors import DataError

N = 800


@pytest.fixture
def adata():
    rng = np.random.default_rng(0)
    places = np.exp(rng.normal(size=(N, 2)))  # dense in one corner, sparse at the edges
    obs = pd.DataFrame({"slide": ["left", "right"] * (N // 2)}, index=[f"c{i}" for i in range(N)])
    return anndata.AnnData(np.ones((N, 2), np.float32), obs=obs, obsm={"spatial": places})


@pytest.fixture
def load(adata, tmp_path):
    def loaded(**fields):
        adata.write_h5ad(tmp_path / "tissue.h5ad")
        return H5ad(str(tmp_path / "tissue.h5ad"), **fields).load()

    return loaded


def test_blocks_are_rectangles_of_equal_numbers_of_cells(load, adata):
    block = load(blocks=5).obs["block"]
    assert list(block.value_counts()) == [N // 25] * 25
    places = pd.DataFrame(adata.obsm["spatial"], columns=["x", "y"], index=adata.obs_names)
    strip = block.astype(str).str.partition("-")
    across = places.groupby(strip[0])["x"].agg(["min", "max"])
    assert (across["max"].to_numpy()[:-1] < across["min"].to_numpy()[1:]).all()
    along = places.groupby([strip[0], strip[2]])["y"].agg(["min", "max"])
    for _, of in along.groupby(level=0):
        assert (of["max"].to_numpy()[:-1] < of["min"].to_numpy()[1:]).all()


def test_sections_are_cut_each_by_itself(load, adata):
    adata.obsm["spatial"][1::2] *= 1000  # coordinates of its own
    loaded = load(blocks=4, sections="slide")
    assert list(loaded.obs["block"].value_counts()) == [N // 32] * 32
    assert (loaded.obs["block"].astype(str).str.partition(":")[0] == loaded.obs["slide"]).all()


def test_cells_in_one_place_share_a_block(load, adata):
    adata.obsm["spatial"] = np.repeat(adata.obsm["spatial"][::10], 10, axis=0)
    block = load(blocks=3).obs["block"].to_numpy().reshape(-1, 10)
    assert (block == block[:, :1]).all()


def test_without_blocks_nothing_is_added(load):
    assert list(load().obs) == ["slide"]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"blocks": 1}, r"tissue\.h5ad: blocks = 1 cuts nothing"),
        ({"blocks": 4, "sections": "slid"}, "no column 'slid'; did you mean 'slide'"),
        ({"sections": "slide"}, "sections = 'slide' are cut into blocks; say how many by `blocks`"),
    ],
)
def test_fields_that_cannot_be(load, fields, says):
    with pytest.raises(DataError, match=says):
        load(**fields)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda a: a.obs.__setitem__("block", "x"), "has a column 'block' already"),
        (lambda a: a.obsm.__delitem__("spatial"), r"cut from obsm\['spatial'\]; valid: \(none\)"),
        (lambda a: a.obsm.__setitem__("spatial", np.ones((N, 1))), r"shape \(800, 1\); places have two or three"),
        (lambda a: a.obsm["spatial"].__setitem__((3, 1), np.nan), "missing or infinite for 1 cells.*drop them"),
        (lambda a: a.obs.loc.__setitem__(("c3", "slide"), None), r"obs\['slide'\] is missing for 1 cells"),
    ],
)
def test_tissue_that_cannot_be_cut(load, adata, spoil, says):
    spoil(adata)
    with pytest.raises(DataError, match=says):
        load(blocks=4, sections="slide")
