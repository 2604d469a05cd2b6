import numpy as np
import pytest

from sclaws import bits
from sclaws.errors import ModelError
from sclaws.models.gene_mean import GeneMean


def test_it_knows_the_depth_and_the_genes_means_only(parts):
    trained = GeneMean().fit(parts.train, parts.valid, seed=0)
    counts = parts.test.to_adata().X
    totals = np.asarray(counts.sum(axis=1)).ravel()
    np.testing.assert_allclose(trained.embed(parts.test)[:, 0], np.log1p(totals), rtol=1e-6)
    reference = bits.gene_means(parts.train.to_adata().X)
    np.testing.assert_allclose(trained.losses(parts.test, seed=0), reference.losses(counts), rtol=1e-12)


def test_it_is_its_own_baseline(parts):
    trained = GeneMean().fit(parts.train, parts.valid, seed=0)
    np.testing.assert_array_equal(trained.losses(parts.test, seed=0), trained.baseline_losses(parts.test, seed=0))
    assert trained.loss_measure == "bits of a count per gene, given the cell's total over the model's 80 genes"
    assert trained.n_params == 160


def test_the_loss_of_some_genes_is_given_the_total_over_all(parts):
    trained = GeneMean().fit(parts.train, parts.valid, seed=0)
    counts = parts.test.to_adata().X.toarray()
    genes = parts.test.feature_names[[3, 70, 11]]
    at = [3, 70, 11]
    mean = counts.sum(axis=1, keepdims=True) * trained.means.share[at]
    expected = bits.negative_binomial(counts[:, at], mean, trained.means.dispersion[at]).mean(axis=1)
    np.testing.assert_allclose(trained.losses(parts.test, seed=0, genes=genes), expected, rtol=1e-10)
    np.testing.assert_allclose(trained.baseline_losses(parts.test, seed=0, genes=genes), expected, rtol=1e-10)


def test_genes_that_it_does_not_have_are_refused(parts):
    trained = GeneMean().fit(parts.train.choose(np.arange(10)), parts.valid, seed=0)
    with pytest.raises(ModelError, match="70 of the 80 genes asked for are not among its 10, the first is 'gene10'"):
        trained.losses(parts.test, seed=0, genes=parts.test.feature_names)
