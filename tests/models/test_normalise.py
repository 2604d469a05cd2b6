import warnings

import anndata
import numpy as np
import pytest
from scipy import sparse

from sclaws.counts import log_normalised
from sclaws.models import _normalise
from sclaws.tallies import tallied
from sclaws.thinning import Thin
from sclaws.view import View


def scanpy_genes(counts, n, span=1.0):
    """The reference: scanpy's seurat_v3."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import scanpy

        table = scanpy.pp.highly_variable_genes(
            anndata.AnnData(counts), flavor="seurat_v3", span=span, n_top_genes=n, inplace=False
        )
    return np.flatnonzero(table["highly_variable"])


@pytest.mark.parametrize("n", [20, 60])
def test_variable_genes_are_scanpys(parts, n):
    counts = _normalise.read_counts(parts.train, "m")
    np.testing.assert_array_equal(_normalise.variable_genes(counts, n), scanpy_genes(counts, n))


def test_variable_genes_are_scanpys_on_real_counts(shared):
    adata = anndata.read_h5ad(shared / "data" / "kang12k.h5ad")[:3000]
    counts = _normalise.read_counts(View.of(adata.copy()), "m")
    np.testing.assert_array_equal(_normalise.variable_genes(counts, 300), scanpy_genes(counts, 300))


@pytest.mark.parametrize("cells", [2, 5, 20, 100])
@pytest.mark.parametrize("fraction", [1.0, 0.01])
def test_few_cells_and_shallow_ones_still_give_as_many_genes_as_asked(parts, cells, fraction):
    view = parts.train.take(np.arange(cells)).corrupt(Thin.keep(fraction, seed=0))
    genes = _normalise.variable_genes(_normalise.read_counts(view, "m"), 30)
    assert len(set(genes)) == 30
    assert (np.diff(genes) > 0).all()


def test_a_tally_of_blocks_is_all_that_is_needed(parts):
    counts = _normalise.read_counts(parts.train, "m")
    tally = tallied((counts[start : start + 37] for start in range(0, 300, 37)), 80)
    np.testing.assert_array_equal(_normalise.variable_genes(tally, 20), _normalise.variable_genes(counts, 20))
    np.testing.assert_array_equal(_normalise.variable_genes(tally, "all"), np.arange(80))


def test_blocks_are_the_cells_one_after_another(parts, monkeypatch):
    whole = View.batches
    monkeypatch.setattr(View, "batches", lambda self, size=4096: whole(self, 64))
    dense, found = parts.train.to_adata().X.toarray(), np.zeros((300, 80))
    for some, counts in _normalise.placed(_normalise.count_blocks(parts.train, "m")):
        found[some] = counts.toarray()
    np.testing.assert_array_equal(found, dense)


def test_genes_that_do_not_vary_come_last():
    rng = np.random.default_rng(0)
    counts = rng.poisson(rng.uniform(0.5, 20, size=40), size=(200, 40)).astype(np.float32)
    counts[:, 5], counts[:, 9] = 0, 3
    chosen = _normalise.variable_genes(sparse.csr_matrix(counts), 38)
    assert set(range(40)) - set(chosen) == {5, 9}


def test_all_genes_when_fewer_are_there():
    np.testing.assert_array_equal(_normalise.variable_genes(sparse.csr_matrix(np.eye(4)), 750), np.arange(4))


def test_lognorm_is_scanpys(parts):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import scanpy

        adata = anndata.AnnData(parts.train.to_adata().X.astype(np.float64))
        scanpy.pp.normalize_total(adata, target_sum=1e4)
        scanpy.pp.log1p(adata)
    counts = _normalise.read_counts(parts.train, "m")
    ours = log_normalised(counts, _normalise.totals(counts))
    np.testing.assert_allclose(ours.toarray(), adata.X.toarray(), rtol=1e-12)
