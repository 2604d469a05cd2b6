"""The model on cells whose truth is known, and against scvi-tools' own model with the same weights."""

import warnings

import anndata
import numpy as np
import pytest

from sclaws.errors import ModelError, PluginError
from sclaws.models.scvi import SCVI, TrainedSCVI
from sclaws.protocols import Context

torch = pytest.importorskip("torch")

SMALL = {"n_latent": 4, "n_hidden": 32, "n_genes": "all"}


@pytest.fixture(scope="module")
def learned(parts):
    return SCVI(**SMALL, max_updates=400).fit(parts.train, parts.valid, seed=1)


@pytest.fixture(scope="module")
def reference(parts, learned, scvi_tools):
    """The same weights inside scvi-tools' own model, on the test cells."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from scvi.model import SCVI as Theirs

        adata = anndata.AnnData(parts.test.to_adata().X.copy())
        Theirs.setup_anndata(adata)
        theirs = Theirs(adata, n_latent=4, n_hidden=32, gene_likelihood="nb")
        stack = {name: torch.from_numpy(w)[None] for name, w in learned.weights.items()}
        network = scvi_tools.holding(learned.model.plan.form(80), stack, 0)
        theirs.module.load_state_dict(network.float().state_dict())
        theirs.module.eval()
        theirs.is_trained_ = True
    return theirs, adata


def test_embedding_is_that_of_scvi_tools(learned, reference, parts):
    theirs, adata = reference
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = theirs.get_latent_representation(adata)
    np.testing.assert_allclose(learned.embed(parts.test), expected, rtol=1e-4, atol=1e-5)


def test_loss_is_that_of_scvi_tools_and_bounds_the_likelihood(learned, reference, parts):
    theirs, adata = reference
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bits_per_gene = 1 / (80 * np.log(2))
        elbo = float(theirs.get_elbo(adata)) * bits_per_gene
        marginal = -float(theirs.get_marginal_ll(adata, n_mc_samples=200)) * bits_per_gene
    draws = np.array([learned.losses(parts.test, seed=s).mean() for s in range(20)])
    # theirs is one draw as ours are: within the spread of draws; get_elbo is the negative of the bound
    assert abs(elbo) == pytest.approx(draws.mean(), abs=5 * draws.std())
    assert marginal < draws.min()


def test_it_learns_what_the_baseline_cannot_know(learned, parts):
    untrained = SCVI(**SMALL).untrained(parts.train, seed=1)
    baseline = learned.baseline_losses(parts.test, seed=0)
    gain = baseline - learned.losses(parts.test, seed=0)
    assert gain.mean() > 5 * gain.std() / np.sqrt(len(gain))
    assert (untrained.losses(parts.test, seed=0) - baseline).mean() > 0
    assert untrained.embed(parts.test).shape == learned.embed(parts.test).shape
    assert learned.loss_measure.startswith("bits of a count per gene, given the cell's total over the model's 80 genes")


def test_training_stops_on_the_validation_cells_and_keeps_their_best_weights(parts):
    model = SCVI(**SMALL, max_updates=3000, lr=0.02, check_every=5, patience=4)
    trained = model.fit(parts.train.take(np.arange(60)), parts.valid, seed=0)
    losses = [look["valid_loss"] for look in trained.history]
    assert len(losses) < 3000 / 5
    assert np.argmin(losses) == len(losses) - 1 - 4
    nats = trained.losses(parts.valid, seed=0).mean() * 80 * np.log(2)
    assert nats == pytest.approx(min(losses), rel=1e-5)


def test_validation_cells_stop_the_training_but_do_not_train(parts):
    """One check, at the very end: then it cannot matter which cells are looked at, or whether there are any."""
    model = SCVI(**SMALL, max_updates=30, check_every=30)
    embeddings = [
        model.fit(parts.train, valid, seed=0).embed(parts.test)
        for valid in (parts.valid, parts.test, parts.valid.take(np.arange(0)))
    ]
    np.testing.assert_array_equal(embeddings[0], embeddings[1])
    np.testing.assert_array_equal(embeddings[0], embeddings[2])


@pytest.mark.parametrize("cells", [2, 3, 129, 257])
def test_any_number_of_cells_trains(parts, cells):
    """Batch normalisation cannot take a batch of one: 129 = 128 + 1 is the trap."""
    trained = SCVI(**SMALL, max_updates=6).fit(parts.train.take(np.arange(cells)), parts.valid, seed=0)
    assert np.isfinite(trained.losses(parts.test, seed=0)).all()


@pytest.mark.parametrize("likelihood", ["nb", "zinb"])
def test_parameters_that_are_counted_are_those_that_learn(parts, likelihood):
    trained = SCVI(**SMALL, likelihood=likelihood).untrained(parts.train, seed=0)
    moving = [name for name in trained.weights if name.endswith((".average", ".square"))]
    assert trained.n_params == sum(w.size for name, w in trained.weights.items() if name not in moving)


def test_the_published_network_has_as_many_weights_as_published(scvi_tools):
    """12,454,434 for 19,331 genes (paper C), of which two decoders' heads and an encoder of sizes learn nothing."""
    model = SCVI(**SCVI.presets["paper-C"])
    form = model.plan.form(19_331)
    assert sum(p.numel() for p in scvi_tools.network(form).parameters()) == 12_454_434
    idle = 19_331 * 128 + 128 + 2 * 128 + 2 * 129 + 2 * 129 * 19_331  # l_encoder; px_r and px_dropout of the decoder
    assert TrainedSCVI(model, (), np.arange(19_331), None, {}, None).n_params == 12_454_434 - idle


def test_flops_are_those_that_torch_counts(parts):
    from torch.utils.flop_counter import FlopCounterMode

    model = SCVI(**SMALL, max_updates=3, batch_size=50, check_every=3)
    with FlopCounterMode(display=False) as counter:
        trained = model.fit(parts.train, parts.valid.take(np.arange(0)), seed=0)
    sums = 3 * 50 * 2 * 80  # a dispersion's derivative is summed over cells, as a product
    assert trained.train_flops == counter.get_total_flops() - sums


def test_diverged_training_says_so(parts):
    with pytest.raises(ModelError, match="training diverged; lower lr"):
        SCVI(**SMALL, lr=1e30, max_updates=50).fit(parts.train, parts.valid, seed=0)


def test_what_cannot_be_is_named(parts):
    with pytest.raises(PluginError, match="scvi: patience = 0 must be above 0"):
        SCVI(patience=0)
    with pytest.raises(PluginError, match="batch_size = 1 must be at least 2"):
        SCVI(batch_size=1)
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="device 'cuda' was asked for and there is none"):
            SCVI(**SMALL).fit(parts.train, parts.valid, seed=0, context=Context(None, device="cuda"))
