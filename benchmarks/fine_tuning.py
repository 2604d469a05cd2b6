"""At which rate does what is below a head learn best? Where the default of ``sclaws.heads.Recipe.rate_below`` is from.

``python benchmarks/fine_tuning.py [cells]``: a simulated tissue of six types, an encoder that was trained as half of an
autoencoder or not at all, and 300 cells with labels. Prints accuracy and bits on 2,000 others at each rate (0 is
frozen).
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from sclaws.datasets.simulated_tissue import SimulatedTissue
from sclaws.heads import PUBLISHED
from sclaws.models import _adapting
from sclaws.protocols import Context
from sclaws.view import View

RATES = (0.0, 1e-5, 1e-4, 1e-3)


def network(*sizes):
    """Return a perceptron with a normalisation before its hidden units' rectifier."""
    first, hidden, last = sizes
    parts = torch.nn.Linear(first, hidden), torch.nn.BatchNorm1d(hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, last)
    return torch.nn.Sequential(*parts)


def pretrained(encoder, x):
    """Train an encoder as half of an autoencoder of log counts: 500 steps of 128 cells."""
    decoder = network(10, 128, x.shape[1])
    optimiser = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 1e-3)
    for _ in range(500):
        some = x[torch.randint(len(x), (128,))]
        loss = torch.nn.functional.mse_loss(decoder(encoder(some)), some)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def read(view):
    """Return what gives the log counts of some cells of a view."""
    values = torch.from_numpy(np.log1p(view.to_adata().X.toarray()))
    return lambda rows: values[torch.from_numpy(rows)]


def main(cells=300):
    """Print a line for each encoder and rate."""
    torch.manual_seed(0)
    tissue = SimulatedTissue(n_cells=7000, n_genes=300, depth=150, n_types=6, n_programmes=3, type_effect=0.3)
    view = View.of(tissue.load())
    y = np.unique(view.obs["cell_type"].astype(str), return_inverse=True)[1].reshape(-1)
    known, others = np.arange(4000, 4000 + cells), np.arange(5000, 7000)
    for name in ("trained", "untrained"):
        encoder = network(view.n_vars, 128, 10)
        if name == "trained":
            pretrained(encoder, read(view)(np.arange(4000)))
        for rate in RATES:
            found = _adapting.adapted(
                encoder, read, torch.nn.Module.__call__, view.take(known), y[known], seed=0, frozen=rate == 0,
                context=Context(Path()), recipe=replace(PUBLISHED, rate_below=rate),
            ).probabilities(view.take(others))  # fmt: skip
            right = np.mean(found.argmax(1) == y[others])
            bits = np.log2(6) + np.log2(found[np.arange(2000), y[others]]).mean()
            print(f"{name:10} rate {rate:<6g} accuracy {right:.3f}  bits {bits:.2f}", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
