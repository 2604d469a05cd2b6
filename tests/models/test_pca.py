import numpy as np
import pytest

from sclaws.counts import log_normalised
from sclaws.errors import ModelError, PluginError
from sclaws.models import _normalise, _principal
from sclaws.models.pca import PCA
from sclaws.protocols import Job
from sclaws.view import View


@pytest.mark.parametrize("solver_limit", [2000, 10])  # the covariance's eigenvectors, and the Lanczos iteration
def test_components_are_those_of_the_centred_matrix(parts, monkeypatch, solver_limit):
    monkeypatch.setattr(_principal, "_EXACT", solver_limit)
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


def walked(monkeypatch):
    """Count the cells of all batches that are read, and what is read at once."""
    read, whole = [], View.batches

    def batches(self, size=4096):
        for block in whole(self, size):
            read.append(len(block.cell_ids))
            yield block

    monkeypatch.setattr(View, "batches", batches)
    return read


def test_nested_cells_cost_two_walks_over_the_most_of_them(parts, monkeypatch):
    """Jobs of 300, 150, 75 and 20 cells: 600 cells are read, and 32 of each looked at to see that they are the same."""
    jobs = [Job(parts.train.take(np.arange(n)), parts.valid, seed=0) for n in (75, 300, 20, 150)]
    model = PCA(dim=4, n_genes=30)
    alone = [model.fit(job.train, job.valid, seed=0) for job in jobs]
    read = walked(monkeypatch)
    together = model.fit_many(jobs)
    assert sum(read) == 2 * 300 + 2 * (32 + 32 + 20)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.genes, other.genes)
        np.testing.assert_allclose(one.components, other.components, atol=1e-10)
        np.testing.assert_allclose(one.mean, other.mean, rtol=1e-10)


def test_a_job_that_cannot_be_done_does_not_keep_others_from_sharing(parts, monkeypatch):
    bad = parts.train.to_adata()
    bad.X[200, 3] = 0.5  # is in the larger job alone
    view = View.of(bad)
    jobs = [Job(view.take(np.arange(n)), parts.valid, seed=0) for n in (300, 3, 150)]
    found = PCA(dim=4, n_genes=30).fit_many(jobs)
    assert [type(one).__name__ for one in found] == ["ModelError", "ModelError", "TrainedPCA"]
    assert "pca needs counts, and there is a value of 0.5, which is no whole number" in str(found[0])
    assert "got 3 cells x 80 genes" in str(found[1])


def test_it_reads_and_embeds_in_batches(parts, monkeypatch):
    at_once = PCA(dim=4, n_genes=30).fit(parts.train, parts.valid, seed=0)
    whole = View.batches
    monkeypatch.setattr(View, "batches", lambda self, size=4096: whole(self, 64))
    monkeypatch.setattr(View, "to_adata", lambda self: pytest.fail("all cells in memory"))
    trained = PCA(dim=4, n_genes=30).fit(parts.train, parts.valid, seed=0)
    np.testing.assert_allclose(trained.components, at_once.components, atol=1e-10)
    np.testing.assert_allclose(trained.embed(parts.test), at_once.embed(parts.test), atol=1e-5)
