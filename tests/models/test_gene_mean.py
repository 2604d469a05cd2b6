import numpy as np

from sclaws import bits
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
    np.testing.assert_array_equal(trained.losses(parts.test, seed=0), trained.baseline_losses(parts.test))
    assert trained.loss_measure == "bits of a count per gene, given the cell's total over the model's 80 genes"
    assert trained.n_params == 160
