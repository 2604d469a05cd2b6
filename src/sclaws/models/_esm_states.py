"""What an ESM-2 network sees and says: sequences as tokens, mean states, residues hidden and foretold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sclaws.errors import ModelError
from sclaws.models._batches import hidden_entries
from sclaws.models._esm import CLS, EOS, MASK, NAME, PAD, TOKENS
from sclaws.protocols import Ids, Ints, View
from sclaws.residues import AMINO_ACIDS, GAP, PADDING, refusal

SHARE = 0.15  # of the residues, that are hidden
KINDS = len(AMINO_ACIDS)
_BLOCK = {"cpu": 2**13, "cuda": 2**17}  # tokens looked at together when nothing is learned
_UNSEEN = 0.5  # added to each residue's number at a position (Krichevsky & Trofimov 1981)

Foretell: TypeAlias = Callable[[Any, Any, Any], Any]


class Proteins(NamedTuple):
    """Codes (n, p) int8, and the ids of sequences (n,) and positions (p,) that choices are hashed from."""

    codes: NDArray[np.int8]
    cells: Ids
    features: Ids

    def take(self, rows: Ints) -> Proteins:
        """Return some of them."""
        return Proteins(self.codes[rows], self.cells[rows], self.features)

    @property
    def lengths(self) -> Ints:
        """(n,) positions up to the last that is no padding."""
        there = self.codes != PADDING
        return np.asarray(np.where(there.any(axis=1), there.shape[1] - there[:, ::-1].argmax(axis=1), 0))


def read(view: View) -> Proteins:
    """Return the sequences of a view; ``ModelError`` when its values are no codes of residues."""
    blocks = [block.values for block in view.batches()]
    for values in blocks:
        if what := refusal(values):
            raise ModelError(f"{NAME} needs sequences, codes of residues, and these values are {what}; another model")
    found = np.concatenate(blocks) if blocks else np.empty((0, view.n_vars))
    return Proteins(found.astype(np.int8), view.cell_ids, view.feature_ids)


def tokens(proteins: Proteins) -> NDArray[np.int64]:
    """Return (n, longest + 2) tokens: a beginning, one a position, an end, and padding."""
    lengths = proteins.lengths
    out = np.full((len(lengths), int(lengths.max(initial=0)) + 2), PAD, dtype=np.int64)
    out[:, 0] = CLS
    out[:, 1:-1] = TOKENS[proteins.codes[:, : out.shape[1] - 2]]
    out[np.arange(len(out)), lengths + 1] = EOS
    return out


def foreteller(net: Any) -> Any:
    """Return the module (ids (B, L), mask (B, L) or None, asked (B, L)) -> logits (Q, 33) of the positions asked for.

    Only these go through the head. A mask is for batches with padding alone: without one attention is quicker.
    """
    import torch

    class Foretelling(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, ids: Any, mask: Any, asked: Any) -> Any:
            return self.net.lm_head(self.net.esm(ids, attention_mask=mask).last_hidden_state[asked])

    return Foretelling()


def unpadded(ids: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return 1 for the tokens and 0 for padding, or ``None`` where there is none."""
    return None if (real := ids != PAD).all() else real.astype(np.int64)


def on(device: str, *arrays: NDArray[Any] | None) -> list[Any]:
    """Return arrays as tensors on a device."""
    import torch

    return [None if a is None else torch.from_numpy(a).to(device) for a in arrays]


def _batches(proteins: Proteins, device: str) -> Iterator[Ints]:
    """Yield positions of sequences of about one length, a limited number of tokens at a time."""
    lengths = proteins.lengths
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        size = max(_BLOCK[device.split(":")[0]] // (int(lengths[order[start]]) + 2), 1)
        yield order[start : start + size]
        start += size


def means(net: Any, proteins: Proteins, device: str) -> NDArray[np.float32]:
    """Return (n, width) means of the last layer's states over residues, known or not; 0 for a sequence without any.

    The beginning, the end, gaps and padding are left out. Equal sequences are looked at once.
    """
    import torch

    different, again = np.unique(proteins.codes, axis=0, return_inverse=True)
    some = Proteins(different, np.zeros(len(different), dtype=np.uint64), proteins.features)
    out = np.zeros((len(different), net.config.hidden_size), dtype=np.float32)
    for rows in _batches(some, device):
        mine = some.take(rows)
        ids = tokens(mine)
        residues = (mine.codes[:, : ids.shape[1] - 2] < GAP).astype(np.float32)
        with torch.no_grad():
            seen, mask, weight = on(device, ids, unpadded(ids), residues)
            states = net.esm(seen, attention_mask=mask).last_hidden_state[:, 1:-1].float()
            mean = torch.einsum("npd,np->nd", states, weight) / weight.sum(1, keepdim=True).clamp(min=1.0)
        out[rows] = mean.cpu().numpy()
    return out[again.reshape(-1)]


def hidden(proteins: Proteins, seed: int) -> tuple[Ints, Ints]:
    """Return rows and positions of the residues that are to be foretold: 15 % of the known ones, by a hash.

    A sequence in which none would be has one; a sequence without known residues has none.
    """
    rows, at = np.nonzero(proteins.codes < KINDS)
    chosen = hidden_entries(proteins.cells, rows, proteins.features[at], seed, SHARE)
    return rows[chosen], at[chosen]


def losses(foretell: Foretell, proteins: Proteins, seed: int, device: str) -> NDArray[np.float64]:
    """Return (n,) mean -log2 P of the hidden residues, among the 20, all of them replaced by the mask."""
    import torch

    out = np.zeros(len(proteins.codes))
    amino = torch.from_numpy(TOKENS[:KINDS]).to(device)
    for some in _batches(proteins, device):
        mine = proteins.take(some)
        rows, at = hidden(mine, seed)
        ids = tokens(mine)
        ids[rows, at + 1] = MASK
        asked = np.zeros(ids.shape, dtype=bool)
        asked[rows, at + 1] = True
        with torch.no_grad():
            logits = foretell(*on(device, ids, unpadded(ids), asked))[:, amino].float()
            (target,) = on(device, mine.codes[rows, at].astype(np.int64))
            nats = torch.nn.functional.cross_entropy(logits, target, reduction="none").double().cpu().numpy()
        out[some] = _averaged(nats / math.log(2), rows, len(some))
    return out


def frequencies(proteins: Proteins) -> NDArray[np.float64]:
    """Return (p, 20) shares of the residues at each position, half a residue of each kind added."""
    codes = proteins.codes
    found = np.stack([(codes == kind).sum(axis=0) for kind in range(KINDS)], axis=1) + _UNSEEN
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def baseline(frequency: NDArray[np.float64], proteins: Proteins, seed: int) -> NDArray[np.float64]:
    """Return (n,) mean -log2 of the hidden residues' share at their position; the same ones are hidden as above."""
    rows, at = hidden(proteins, seed)
    return _averaged(-np.log2(frequency[at, proteins.codes[rows, at]]), rows, len(proteins.codes))


def _averaged(values: NDArray[np.float64], rows: Ints, n: int) -> NDArray[np.float64]:
    number = np.bincount(rows, minlength=n)
    return np.asarray(np.bincount(rows, weights=values, minlength=n) / np.maximum(number, 1))
