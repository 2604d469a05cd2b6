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
