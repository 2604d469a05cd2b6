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
