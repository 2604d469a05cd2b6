"""Sixteen small models trained as one batch by ``fit_many`` against the same sixteen one after another.

    python benchmarks/stacked_models.py [--models 16] [--updates 100] [--rounds 2] [--device cuda]

The same cells and seeds either way, no early stop before ``--updates``; both ways take turns, and the quicker of
``--rounds`` counts. "together" is how many fit_many put into one batch (memory bounds it). The largest difference is
that of the mean held-out loss of a model, in bits, and beside it the spread of that loss between the seeds.
"""

import argparse
import time
from pathlib import Path

import numpy as np

from sclaws.datasets.simulated_tissue import SimulatedTissue
from sclaws.models.geneformer import Geneformer
from sclaws.models.masked_autoencoder import MaskedAutoencoder
from sclaws.models.masked_reconstruction import MaskedReconstruction
from sclaws.protocols import Context, Job
from sclaws.view import View


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=16)
    parser.add_argument("--updates", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    view = View.of(SimulatedTissue(1500, 1000, depth=1500, n_types=6, type_effect=1.0).load())
    parts = [view.take(np.arange(*ends)) for ends in ((0, 1000), (1000, 1100), (1100, 1500))]
    n = args.updates
    models = {
        "masked-reconstruction TINY, 128 genes": MaskedReconstruction("TINY", n_genes=128, max_updates=n),
        "masked-reconstruction TINY, 512 genes": MaskedReconstruction("TINY", n_genes=512, max_updates=n),
        "masked-autoencoder, 500 genes": MaskedAutoencoder(n_genes=500, max_updates=n, patience=n),
        "masked-autoencoder, 500 genes, 64 units": MaskedAutoencoder((64,), n_genes=500, max_updates=n, patience=n),
        "geneformer 32x2x2x2, context 128": Geneformer("32x2x2x2", context=128, max_updates=n),
    }
    print(f"{args.models} models, {n} updates, {args.device}, {args.threads} threads")
    print(f"{'':40} {'together':>8} {'as one, s':>10} {'in turn, s':>10} {'ratio':>6} {'difference':>11} {'spread':>8}")
    for name, model in models.items():
        compare(name, model, parts, args)


def compare(name: str, model, parts: list[View], args: argparse.Namespace) -> None:
    train, valid, test = parts
    jobs = [Job(train, valid, seed) for seed in range(args.models)]
    context = Context(Path(), args.device, args.threads)
    model.fit(train, valid, seed=0, context=context)  # compiles and warms up
    ways = {
        "one": lambda: model.fit_many(jobs, context=context),
        "turn": lambda: [model.fit(job.train, job.valid, seed=job.seed, context=context) for job in jobs],
    }
    best, made = dict.fromkeys(ways, np.inf), {}
    for _ in range(args.rounds):
        for way, work in ways.items():
            start = time.perf_counter()
            made[way] = work()
            best[way] = min(best[way], time.perf_counter() - start)
    losses = {way: np.array([one.losses(test, seed=0).mean() for one in found]) for way, found in made.items()}
    together = max(getattr(one, "speed", {}).get("models_together", np.nan) for one in made["one"])
    difference = np.abs(losses["one"] - losses["turn"]).max()
    print(
        f"{name:40} {together:8.0f} {best['one']:10.1f} {best['turn']:10.1f} {best['turn'] / best['one']:6.2f} "
        f"{difference:11.1e} {losses['one'].std():8.1e}",
        flush=True,
    )


if __name__ == "__main__":
    main()
