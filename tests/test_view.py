"""A view is a recipe: chosen rows and features, in order, whatever was done before."""

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sclaws.errors import DataError
from sclaws.hashing import name_ids
from sclaws.thinning import Thin
from sclaws.view import View


@pytest.fixture
def adata() -> anndata.AnnData:
    rng = np.random.default_rng(0)
    made = anndata.AnnData(sparse.csr_matrix(rng.poisson(2, (30, 12)).astype(np.float32)))
    made.obs_names, made.var_names = [f"c{i}" for i in range(30)], [f"g{i}" for i in range(12)]
    made.obs["donor"] = pd.Categorical(["a", "b", "c"] * 10)
    made.obsm["protein"] = rng.normal(size=(30, 3))
    return made


def test_rows_and_features_compose(adata: anndata.AnnData) -> None:
    view = View.of(adata).take([5, 3, 9, 1]).choose(np.arange(12) % 2 == 0).take([2, 0]).choose([1, 0])
    got = view.to_adata()
    assert list(got.obs_names) == ["c9", "c5"]
    assert list(got.var_names) == ["g2", "g0"]
    assert (got.X.toarray() == adata.X[[9, 5]][:, [2, 0]].toarray()).all()
    assert (view.obsm("protein") == adata.obsm["protein"][[9, 5]]).all()
    assert (view.cell_ids == name_ids(["c9", "c5"])).all()
    assert list(view.obs["donor"]) == ["a", "c"]
    assert (view.totals == got.X.sum(axis=1).A1).all()


def test_materialised_view_is_equal_and_remembers(adata: anndata.AnnData) -> None:
    view = View.of(adata).take(np.arange(29, -1, -1)).choose([4, 2, 8]).corrupt(Thin.keep(0.5, 0))
    done = view.materialise()
    assert (done.to_adata().X != view.to_adata().X).nnz == 0
    assert (done.cell_ids == view.cell_ids).all()
    assert (done.feature_ids == view.feature_ids).all()
    assert done.applied == view.applied
    assert not done.corruptions
    twice = Thin.keep(0.5, 1)  # a second corruption sees the first one's result
    assert (done.corrupt(twice).to_adata().X != view.corrupt(twice).to_adata().X).nnz == 0


def test_duplicate_names_are_refused(adata: anndata.AnnData) -> None:
    adata.var_names = ["same", "same", *adata.var_names[2:]]
    with pytest.raises(DataError, match="var_names: 'same' occurs more than once"):
        View.of(adata)


def test_library_counts_every_gene_whatever_was_chosen(adata: anndata.AnnData) -> None:
    whole = View.of(adata).take([7, 2, 2, 20])
    some = whole.choose([3, 1])
    expected = adata.X[[7, 2, 2, 20]].toarray().sum(axis=1)
    assert (some.library == expected).all() and (whole.library == expected).all()
    assert (some.totals < expected).all()
    thinned = some.corrupt(Thin.keep(0.5, 0))
    assert (thinned.library == whole.corrupt(Thin.keep(0.5, 0)).totals).all()
    assert thinned.library.sum() < expected.sum()


def test_library_survives_materialising_row_by_row(adata: anndata.AnnData) -> None:
    thin = Thin.keep(0.5, 0)
    expected = View.of(adata).take(np.arange(10, 30)).corrupt(thin).totals
    done = View.of(adata).take(np.arange(10, 30)).choose([3, 1]).corrupt(thin).materialise()
    assert (done.library == expected).all()
    assert (done.take([4, 0]).library == expected[[4, 0]]).all()
    again = done.choose([0]).take([5, 6]).materialise()
    assert (again.library == expected[[5, 6]]).all()


def test_library_that_is_lost_is_not_made_up(adata: anndata.AnnData) -> None:
    chosen = View.of(adata).choose([3, 1]).materialise()
    for late in (chosen.corrupt(Thin.keep(0.5, 0)), chosen.corrupt(Thin.keep(0.5, 0)).materialise()):
        assert late.totals.shape == (30,)
        with pytest.raises(DataError, match="lost: .*; thin before choosing genes"):
            _ = late.library


def test_feature_totals_are_sums_over_the_cells_of_the_view(adata: anndata.AnnData) -> None:
    view = View.of(adata).take([5, 3, 9]).choose([4, 0])
    assert (view.feature_totals == adata.X[[5, 3, 9]][:, [4, 0]].toarray().sum(axis=0)).all()


def test_annotations_of_features_follow_the_choice(adata: anndata.AnnData) -> None:
    adata.var["y"] = np.arange(12)
    assert list(View.of(adata).choose([4, 2]).var["y"]) == [4, 2]
    assert list(View.of(adata).var["y"]) == list(range(12))
