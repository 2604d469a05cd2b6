"""scVI (Lopez et al. 2018): a variational autoencoder of counts, the network of scvi-tools, trained by a loop of ours.

scvi-tools trains one AnnData on a split of its own. Here training stops on *our* validation cells and never sees
others, nothing is written to the working folder, no global seed is set, the weights that are kept are the best,
dispersions start at the gene-mean baseline's or below, and all models of a study that have one shape are trained as one
batch. The optimiser's settings are scvi-tools' own; that package is not needed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sclaws import bits
from sclaws.errors import PluginError
from sclaws.models import _adapting, _saved, _stack, _together, _training, _vae
from sclaws.models import _vae_training as training
from sclaws.models._batches import Cells
from sclaws.models._normalise import aligned, checked, read_counts, totals
from sclaws.models._stack import Arrays, Weights
from sclaws.models._training import Schedule
from sclaws.protocols import Block, Context, Floats, Ints, Job, View

NAME = "scvi"
_CONTEXT = Context(Path())
_PAPER_B: Mapping[str, Any] = {
    "n_latent": 16, "n_hidden": 512, "n_layers": 1, "n_genes": 750, "likelihood": "zinb", "lr": 1e-3, "batch_size": 512,
    "max_updates": 19_531,
}  # fmt: skip
_EVALUATION = 2**20  # counts at once when nothing is learned


@dataclass(frozen=True)
class SCVI:
    """A latent normal of ``n_latent`` dimensions, ``n_layers`` hidden layers of ``n_hidden`` on both sides.

    ``n_genes`` variable genes are chosen on training cells ("all": every gene). ``likelihood`` "nb" is what the
    gene-mean baseline has too, so that a gain over it is one of the same likelihood; "zinb" is paper B's. Training
    makes at most ``max_updates`` steps of Adam on batches of ``batch_size`` cells, or of all if there are fewer. Every
    ``check_every`` steps the loss of at most 1,000 validation cells is taken; after ``patience`` such checks, or
    epochs if those are longer, without a better one training stops, and the best weights are kept. The weight of the
    latent's divergence rises from 0 to 1 over ``warmup`` steps.

    ``preset`` "paper-B-v2" (arXiv 2503.02726) sees 10⁷ cells in 19,531 steps, "paper-B-v1" as many (its number is not
    published) with the patience of scvi-tools; "paper-C" is DenAdel et al.'s. In all of them ``warmup`` is ours: theirs
    is an epoch. Precision is float32, whatever is asked for.
    """

    n_latent: int = 16
    n_hidden: int = 128
    n_layers: int = 1
    n_genes: int | Literal["all"] = 750
    likelihood: Literal["nb", "zinb"] = "nb"
    max_updates: int = 2000
    batch_size: int = 128
    lr: float = 2e-3
    warmup: int = 100
    check_every: int = 25
    patience: int = 10
    version: ClassVar[int] = 2
    stacks: ClassVar[bool] = True
    has_loss: ClassVar[bool] = True
    adapts: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper-B-v1": {**_PAPER_B, "patience": 45},
        "paper-B-v2": {**_PAPER_B, "patience": 5},
        "paper-C": {
            "n_latent": 10,
            "n_hidden": 128,
            "n_genes": "all",
            "likelihood": "nb",
            "batch_size": 1024,
            "lr": 1e-3,
        },
    }

    def __post_init__(self) -> None:
        for name in ("n_latent", "n_hidden", "n_layers", "max_updates", "lr", "check_every", "patience"):
            if not getattr(self, name) > 0:
                raise PluginError(f"scvi: {name} = {getattr(self, name)} must be above 0")
        if self.n_genes != "all" and self.n_genes < 1:
            raise PluginError(f'scvi: n_genes = {self.n_genes} must be above 0, or "all"')
        if self.batch_size < 2:
            raise PluginError(f"scvi: batch_size = {self.batch_size} must be at least 2, for the batch normalisation")

    @property
    def plan(self) -> training.Plan:
        """The network and how it is trained, spelt out."""
        schedule = Schedule(
            self.max_updates, self.lr, self.batch_size, warmup=0, decay="none", weight_decay=1e-6,
            check_every=self.check_every, patience=self.patience, clip=math.inf, decay_all=True, adam=True,
            epsilon=0.01,
        )  # fmt: skip
        return training.Plan(
            self.n_latent, self.n_hidden, self.n_layers, self.likelihood, self.n_genes, schedule, self.warmup
        )

    def fit(self, train: View, valid: View, *, seed: int, context: Context = _CONTEXT) -> TrainedSCVI:
        """Train on the training cells until the validation cells' loss no longer falls."""
        found: TrainedSCVI = _together.only(self.fit_many([Job(train, valid, seed)], context=context))
        return found

    def fit_many(self, jobs: Sequence[Job], *, context: Context = _CONTEXT) -> list[TrainedSCVI | Exception]:
        """Train several models as one batch, those with as many genes together; memory grows with all their cells."""
        plan = self.plan

        def train(data: Sequence[training.Data], some: Sequence[int]) -> list[TrainedSCVI | Exception]:
            run = f"{self!r}, jobs {some}"  # others, of one seed and as many cells, have checkpoints there, too
            made = training.train(plan, data, context, run)
            return [self._trained(one, own, context) for one, own in zip(made, data, strict=True)]

        prepare, groups = partial(training.prepared, plan), partial(training.groups, plan, device=context.device)
        return _together.fit_many(jobs, prepare, groups, train, context, NAME)

    def _trained(self, made: Any, data: training.Data, context: Context) -> TrainedSCVI | Exception:
        if isinstance(made, Exception):
            return made
        context = Context(Path(), context.device, context.threads)
        return TrainedSCVI(
            self,
            data.features,
            data.genes,
            data.means,
            made.weights,
            context,
            made.train_flops,
            made.history,
            made.speed,
        )

    def untrained(self, train: View, *, seed: int, context: Context = _CONTEXT) -> TrainedSCVI:
        """Return the network as initialised, on the genes that training would choose."""
        data = training.prepared(self.plan, Job(train, train.take(np.arange(0)), seed), 0)
        with _training.quiet(context, NAME):
            weights = _stack.arrays(training.start(self.plan, [data], context.device), 0)
        return TrainedSCVI(
            self, data.features, data.genes, data.means, weights, Context(Path(), context.device, context.threads)
        )

    def load(self, folder: Path, *, context: Context = _CONTEXT) -> TrainedSCVI:
        """Return the model that was saved in ``folder``, on the context's device."""
        features, stored = _saved.read(folder, NAME)
        means = bits.GeneMeans(stored.pop("means/share"), stored.pop("means/dispersion"))
        return TrainedSCVI(self, features, stored.pop("genes"), means, stored, context)

    def cost(self, cells: float, features: float) -> float:
        """Return CPU seconds, roughly: of half of the updates, because training stops early."""
        genes = features if self.n_genes == "all" else min(self.n_genes, features)
        size = min(self.batch_size, cells)
        return 2 + 0.5 * self.max_updates * (2e-3 + size * genes * (4e-8 + 1.3e-10 * self.n_hidden))


@dataclass(frozen=True, eq=False)
class TrainedSCVI:
    """A network on ``genes`` (g,), positions in ``features`` (p,); ``means`` is the baseline on the same genes."""

    model: SCVI
    features: pd.Index
    genes: Ints
    means: bits.GeneMeans
    weights: Arrays
    context: Context
    train_flops: float = 0.0
    history: Sequence[dict[str, float]] = ()
    speed: dict[str, float] = field(default_factory=dict)

    @property
    def n_params(self) -> int:
        """Number of weights that learn."""
        return _stack.count(_vae.shapes(self.model.plan.form(len(self.genes))))

    @property
    def loss_measure(self) -> str:
        """What the losses are measured in."""
        extra = "" if self.model.likelihood == "nb" else "; the baseline has no zero inflation"
        return f"{bits.MEASURE.format(n=len(self.genes))}; an upper bound (negative ELBO){extra}"

    def embed(self, view: View) -> Floats:
        """Return (n, n_latent) float32 means of the cells' posteriors."""
        parts = [np.empty((0, self.model.n_latent), dtype=np.float32)]
        for weights, counts, _, _ in self._blocks(view):
            parts.append(_vae.posterior(weights, counts)[0][0].cpu().numpy())
        return np.concatenate(parts)

    def losses(self, view: View, *, seed: int) -> NDArray[np.float64]:
        """Return (n,) -ELBO in bits per gene: at least the -log2 probability of the cell's counts under the model.

        One draw of the posterior a cell, a hash of (seed, cell).
        """
        import torch

        parts = [np.empty(0)]
        for weights, counts, library, block in self._blocks(view):
            noise = torch.from_numpy(_vae.draws(block.cell_ids, seed, self.model.n_latent))[None].to(counts.device)
            nats, divergence = _vae.losses(weights, counts, library, noise)
            parts.append((nats + divergence)[0].double().cpu().numpy() / (len(self.genes) * math.log(2)))
        return np.concatenate(parts)

    def baseline_losses(self, view: View, *, seed: int) -> NDArray[np.float64]:  # noqa: ARG002
        """Return (n,) bits per gene of the gene-mean negative binomial on the same genes."""
        return self.means.losses(read_counts(aligned(view, self.features, NAME), NAME)[:, self.genes])

    def adapt(self, view: View, y: Ints, *, seed: int, frozen: bool) -> _adapting.AdaptedNetwork:
        """Return a copy with a classifier on the means of the posteriors; see ``protocols.Adapted``."""
        device, weights = self.context.device, _tensors(self.weights, self.context.device)
        for name in _vae.shapes(self.model.plan.form(len(self.genes))):
            weights[name].requires_grad_()

        def read(cells: View) -> Callable[[Ints], Any]:
            counts = read_counts(aligned(cells, self.features, NAME), NAME)[:, self.genes]
            some = Cells.of([counts], [totals(counts)], device)
            return lambda rows: some.batch(np.asarray(rows)[None])[0]

        return _adapting.adapted(weights, read, _means, view, y, seed=seed, frozen=frozen, context=self.context)

    def _blocks(self, view: View) -> Iterator[tuple[Weights, Any, Any, Block]]:
        """Yield weights, counts (1, B, g), totals (1, B) and the block of the model's genes; nothing is learned."""
        import torch

        device, chosen = self.context.device, aligned(view, self.features, NAME).choose(self.genes)
        with _training.quiet(self.context, NAME), torch.no_grad():
            weights = _tensors(self.weights, device)
            for block in chosen.batches(max(_EVALUATION // len(self.genes), 1)):
                counts = checked(block.values, NAME)
                cells = Cells.of([counts], [totals(counts)], device)
                yield weights, *cells.batch(np.arange(len(block.cell_ids))[None]), block

    def save(self, folder: Path) -> None:
        """Write the model to ``folder``."""
        means = {f"means/{name}": values for name, values in asdict(self.means).items()}
        _saved.write(folder, NAME, self.features, genes=self.genes, **means, **self.weights)


def _tensors(weights: Arrays, device: str) -> Weights:
    return {name: w.requires_grad_(False) for name, w in _stack.stacked([weights], device).items()}


def _means(weights: Weights, counts: Any) -> Any:
    return _vae.posterior(weights, counts)[0][0]
