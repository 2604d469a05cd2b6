import warnings

import anndata
import numpy as np
import pytest

from sclaws.errors import ModelError, PluginError
from sclaws.models import scvi as module
from sclaws.models.scvi import SCVI
from sclaws.protocols import Context

SMALL = {"n_latent": 4, "n_hidden": 32, "n_genes": "all"}


@pytest.fixture(scope="module")
def learned(parts):
    return SCVI(**SMALL, max_updates=400).fit(parts.train, parts.valid, seed=1)


@pytest.fixture(scope="module")
def reference(parts, learned):
    """The same weights inside scvi-tools' own model, on the test cells."""
    module._vae()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from scvi.model import SCVI as Theirs

        adata = anndata.AnnData(parts.test.to_adata().X.copy())
        Theirs.setup_anndata(adata)
        theirs = Theirs(adata, n_latent=4, n_hidden=32, gene_likelihood="nb")
        theirs.module.load_state_dict(learned.network.state_dict())
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
    told = []
    model = SCVI(**SMALL, max_updates=3000, lr=0.02, check_every=5, patience=4)
    trained = model.fit(
        parts.train.take(np.arange(60)), parts.valid, seed=0, context=Context(None, progress=told.append)
    )
    losses = [float(line.split("loss ")[1].split()[0]) for line in told]
    assert len(told) < 3000 / 5
    assert np.argmin(losses) == len(losses) - 1 - 4
    valid = module._validation_loss(trained.network, trained.counts(parts.valid), "cpu")
    assert valid == pytest.approx(min(losses), abs=0.01)


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


def test_batches_are_every_cell_once_an_epoch():
    import torch

    with torch.random.fork_rng([]):
        batches = module._shuffled(257, 128)
        epoch = [next(batches) for _ in range(3)]
    assert sorted(np.concatenate(epoch)) == list(range(257))
    assert min(map(len, epoch)) > 80


@pytest.mark.parametrize("likelihood", ["nb", "zinb"])
def test_parameters_that_are_counted_are_those_that_learn(parts, likelihood):
    trained = SCVI(**SMALL, likelihood=likelihood).untrained(parts.train, seed=0)
    network = trained.network.train()
    network(module._tensors(trained.counts(parts.train), "cpu"))[2].loss.backward()
    learning = sum(p.numel() for p in network.parameters() if p.grad is not None)
    assert trained.n_params == learning


def test_the_published_network_has_as_many_weights_as_published():
    """12,454,434 for 19,331 genes (paper C), of which two decoders' heads and an encoder of sizes learn nothing."""
    model = SCVI(**SCVI.presets["paper-C"])
    with module._quiet(0, module._CONTEXT):
        network = module._network(model, 19_331)
    sizes = {name: p.numel() for name, p in network.named_parameters()}
    assert sum(sizes.values()) == 12_454_434
    idle = 19_331 * 128 + 128 + 2 * 128 + 2 * 129 + 2 * 129 * 19_331  # l_encoder; px_r and px_dropout of the decoder
    learn = module.TrainedSCVI(model, (), np.arange(19_331), None, network, "cpu", 1).n_params
    assert learn == 12_454_434 - idle


def test_diverged_training_says_so(parts):
    with pytest.raises(ModelError, match="training diverged; lower lr"):
        SCVI(**SMALL, lr=1e30, max_updates=50).fit(parts.train, parts.valid, seed=0)


def test_what_cannot_be_is_named(parts):
    with pytest.raises(PluginError, match="scvi: patience = 0 must be above 0"):
        SCVI(patience=0)
    with pytest.raises(PluginError, match="batch_size = 1 must be at least 2"):
        SCVI(batch_size=1)
    import torch

    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="device 'cuda' was asked for and there is none"):
            SCVI(**SMALL).fit(parts.train, parts.valid, seed=0, context=Context(None, device="cuda"))
