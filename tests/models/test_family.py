"""What every model must do, whatever it is."""

import os

import anndata
import numpy as np
import pytest
from scipy import sparse

from sclaws.errors import ModelError
from sclaws.models.contrastive import Contrastive
from sclaws.models.gene_mean import GeneMean
from sclaws.models.geneformer import Geneformer
from sclaws.models.hvg import HVG
from sclaws.models.masked_autoencoder import MaskedAutoencoder
from sclaws.models.masked_reconstruction import MaskedReconstruction
from sclaws.models.oracle import Oracle
from sclaws.models.pca import PCA
from sclaws.models.random_projection import RandomProjection
from sclaws.models.scvi import SCVI
from sclaws.protocols import Context, Job
from sclaws.view import View

QUICK_SCVI = SCVI(n_latent=4, n_hidden=16, n_genes=50, max_updates=60, check_every=10)
MODELS = {
    "random-projection": RandomProjection(dim=8),
    "random-projection(lognorm)": RandomProjection(dim=8, on="lognorm"),
    "pca": PCA(dim=8, n_genes=50),
    "hvg": HVG(n_genes=50),
    "gene-mean": GeneMean(),
    "scvi": QUICK_SCVI,
    "masked-autoencoder": MaskedAutoencoder((16,), 4, n_genes=50, max_updates=40),
    "contrastive": Contrastive(widths=(16,), dim=4, n_genes=50, max_updates=40),
    "masked-reconstruction": MaskedReconstruction("8x1x2x2", n_genes=40, max_updates=60),
    "masked-reconstruction(paper)": MaskedReconstruction("8x1x2x2", "mse", 40, "paper", max_updates=60),
    "oracle": Oracle(),
    "geneformer": Geneformer(size="16x2x2x2", context=40, max_updates=20, batch_size=16),
}
OF_COUNTS = [name for name in MODELS if name != "oracle"]
RECONSTRUCTIONS = ["masked-reconstruction", "masked-reconstruction(paper)"]
WITH_LOSSES = ["gene-mean", "scvi", "geneformer", "masked-autoencoder", *RECONSTRUCTIONS]
# those that look at validation cells, to know when to stop
STOPPING = ["scvi", "geneformer", "masked-autoencoder", "contrastive", *RECONSTRUCTIONS]
OF_WHOLE_TOTALS = ["masked-reconstruction"]  # other genes' molecules are part of a cell's depth
every = pytest.mark.parametrize("name", MODELS)
every_of_counts = pytest.mark.parametrize("name", OF_COUNTS)


@pytest.fixture(scope="module")
def trained(parts):
    """Every model trained once."""
    return {name: model.fit(parts.train, parts.valid, seed=11) for name, model in MODELS.items()}


@every
def test_embeds_any_view_with_finite_floats(name, trained, parts):
    model = trained[name]
    for view in (parts.test, parts.train, parts.test.take([3]), parts.test.take(np.arange(0))):
        embedding = model.embed(view)
        assert embedding.ndim == 2
        assert embedding.shape == (len(view), model.embed(parts.test).shape[1])
        assert embedding.dtype == np.float32
        assert np.isfinite(embedding).all()


@every
def test_same_seed_same_bytes(name, trained, parts):
    again = MODELS[name].fit(parts.train, parts.valid, seed=11)
    assert again.embed(parts.test).tobytes() == trained[name].embed(parts.test).tobytes()
    if name in WITH_LOSSES:
        one, two = (m.losses(parts.test, seed=3) for m in (again, trained[name]))
        assert one.tobytes() == two.tobytes()


@every_of_counts
def test_nothing_of_a_test_cell_reaches_the_model(name, trained, parts, changed):
    """The other cells hold other counts; who stops in time may look at validation cells."""
    valid = parts.valid if name in STOPPING else changed.valid
    other = MODELS[name].fit(changed.train, valid, seed=11)
    assert other.embed(parts.test).tobytes() == trained[name].embed(parts.test).tobytes()


@every_of_counts
def test_a_cell_is_embedded_alone_as_among_others(name, trained, parts):
    alone = np.vstack([trained[name].embed(parts.test.take([i])) for i in range(5)])
    np.testing.assert_allclose(alone, trained[name].embed(parts.test)[:5], rtol=1e-4, atol=1e-5)


@every_of_counts
def test_genes_are_found_by_name_in_any_order_among_any_others(name, trained, parts):
    rng = np.random.default_rng(0)
    adata = parts.adata[380:].copy()
    more = sparse.csr_matrix(rng.poisson(0 if name in OF_WHOLE_TOTALS else 5, size=(120, 7)).astype(np.float32))
    wide = anndata.AnnData(sparse.csr_matrix(sparse.hstack([adata.X, more])))
    wide.var_names = [*adata.var_names, *(f"other{j}" for j in range(7))]
    wide.obs_names = adata.obs_names
    shuffled = View.of(wide).choose(rng.permutation(87))
    np.testing.assert_allclose(trained[name].embed(shuffled), trained[name].embed(parts.test), rtol=1e-5, atol=1e-5)


@every_of_counts
def test_missing_genes_are_counted(name, trained, parts):
    if name == "geneformer":
        pytest.skip("a cell's sentence is of the genes that it has")
    with pytest.raises(ModelError, match="3 of the 80 features it was trained on are not in these data.*'gene0'"):
        trained[name].embed(parts.test.choose(np.arange(3, 80)))


@every_of_counts
def test_a_cell_without_molecules_trains_and_embeds(name, parts):
    adata = parts.adata.copy()
    dense = adata.X.toarray()
    dense[[0, 1, 320, 400]] = 0
    adata.X = sparse.csr_matrix(dense)
    view = View.of(adata)
    model = MODELS[name].fit(view.take(np.arange(300)), view.take(np.arange(300, 380)), seed=1)
    assert np.isfinite(model.embed(view.take(np.arange(380, 500)))).all()
    if name in WITH_LOSSES:
        assert np.isfinite(model.losses(view.take([400]), seed=0)).all()


@every_of_counts
def test_a_saved_model_is_the_same_model(name, trained, parts, tmp_path):
    trained[name].save(tmp_path / "model")
    loaded = MODELS[name].load(tmp_path / "model")
    assert loaded.embed(parts.test).tobytes() == trained[name].embed(parts.test).tobytes()
    assert list(loaded.features) == list(parts.train.feature_names)
    assert getattr(loaded, "n_params", 0) == getattr(trained[name], "n_params", 0)
    if name in WITH_LOSSES:
        np.testing.assert_array_equal(loaded.losses(parts.test, seed=5), trained[name].losses(parts.test, seed=5))
        np.testing.assert_array_equal(
            loaded.baseline_losses(parts.test, seed=0), trained[name].baseline_losses(parts.test, seed=0)
        )
    with pytest.raises(ModelError, match="train it again"):
        MODELS[name].load(tmp_path)


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if hasattr(model, "fit_many")])
def test_one_of_several_comes_back_with_the_device_and_threads_it_was_trained_with(name, parts, tmp_path):
    """To the byte, also fine-tuned: what a kill makes of a study is nothing that anybody could see in its numbers."""
    model, fewer = MODELS[name], parts.train.take(np.arange(60))
    context = Context(tmp_path, threads=2)
    jobs = [Job(cells, parts.valid, seed) for cells, seed in ((parts.train, 1), (fewer, 2))]
    trained = model.fit_many(jobs, context=context)[1]
    trained.save(tmp_path / "model")
    said = {"context": context} if hasattr(trained, "context") else {}
    loaded = model.load(tmp_path / "model", **said)
    assert loaded.embed(parts.test).tobytes() == trained.embed(parts.test).tobytes()
    if said:
        assert (loaded.context.device, loaded.context.threads) == ("cpu", 2)
    if hasattr(trained, "losses"):
        assert loaded.losses(parts.test, seed=5).tobytes() == trained.losses(parts.test, seed=5).tobytes()
    if hasattr(trained, "adapt"):
        y = np.arange(parts.test.n_obs) % 2
        tuned = [each.adapt(parts.test, y, seed=0, frozen=False) for each in (trained, loaded)]
        one, two = (each.probabilities(parts.test) for each in tuned)
        assert one.tobytes() == two.tobytes()


@pytest.mark.parametrize(
    "name", ["pca", "hvg", "gene-mean", "geneformer", "masked-autoencoder", "masked-reconstruction"]
)
def test_a_file_that_was_cut_or_changed_is_told(name, trained, tmp_path):
    trained[name].save(tmp_path)
    (file,) = tmp_path.glob("*.npz")
    whole = file.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:200] + bytes(50) + whole[250:], b"", b"no model"):
        file.write_bytes(damaged)
        with pytest.raises(ModelError, match=rf"{file.name} holds no .* model .*; train it again"):
            MODELS[name].load(tmp_path)
    np.savez(file, other=np.ones(2))
    with pytest.raises(ModelError, match="features.*; train it again"):
        MODELS[name].load(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["random-projection(lognorm)", "hvg", "gene-mean", "scvi", "geneformer", "masked-autoencoder", *RECONSTRUCTIONS],
)
def test_values_that_are_not_counts_are_refused(name, parts):
    adata = anndata.AnnData(np.random.default_rng(0).standard_normal((60, 20)).astype(np.float32))
    with pytest.raises(ModelError, match="needs counts, and there is a value of .* scaled values"):
        MODELS[name].fit(View.of(adata), View.of(adata), seed=0).embed(View.of(adata))


@every
def test_nothing_is_written_or_seeded_or_set(name, parts, tmp_path, monkeypatch, capfd):
    import torch

    monkeypatch.chdir(tmp_path)
    before = np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes(), torch.get_num_threads()  # noqa: NPY002
    MODELS[name].fit(parts.train, parts.valid, seed=2).embed(parts.test)
    after = np.random.get_state()[1].tobytes(), torch.get_rng_state().numpy().tobytes(), torch.get_num_threads()  # noqa: NPY002
    assert before == after
    assert os.listdir(tmp_path) == []
    assert capfd.readouterr() == ("", "")


@every
def test_cost_grows_with_cells(name):
    assert 0 < MODELS[name].cost(1e3, 1e3) <= MODELS[name].cost(1e5, 1e3)


LINEAR = {
    "hvg": HVG(n_genes=20),
    "gene-mean": GeneMean(),
    "pca": PCA(dim=4, n_genes=20),
    "random-projection": RandomProjection(dim=8, on="lognorm", n_genes=20),
}


@pytest.mark.parametrize("name", LINEAR)
def test_what_is_linear_never_holds_all_cells(name, parts, monkeypatch):
    """Batches of 50 give what one batch does; a value that is no count is refused in whatever batch it is."""
    once = LINEAR[name].fit(parts.train, parts.valid, seed=1)
    expected = once.embed(parts.test)
    bad = parts.train.to_adata()
    bad.X[290, 3] = 0.5
    whole = View.batches
    monkeypatch.setattr(View, "batches", lambda self, size=4096: whole(self, 50))
    monkeypatch.setattr(View, "to_adata", lambda self: pytest.fail("all cells in memory"))
    trained = LINEAR[name].fit(parts.train, parts.valid, seed=1)
    np.testing.assert_allclose(trained.embed(parts.test), expected, atol=1e-6)
    if name == "gene-mean":
        np.testing.assert_allclose(trained.losses(parts.test, seed=0), once.losses(parts.test, seed=0), rtol=1e-12)
    with pytest.raises(ModelError, match="needs counts, and there is a value of 0.5, which is no whole number"):
        LINEAR[name].fit(View.of(bad), parts.valid, seed=1)
