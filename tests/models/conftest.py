import itertools
import warnings

import numpy as np
import pytest

from sclaws.datasets.simulated_tissue import SimulatedTissue
from sclaws.view import View


class Parts:
    """Training, validation and test cells of a small tissue; ``changed`` keeps only the training cells as they are."""

    def __init__(self, seed_of_the_rest=0):
        adata = SimulatedTissue(n_cells=500, n_genes=80, depth=400, n_types=3, seed=4).load()
        if seed_of_the_rest:
            rng = np.random.default_rng(seed_of_the_rest)
            dense = adata.X.toarray()
            dense[300:] = rng.poisson(50, size=dense[300:].shape)
            adata.X = type(adata.X)(dense)
        self.adata, self.all = adata, View.of(adata)
        self.train, self.valid, self.test = (
            self.all.take(np.arange(*ends)) for ends in ((0, 300), (300, 380), (380, 500))
        )


@pytest.fixture(scope="session")
def parts():
    return Parts()


@pytest.fixture(scope="session")
def changed():
    return Parts(seed_of_the_rest=9)


@pytest.fixture(scope="session")
def three_types():
    """1,200 cells of three types, 60 genes, about 30 molecules each; a type has 20 genes at 20 times their level."""
    import anndata
    from scipy import sparse

    rng = np.random.default_rng(7)
    kinds = rng.integers(0, 3, 1200)
    base = np.exp(rng.normal(0, 0.5, 60))
    shares = base * np.where(np.arange(60) // 20 == kinds[:, None], 20.0, 1.0)
    depth = rng.lognormal(np.log(30), 0.4, 1200)
    counts = rng.poisson(depth[:, None] * shares / shares.sum(axis=1, keepdims=True))
    adata = anndata.AnnData(sparse.csr_matrix(counts.astype(np.float32)))
    adata.obs_names = [f"cell{i}" for i in range(1200)]
    adata.var_names = [f"G{j}" for j in range(60)]
    adata.obs["cell_type"] = [f"type{k}" for k in kinds]
    return View.of(adata)


class ScviTools:
    """The second implementation of the autoencoder, and how our weights are handed over to it."""

    def network(self, form):
        """Return their network, as initialised, without dropout."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from scvi.module import VAE
        return VAE(
            form.genes, n_batch=1, n_hidden=form.hidden, n_latent=form.latent, n_layers=form.layers, dropout_rate=0.0,
            gene_likelihood=form.likelihood,
        )  # fmt: skip

    def names(self, form):
        """Return {our name of a weight: theirs}."""
        parts = {"encoder": "z_encoder.encoder", "decoder": "decoder.px_decoder"}
        norms = {"weight": "weight", "bias": "bias", "average": "running_mean", "square": "running_var"}
        out = {"log_r": "px_r"}
        for (part, their), i in itertools.product(parts.items(), range(form.layers)):
            layer = f"{their}.fc_layers.Layer {i}"
            out |= {f"{part}.{i}.{w}": f"{layer}.0.{w}" for w in ("weight", "bias")}
            out |= {f"{part}.{i}.norm.{w}": f"{layer}.1.{v}" for w, v in norms.items()}
        heads = {
            "mean": "z_encoder.mean_encoder", "variance": "z_encoder.var_encoder",
            "share": "decoder.px_scale_decoder.0",
        }  # fmt: skip
        if form.likelihood == "zinb":
            heads["extra"] = "decoder.px_dropout_decoder"
        return out | {f"{own}.{w}": f"{their}.{w}" for own, their in heads.items() for w in ("weight", "bias")}

    def holding(self, form, weights, m):
        """Return their network, in float64, with the weights of model m; what no loss depends on stays theirs."""
        network = self.network(form).double()
        state, known = network.state_dict(), self.names(form)
        assert set(known) == set(weights)
        for own, their in known.items():
            w = weights[own][m].detach().double()
            state[their].copy_(w.T if w.ndim == 2 else w)
        return network


@pytest.fixture(scope="session")
def scvi_tools():
    return ScviTools()
