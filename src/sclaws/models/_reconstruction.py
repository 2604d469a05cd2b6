"""The network of ``masked-reconstruction``: genes as tokens, values hidden and foretold; and what is trained of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sclaws.models import _encoder, _likelihoods, _saved, _stack, _training
from sclaws.models._batches import Cells, hidden, positions, scaled
from sclaws.models._encoder import Drop, keep
from sclaws.models._normalise import aligned, checked
from sclaws.models._normalise import positions as positions_of
from sclaws.models._packing import Equal
from sclaws.models._stack import Arrays, Shape, Weights
from sclaws.protocols import Context, Floats, Ints, View

NAME = "masked-reconstruction"
BLOCK = 2**21  # numbers in the states of the cells that are looked at together when nothing is learned


def shapes(genes: int, shape: Shape, outputs: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all weights; with one output their number is the published one (paper A)."""
    d = shape.width
    tokens: dict[str, tuple[int, ...]] = {"genes": (genes, d), "value.weight": (d,), "value.bias": (d,), "mask": (d,)}
    return tokens | _stack.layer_shapes(shape) | {"head.weight": (d, outputs), "head.bias": (outputs,)}


def tokens(weights: Weights, values: Any, hide: Any | None = None) -> Any:
    """Return (M, B·genes, d) of values (M, B, genes): a gene's vector plus its value's, or the mask's."""
    import torch

    x = values[..., None] * weights["value.weight"][:, None, None] + weights["value.bias"][:, None, None]
    if hide is not None:
        x = torch.where(hide[..., None], weights["mask"][:, None, None], x)
    return (x + weights["genes"][:, None]).flatten(1, 2)


def foretell(weights: Weights, values: Any, shape: Shape, wanted: Any, hide: Any, drop: Drop = keep) -> Any:
    """Return the head's outputs (M, B, K, outputs) at ``wanted`` (M, B, K) genes; values that ``hide`` are not seen."""
    packing = Equal(values.shape[1], values.shape[2], wanted)
    x = _encoder.encode(weights, tokens(weights, values, hide), shape, packing, wanted=True, drop=drop)
    return _encoder.linear(x, weights["head.weight"], weights["head.bias"]).view(*wanted.shape, -1)


@dataclass(frozen=True)
class Task:
    """What is foretold of masked entries and how that is judged: the same for a model and its baseline."""

    likelihood: _likelihoods.Likelihood
    offset: bool  # outputs correct the gene's mean; otherwise (paper A) they are the value

    def nats(self, out: Any | None, counts: Any, values: Any, library: Any, wanted: Any, known: Any) -> Any:
        """Return (M, B, K) losses at ``wanted``; ``known`` (M, genes) constants. No outputs: the baseline's."""
        import torch

        count, value = counts.gather(2, wanted), values.gather(2, wanted)
        mine = {name: c.gather(1, wanted.flatten(1)).view(wanted.shape) for name, c in known.items()}
        if out is None:
            out = torch.zeros(*wanted.shape, _likelihoods.OUTPUTS[self.likelihood], device=wanted.device)
        elif not self.offset:
            out = torch.cat([out[..., :1] - mine["mean"][..., None], out[..., 1:]], dim=-1)
        return _likelihoods.nats(self.likelihood, out, count, value, library[..., None], mine)


@dataclass(frozen=True, eq=False)
class TrainedReconstruction:
    """A trained network on ``genes`` (g,), positions in ``features`` (p,).

    ``known``: (g,) constants of the baseline; ``variance`` of the model's and of the baseline's errors (``mse`` alone).
    ``whole``: values are relative to the cell's total over all genes of the data, not over the model's.
    """

    task: Task
    shape: Shape
    features: pd.Index
    genes: Ints
    weights: Arrays
    known: dict[str, NDArray[np.float64]]
    variance: tuple[float, float]
    whole: bool
    rate: float
    context: Context
    train_flops: float = 0.0
    history: Sequence[dict[str, float]] = ()
    speed: dict[str, float] = field(default_factory=dict)

    @property
    def n_params(self) -> int:
        """Number of trained weights."""
        return sum(w.size for w in self.weights.values())

    @property
    def loss_measure(self) -> str:
        """What the losses are measured in."""
        genes = "all genes" if self.whole else "the model's genes"
        return _likelihoods.MEASURE[self.task.likelihood].format(genes=genes)

    def embed(self, view: View) -> Floats:
        """Return (n, d) float32: the mean over genes of the last layer's states, nothing hidden."""
        parts = [np.empty((0, self.shape.width), dtype=np.float32)]
        for weights, counts, library, _ in self._blocks(view):
            packing = Equal(counts.shape[1], counts.shape[2])
            states = _encoder.encode(weights, tokens(weights, scaled(counts, library)), self.shape, packing)
            parts.append(states.view(counts.shape[1], counts.shape[2], -1).mean(1).float().cpu().numpy())
        return np.concatenate(parts)

    def losses(self, view: View, *, seed: int, genes: pd.Index | None = None) -> NDArray[np.float64]:
        """Return (n,) bits per masked gene of each cell; ``genes`` (default all) are the ones that count.

        Which entries are masked is a hash of (seed, cell, gene). Time: one pass over the cells.
        """
        return self._losses(view, seed, genes, baseline=False)

    def baseline_losses(self, view: View, *, seed: int, genes: pd.Index | None = None) -> NDArray[np.float64]:
        """Return (n,) the same of the gene-mean baseline, under the same likelihood, on the same masked entries."""
        return self._losses(view, seed, genes, baseline=True)

    def _losses(self, view: View, seed: int, genes: pd.Index | None, *, baseline: bool) -> NDArray[np.float64]:
        import torch

        features = self.features[self.genes]
        counted = np.full(len(features), genes is None)
        if genes is not None:
            counted[positions_of(features, genes, NAME)] = True
        parts = [np.empty(0)]
        for weights, counts, library, block in self._blocks(view):
            ids = block.feature_ids
            masked = hidden(block.cell_ids, ids, seed, self.rate)
            asked = hidden(block.cell_ids, ids[counted], seed, self.rate)
            masked[:, counted] |= asked
            at, real = positions(masked & counted)
            wanted = torch.from_numpy(at)[None].to(counts.device)
            values = scaled(counts, library)
            hide = torch.from_numpy(masked)[None].to(counts.device)
            out = None if baseline else foretell(weights, values, self.shape, wanted, hide)
            known = {n: torch.from_numpy(c)[None].to(counts.device) for n, c in self.known.items()}
            found = self.task.nats(out, counts, values, library, wanted, known)[0].cpu().numpy()
            found = _likelihoods.as_bits(self.task.likelihood, found, self.variance[baseline])
            parts.append((found * real).sum(axis=1) / real.sum(axis=1))
        return np.concatenate(parts)

    def _blocks(self, view: View) -> Iterator[tuple[Weights, Any, Any, Any]]:
        """Yield weights, counts (1, B, g), totals (1, B) and the block of the model's genes; nothing is learned."""
        import torch

        view = aligned(view, self.features, NAME).choose(self.genes)
        library = view.library if self.whole else view.totals
        device, at = self.context.device, 0
        with _training.quiet(self.context, NAME), torch.no_grad():
            weights = _stack.stacked([self.weights], device)
            for block in view.batches(max(BLOCK // (len(self.genes) * self.shape.width), 1)):
                n = len(block.cell_ids)
                cells = Cells.of([checked(block.values, NAME)], [library[at : at + n]], device)
                yield weights, *cells.batch(np.arange(n)[None]), block
                at += n

    def save(self, folder: Path) -> None:
        """Write the model to ``folder``."""
        known = {f"known/{name}": values for name, values in self.known.items()}
        weights = {f"weights/{name}": values for name, values in self.weights.items()}
        variance = np.array(self.variance)
        _saved.write(folder, NAME, self.features, genes=self.genes, variance=variance, **known, **weights)
