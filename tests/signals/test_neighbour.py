"""Neighbours: those that brute force finds, inside blocks, without bias; the bits of a field that is known exactly."""

import math

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import cdist

from sclaws.datasets.h5ad import H5ad
from sclaws.errors import DataError
from sclaws.scores.gaussian import Gaussian
from sclaws.signals.neighbour import Neighbour
from sclaws.split import Split, refuse_cut_groups
from sclaws.view import View


def tissue(places, block):
    obs = pd.DataFrame({"block": np.asarray(block).astype(str)}, index=[f"c{i}" for i in range(len(places))])
    return anndata.AnnData(np.ones((len(places), 1), np.float32), obs=obs, obsm={"spatial": places})


def scattered(n=600, dim=2, seed=0):
    places = np.random.default_rng(seed).uniform(0, 2, (n, dim))
    return tissue(places, places[:, 0].astype(int) + 2 * places[:, 1].astype(int))


def lattice(side=12):
    """A square lattice in four blocks: every cell has several neighbours at the same distance."""
    places = np.stack(np.meshgrid(np.arange(2 * side), np.arange(2 * side)), -1).reshape(-1, 2).astype(float)
    return tissue(places, places[:, 0] // side + 2 * (places[:, 1] // side))


def partners(signal, adata, rows=None, seed=0):
    """Return (n,) the neighbour of each cell by position in the data, -1 for none."""
    rows = np.arange(adata.n_obs) if rows is None else rows
    made = signal.pairs(View.of(adata).take(rows), rows[:, None].astype(float), seed=seed)
    out = np.full(adata.n_obs, -1)
    out[made.x[:, 0].astype(int)] = made.y[:, 0].astype(int)
    return made, out


def within_blocks(adata):
    """Return (n, n) distances by brute force; infinite to itself and into other blocks."""
    far = cdist(adata.obsm["spatial"], adata.obsm["spatial"])
    block = adata.obs["block"].to_numpy()
    far[block[:, None] != block[None, :]] = np.inf
    np.fill_diagonal(far, np.inf)
    return far


@pytest.mark.parametrize("dim", [2, 3])
def test_the_nearest_is_that_of_brute_force(dim):
    adata = scattered(dim=dim)
    np.testing.assert_array_equal(partners(Neighbour(k=1), adata)[1], within_blocks(adata).argmin(axis=1))


@pytest.mark.parametrize("adata", [scattered(), lattice()], ids=["scattered", "lattice"])
@pytest.mark.parametrize("k", [1, 4, 5])
def test_a_neighbour_is_never_beyond_the_kth_nor_in_another_block(adata, k):
    far = within_blocks(adata)
    _, found = partners(Neighbour(k=k), adata)
    assert (far[np.arange(adata.n_obs), found] <= np.sort(far, axis=1)[:, k - 1]).all()


def test_each_of_the_k_is_as_likely():
    adata = scattered(1000)
    far = within_blocks(adata)
    counts = np.zeros(4)
    for seed in range(5):
        found = partners(Neighbour(k=4), adata, seed=seed)[1]
        rank = (far < far[np.arange(1000), found][:, None]).sum(axis=1)
        counts += np.bincount(rank, minlength=4)
    assert counts.sum() == 5000
    assert np.abs(counts - 1250).max() < 4 * math.sqrt(5000 * 0.25 * 0.75)


def test_on_a_lattice_all_that_are_as_near_are_as_likely():
    adata = lattice(20)
    found = partners(Neighbour(k=1), adata)[1]
    step = adata.obsm["spatial"][found] - adata.obsm["spatial"]
    inside = ((adata.obsm["spatial"] % 20 > 0) & (adata.obsm["spatial"] % 20 < 19)).all(axis=1)
    _, counts = np.unique(step[inside], axis=0, return_counts=True)
    n = inside.sum()
    assert len(counts) == 4
    assert np.abs(counts - n / 4).max() < 4 * math.sqrt(n * 0.25 * 0.75)


@pytest.mark.parametrize("adata", [scattered(), lattice()], ids=["scattered", "lattice"])
def test_neighbours_depend_on_the_seed_and_not_on_the_order_or_company_of_cells(adata):
    _, found = partners(Neighbour(), adata)
    _, moved = partners(Neighbour(), adata, np.random.default_rng(1).permutation(adata.n_obs))
    np.testing.assert_array_equal(moved, found)
    two = np.flatnonzero(adata.obs["block"].isin(adata.obs["block"].unique()[:2]))
    np.testing.assert_array_equal(partners(Neighbour(), adata, two)[1][two], found[two])
    assert (partners(Neighbour(), adata, seed=1)[1] != found).mean() > 0.5


def test_cells_in_one_place_are_neighbours_of_each_other_and_not_of_themselves():
    places = np.repeat(np.random.default_rng(0).uniform(0, 1, (40, 2)), 10, axis=0)  # ten cells a place
    _, found = partners(Neighbour(k=4), tissue(places, np.arange(400) // 200))
    assert (found != np.arange(400)).all()
    np.testing.assert_array_equal(found // 10, np.arange(400) // 10)


def test_cells_without_a_place_or_block_are_left_out():
    adata = scattered()
    adata.obsm["spatial"][7, 1] = np.nan
    adata.obs.loc["c9", "block"] = None
    made, found = partners(Neighbour(), adata)
    assert sorted(set(range(600)) - set(made.rows)) == [7, 9]
    assert not np.isin([7, 9], found).any()
    np.testing.assert_array_equal(
        adata.obs["block"].to_numpy()[made.rows], adata.obs["block"].to_numpy()[found[made.rows]]
    )


def field(blocks, reach, noise, seed):
    """Return lattices of 8 x 8 cells, a block each, and a Gaussian field of correlation exp(-r²/2·reach²) plus noise.

    Blocks are independent draws.
    """
    rng = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(np.arange(8.0), np.arange(8.0)), -1).reshape(-1, 2)
    root = np.linalg.cholesky(np.exp(-(cdist(places, places) ** 2) / (2 * reach**2)) + 1e-9 * np.eye(64))
    values = (rng.normal(size=(blocks, 64)) @ root.T).ravel() + rng.normal(0, noise, blocks * 64)
    adata = tissue(np.tile(places, (blocks, 1)), np.repeat(np.arange(blocks), 64))
    adata.obs_names = [f"s{seed}-{name}" for name in adata.obs_names]
    return adata, values[:, None]


def estimate(pairs, groups):
    return Gaussian().estimate(pairs.x, pairs.y, groups=groups, ids=pairs.ids, seed=0)


@pytest.mark.parametrize(("reach", "noise"), [(1.0, 0.3), (2.0, 1.0)])
def test_the_bits_are_those_of_the_field_one_step_away(reach, noise):
    """Nearest neighbours are one step away and correlate by r = exp(-1/2·reach²)/(1 + noise²): -½·log2(1 - r²) bits."""
    adata, values = field(100, reach, noise, seed=0)
    made = Neighbour(k=1).pairs(View.of(adata), values, seed=0)
    found = estimate(made, made.groups)
    truth = -0.5 * math.log2(1 - (math.exp(-1 / (2 * reach**2)) / (1 + noise**2)) ** 2)
    assert abs(found.value - truth) < 3 * found.stderr
    assert found.stderr < 0.15 * truth


def test_blocks_are_the_honest_unit_and_cells_are_not():
    """Over fields, the scatter of the score is its standard error over blocks, and well above that over cells."""
    values, blocks, cells = [], [], []
    for seed in range(40):
        adata, field_of = field(25, 3.0, 0.3, seed)
        made = Neighbour().pairs(View.of(adata), field_of, seed=0)
        found = estimate(made, made.groups)
        values.append(found.value)
        blocks.append(found.stderr)
        cells.append(estimate(made, None).stderr)
    scatter = np.std(values, ddof=1)
    assert 0.7 < np.mean(blocks) / scatter < 1.4
    assert np.mean(cells) < 0.5 * scatter


def spoilt(**changes):
    adata = scattered()
    for key, value in changes.items():
        adata.obsm[key] = value
    return adata


@pytest.mark.parametrize(
    ("adata", "signal", "says"),
    [
        (scattered(), Neighbour("spatail"), r"no obsm\['spatail'\]; did you mean 'spatial'"),
        (scattered(), Neighbour(by="blok"), "no column 'blok' of blocks; did you mean 'block'.*`blocks = 8`"),
        (spoilt(spatial=np.ones((600, 2))), Neighbour(), "has .* cells with a place, all at the same one"),
        (spoilt(spatial=np.ones((600, 5))), Neighbour(), r"shape \(600, 5\); places have two or three columns"),
        (spoilt(spatial=np.full((600, 2), np.nan)), Neighbour(), "none of 600 cells has both a place .* and a block"),
        (spoilt(spatial=np.full((600, 2), np.inf)), Neighbour(), "infinite for 600 cells"),
        (spoilt(spatial=np.full((600, 2), "a")), Neighbour(), "cannot be read as numbers"),
        (tissue(np.eye(2)[np.arange(12) % 2], np.arange(12) // 3), Neighbour(), "has 3 cells with a place, and k = 4"),
        (tissue(np.random.default_rng(0).random((9, 2)), np.zeros(9)), Neighbour(), "has 1 groups; at least 2"),
    ],
)
def test_what_has_no_neighbours_is_said_before_any_work(adata, signal, says):
    with pytest.raises(DataError, match=says):
        signal.check(adata)


def test_no_neighbours_at_all_are_refused():
    with pytest.raises(DataError, match="k = 0 must be 1 or more"):
        Neighbour(k=0)


def test_a_split_by_block_keeps_neighbours_on_one_side_in_real_tissue(shared):
    adata = H5ad(str(shared / "data" / "xenium_breast.h5ad"), blocks=8).load()
    assert Neighbour().check(adata) == "34,451 cells with a place in 64 blocks of obs['block']"
    parts = Split(test=0.25, by="block").parts(View.of(adata), seed=0)
    refuse_cut_groups(parts, Neighbour().by, "signal neighbour")
    assert parts.test.obs["block"].nunique() == 16
    made = Neighbour().pairs(parts.test, parts.test.rows[:, None].astype(float), seed=0)
    assert len(made.rows) == parts.test.n_obs
    assert set(made.y[:, 0]) <= set(parts.test.rows)
    with pytest.raises(DataError, match=r"64 groups of obs\['block'\].*in training and in test"):
        refuse_cut_groups(Split(test=0.25).parts(View.of(adata), seed=0), "block", "signal neighbour")


def test_fewer_cells_may_be_asked_of_the_same_neighbours():
    adata = scattered()
    every, few = partners(Neighbour(), adata)[1], partners(Neighbour(n=100), adata)[1]
    asked = few >= 0
    assert asked.sum() == 100
    np.testing.assert_array_equal(few[asked], every[asked])
    with pytest.raises(DataError, match="signal neighbour: n = 0 must be 1 or more"):
        Neighbour(n=0)
