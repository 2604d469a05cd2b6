"""The masked autoencoder of paper C (Richter et al. 2024, ssl_in_scg): half of a cell's genes foretold from the others.

A perceptron squeezes what was left of a cell into a few numbers, and another makes the whole cell of them.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sclaws.errors import PluginError
from sclaws.models import _adapting, _flops, _likelihoods, _mlp, _saved, _stack, _streams, _together, _training
from sclaws.models._batches import Cells, hidden, scaled, training_cells
from sclaws.models._encoder import Drop, keep
from sclaws.models._normalise import positions
from sclaws.models._stack import Arrays, Weights
from sclaws.models._training import Schedule
from sclaws.protocols import Context, Floats, Ints, Job, View

NAME = "masked-autoencoder"
_CONTEXT = Context(Path())
_TOGETHER = {"cpu": 2**20, "cuda": 2**26}  # counts in one batch of all models trained together, as of scvi


@dataclass(frozen=True)
class MaskedAutoencoder:
    """Layers of ``widths`` units down to ``dim`` numbers, the embedding, and the same layers up again; SELU between.

    Values are log(1 + 10,000 count/total) of ``n_genes`` variable genes, total over all genes. In training each is
    hidden with probability ``mask_rate``, what is left is scaled by 1/(1 − mask_rate), and the loss is the mean over
    all entries of the squared error of hidden ones (the others count 0). AdamW with weight decay of everything,
    gradients clipped at 1, at most ``max_updates`` steps whose rate falls as a cosine. Every ``check_every`` steps, or
    every epoch if that is longer, the loss of at most 1,000 validation cells is taken, always with the same entries
    hidden; after ``patience`` checks without an improvement of ``min_delta`` training stops; the best weights are kept.

    ``preset`` "paper-C" is DenAdel et al.'s: 20,767,683 weights with 19,331 genes. Ours are the cosine (their rate
    falls by a tenth every two epochs), the start of the weights (Glorot & Bengio's), and fixed validation masks.
    """

    widths: tuple[int, ...] = (256, 256, 128, 128)
    dim: int = 16
    n_genes: int | Literal["all"] = 750
    mask_rate: float = 0.5
    dropout: float = 0.1
    max_updates: int = 1000
    batch_size: int = 128
    lr: float = 1e-3
    weight_decay: float = 0.01
    check_every: int = 25
    patience: int = 10
    min_delta: float = 1e-4
    version: ClassVar[int] = 1
    stacks: ClassVar[bool] = True
    adapts: ClassVar[bool] = True
    has_loss: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper-C": {
            "widths": (512, 512, 256, 256), "dim": 64, "n_genes": "all", "mask_rate": 0.5, "dropout": 0.1,
            "max_updates": 117_000, "batch_size": 16_384, "lr": 1e-3, "weight_decay": 0.01, "patience": 30,
            "min_delta": 1e-4,
        },
    }  # fmt: skip

    def __post_init__(self) -> None:
        _mlp.refuse(NAME, self, above=("batch_size",), not_below=("min_delta",))
        if not 0 < self.mask_rate < 1:
            raise PluginError(f"{NAME}: mask_rate = {self.mask_rate} must lie between 0 and 1")

    def shapes(self, genes: int) -> dict[str, tuple[int, ...]]:
        """Return the shapes of all weights for this many genes, by name."""
        down = (genes, *self.widths, self.dim)
        encoder, decoder = (_mlp.shapes(n, w, normalised=False) for n, w in (("down", down), ("up", down[::-1])))
        return encoder | decoder

    def fit(self, train: View, valid: View, *, seed: int, context: Context = _CONTEXT) -> TrainedMaskedAutoencoder:
        """Train on the training cells until the validation cells' loss no longer falls."""
        found: TrainedMaskedAutoencoder = _together.only(self.fit_many([Job(train, valid, seed)], context=context))
        return found

    def fit_many(
        self, jobs: Sequence[Job], *, context: Context = _CONTEXT
    ) -> list[TrainedMaskedAutoencoder | Exception]:
        """Train several models as one batch, those with as many genes together; memory grows with all their cells."""

        def prepare(job: Job) -> _mlp.Data:
            return _mlp.prepared(NAME, job.train, job.valid, self.n_genes, job.seed)

        def train(data: Sequence[_mlp.Data], some: Sequence[int]) -> list[TrainedMaskedAutoencoder | Exception]:
            return self._train(data, [jobs[i].seed for i in some], context)

        groups = functools.partial(self._groups, device=context.device)
        return _together.fit_many(jobs, prepare, groups, train, context, NAME)

    def _groups(self, data: Mapping[int, _mlp.Data], device: str) -> list[list[int]]:
        """Return positions of models to be trained together: of as many genes, looked at after as many steps."""
        kinds: dict[tuple[int, bool, int], list[int]] = {}
        for i, one in data.items():
            streamed = isinstance(one.counts, _streams.Stream)
            kinds.setdefault((len(one.genes), streamed, self._schedule(one).check_every), []).append(i)
        found = []
        for (genes, _, _), same in kinds.items():
            most = max(_TOGETHER[device.split(":")[0]] // (self.batch_size * genes), 1)
            found += [same[start : start + most] for start in range(0, len(same), most)]
        return found

    def _train(
        self, data: Sequence[_mlp.Data], seeds: Sequence[int], context: Context
    ) -> list[TrainedMaskedAutoencoder | Exception]:
        weights = _mlp.start(self.shapes(len(data[0].genes)), seeds, context.device)
        run = {"model": repr(self), "seeds": list(seeds), "values": [one.fingerprint for one in data]}
        loss, judge = self._losses(data, weights, seeds, context.device)
        state = _training.train(weights, loss, judge, self._schedule(data[0]), context, run)

        def finished(m: int) -> TrainedMaskedAutoencoder:
            history = _training.curve(state, m, self.lr, judged=data[m].valid.n_obs > 0)
            return self._finished(data[m], _alone(weights, m), context, seeds[m], history)

        return [_together.attempt(functools.partial(finished, m)) for m in range(len(data))]

    def untrained(self, train: View, *, seed: int, context: Context = _CONTEXT) -> TrainedMaskedAutoencoder:
        """Return the network as initialised, on the genes that training would choose."""
        data = _mlp.prepared(NAME, train, train.take(np.arange(0)), self.n_genes, seed)
        with _training.quiet(context, NAME):
            weights = _mlp.start(self.shapes(len(data.genes)), [seed], context.device)
            return self._finished(data, weights, context, seed)

    def load(self, folder: Path, *, context: Context = _CONTEXT) -> TrainedMaskedAutoencoder:
        """Return the model that was saved in ``folder``, on the context's device."""
        features, stored = _saved.read(folder, NAME)
        genes, mean, variance = (stored.pop(name) for name in ("genes", "mean", "variance"))
        model, baseline = variance.tolist()
        return TrainedMaskedAutoencoder(self, features, genes, stored, mean, (model, baseline), context)

    def cost(self, cells: float, features: float) -> float:
        """Return CPU seconds, roughly: of all updates, which early stopping may not need."""
        forms = self.shapes(int(features if self.n_genes == "all" else min(self.n_genes, features)))
        size = min(self.batch_size, cells)
        return 1.0 + self.max_updates * (2e-3 + 4e-9 * _stack.count(forms) + size * _mlp.flop(forms) / 1e10)

    def _schedule(self, data: _mlp.Data) -> Schedule:
        every = _mlp.checks(self.check_every, data.counts.shape[0], self.batch_size)
        return Schedule(
            self.max_updates, self.lr, self.batch_size, 0, "cosine", self.weight_decay, every, self.patience,
            decay_all=True, min_delta=self.min_delta,
        )  # fmt: skip

    def _losses(
        self, data: Sequence[_mlp.Data], weights: Weights, seeds: Sequence[int], device: str
    ) -> tuple[Any, Any]:
        """Return the loss of a step and that of the validation cells, (M,) each."""
        import torch

        cells = training_cells([one.counts for one in data], [one.total for one in data], device)
        errors = [_Errors(one, seed, self.mask_rate, device) for one, seed in zip(data, seeds, strict=True)]

        def loss(step: int) -> Any:
            random = _training.Random(seeds, step, device)
            values = scaled(*cells.batch(cells.rows(self.batch_size, seeds, step)))
            hide = random.uniform(*values.shape[1:]) < self.mask_rate
            out = foretold(weights, values, hide, self.mask_rate, random.dropping(self.dropout))
            return ((out - values).square() * hide).mean((1, 2))

        def judge(step: int) -> Any:
            return torch.cat([own.mean(_alone(weights, m), step) for m, own in enumerate(errors)])

        return loss, judge

    def _finished(
        self, data: _mlp.Data, weights: Weights, context: Context, seed: int, history: Sequence[dict[str, float]] = ()
    ) -> TrainedMaskedAutoencoder:
        """Return the trained model; without validation cells both errors are the baseline's on training cells."""
        known = _likelihoods.constants("mse", data.counts, data.total)
        spread = float(known["variance"].mean())
        errors = _Errors(data, seed, self.mask_rate, context.device)
        variance = errors.variances(weights, known["mean"]) if data.valid.n_obs else (spread, spread)
        cells = history[-1]["cells"] if history else 0
        return TrainedMaskedAutoencoder(
            self, data.features, data.genes, _stack.arrays(weights, 0), known["mean"], variance,
            Context(Path(), context.device, context.threads), history,
            _flops.TRAINING * _mlp.flop(self.shapes(len(data.genes))) * cells,
        )  # fmt: skip


def _alone(weights: Weights, m: int) -> Weights:
    """Return the weights of model ``m``, with a leading dimension of 1: views, no copies."""
    return {name: tensor[m : m + 1] for name, tensor in weights.items()}


def foretold(weights: Weights, values: Any, hide: Any, rate: float, drop: Drop = keep) -> Any:
    """Return what the networks make (M, B, g) of values (M, B, g) without those that ``hide``."""
    left = values * ~hide / (1 - rate)
    return _mlp.forward(weights, "up", _mlp.forward(weights, "down", left, drop=drop), drop=drop)


class _Errors:
    """Squared errors at the entries of validation cells that are hidden, always the same ones."""

    def __init__(self, data: _mlp.Data, seed: int, rate: float, device: str) -> None:
        import torch

        ids, genes = data.valid.cell_ids, data.valid.feature_ids[data.genes]
        self.rate, self.cells = rate, Cells.of([data.held], [data.held_total], device)
        self.hide = torch.from_numpy(hidden(ids, genes, seed, rate)).to(device)
        self.values = scaled(*self.cells.batch(np.arange(len(ids))[None])) if len(ids) else None

    def mean(self, weights: Weights, step: int) -> Any:
        """Return (1,) mean over all entries, as in training; ``-step`` where there are no cells: the last is best."""
        import torch

        if self.values is None:
            return torch.full((1,), -float(step), device=self.hide.device)
        return self._squares(self._out(weights)).mean((1, 2))

    def variances(self, weights: Weights, mean: NDArray[np.float64]) -> tuple[float, float]:
        """Return the mean squared error of a hidden entry, the network's and that of the genes' means."""
        import torch

        with torch.no_grad():
            outs = self._out(weights), torch.from_numpy(mean).to(self.hide.device)
            own, baseline = (float(self._squares(out).sum() / self.hide.sum()) for out in outs)
        return max(own, _likelihoods.FLOOR), max(baseline, _likelihoods.FLOOR)

    def _out(self, weights: Weights) -> Any:
        return foretold(weights, self.values, self.hide[None], self.rate)

    def _squares(self, out: Any) -> Any:
        return (out - self.values).square() * self.hide


def _coordinates(weights: Weights, values: Any) -> Any:
    return _mlp.forward(weights, "down", values)[0]


@dataclass(frozen=True, eq=False)
class TrainedMaskedAutoencoder:
    """A network on ``genes`` (g,), positions in ``features`` (p,); ``mean`` (g,) of the training cells' values.

    ``variance`` of an error at a hidden entry of validation cells: the network's, and the baseline's, which says
    ``mean``.
    """

    model: MaskedAutoencoder
    features: pd.Index
    genes: Ints
    weights: Arrays
    mean: NDArray[np.float64]
    variance: tuple[float, float]
    context: Context
    history: Sequence[dict[str, float]] = ()
    train_flops: float = 0.0

    @property
    def n_params(self) -> int:
        """Number of trained weights."""
        return _stack.count(self.model.shapes(len(self.genes)))

    @property
    def loss_measure(self) -> str:
        """What the losses are measured in."""
        return _likelihoods.MEASURE["mse"].format(genes="all genes")

    def embed(self, view: View) -> Floats:
        """Return (n, dim) float32: what the encoder makes of the whole cell, nothing hidden or scaled."""
        return _mlp.embedding(NAME, self, _coordinates, view)

    def losses(self, view: View, *, seed: int, genes: pd.Index | None = None) -> NDArray[np.float64]:
        """Return (n,) bits per hidden gene of each cell: of a normal density about what the network foretells.

        ``genes`` (default all) are the ones that count. Which entries are hidden is a hash of (seed, cell, gene).
        """
        return self._losses(view, seed, genes, baseline=False)

    def baseline_losses(self, view: View, *, seed: int, genes: pd.Index | None = None) -> NDArray[np.float64]:
        """Return (n,) the same of the gene-mean baseline with its own variance, on the same hidden entries."""
        return self._losses(view, seed, genes, baseline=True)

    def _losses(self, view: View, seed: int, genes: pd.Index | None, *, baseline: bool) -> NDArray[np.float64]:
        import torch

        features = self.features[self.genes]
        counted = np.full(len(features), genes is None)
        if genes is not None:
            counted[positions(features, genes, NAME)] = True
        parts, device, rate = [np.empty(0)], self.context.device, self.model.mask_rate
        with _training.quiet(self.context, NAME), torch.no_grad():
            weights, out = _mlp.tensors(self.weights, device), torch.from_numpy(self.mean).to(device)
            for values, block in _mlp.blocks(NAME, view, self.features, self.genes, device):
                masked = hidden(block.cell_ids, block.feature_ids, seed, rate)
                masked[:, counted] |= hidden(block.cell_ids, block.feature_ids[counted], seed, rate)
                if not baseline:
                    out = foretold(weights, values, torch.from_numpy(masked)[None].to(device), rate)
                squares = (out - values)[0].double().square().cpu().numpy()
                found = _likelihoods.as_bits("mse", squares, self.variance[baseline])
                asked = masked & counted
                parts.append((found * asked).sum(axis=1) / asked.sum(axis=1))
        return np.concatenate(parts)

    def adapt(self, view: View, y: Ints, *, seed: int, frozen: bool) -> _adapting.AdaptedNetwork:
        """Return a copy with a classifier on the embedding; see ``protocols.Adapted``."""
        return _mlp.adapted(NAME, self, _coordinates, view, y, seed=seed, frozen=frozen)

    def save(self, folder: Path) -> None:
        """Write the model to ``folder``."""
        known = {"mean": self.mean, "variance": np.array(self.variance)}
        _saved.write(folder, NAME, self.features, genes=self.genes, **known, **self.weights)
