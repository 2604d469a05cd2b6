"""Principal components for a sketch against scanpy's, step by step as published; found once for all levels."""

import tempfile

import anndata
import numpy as np
import pytest
from scipy import sparse

from sclaws.axes import _boxes
from sclaws.errors import DataError
from sclaws.sketching import boxes
from sclaws.testing import cells
from sclaws.view import View


def programs(n: int = 600, p: int = 300) -> View:
    """Counts with eight programs of falling strength, so that the first components are well apart."""
    rng = np.random.default_rng(0)
    loadings = rng.normal(size=(8, p)) * np.geomspace(1, 0.35, 8)[:, None]
    rates = np.exp(rng.normal(-0.5, 1.2, p) + rng.normal(size=(n, 8)) @ loadings)
    adata = anndata.AnnData(sparse.csr_matrix(rng.poisson(rates).astype(np.float32)))
    adata.obs_names, adata.var_names = [f"c{i}" for i in range(n)], [f"g{i}" for i in range(p)]
    return View.of(adata)


@pytest.fixture
def normalised():
    """The same cells, log-normalised by scanpy."""
    sc = pytest.importorskip("scanpy")
    adata = programs().to_adata()
    sc.pp.normalize_total(adata, target_sum=1e4)
    sc.pp.log1p(adata)
    return adata


def test_variable_genes_are_those_of_scanpy(normalised):
    import scanpy as sc

    sc.pp.highly_variable_genes(normalised, n_top_genes=90)
    mine = _boxes._variable(_boxes._moments(programs()), 90)
    np.testing.assert_array_equal(mine, np.flatnonzero(normalised.var["highly_variable"]))


def test_components_are_those_of_scanpy(normalised):
    import scanpy as sc

    normalised.X = normalised.X.toarray()
    sc.pp.scale(normalised, max_value=10)
    sc.pp.pca(normalised, n_comps=6, svd_solver="full")
    mine, theirs = _boxes.components(programs(), 6), normalised.obsm["X_pca"]
    signs = np.sign((mine * theirs).sum(axis=0))
    np.testing.assert_allclose(mine * signs, theirs, atol=2e-3 * np.abs(theirs).max())


def test_components_do_not_depend_on_the_size_of_batches(monkeypatch):
    view, at_once = programs(), _boxes.components(programs(), 5)
    whole = View.batches
    monkeypatch.setattr(View, "batches", lambda self, size=4096: whole(self, 64))
    np.testing.assert_allclose(_boxes.components(view, 5), at_once, atol=1e-3)


def test_boxes_are_found_once_for_all_levels(monkeypatch):
    view = programs()
    first = _boxes.codes(view, 5, 0.1)
    monkeypatch.setattr(_boxes, "component_blocks", lambda *given: pytest.fail("computed again"))
    assert _boxes.codes(view, 5, 0.1) is first
    assert abs(len(np.unique(first)) - 60) <= 6


def test_boxes_are_those_of_the_components_however_they_are_read(monkeypatch, tmp_path):
    """The scratch file is read in pieces that are not the batches, and is gone afterwards."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(_boxes, "_READ", 700)  # bytes: 35 cells of five
    expected = boxes(_boxes.components(programs(), 5), 60)
    np.testing.assert_array_equal(_boxes.codes(programs(), 5, 0.1), expected)
    assert not list(tmp_path.iterdir())


def test_components_are_those_of_a_dense_matrix_where_values_are_clipped():
    """By numpy, of all cells at once: a gene in all cells but one, and one in one alone, lie beyond ten deviations."""
    adata = programs().to_adata()
    dense = adata.X.toarray()
    dense[:, 7] = np.rint(dense.sum(axis=1) / 2)
    dense[0, 7] = 0
    dense[:, 8], dense[5, 8] = 0, 30
    adata.X = sparse.csr_matrix(dense)
    x = np.log1p(dense / dense.sum(axis=1, keepdims=True, dtype=np.float64) * 1e4)
    z = (x - x.mean(axis=0)) / x.std(axis=0, ddof=1)
    assert (z < -10).any() and (z > 10).any()
    z = np.clip(z, -10, 10)
    z -= z.mean(axis=0)
    expected = z @ np.linalg.svd(z, full_matrices=False)[2][:5].T
    found = _boxes.components(View.of(adata), 5)
    signs = np.sign((found * expected).sum(axis=0))
    np.testing.assert_allclose(found * signs, expected, atol=1e-4 * np.abs(expected).max())


def test_fewer_genes_than_components_give_as_many_as_there_are():
    assert _boxes.components(cells.counts(50, 7), 50).shape == (50, 7)


def test_what_cannot_be_sketched_is_told():
    with pytest.raises(DataError, match="a sketch normalises counts, and these values are none"):
        _boxes.codes(cells.measured(), 5, 0.1)
    same = View.of(anndata.AnnData(sparse.csr_matrix(np.ones((20, 4), dtype=np.float32))))
    with pytest.raises(DataError, match="no gene varies in the 20 training cells"):
        _boxes.codes(same, 5, 0.1)
