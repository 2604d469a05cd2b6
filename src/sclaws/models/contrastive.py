"""Metric learning by cell type, after SCimilarity (Heimberg et al. 2024), as paper C trains it.

Cells of one type from different studies are drawn together, those of other types are kept away, and a decoder sees to
it that the cell can still be told from its embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from sclaws.errors import PluginError
from sclaws.models import _adapting, _checkpoint, _flops, _mlp, _saved, _stack, _training, _triplets
from sclaws.models._balanced import balanced
from sclaws.models._batches import Cells, scaled
from sclaws.models._encoder import Drop, keep
from sclaws.models._stack import Arrays, Weights
from sclaws.models._training import Schedule
from sclaws.protocols import Context, Floats, Ints, View

NAME = "contrastive"
_CONTEXT = Context(Path())


@dataclass(frozen=True)
class Contrastive:
    """Layers of ``widths`` units down to ``dim`` numbers of length 1, the embedding, and the same layers up again.

    Batch normalisation and PReLU between; ``input_dropout`` of the values, log(1 + 10,000 count/total) of ``n_genes``
    variable genes, and ``dropout`` between hidden layers. The loss of a batch is ``triplet_weight`` x triplets +
    (1 − triplet_weight) x squared error of the decoder + ``l1`` x learning rate x |weights of the embedding's layer|.
    A triplet is an anchor, a positive of the same type ``obs[label]`` from another study ``obs[study]``, and one
    semi-hard negative of another type (:mod:`sclaws.models._triplets`, ``margin``); a batch without any learns from the
    decoder alone. Without ``study``, or where there is but one, positives are other cells of the same study. A table
    of columns child and parent at ``ontology_path`` (.csv or .tsv, names as the labels') keeps ancestors and
    descendants of a type from being its negatives. Batches are drawn with equal shares for types and, within each, for
    its studies. Every training cell needs a label; no label of a validation cell is learned from.

    AdamW with weight decay of everything, gradients clipped at 1, at most ``max_updates`` steps whose rate falls as a
    cosine. Every ``check_every`` steps the same loss of at most 1,000 validation cells is taken, with one triplet a
    cell, always the same, whatever its distances; after ``patience`` checks without a better one training stops, and
    the best weights are kept.

    ``preset`` "paper-C" is DenAdel et al.'s: 22,032,515 weights of the encoder with 19,331 genes, and 0.001 for the
    triplets, with which the decoder decides almost alone (docs/models.md). Ours are stopping, clipping, the equal
    shares of types and studies, and the start of the weights.
    """

    label: str = "cell_type"
    study: str | None = None
    ontology_path: str | None = None
    widths: tuple[int, ...] = (256, 256)
    dim: int = 16
    n_genes: int | Literal["all"] = 750
    triplet_weight: float = 0.9
    margin: float = 0.05
    dropout: float = 0.5
    input_dropout: float = 0.4
    max_updates: int = 1000
    batch_size: int = 128
    lr: float = 5e-3
    weight_decay: float = 0.01
    l1: float = 1e-4
    check_every: int = 50
    patience: int = 10
    version: ClassVar[int] = 1
    adapts: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper-C": {
            "widths": (1024, 1024, 1024), "dim": 128, "n_genes": "all", "triplet_weight": 0.001, "margin": 0.05,
            "dropout": 0.5, "input_dropout": 0.4, "max_updates": 50_000, "batch_size": 1000, "lr": 5e-3,
            "weight_decay": 0.01, "l1": 1e-4, "check_every": 100, "patience": 500,
        },
    }  # fmt: skip

    def __post_init__(self) -> None:
        _mlp.refuse(NAME, self, above=("margin",), not_below=("l1",), shares=("input_dropout",))
        if not 0 <= self.triplet_weight <= 1:
            raise PluginError(f"{NAME}: triplet_weight = {self.triplet_weight} must lie between 0 and 1")
        if self.batch_size < 3:
            raise PluginError(f"{NAME}: batch_size = {self.batch_size} must be at least 3, the cells of a triplet")

    def shapes(self, genes: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of all weights for this many genes, by name."""
        down = (genes, *self.widths, self.dim)
        encoder, decoder = (_mlp.shapes(n, w, normalised=True) for n, w in (("down", down), ("up", down[::-1])))
        return encoder | decoder

    def fit(self, train: View, valid: View, *, seed: int, context: Context = _CONTEXT) -> TrainedContrastive:
        """Train on the training cells until the validation cells' loss no longer falls."""
        known, types = _triplets.kinds(NAME, train, self.label, self.study, self.ontology_path)
        data = _mlp.prepared(NAME, train, valid, self.n_genes, seed)
        held = _triplets.others(data.valid, known, types, self.label, self.study)
        with _training.quiet(context, NAME):
            weights = _mlp.start(self.shapes(len(data.genes)), [seed], context.device)
            told = _checkpoint.fingerprint((known.types, known.studies, known.apart))
            run = {"model": repr(self), "seed": seed, "values": data.fingerprint, "kinds": told}
            loss = self._loss(data, known, weights, seed, context.device)
            judge = self._judge(data, held, weights, seed, context.device)
            state = _training.train(weights, loss, judge, self._schedule(), context, run)
            history = _training.curve(state, 0, self.lr, judged=data.valid.n_obs > 0)
            return self._finished(data, weights, context, history)

    def untrained(self, train: View, *, seed: int, context: Context = _CONTEXT) -> TrainedContrastive:
        """Return the network as initialised, on the genes that training would choose; no label is needed."""
        data = _mlp.prepared(NAME, train, train.take(np.arange(0)), self.n_genes, seed)
        with _training.quiet(context, NAME):
            return self._finished(data, _mlp.start(self.shapes(len(data.genes)), [seed], context.device), context)

    def load(self, folder: Path, *, context: Context = _CONTEXT) -> TrainedContrastive:
        """Return the model that was saved in ``folder``, on the context's device."""
        features, stored = _saved.read(folder, NAME)
        return TrainedContrastive(self, features, stored.pop("genes"), stored, context)

    def cost(self, cells: float, features: float) -> float:
        """Return CPU seconds, roughly: of all updates, which early stopping may not need."""
        forms = self.shapes(int(features if self.n_genes == "all" else min(self.n_genes, features)))
        update = 4e-3 + 4e-9 * _stack.count(forms) + self.batch_size * _mlp.flop(forms) / 1e10
        return 1.0 + 1e-6 * cells + self.max_updates * update

    def _schedule(self) -> Schedule:
        return Schedule(
            self.max_updates, self.lr, self.batch_size, 0, "cosine", self.weight_decay, self.check_every,
            self.patience, decay_all=True,
        )  # fmt: skip

    def _loss(self, data: _mlp.Data, known: _triplets.Kinds, weights: Weights, seed: int, device: str) -> Any:
        """Return the function of a step that gives the (1,) loss of its batch."""
        import torch

        cells, plan = balanced(data.counts, data.total, known, device, NAME), self._schedule()
        last = [f"down.{len(self.widths)}.{what}" for what in ("weight", "bias")]

        def loss(step: int) -> Any:
            random = _training.Random([seed], step, device)
            rows = cells.rows(self.batch_size, seed, step)
            values = scaled(*cells.batch(rows))
            entering, inside = random.dropping(self.input_dropout), random.dropping(self.dropout)
            z = embedded(weights, entering(values), drop=inside, learning=True)
            out = _mlp.forward(weights, "up", z, drop=inside, learning=True)
            near, far = (torch.from_numpy(of(rows)).to(device) for of in (known.positives, known.negatives))
            mined = _triplets.semi_hard(z[0], near, far, self.margin, random.uniform(len(rows), len(rows))[0])
            small = self.l1 * plan.rate * plan.share(step) * sum(weights[name].abs().sum() for name in last)
            return self._mixed(z, mined, out, values) + small

        return loss

    def _judge(self, data: _mlp.Data, held: _triplets.Kinds, weights: Weights, seed: int, device: str) -> Any:
        """Return the function of a step that gives the (1,) loss of the validation cells; ``-step`` without any."""
        import torch

        rows = np.arange(data.held.shape[0])
        if not len(rows):
            return lambda step: torch.full((1,), -float(step), device=device)
        values = scaled(*Cells.of([data.held], [data.held_total], device).batch(rows[None]))
        a, p, n = (torch.from_numpy(cells).to(device) for cells in _triplets.some(held, seed))

        def judge(step: int) -> Any:  # noqa: ARG001
            z = embedded(weights, values)
            return self._mixed(z, (a, p, n), _mlp.forward(weights, "up", z), values)

        return judge

    def _mixed(self, z: Any, triplets: tuple[Any, Any, Any], out: Any, values: Any) -> Any:
        own = _triplets.hinge(z[0], triplets, self.margin)
        return self.triplet_weight * own + (1 - self.triplet_weight) * (out - values).square().mean((1, 2))

    def _finished(
        self, data: _mlp.Data, weights: Weights, context: Context, history: Sequence[dict[str, float]] = ()
    ) -> TrainedContrastive:
        forms = self.shapes(len(data.genes))
        cells = history[-1]["cells"] if history else 0
        return TrainedContrastive(
            self, data.features, data.genes, _stack.arrays(weights, 0),
            Context(Path(), context.device, context.threads), history, _flops.TRAINING * _mlp.flop(forms) * cells,
        )  # fmt: skip


def embedded(weights: Weights, values: Any, *, drop: Drop = keep, learning: bool = False) -> Any:
    """Return the embedding (1, B, dim) of values (1, B, g): rows of length 1."""
    import torch

    return torch.nn.functional.normalize(_mlp.forward(weights, "down", values, drop=drop, learning=learning), dim=2)


def _coordinates(weights: Weights, values: Any) -> Any:
    return embedded(weights, values)[0]


@dataclass(frozen=True, eq=False)
class TrainedContrastive:
    """A network on ``genes`` (g,), positions in ``features`` (p,)."""

    model: Contrastive
    features: pd.Index
    genes: Ints
    weights: Arrays
    context: Context
    history: Sequence[dict[str, float]] = ()
    train_flops: float = 0.0

    @property
    def n_params(self) -> int:
        """Number of trained weights, of encoder and decoder."""
        return _stack.count(self.model.shapes(len(self.genes)))

    @property
    def n_encoder_params(self) -> int:
        """Number of trained weights of the encoder, the number that is published."""
        shapes = self.model.shapes(len(self.genes))
        return _stack.count({name: form for name, form in shapes.items() if name.startswith("down.")})

    def embed(self, view: View) -> Floats:
        """Return (n, dim) float32 rows of length 1."""
        return _mlp.embedding(NAME, self, _coordinates, view)

    def adapt(self, view: View, y: Ints, *, seed: int, frozen: bool) -> _adapting.AdaptedNetwork:
        """Return a copy with a classifier on the embedding; see ``protocols.Adapted``."""
        return _mlp.adapted(NAME, self, _coordinates, view, y, seed=seed, frozen=frozen)

    def save(self, folder: Path) -> None:
        """Write the model to ``folder``."""
        _saved.write(folder, NAME, self.features, genes=self.genes, **self.weights)
