import numpy as np
import pytest

from sclaws.counts import log_normalised
from sclaws.errors import ModelError, PluginError
from sclaws.models import _normalise, pca
from sclaws.models.pca import PCA


@pytest.mark.parametrize("solver_limit", [2000, 10])  # the covariance's eigenvectors, and the Lanczos iteration
def test_components_are_those_of_the_centred_matrix(parts, monkeypatch, solver_limit):
    monkeypatch.setattr(pca, "_EXACT", solver_limit)
    trained = PCA(dim=5, n_genes="all").fit(parts.train, parts.valid, seed=0)
    counts = _normalise.read_counts(parts.train, "m")
    dense = log_normalised(counts, _normalise.totals(counts)).toarray()
    _, singular, axes = np.linalg.svd(dense - dense.mean(axis=0), full_matrices=False)
    assert (np.diff(singular[:6]) < -1e-3).all()  # axes are determined
    cosines = np.abs((axes[:5] * trained.components.T).sum(axis=1))
    np.testing.assert_allclose(cosines, 1, atol=1e-6)
    embedding = trained.embed(parts.train)
    np.testing.assert_allclose(embedding.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(embedding, axis=0), singular[:5], rtol=1e-4)


def test_it_finds_the_programme_that_drives_the_cells(parts):
    embedding = PCA(dim=8, n_genes="all").fit(parts.train, parts.valid, seed=0).embed(parts.test)
    state = parts.test.obsm("state")[:, 0]
    fitted = np.linalg.lstsq(np.column_stack([embedding, np.ones(120)]), state, rcond=None)[0]
    explained = np.corrcoef(np.column_stack([embedding, np.ones(120)]) @ fitted, state)[0, 1] ** 2
    random = PCA(dim=8, n_genes="all").untrained(parts.train, seed=0).embed(parts.test)
    by_chance = np.linalg.lstsq(np.column_stack([random, np.ones(120)]), state, rcond=None)[0]
    chance = np.corrcoef(np.column_stack([random, np.ones(120)]) @ by_chance, state)[0, 1] ** 2
    assert explained > 0.8  # an ideal observer at 400 UMI and ū ≈ 190 has u·J/(1+u·J) ≈ .97
    assert chance < explained - 0.2


def test_untrained_is_orthonormal_on_the_same_genes(parts):
    trained = PCA(dim=6, n_genes=30).fit(parts.train, parts.valid, seed=0)
    untrained = PCA(dim=6, n_genes=30).untrained(parts.train, seed=4)
    np.testing.assert_array_equal(untrained.genes, trained.genes)
    np.testing.assert_allclose(untrained.components.T @ untrained.components, np.eye(6), atol=1e-12)
    assert untrained.n_params == trained.n_params == 30 * 7
    other = PCA(dim=6, n_genes=30).untrained(parts.train, seed=5)
    assert not np.allclose(other.components, untrained.components)


def test_too_little_data_or_fields_that_contradict_are_named(parts):
    with pytest.raises(ModelError, match="16 components need at least 17 training cells and genes, got 10 cells x 80"):
        PCA().fit(parts.train.take(np.arange(10)), parts.valid, seed=0)
    with pytest.raises(ModelError, match="got 300 cells x 12 genes; lower dim"):
        PCA().fit(parts.train.choose(np.arange(12)), parts.valid, seed=0)
    with pytest.raises(PluginError, match="dim = 16 must be at least 1 and below n_genes = 16"):
        PCA(n_genes=16)
