"""Splits: disjoint, complete, of the right size, blind to order, and whole groups where asked."""

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sclaws.errors import DataError
from sclaws.split import Split, refuse_cut_groups
from sclaws.view import View


def cells(n: int = 500, groups: int = 10) -> View:
    adata = anndata.AnnData(sparse.csr_matrix(np.ones((n, 3), dtype=np.float32)))
    adata.obs_names = [f"c{i}" for i in range(n)]
    adata.obs["donor"] = pd.Categorical([f"d{i % groups}" for i in range(n)])
    return View.of(adata)


def test_parts_are_disjoint_complete_and_sized() -> None:
    parts = Split(test=0.2, valid=0.1).parts(cells(), seed=0)
    assert [p.n_obs for p in parts] == [350, 50, 100]
    assert sorted(np.concatenate([p.rows for p in parts])) == list(range(500))


def test_the_order_of_cells_does_not_matter() -> None:
    view = cells()
    shuffled = view.take(np.random.default_rng(0).permutation(500))
    a, b = Split().parts(view, seed=3), Split().parts(shuffled, seed=3)
    assert set(a.test.cell_ids) == set(b.test.cell_ids)
    assert set(a.test.cell_ids) != set(Split().parts(view, seed=4).test.cell_ids)


def test_groups_stay_whole() -> None:
    parts = Split(test=0.25, valid=0.1, by="donor").parts(cells(), seed=1)
    donors = [set(p.obs["donor"]) for p in parts]
    assert sum(map(len, donors)) == len(set().union(*donors)) == 10
    assert 100 <= parts.test.n_obs <= 150
    refuse_cut_groups(parts, "donor", "clone")


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(DataError, match="test = 0.9 and valid = 0.2 must be shares"):
        Split(test=0.9, valid=0.2)
    with pytest.raises(DataError, match=r"2 groups in obs\['donor'\] leave 0 cells for"):
        Split(by="donor").parts(cells(groups=2), seed=0)
    with pytest.raises(DataError, match=r"'doner' is not a column of obs; did you mean 'donor'"):
        Split(by="doner").parts(cells(), seed=0)
    with pytest.raises(DataError, match=r"have cells in training and in test.*set split = \{ by = \"donor\" \}"):
        refuse_cut_groups(Split().parts(cells(), seed=0), "donor", "clone")


def test_a_part_may_be_a_number_of_cells() -> None:
    parts = Split(test=40, valid=10).parts(cells(), seed=0)
    assert [p.n_obs for p in parts] == [450, 10, 40]
    by_share = Split(test=0.08, valid=0.02).parts(cells(), seed=0)
    assert set(parts.test.cell_ids) == set(by_share.test.cell_ids)
    assert Split(test=40, valid=0.1).shares(500) == (0.08, 0.1)
    with pytest.raises(DataError, match="leave 0 cells for train"):
        Split(test=400, valid=100).parts(cells(), seed=0)
    with pytest.raises(DataError, match="test = 1 and .* numbers of cells from 2 up"):
        Split(test=1)
