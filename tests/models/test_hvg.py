import numpy as np
import pytest

from sclaws.errors import ModelError, PluginError
from sclaws.models._normalise import variable_genes
from sclaws.models.hvg import HVG


def test_it_is_the_log_normalised_expression_of_the_variable_genes(parts):
    counts = parts.test.to_adata().X.toarray()
    expected = np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)
    genes = variable_genes(parts.train.to_adata().X, 20)
    trained = HVG(n_genes=20).fit(parts.train, parts.valid, seed=0)
    np.testing.assert_array_equal(trained.genes, genes)
    np.testing.assert_allclose(trained.embed(parts.test), expected[:, genes], rtol=1e-5)
    assert trained.n_params == 0


@pytest.mark.parametrize("n_genes", ["all", 80, 2000])
def test_all_genes_where_there_are_no_more(parts, n_genes):
    trained = HVG(n_genes=n_genes).fit(parts.train, parts.valid, seed=0)
    assert trained.embed(parts.test).shape == (120, 80)


def test_genes_are_those_that_scanpy_finds(parts):
    """An independent implementation of the same rule, on the same cells."""
    scanpy = pytest.importorskip("scanpy")
    adata = parts.train.to_adata()
    scanpy.pp.highly_variable_genes(adata, n_top_genes=20, flavor="seurat_v3", span=1.0)
    trained = HVG(n_genes=20).fit(parts.train, parts.valid, seed=0)
    assert list(parts.train.feature_names[trained.genes]) == list(adata.var_names[adata.var["highly_variable"]])


def test_what_cannot_be_is_named(parts):
    with pytest.raises(PluginError, match='hvg: n_genes = 0 must be above 0, or "all"'):
        HVG(n_genes=0)
    with pytest.raises(ModelError, match="hvg: nothing to choose among: 0 training cells x 80 genes"):
        HVG().fit(parts.train.take(np.arange(0)), parts.valid, seed=0)
