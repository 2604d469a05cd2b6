"""Perceptrons of cells: the network and the data of ``masked-autoencoder`` and ``contrastive``.

Tensors have a leading dimension of M models, which the training loop (:mod:`sclaws.models._training`) trains side by
side: of those without batch normalisation several, of the others one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sclaws.errors import ModelError, PluginError
from sclaws.hashing import ranked
from sclaws.models import _adapting, _checkpoint, _encoder, _stack, _streams, _training
from sclaws.models._batches import Cells, scaled
from sclaws.models._encoder import Drop, keep
from sclaws.models._normalise import aligned, checked, read_counts, totals
from sclaws.models._stack import Arrays, Weights
from sclaws.protocols import Block, Context, Floats, Ints, View

BLOCK = 2048  # cells at once when nothing is learned
_VALIDATION = 1000  # cells at most that decide when to stop
_SLOPE = 0.25  # of a PReLU at its start, as in torch
_MOMENTUM, _EPSILON = 0.1, 1e-5  # of a batch normalisation, as in torch

Shapes = Mapping[str, tuple[int, ...]]
Coordinates: TypeAlias = Callable[[Weights, Any], Any]  # values (1, B, g) -> (B, d) tensor


# ── the network ──────────────────────────────────────────────────────────────────────────────────────────────────────
def shapes(name: str, widths: Sequence[int], *, normalised: bool) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the weights of perceptron ``name``; ``widths`` of its input, hidden layers and output.

    A layer is a product and a shift. After all but the last comes SELU or, ``normalised``, a batch normalisation with
    a scale and a shift, and a PReLU with one slope.
    """
    out: dict[str, tuple[int, ...]] = {}
    for i, (wide, narrow) in enumerate(itertools.pairwise(widths)):
        out |= {f"{name}.{i}.weight": (wide, narrow), f"{name}.{i}.bias": (narrow,)}
        if normalised and i < len(widths) - 2:
            out |= {f"{name}.{i}.norm.weight": (narrow,), f"{name}.{i}.norm.bias": (narrow,), f"{name}.{i}.slope": (1,)}
    return out


def start(forms: Shapes, seeds: Sequence[int], device: str) -> Weights:
    """Return the weights that training starts from, a model a seed: matrices uniform after Glorot & Bengio (2010).

    With the moving averages of batch normalisations, mean 0 and variance 1, which have no gradient.
    """
    import torch

    weights = _stack.drawn(forms, seeds, device, normal=("none",))
    for name in [name for name in weights if name.endswith("slope")]:
        weights[name] = torch.full_like(weights[name], _SLOPE).requires_grad_()
    for name in [name for name in weights if name.endswith("norm.weight")]:
        layer = name.removesuffix("weight")
        weights[f"{layer}mean"] = torch.zeros_like(weights[name], requires_grad=False)
        weights[f"{layer}variance"] = torch.ones_like(weights[name], requires_grad=False)
    return weights


def forward(weights: Weights, name: str, x: Any, *, drop: Drop = keep, learning: bool = False) -> Any:
    """Return the outputs (M, B, out) of perceptron ``name`` for x (M, B, in); M is 1 if it is normalised.

    ``drop`` is dropout after an activation; as published, a normalised one has none before its last layer.
    ``learning``: batches are normalised by themselves, and the moving averages follow them.
    """
    import torch

    normalised, last = f"{name}.0.norm.weight" in weights, _layers(weights, name) - 1
    for i in range(last + 1):
        own = {key.removeprefix(f"{name}.{i}."): w for key, w in weights.items() if key.startswith(f"{name}.{i}.")}
        x = _encoder.linear(x, own["weight"], own["bias"])
        if i < last:
            x = _normalised(own, x, learning) if normalised else torch.nn.functional.selu(x)
            x = x if normalised and i == last - 1 else drop(x)
    return x


def _layers(weights: Weights, name: str) -> int:
    return next(i for i in itertools.count() if f"{name}.{i}.weight" not in weights)


def _normalised(own: Weights, x: Any, learning: bool) -> Any:
    import torch

    known = own["norm.mean"][0], own["norm.variance"][0]
    scale = own["norm.weight"][0], own["norm.bias"][0]
    x = torch.nn.functional.batch_norm(x[0], *known, *scale, learning, _MOMENTUM, _EPSILON)
    return torch.nn.functional.prelu(x, own["slope"][0])[None]


def flop(forms: Shapes) -> float:
    """Return the floating-point operations of a cell's way through, products alone."""
    return float(sum(2 * math.prod(form) for form in forms.values() if len(form) > 1))


# ── its data ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, eq=False)
class Data:
    """What a model trains on: counts (n, g) of its genes, (n,) totals over all features, and ``valid``, the view."""

    features: pd.Index
    genes: Ints
    counts: _streams.Counts
    total: NDArray[np.float64]
    held: sparse.csr_matrix
    held_total: NDArray[np.float64]
    valid: View

    @property
    def fingerprint(self) -> str:
        """A checksum of the training cells: a run of others is another run."""
        return _checkpoint.fingerprint((*_streams.values(self.counts), self.total, self.genes))


def prepared(name: str, train: View, valid: View, n_genes: int | Literal["all"], seed: int) -> Data:
    """Return what is trained on: the genes that vary most in training cells, at most 1,000 validation cells."""
    if train.n_obs < 2:
        raise ModelError(f"{name}: {train.n_obs} training cells; 2 are needed, take more")
    valid = aligned(valid.take(np.sort(ranked(valid.cell_ids, seed)[:_VALIDATION])), train.feature_names, name)
    held, mine = read_counts(valid, name), _streams.chosen(train, n_genes, name)
    return Data(train.feature_names, mine.genes, mine.counts, mine.total, held[:, mine.genes], totals(held), valid)


def blocks(name: str, view: View, features: pd.Index, genes: Ints, device: str) -> Iterator[tuple[Any, Block]]:
    """Yield log(1 + 10,000·count/total) (1, B, g) of the model's genes, and the block of them."""
    chosen = aligned(view, features, name)
    for block in chosen.batches(BLOCK):
        counts = checked(block.values, name)
        cells = Cells.of([counts[:, genes]], [totals(counts)], device)
        here = Block(block.cell_ids, block.feature_ids[genes], counts[:, genes])
        yield scaled(*cells.batch(np.arange(counts.shape[0])[None])), here


# ── what a trained one does ──────────────────────────────────────────────────────────────────────────────────────────
class Trained(Protocol):
    """What is asked of a trained model."""

    @property
    def features(self) -> pd.Index:
        """The features (p,) that it was trained on."""

    @property
    def genes(self) -> Ints:
        """Which of them it reads (g,)."""

    @property
    def weights(self) -> Arrays:
        """Its weights, by name."""

    @property
    def context(self) -> Context:
        """The device and the threads that it works with."""


def tensors(arrays: Arrays, device: str) -> Weights:
    """Return a trained model's weights on the device, to be looked at alone."""
    return {name: w.requires_grad_(False) for name, w in _stack.stacked([arrays], device).items()}


def embedding(name: str, trained: Trained, coordinates: Coordinates, view: View) -> Floats:
    """Return the (n, d) float32 coordinates of the view's cells."""
    import torch

    with _training.quiet(trained.context, name), torch.no_grad():
        weights = tensors(trained.weights, trained.context.device)
        some = blocks(name, view, trained.features, trained.genes, trained.context.device)
        parts = [coordinates(weights, values) for values, _ in some]
        nothing = torch.zeros(1, 0, len(trained.genes), device=trained.context.device)
        return np.asarray(torch.cat(parts or [coordinates(weights, nothing)]).cpu().numpy())


def adapted(
    name: str, trained: Trained, coordinates: Coordinates, view: View, y: Ints, *, seed: int, frozen: bool
) -> _adapting.AdaptedNetwork:
    """Return a copy with a classifier on the coordinates; moving averages of normalisations stay as they are."""
    device, weights = trained.context.device, _stack.stacked([trained.weights], trained.context.device)
    for key, weight in weights.items():
        weight.requires_grad_(not key.endswith(("norm.mean", "norm.variance")))

    def read(cells: View) -> Callable[[Ints], Any]:
        counts = read_counts(aligned(cells, trained.features, name), name)
        some = Cells.of([counts[:, trained.genes]], [totals(counts)], device)
        return lambda rows: scaled(*some.batch(np.asarray(rows)[None]))

    return _adapting.adapted(weights, read, coordinates, view, y, seed=seed, frozen=frozen, context=trained.context)


# ── its fields ───────────────────────────────────────────────────────────────────────────────────────────────────────
def refuse(
    name: str, model: Any, *, above: Sequence[str] = (), not_below: Sequence[str] = (), shares: Sequence[str] = ()
) -> None:
    """Raise ``PluginError`` for fields that cannot be: those that both models have, and the named ones.

    ``above`` 0, ``not_below`` 0, and ``shares``: 0 or more, and below 1.
    """
    for field in ("dim", "max_updates", "lr", "check_every", "patience", *above):
        if not getattr(model, field) > 0:
            raise PluginError(f"{name}: {field} = {getattr(model, field)} must be above 0")
    for field in ("weight_decay", *not_below):
        if not getattr(model, field) >= 0:
            raise PluginError(f"{name}: {field} = {getattr(model, field)} must not be below 0")
    for field in ("dropout", *shares):
        if not 0 <= getattr(model, field) < 1:
            raise PluginError(f"{name}: {field} = {getattr(model, field)} must lie between 0 and 1")
    if not model.widths or min(model.widths) < 1:
        raise PluginError(f"{name}: widths = {tuple(model.widths)} must be at least one layer, each above 0")
    if model.n_genes != "all" and model.n_genes < 1:
        raise PluginError(f'{name}: n_genes = {model.n_genes} must be above 0, or "all"')


def checks(check_every: int, cells: int, batch: int) -> int:
    """Return the steps between two looks at validation cells: ``check_every``, or an epoch if that is longer."""
    return max(check_every, math.ceil(cells / batch))
