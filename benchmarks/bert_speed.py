"""Tokens a second and held-out loss of our Geneformer-type model against transformers' BertForMaskedLM and Trainer.

    python benchmarks/bert_speed.py [--steps 30] [--rounds 2] [--detected 1000] [--no-losses] [--no-speed]

Speed: 128 wide, 2 layers, 4 heads, feed-forward 512, batches of 16, float32, AdamW with linear decay after a warm-up,
on cells of negative binomial counts with about ``--detected`` genes each (700 to 1,400 of 1,000 as a rule), ranked by
our tokenizer and cut at the context. Both sides have the same sentences, optimiser settings and threads; methods take
turns, and the quickest of ``--rounds`` counts. Only real tokens are counted. A step is all from the end of the step
before it, batch and masks included; beside it, of theirs, without collating. The first ``--warm-up`` do not count.
"grouped": theirs with batches of nearly equal length. With dropout, theirs drops attention weights too and ours does
not; without, both leave that out.

Losses: both are trained for ``--updates`` steps on the same cells (a simulated tissue, or ``--path`` an h5ad of counts)
by the same recipe; theirs from its own random weights and from ours, whose first prediction is each gene's frequency.
Theirs is saved by save_pretrained, read by ``geneformer-checkpoint``, and all are judged by our ``losses`` on the same
held-out cells.
"""

import argparse
import contextlib
import tempfile
from pathlib import Path

import _hugging_face as theirs
import anndata
import numpy as np
from scipy import sparse

from sclaws.datasets.h5ad import H5ad
from sclaws.datasets.simulated_tissue import SimulatedTissue
from sclaws.models import _bert, _stack, _training
from sclaws.models import _sentences_training as training
from sclaws.models._training import Schedule
from sclaws.models.geneformer import Geneformer, vocabulary
from sclaws.models.geneformer_checkpoint import GeneformerCheckpoint
from sclaws.protocols import Context, Job
from sclaws.view import View

BATCH = 16


def main() -> None:
    args = arguments()
    import torch

    torch.set_num_threads(args.threads)
    if not args.no_speed:
        speeds(args)
    if not args.no_losses:
        losses(args)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--warm-up", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--detected", type=int, default=1000)
    parser.add_argument("--vocabularies", type=int, nargs="*", default=[4_000, 25_000])
    parser.add_argument("--contexts", type=int, nargs="*", default=[512])
    parser.add_argument("--dropouts", type=float, nargs="*", default=[0.02, 0.0])
    parser.add_argument("--updates", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--path", help="h5ad of counts for the comparison of losses")
    parser.add_argument("--no-speed", action="store_true")
    parser.add_argument("--no-losses", action="store_true")
    return parser.parse_args()


# ── speed ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def speeds(args: argparse.Namespace) -> None:
    total = args.steps + args.warm_up
    print(f"{total} steps of {BATCH} cells, the first {args.warm_up} left out; {args.threads} threads, float32")
    for size in args.vocabularies:
        view = simulated(BATCH * total, size - 2, args.detected)
        genes = np.diff(view.to_adata().X.indptr)
        print(
            f"\nvocabulary {size:,}: {genes.mean():,.0f} genes a cell "
            f"({np.percentile(genes, 5):,.0f} to {np.percentile(genes, 95):,.0f})"
        )
        for context in args.contexts:
            for dropout in args.dropouts:
                model = Geneformer(context=context, batch_size=BATCH, dropout=dropout)
                compare(model, view, schedule(total), args)


def schedule(updates: int, batch: int = BATCH) -> Schedule:
    return Schedule(updates, 1e-3, batch, min(100, updates // 5), "linear", 0.001, check_every=updates, patience=1)


def compare(model: Geneformer, view: View, plan: Schedule, args: argparse.Namespace) -> None:
    data = prepared(model, view, view.take(np.arange(0)), seed=0)
    sentences = split(data)
    methods = {
        "sclaws": lambda: ours(data, plan, args.threads)[0],
        "transformers": lambda: theirs.train(theirs.model_of(data.config), sentences, plan),
        "transformers, grouped": lambda: theirs.train(theirs.model_of(data.config), sentences, plan, grouped=True),
    }
    report(
        methods,
        args,
        f"context {model.context:,}, dropout {model.dropout}, {np.mean([*map(len, sentences)]):,.0f} a cell",
    )


def report(methods, args: argparse.Namespace, title: str, flop: float = 0.0, peak: float = 0.0) -> None:
    """Time the methods in turn and print real tokens a second, with and without collating; ``flop`` of a token."""
    best = dict.fromkeys(methods, (0.0, 0.0))
    for _ in range(args.rounds):
        for name, method in methods.items():
            tokens, steps, bare = (part[args.warm_up :] for part in method())
            best[name] = max(best[name], (tokens.sum() / steps.sum(), tokens.sum() / bare.sum()))
    first = best[next(iter(best))][0]
    print(f"  {title:52} {'tokens/s':>10} {'ours is faster by':>18} {'without collating':>18} {'and then by':>12}")
    for name, (rate, bare) in best.items():
        share = f"   MFU {rate * flop / peak:.1%}" if peak else ""
        print(f"  {name:52} {rate:10,.0f} {first / rate:18.2f} {bare:18,.0f} {first / bare:12.2f}{share}", flush=True)


def prepared(model: Geneformer, train: View, valid: View, seed: int) -> training.Data:
    words = vocabulary(train)
    return training.prepared(model.config(len(words.features)), words, Job(train, valid, seed))


def split(data: training.Data) -> list[np.ndarray]:
    tokens = data.train.tokens
    return np.split(tokens.ids, tokens.starts[1:-1])


def ours(data: training.Data, plan: Schedule, threads: int, precision: str = "float32", device: str = "cpu"):
    """Return ((real tokens, seconds, seconds) of each step, the model); no cell stops it, so the last weights stay."""
    ends = []
    with stamped(ends, device):
        context = Context(Path(), device, threads)
        start = theirs.now(device)
        (trained,) = training.train([data], plan, precision, -1, context, "benchmark")
    if isinstance(trained, Exception):
        raise trained
    n, lengths = len(data.train.cells), data.train.tokens.lengths
    tokens = [lengths[_training.rows(n, plan.batch, data.seed, step)].sum() for step in range(1, plan.updates + 1)]
    steps = np.diff(np.array(ends), prepend=start)
    return (np.array(tokens), steps, steps), trained


@contextlib.contextmanager
def stamped(ends: list[float], device: str):
    """Note when every step ends."""
    update = _training._update

    def timed(*args):
        found = update(*args)
        ends.append(theirs.now(device))
        return found

    _training._update = timed
    try:
        yield
    finally:
        _training._update = update


def simulated(n: int, genes: int, detected: float, seed: int = 0) -> View:
    """Negative binomial counts (r = 2) whose genes' shares are log-normal, as deep as ``detected`` genes need."""
    rng = np.random.default_rng(seed)
    share = np.exp(rng.normal(0, 2.0, genes))
    share /= share.sum()
    low, high = 1.0, 1e8
    while high / low > 1.001:
        middle = np.sqrt(low * high)
        found = (1 - (1 + middle * share / 2) ** -2.0).sum()
        low, high = (middle, high) if found < detected else (low, middle)
    depth = low * np.exp(rng.normal(0, 0.4, n))
    blocks = [
        sparse.csr_matrix(rng.poisson(rng.standard_gamma(2.0, (len(some), genes)) / 2 * some[:, None] * share))
        for some in np.split(depth, range(200, n, 200))
    ]
    adata = anndata.AnnData(sparse.csr_matrix(sparse.vstack(blocks), dtype=np.float32))
    adata.obs_names, adata.var_names = [f"c{i}" for i in range(n)], [f"G{j}" for j in range(genes)]
    return View.of(adata)


# ── losses ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def losses(args: argparse.Namespace) -> None:
    data = H5ad(args.path) if args.path else SimulatedTissue(4000, 2000, depth=1500, n_types=8, type_effect=1.0)
    view = View.of(data.load())
    order = np.random.default_rng(0).permutation(len(view))
    test, train = view.take(order[: len(view) // 8]), view.take(order[len(view) // 8 :])
    name = Path(args.path).name if args.path else "simulated tissue"
    print(
        f"\n{name}: {len(train):,} cells x {train.n_vars:,} genes, {args.updates} updates of {BATCH} cells; "
        f"bits per hidden token of {len(test):,} held-out cells ± standard error"
    )
    model, plan = Geneformer(context=512, batch_size=BATCH), schedule(args.updates)
    for seed in range(args.seeds):
        found = prepared(model, train, train.take(np.arange(0)), seed)
        start = training.finished(found, _stack.arrays(training.initial([found], "cpu"), 0), -1, Context(Path()))
        told("baseline: frequencies of genes", start.baseline_losses(test, seed=0), seed)
        told("sclaws", ours(found, plan, args.threads)[1].losses(test, seed=0), seed)
        for what, own in (("transformers, from our first weights", False), ("transformers, from its own", True)):
            told(what, judged(found, start, train, test, plan, own), seed)


def judged(found, start, train: View, test: View, plan: Schedule, own: bool) -> np.ndarray:
    """Return our losses of their model, trained from its own first weights or from ours, saved and read again."""
    import torch

    with tempfile.TemporaryDirectory() as scratch:
        mine, other = Path(scratch) / "ours", Path(scratch) / "theirs"
        start.save(mine)
        torch.manual_seed(found.seed)
        with theirs.quiet():
            model = theirs.model_of(found.config, None if own else mine)
            theirs.train(model, split(found), plan, seed=found.seed)
            theirs.save(model.cpu(), mine, other)
        assert _bert.read(other).config == found.config
        read = GeneformerCheckpoint(str(other)).fit(train, train.take(np.arange(0)), seed=0)
        return read.losses(test, seed=0)


def told(what: str, values: np.ndarray, seed: int) -> None:
    print(f"  seed {seed}  {what:40} {values.mean():8.4f} ± {values.std() / np.sqrt(len(values)):.4f}", flush=True)


if __name__ == "__main__":
    main()
