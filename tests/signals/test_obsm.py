import anndata
import numpy as np
import pandas as pd
import pytest

from sclaws.errors import DataError
from sclaws.signals.obsm import Obsm
from sclaws.view import View


@pytest.fixture
def adata():
    rng = np.random.default_rng(0)
    protein = rng.poisson(20, size=(30, 3)).astype(float)
    gaps = protein.copy()
    gaps[4, 1] = np.nan
    obs = pd.DataFrame({"donor": ["a", "b"] * 15}, index=[f"c{i}" for i in range(30)])
    obsm = {
        "protein": pd.DataFrame(protein, index=obs.index, columns=["CD3", "CD4", "CD8"]),
        "gaps": gaps,
        "signed": rng.standard_normal((30, 2)),
        "flat": np.ones((30, 2)),
        "empty": np.full((30, 1), np.nan),
        "infinite": np.full((30, 1), np.inf),
        "words": np.array([["a"]] * 30),
    }
    return anndata.AnnData(np.ones((30, 2), np.float32), obs=obs, obsm=obsm)


def pairs(signal, adata):
    view = View.of(adata).take(np.arange(29, -1, -1))
    return signal.pairs(view, np.arange(30.0)[:, None], seed=0)


def test_values_are_those_of_the_views_cells_untouched(adata):
    made = pairs(Obsm("protein"), adata)
    np.testing.assert_array_equal(made.y, adata.obsm["protein"].to_numpy()[::-1])
    np.testing.assert_array_equal(made.rows, np.arange(30))


def test_log1p_and_columns(adata):
    made = pairs(Obsm("protein", columns=(2, 0), transform="log1p", group="donor"), adata)
    np.testing.assert_allclose(made.y, np.log1p(adata.obsm["protein"].to_numpy()[::-1][:, [2, 0]]))
    np.testing.assert_array_equal(made.groups, [1, 0] * 15)


def test_cells_with_a_gap_are_left_out(adata):
    made = pairs(Obsm("gaps"), adata)
    assert 29 - 4 not in made.rows
    assert made.y.shape == (29, 3)
    assert len(pairs(Obsm("gaps", columns=(0,)), adata).rows) == 30


@pytest.mark.parametrize(
    ("signal", "says"),
    [
        (Obsm("protien"), r"no obsm\['protien'\]; did you mean 'protein'"),
        (Obsm("signed", transform="log1p"), "negative values, so log1p is not for it"),
        (Obsm("flat"), "the same for every cell"),
        (Obsm("empty"), "a missing value for every cell"),
        (Obsm("infinite"), "infinite values"),
        (Obsm("words"), "cannot be read as numbers"),
        (Obsm("protein", columns=(3,)), r"has columns 0 to 2, `columns` = \[3\]"),
        (Obsm("protein", group="donors"), "no column 'donors'; did you mean 'donor'"),
    ],
)
def test_what_cannot_be_a_signal_is_said_before_any_work(adata, signal, says):
    with pytest.raises(DataError, match=says):
        signal.check(adata)


def test_good_ones_pass(adata):
    for signal in (Obsm("protein"), Obsm("gaps", transform="log1p"), Obsm("signed", group="donor")):
        signal.check(adata)
