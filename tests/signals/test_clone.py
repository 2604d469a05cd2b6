"""Clones: one pair each, of two cells, whatever the order and company; the bits of a clone effect that is known."""

import math

import anndata
import numpy as np
import pandas as pd
import pytest

from sclaws.errors import DataError
from sclaws.scores.gaussian import Gaussian
from sclaws.signals.clone import Clone
from sclaws.split import Split, refuse_cut_groups
from sclaws.view import View

N = 400


@pytest.fixture
def adata():
    """Clones of one to four cells; some cells are of none. Days 2, 4 and 6 in turn."""
    rng = np.random.default_rng(0)
    clone = np.array([f"k{i}" for i in rng.integers(0, 160, N)], dtype=object)
    clone[::9] = None
    clone[4::90] = "nan"
    obs = pd.DataFrame(
        {"clone": clone, "day": np.arange(N) % 3 * 2 + 2, "stage": np.array(["2", "4", "6"])[np.arange(N) % 3]},
        index=[f"c{i}" for i in range(N)],
    )
    obs["alone"] = obs.index
    obs["few"] = [f"k{i // 10}" for i in range(N)]
    return anndata.AnnData(np.ones((N, 2), np.float32), obs=obs)


def partners(signal, adata, rows=None, seed=0):
    """Return {x cell: y cell} by position in the data, from an embedding that is this position."""
    rows = np.arange(N) if rows is None else rows
    made = signal.pairs(View.of(adata).take(rows), rows[:, None].astype(float), seed=seed)
    np.testing.assert_array_equal(made.x[:, 0], rows[made.rows])
    return made, dict(zip(made.x[:, 0].astype(int), made.y[:, 0].astype(int), strict=True))


def test_each_clone_of_two_cells_or_more_gives_one_pair_of_different_cells(adata):
    made, pairs = partners(Clone("clone"), adata)
    clone = adata.obs["clone"]
    assert all(one != other and clone.iloc[one] == clone.iloc[other] for one, other in pairs.items())
    sizes = clone[clone != "nan"].value_counts()
    assert sorted(clone.iloc[list(pairs)]) == sorted(sizes.index[sizes >= 2])
    assert len(set(made.ids)) == len(set(made.groups)) == len(pairs)


def test_partners_depend_on_the_seed_and_not_on_the_order_or_company_of_cells(adata):
    _, pairs = partners(Clone("clone"), adata)
    _, moved = partners(Clone("clone"), adata, np.random.default_rng(1).permutation(N))
    assert moved == pairs
    some = adata.obs["clone"].isin([f"k{i}" for i in range(0, 160, 3)]).to_numpy()
    _, fewer = partners(Clone("clone"), adata, np.flatnonzero(some))
    assert fewer == {one: other for one, other in pairs.items() if some[one]}
    assert partners(Clone("clone"), adata, seed=1)[1] != pairs


@pytest.mark.parametrize(("time", "early", "late"), [("day", (2, 4), (6,)), ("stage", ("2", "4"), ("6",))])
def test_early_and_late(adata, time, early, late):
    _, pairs = partners(Clone("clone", time, early, late), adata)
    day, clone = adata.obs["day"], adata.obs["clone"]
    assert all(day.iloc[one] < 6 and day.iloc[other] == 6 for one, other in pairs.items())
    days = adata.obs[clone.notna() & (clone != "nan")].groupby("clone")["day"].agg(set)
    assert sorted(clone.iloc[list(pairs)]) == sorted(c for c, found in days.items() if 6 in found and found & {2, 4})


def test_a_pair_never_straddles_training_and_test(adata):
    whole = adata[~adata.obs["clone"].isna()].copy()
    parts = Split(test=0.4, by="clone").parts(View.of(whole), seed=0)
    refuse_cut_groups(parts, Clone("clone").by, "signal clone")
    made = Clone("clone").pairs(parts.test, parts.test.rows[:, None].astype(float), seed=0)
    assert set(made.y[:, 0]) <= set(parts.test.rows)
    with pytest.raises(DataError, match="in training and in test"):
        refuse_cut_groups(Split(test=0.4).parts(View.of(whole), seed=0), Clone("clone").by, "signal clone")


def sisters(clones, dim, noise, seed):
    """Return data of clones of two to four cells, and embeddings that are a clone's effect plus noise."""
    rng = np.random.default_rng(seed)
    clone = np.repeat(np.arange(clones), rng.integers(2, 5, clones))
    obs = pd.DataFrame({"clone": clone.astype(str)}, index=[f"c{i}" for i in range(len(clone))])
    effect = rng.normal(size=(clones, dim))
    return anndata.AnnData(np.ones((len(clone), 1), np.float32), obs=obs), effect[clone] + rng.normal(
        0, noise, (len(clone), dim)
    )


@pytest.mark.parametrize(("dim", "noise"), [(1, 0.3), (1, 1.0), (3, 0.5)])
def test_the_bits_are_those_of_the_clones_effect(dim, noise):
    """Sisters correlate by 1/(1 + noise²) in each dimension: I = -(dim/2)·log2(1 - that²)."""
    adata, embedding = sisters(1500, dim, noise, seed=dim)
    found = estimate(Clone("clone").pairs(View.of(adata), embedding, seed=0))
    truth = -dim / 2 * math.log2(1 - 1 / (1 + noise**2) ** 2)
    assert abs(found.value - truth) < 3 * found.stderr
    assert found.stderr < 0.1 * truth + 0.03


def test_shuffled_clones_know_nothing():
    adata, embedding = sisters(1500, 2, 0.3, seed=4)
    adata.obs["clone"] = np.random.default_rng(5).permutation(adata.obs["clone"])
    found = estimate(Clone("clone").pairs(View.of(adata), embedding, seed=0))
    assert abs(found.value) < 3 * found.stderr < 0.05


def estimate(pairs):
    return Gaussian().estimate(pairs.x, pairs.y, groups=pairs.groups, ids=pairs.ids, seed=0)


@pytest.mark.parametrize(
    ("signal", "says"),
    [
        (Clone("clon"), "obs has no column 'clon'; did you mean 'clone'"),
        (Clone("alone"), r"0 of 400 clones in obs\['alone'\] have two cells, and a score asks for 50 pairs"),
        (Clone("few"), r"40 of 40 clones in obs\['few'\] have two cells.*bring more clones"),
        (Clone("few", "day", (2,), (6,)), "40 of 40 .* have an early and a late cell.*widen `early` and `late`"),
        (Clone("clone", "dya", (2,), (6,)), "obs has no column 'dya'; did you mean 'day'"),
        (Clone("clone", "stage", ("2",), ("66",)), r"obs\['stage'\] has no value '66'; did you mean '6'"),
    ],
)
def test_what_cannot_be_paired_is_said_before_any_work(adata, signal, says):
    with pytest.raises(DataError, match=says):
        signal.check(adata)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"early": (2,)}, "`early` and `late` are values of a column; name it by `time`"),
        ({"time": "day", "early": (2,)}, "time = 'day' needs `early` and `late`"),
        ({"time": "day", "early": (2, 4), "late": ("4", 6)}, "'4' is in `early` and in `late`"),
    ],
)
def test_half_a_time_is_refused(fields, says):
    with pytest.raises(DataError, match=says):
        Clone("clone", **fields)


def test_a_view_of_single_cells_is_an_error(adata):
    with pytest.raises(DataError, match=r"no clone of obs\['clone'\] has a pair among the 1 cells"):
        partners(Clone("clone"), adata, np.array([1]))


def test_real_clones(shared):
    larry = anndata.read_h5ad(shared / "data" / "larry_mini.h5ad")
    assert "185 of 339 clones" in Clone("clone").check(larry)  # data/README.md
    signal = Clone("clone", time="time_info", early=("2", "4"), late=("6",))
    assert "of 339 clones in obs['clone'] have an early and a late cell" in signal.check(larry)
    view = View.of(larry)
    made = signal.pairs(view, view.rows[:, None].astype(float), seed=0)
    time, clone = larry.obs["time_info"], larry.obs["clone"]
    late = made.y[:, 0].astype(int)
    assert set(time.iloc[made.rows]) == {"2", "4"}
    assert set(time.iloc[late]) == {"6"}
    assert (clone.to_numpy()[made.rows] == clone.to_numpy()[late]).all()
