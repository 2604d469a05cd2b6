"""How ESM-2 networks are trained here: 15 % of the residues hidden, and the weights of the best validation loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sclaws.hashing import mix
from sclaws.models import _checkpoint, _esm, _esm_states, _flops, _training
from sclaws.models._esm import MASK, TOKENS
from sclaws.models._esm_states import KINDS, SHARE, Proteins
from sclaws.models._stack import Shape
from sclaws.models._training import Schedule
from sclaws.protocols import Context, Ints


class Record(NamedTuple):
    """What training cost and how it went: FLOP, the learning curve, tokens a second."""

    flops: float
    history: Sequence[dict[str, float]]
    speed: dict[str, float]


def hide(proteins: Proteins, seed: int, step: int) -> tuple[NDArray[np.int64], NDArray[np.bool_], Ints]:
    """Return tokens as shown, which are to be foretold, and what they are: of ten hidden residues 8 are masks, 1 is
    any residue, 1 is itself. Drawn from (seed, step).
    """
    random = np.random.default_rng(int(mix(np.uint64(seed) ^ mix(np.uint64(step)))))
    rows, at = np.nonzero(proteins.codes < KINDS)
    some = random.random(len(rows)) < SHARE
    some[: not some.any()] = True
    rows, at = rows[some], at[some]
    target = TOKENS[proteins.codes[rows, at]]
    what = random.random(len(rows))
    others = TOKENS[random.integers(KINDS, size=len(rows))]
    ids = _esm_states.tokens(proteins)
    asked = np.zeros(ids.shape, dtype=bool)
    asked[rows, at + 1] = True
    ids[rows, at + 1] = np.where(what < 0.8, MASK, np.where(what < 0.9, others, target))
    return ids, asked, target


def train(
    net: Any, proteins: Proteins, valid: Proteins, schedule: Schedule, seed: int, precision: str, context: Context,
    describe: str,
) -> Record:  # fmt: skip
    """Train a network in place on sequences that have known residues; leave the weights of its best validation loss.

    ``ModelError`` when training diverged.
    """
    import torch

    foretell, device = _esm_states.foreteller(net), context.device
    # The network's own tensors, each with a leading dimension of one model: what a step changes is what it foretells.
    weights = {name: w.detach()[None].requires_grad_() for name, w in _esm.weights(net).items()}

    def loss(step: int) -> Any:
        batch = proteins.take(_training.rows(len(proteins.codes), schedule.batch, seed, step))
        ids, asked, target = hide(batch, seed, step)
        seen, mask, where, truth = _esm_states.on(device, ids, _esm_states.unpadded(ids), asked, target)
        own = {f"net.{name}": w[0] for name, w in weights.items()}
        with _training.precise(device, precision):
            logits = torch.func.functional_call(foretell, own, (seen, mask, where))
        # hidden residues lie in the order of rows and positions in both
        return torch.nn.functional.cross_entropy(logits.float(), truth)[None]

    def judge(step: int) -> Any:
        with _training.precise(device, precision):
            found = (
                _esm_states.losses(foretell, valid, seed, device).mean() * math.log(2) if len(valid.codes) else -step
            )
        return torch.tensor([float(found)], device=device)

    values = _checkpoint.fingerprint([proteins.codes, proteins.cells])
    run = {"model": describe, "seed": seed, "sequences": len(proteins.codes), "values": values}
    state = _training.train(weights, loss, judge, schedule, context, run)
    curve = _training.curve(state, 0, schedule.rate, judged=bool(len(valid.codes)))
    tokens = proteins.lengths + 2
    one = _flops.TRAINING * _flops.forward(_encoder(net), tokens) / len(tokens)
    return Record(one * curve[-1]["cells"], curve, _training.speed(state, float(tokens.mean()), one, device))


def _encoder(net: Any) -> Shape:
    shape = _esm.shape_of(net)
    return Shape(shape.width, shape.layers, shape.heads, net.config.intermediate_size)
