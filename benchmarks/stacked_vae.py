"""A whole study of a 16-dimensional variational autoencoder: as one batch, in turn, and in turn by scvi-tools.

    python benchmarks/stacked_vae.py [--quick] [--updates 200] [--genes 750] [--threads 1] [--device cuda]

needs: pip install 'sclaws[all]' scvi-tools. Six numbers of training cells x six depths x three seeds of simulated
tissue. All ways make the same number of updates of the same network on batches of as many cells, with the same
likelihood, optimiser and warm-up; dispersions start at the gene-mean's, nobody stops early, and the last weights are
kept. They take turns, seed by seed. "training" is the steps alone, "whole" from counts to a trained model, "CPU" the
processor time of the whole, which others on the machine disturb least. The held-out loss is the -ELBO of 1,000 other
cells of the depth, in bits per gene; information is the `gaussian` score between their embeddings and their proteins.
"""

import argparse
import itertools
import logging
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import anndata
import numpy as np

from sclaws.datasets.simulated_tissue import SimulatedTissue
from sclaws.models import _vae_training
from sclaws.models.scvi import SCVI
from sclaws.protocols import Context, Job
from sclaws.scores.gaussian import Gaussian
from sclaws.thinning import Thin
from sclaws.view import View

CELLS = (200, 400, 800, 1600, 3200, 6400)
KEPT = (1.0, 0.5, 0.25, 0.12, 0.06, 0.03)  # of 1,000 molecules a cell


@dataclass
class Way:
    """What one way took in seconds, and the loss and the information of each model."""

    training: float = 0.0
    whole: float = 0.0
    cpu: float = 0.0
    losses: list[float] = field(default_factory=list)
    bits: list[float] = field(default_factory=list)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=200)
    parser.add_argument("--genes", type=int, default=750)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="two numbers of cells, two depths, 40 updates")
    parser.add_argument("--without-scvi-tools", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    cells, kept = (CELLS[1:3], KEPT[:2]) if args.quick else (CELLS, KEPT)
    updates = 40 if args.quick else args.updates
    model = SCVI(n_genes="all", n_hidden=args.hidden, max_updates=updates, check_every=updates)
    context = Context(Path(), args.device, args.threads)
    adata = SimulatedTissue(cells[-1] + 1000, args.genes, depth=1000, n_types=8, seed=1).load()
    proteins, view = adata.obsm["protein"][:1000], View.of(adata)
    ways = {"one batch": stacked, "in turn": in_turn}
    ways |= {} if args.without_scvi_tools else {"scvi-tools": scvi_tools}
    found = {name: Way() for name in ways}
    study = [(n, view.corrupt(Thin.keep(share, seed=1)).materialise()) for n, share in itertools.product(cells, kept)]
    for way in ways.values():
        way(model.__class__(**{**vars(model), "max_updates": 2}), study[:1], 0, context, Way())  # imports, and warms up
    for seed in range(3):
        for name, way in ways.items():
            tested(way(model, study, seed, context, found[name]), study, proteins, found[name])
    told(found, len(study) * 3, len(study), args, updates)


def parts(n: int, view: View) -> tuple[View, View, View]:
    """Training cells, no validation cells, test cells."""
    return view.take(np.arange(1000, 1000 + n)), view.take(np.arange(0)), view.take(np.arange(1000))


def stacked(model: SCVI, study: list, seed: int, context: Context, way: Way) -> list:
    return ours(lambda jobs: model.fit_many(jobs, context=context), study, seed, way)


def in_turn(model: SCVI, study: list, seed: int, context: Context, way: Way) -> list:
    def one(job: Job):
        return model.fit(job.train, job.valid, seed=job.seed, context=context)

    return ours(lambda jobs: [one(job) for job in jobs], study, seed, way)


def ours(fit, study: list, seed: int, way: Way) -> list:
    jobs = [Job(*parts(n, view)[:2], seed) for n, view in study]
    start, cpu = time.perf_counter(), time.process_time()
    made = fit(jobs)
    way.whole += time.perf_counter() - start
    way.cpu += time.process_time() - cpu
    way.training += sum(one.train_flops / one.speed["flop_per_second"] for one in made)
    return [(lambda test, one=one: (one.losses(test, seed=0).mean(), one.embed(test))) for one in made]


def scvi_tools(model: SCVI, study: list, seed: int, context: Context, way: Way) -> list:
    import scvi
    import torch

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    scvi.settings.verbosity, scvi.settings.seed = logging.ERROR, seed
    torch.set_num_threads(context.threads)
    made = []
    for n, view in study:
        train = parts(n, view)[0]
        cells = anndata.AnnData(train.to_adata().X.copy())
        first = _vae_training.prepared(model.plan, Job(train, train.take(np.arange(0)), seed)).means.dispersion
        start, cpu = time.perf_counter(), time.process_time()
        scvi.model.SCVI.setup_anndata(cells)
        theirs = scvi.model.SCVI(
            cells, n_latent=model.n_latent, n_hidden=model.n_hidden, n_layers=model.n_layers,
            gene_likelihood=model.likelihood,
        )  # fmt: skip
        with torch.no_grad():
            theirs.module.px_r.copy_(torch.from_numpy(-np.log(np.minimum(first, 1.0))))
        begun = time.perf_counter()
        theirs.train(
            max_epochs=model.max_updates, max_steps=model.max_updates, train_size=1.0, batch_size=model.batch_size,
            accelerator="gpu" if context.device == "cuda" else "cpu", devices=1, logger=False,
            enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
            plan_kwargs={"lr": model.lr, "n_steps_kl_warmup": model.warmup, "n_epochs_kl_warmup": None},
        )  # fmt: skip
        way.training += time.perf_counter() - begun
        way.whole += time.perf_counter() - start
        way.cpu += time.process_time() - cpu
        made.append(theirs)

    def judged(theirs, test: View):
        cells = anndata.AnnData(test.to_adata().X.copy())
        loss = abs(float(theirs.get_elbo(cells))) / (cells.n_vars * np.log(2))
        return loss, theirs.get_latent_representation(cells)

    return [(lambda test, one=one: judged(one, test)) for one in made]


def tested(made: list, study: list, proteins: np.ndarray, way: Way) -> None:
    for one, (n, view) in zip(made, study, strict=True):
        loss, embedding = one(parts(n, view)[2])
        way.losses.append(float(loss))
        way.bits.append(Gaussian().estimate(embedding, proteins, seed=0).value)


def told(found: dict[str, Way], models: int, pairs: int, args: argparse.Namespace, updates: int) -> None:
    print(f"{models} models of {args.genes} genes, {args.hidden} hidden units, {updates} updates of 128 cells,")
    print(f"{args.device}, {args.threads} threads\n")
    print("| way | training, s | whole, s | CPU, s | ratio of training | of CPU | loss | bits |")
    print("|---|---|---|---|---|---|---|---|")
    best = found["one batch"]
    for name, way in found.items():
        ratios = f"{way.training / best.training:.2f} | {way.cpu / best.cpu:.2f}"
        means = f"{np.mean(way.losses):.4f} | {np.mean(way.bits):.3f}"
        print(f"| {name} | {way.training:.0f} | {way.whole:.0f} | {way.cpu:.0f} | {ratios} | {means} |")
    print("\n| difference to one batch | loss: mean ± sd | bits: mean ± sd |\n|---|---|---|")
    for name, way in found.items():
        if way is not best:
            print(f"| {name} | {apart(way.losses, best.losses)} | {apart(way.bits, best.bits)} |")
    spreads = [np.reshape(values, (3, pairs)).var(axis=0, ddof=1).mean() ** 0.5 for values in (best.losses, best.bits)]
    print(f"| sd between seeds | {spreads[0]:.5f} | {spreads[1]:.4f} |")


def apart(values: list[float], others: list[float]) -> str:
    difference = np.array(values) - others
    return f"{difference.mean():+.6f} ± {difference.std(ddof=1):.6f}"


if __name__ == "__main__":
    main()
