"""The network of the Geneformer-type models: cells as sentences of ranked genes, some hidden and foretold; BERT."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sclaws.heads import PUBLISHED, Recipe
from sclaws.models import _adapting, _bert, _crossentropy, _encoder, _flops, _saved, _stack, _training
from sclaws.models._bert_architecture import Config
from sclaws.models._encoder import Drop, keep
from sclaws.models._packing import Packing, ragged
from sclaws.models._stack import Arrays, Shape, Weights
from sclaws.models._vocabulary import MASK, NAME, Piece, Sentences, Vocabulary, chosen, places, read
from sclaws.protocols import Context, Floats, Ints, View

# Of paper C (DenAdel et al., after Theodoris et al. 2023), whose head is linear, and who go once through the cells: of
# a thousand cells that is 56 steps, so here early stopping says when it is enough.
FINE_TUNING = Recipe(rate=2.10031e-4, rate_below=2.10031e-4, batch=18, epochs=50, weight_decay=0.233414, warmup=1000)
_BLOCK = 2**14  # tokens looked at together when nothing is learned


def shape(config: Config) -> Shape:
    """Return the encoder's shape: BERT normalises after each part."""
    return Shape(config.width, config.layers, config.heads, config.hidden, False, config.activation, config.epsilon)


def tokens(weights: Weights, ids: Any, places: Any, epsilon: float, drop: Drop = keep) -> Any:
    """Return (M, T, d) of ``ids`` and their ``places`` in the sentences, both (M, T)."""
    import torch

    models, vocabulary, d = weights["words"].shape
    first = torch.arange(models, device=ids.device)[:, None]
    words = torch.nn.functional.embedding(ids + first * vocabulary, weights["words"].view(-1, d))
    where = torch.nn.functional.embedding(
        places + first * weights["positions"].shape[1], weights["positions"].view(-1, d)
    )
    x = words + where + weights["types"][:, :1]
    return drop(_encoder.norm(x, weights["norm.weight"], weights["norm.bias"], epsilon))


def foretell(weights: Weights, config: Config, ids: Any, places: Any, packing: Packing, drop: Drop = keep) -> Any:
    """Return the (M, Q, d) states whose products with the words, plus ``decoder.bias``, are the logits."""
    x = tokens(weights, ids, places, config.epsilon, drop)
    x = _encoder.encode(weights, x, shape(config), packing, wanted=True, drop=drop)
    x = _encoder.linear(x, weights["transform.weight"], weights["transform.bias"])
    x = _encoder.activate(x, config.activation)
    return _encoder.norm(x, weights["transform_norm.weight"], weights["transform_norm.bias"], config.epsilon)


@dataclass(frozen=True, eq=False)
class TrainedGeneformer:
    """A trained network and its vocabulary. ``layer``: whose states are averaged, -1 the last, -2 the one before.

    ``frequency`` (vocabulary,): the share of each token in the training sentences, which is what the baseline knows.
    ``share_found``: of its genes, in the data it was trained on.
    """

    config: Config
    words: Vocabulary
    weights: Arrays
    frequency: NDArray[np.float64]
    layer: int
    context: Context
    share_found: float = 1.0
    train_flops: float = 0.0
    history: Sequence[dict[str, float]] = ()
    speed: dict[str, float] = field(default_factory=dict)

    @property
    def features(self) -> pd.Index:
        """The genes that have tokens."""
        return self.words.features

    @property
    def n_params(self) -> int:
        """Number of weights."""
        return sum(w.size for w in self.weights.values())

    @property
    def loss_measure(self) -> str:
        """What the losses are measured in."""
        return f"bits of a hidden token's identity, of {self.config.vocabulary} tokens, given the ranked others"

    def embed(self, view: View) -> Floats:
        """Return (n, d) float32: the mean over a cell's tokens of a layer's states; 0 for a cell without tokens."""
        parts = [np.empty((0, self.config.width), dtype=np.float32)]
        parts += [
            _means(weights, self.config, self.layer, piece, self.context.device)
            for weights, piece in self._pieces(view)
        ]
        return np.concatenate(parts)

    def losses(self, view: View, *, seed: int) -> NDArray[np.float64]:
        """Return (n,) bits per hidden token of each cell; which are hidden is a hash of (seed, cell, gene).

        All that are hidden are replaced by the mask. A cell without tokens has nothing to foretell: 0.
        """
        parts = [np.empty(0)]
        for weights, piece in self._pieces(view):
            hide = piece.hidden(seed)
            found = _nats(weights, self.config, self.words.mask, piece, hide, self.context.device)
            parts.append(piece.averaged(found / math.log(2), hide))
        return np.concatenate(parts)

    def baseline_losses(self, view: View, *, seed: int) -> NDArray[np.float64]:
        """Return (n,) bits per hidden token when only each token's frequency in the training cells is known."""
        bits = -np.log2(self.frequency)
        parts = [np.empty(0)]
        for _, piece in self._pieces(view):
            hide = piece.hidden(seed)
            parts.append(piece.averaged(bits[piece.ids[hide]], hide))
        return np.concatenate(parts)

    def _pieces(self, view: View) -> Iterator[tuple[Weights, Piece]]:
        """Yield the weights and a few cells' sentences at a time; nothing is learned."""
        import torch

        with _training.quiet(self.context, NAME), torch.no_grad():
            weights = _stack.stacked([self.weights], self.context.device)
            ranking = self.words.of(view, self.config.context)
            for cells, found in ranking.blocks():
                for some in _slices(found.lengths):
                    ids = found.ids[found.starts[some.start] : found.starts[some.stop]].astype(np.int64)
                    yield weights, Piece(cells[some], ranking.genes, ids, found.lengths[some])

    def adapt(self, view: View, y: Ints, *, seed: int, frozen: bool) -> _adapting.AdaptedNetwork:
        """Return a copy with a classifier on the means over tokens; see ``protocols.Adapted``.

        Unfrozen, as published (:data:`FINE_TUNING`): the first third of the layers stays as it is, 2 of 6.
        """
        weights = _stack.stacked([self.weights], self.context.device)
        first = tuple(f"layers.{i}." for i in range(self.config.layers // 3))
        for name, weight in weights.items():
            weight.requires_grad_(not name.startswith(first))

        def pieces(cells: View) -> Callable[[Ints], Piece]:
            return read(self.words.of(cells, self.config.context)).piece

        def means(own: Weights, piece: Piece) -> Any:
            return _pooled(own, self.config, self.layer, piece, self.context.device)

        recipe = PUBLISHED if frozen else FINE_TUNING
        return _adapting.adapted(
            weights, pieces, means, view, y, seed=seed, frozen=frozen, context=self.context, recipe=recipe
        )

    def save(self, folder: Path) -> None:
        """Write the model to ``folder``, as Hugging Face's ``BertForMaskedLM`` reads it."""
        words = self.words
        _bert.write(
            folder, self.config, self.weights, words.features, words.ids, words.medians,
            mask_id=words.mask, pad_id=words.pad,
        )  # fmt: skip
        own = {"ids": words.ids, "medians": words.medians, "special": [words.mask, words.pad]}
        _saved.write(folder, NAME, words.features, frequency=self.frequency, **own)


def flops(config: Config, lengths: Ints) -> float:
    """Return the operations of one forward pass over cells of ``lengths`` (n,) tokens, 15 % of them foretold."""
    asked = MASK * np.asarray(lengths, dtype=np.float64)
    head = 2 * config.width * (config.width + config.vocabulary) * asked.sum()
    return _flops.forward(shape(config), lengths, asked) + float(head)


def mean_nats(weights: Weights, config: Config, mask: int, cells: Sentences, seed: int, device: str) -> float | None:
    """Return the mean over cells of -log P of their hidden tokens, the same ones each time; ``None`` without any."""
    sums, number = 0.0, 0
    for some in _slices(cells.lengths):
        piece = cells.piece(np.arange(some.start, some.stop))
        hide = piece.hidden(seed)
        means = piece.averaged(_nats(weights, config, mask, piece, hide, device), hide)
        sums, number = sums + float(means.sum()), number + int((piece.lengths > 0).sum())
    return sums / number if number else None


def _slices(lengths: Ints) -> Iterator[slice]:
    """Yield runs of cells of a limited number of tokens, at least one cell each."""
    of = (np.cumsum(lengths) - lengths) // _BLOCK
    edges = [0, *(np.flatnonzero(np.diff(of)) + 1), len(lengths)]
    yield from (slice(int(start), int(stop)) for start, stop in itertools.pairwise(edges) if stop > start)


def _nats(
    weights: Weights, config: Config, mask: int, piece: Piece, hide: NDArray[np.bool_], device: str
) -> NDArray[np.float64]:
    """Return -log P of each hidden token, all of them replaced by the mask."""
    import torch

    packing = ragged(piece.lengths[None], chosen(hide, piece.lengths)[None], device)
    seen = torch.from_numpy(np.where(hide, mask, piece.ids)[None]).to(device)
    where = torch.from_numpy(places(piece.lengths)[None]).to(device)
    if not hide.any():
        return np.empty(0)
    states = foretell(weights, config, seen, where, packing)[0]
    target = torch.from_numpy(piece.ids[hide]).to(device)
    found = _crossentropy.nats(states, weights["words"][0], weights["decoder.bias"][0], target)
    return np.asarray(found.double().cpu().numpy())


def _means(weights: Weights, config: Config, layer: int, piece: Piece, device: str) -> NDArray[np.float32]:
    """Return (n, d) means over tokens of the states after a layer."""
    return np.asarray(_pooled(weights, config, layer, piece, device).cpu().numpy())


def _pooled(weights: Weights, config: Config, layer: int, piece: Piece, device: str) -> Any:
    """Return the (n, d) tensor of means over tokens of the states after a layer, which can be differentiated."""
    import torch

    out = torch.zeros(len(piece.lengths), config.width, device=device)
    if len(piece.ids):
        form = replace(shape(config), layers=config.layers + 1 + layer)
        packing = ragged(piece.lengths[None], None, device)
        ids, where = (torch.from_numpy(a[None]).to(device) for a in (piece.ids, places(piece.lengths)))
        states = _encoder.encode(weights, tokens(weights, ids, where, config.epsilon), form, packing)[0]
        out = out.index_add(0, torch.from_numpy(piece.owner).to(device), states.float())
    return out / torch.from_numpy(np.maximum(piece.lengths, 1).astype(np.float32)).to(device)[:, None]
