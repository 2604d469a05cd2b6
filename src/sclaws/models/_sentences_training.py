"""How the Geneformer-type models are trained: 15 % of the tokens hidden, several models of one shape side by side."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sclaws.errors import ModelError
from sclaws.hashing import mix, ranked
from sclaws.models import (
    _bert,
    _bert_architecture,
    _checkpoint,
    _crossentropy,
    _flops,
    _saved,
    _sentences,
    _stack,
    _together,
    _training,
)
from sclaws.models._bert_architecture import Config
from sclaws.models._packing import ragged
from sclaws.models._sentences import TrainedGeneformer
from sclaws.models._stack import Arrays, Weights
from sclaws.models._training import Schedule, State
from sclaws.models._vocabulary import (
    MASK,
    NAME,
    Cells,
    Piece,
    Sentences,
    Vocabulary,
    chosen,
    places,
    read,
    sentences,
)
from sclaws.protocols import Context, Ints, Job

_VALIDATION = 1000  # cells at most that decide when to stop
_TOGETHER = {"cpu": 2**22, "cuda": 2**28}  # numbers in the states of one batch of all models trained together
_UNSEEN = 0.5  # added to every token's number, so that one that never occurred costs a finite number of bits


@dataclass(frozen=True, eq=False)
class Data:
    """What one model is trained on. ``start``: weights to begin with, or ``None`` for random ones.

    ``found``: the share of its genes that is in the data.
    """

    config: Config
    words: Vocabulary
    train: Cells
    valid: Sentences
    seed: int
    start: Arrays | None = None
    found: float = 1.0

    @property
    def frequency(self) -> NDArray[np.float64]:
        """(vocabulary,) share of each token in the training sentences, half a token added to each."""
        seen = self.train.occurrences(self.config.vocabulary) + _UNSEEN
        return seen / seen.sum()


def schedule(plan: Schedule, updates: int, lr: float | None, batch: int | None) -> Schedule:
    """Return a schedule with its number of updates, and with what the user gave in the place of its own."""
    rate = plan.rate if lr is None else lr
    return replace(plan, updates=updates, rate=rate, batch=batch or plan.batch, warmup=min(plan.warmup, updates // 5))


def prepared(config: Config, words: Vocabulary, job: Job, start: Arrays | None = None) -> Data:
    """Return what a job trains on; raise ``ModelError`` for cells without tokens."""
    valid = job.valid.take(np.sort(ranked(job.valid.cell_ids, job.seed)[:_VALIDATION]))
    train = sentences(words, job.train, config.context).with_tokens()
    if (some := len(train.cells)) < 2:
        raise ModelError(f"{NAME}: {some} training cells have a gene with a token; 2 are needed")
    held = read(words.of(valid, config.context))
    return Data(config, words, train, held, job.seed, start, words.known(job.train))


def _groups(data: Mapping[int, Data], schedules: Mapping[int, Schedule], device: str) -> list[list[int]]:
    """Return positions of models to be trained together: of one shape and schedule, as many as memory holds."""
    found = []
    for config, schedule in dict.fromkeys((d.config, schedules[i]) for i, d in data.items()):
        same = [i for i, d in data.items() if (d.config, schedules[i]) == (config, schedule)]
        longest = max(float(data[i].train.lengths.mean()) for i in same)
        most = max(int(_TOGETHER[device.split(":")[0]] // (schedule.batch * longest * config.width)), 1)
        found += [same[first : first + most] for first in range(0, len(same), most)]
    return found


def initial(data: Sequence[Data], device: str) -> Weights:
    """Return the weights that training starts from."""
    import torch

    if data[0].start is not None:
        return _stack.stacked([d.start for d in data if d.start is not None], device)
    weights = _stack.drawn(_bert_architecture.shapes(data[0].config), [d.seed for d in data], device)
    with torch.no_grad():  # the first prediction is each gene's frequency, which would take hundreds of steps to learn
        for m, d in enumerate(data):
            weights["decoder.bias"][m] = torch.from_numpy(np.log(d.frequency)).float()
    return weights


def fit_many(
    jobs: Sequence[Job], prepare: Callable[[Job], Data], plan: Callable[[int], Schedule], precision: str, layer: int,
    context: Context, describe: str,
) -> list[TrainedGeneformer | Exception]:  # fmt: skip
    """Train several models, those of one shape and schedule, ``plan(cells)``, as one batch; errors stay in place."""

    def groups(data: Mapping[int, Data]) -> list[list[int]]:
        return _groups(data, {i: plan(len(one.train.cells)) for i, one in data.items()}, context.device)

    def trained(data: Sequence[Data], some: Sequence[int]) -> list[TrainedGeneformer | Exception]:
        run = f"{describe}, jobs {some}"  # others, of one seed and as many cells, have checkpoints there, too
        return train(data, plan(len(data[0].train.cells)), precision, layer, context, run)

    return _together.fit_many(jobs, prepare, groups, trained, context, NAME)


def train(
    data: Sequence[Data], schedule: Schedule, precision: str, layer: int, context: Context, describe: str
) -> list[TrainedGeneformer | Exception]:
    """Train models of one shape as one batch; an error in the place of one that diverged."""
    config, device, weights = data[0].config, context.device, initial(data, context.device)
    seeds, n = [d.seed for d in data], [len(d.train.cells) for d in data]

    def loss(step: int) -> Any:
        own = [d.train.piece(d.train.rows(schedule.batch, d.seed, step)) for d in data]
        random = _training.Random(seeds, step, device)
        hide, shown = zip(*(_hidden(p, d, step) for p, d in zip(own, data, strict=True)), strict=True)
        batch = Batch(own, shown, hide, device)
        with _training.precise(device, precision):
            states = _sentences.foretell(
                weights, config, batch.ids, batch.places, batch.packing, random.dropping(config.dropout)
            )
        return batch.cross_entropy(states, weights, precision)

    def judge(step: int) -> Any:
        return _validation(data, weights, precision, device, step)

    values = _checkpoint.fingerprint(a for d in data for a in d.train.values())
    run = {"model": describe, "seeds": seeds, "cells": n, "vocabulary": config.vocabulary, "values": values}
    state = _training.train(weights, loss, judge, schedule, context, run)
    trained = [finished(d, _stack.arrays(weights, m), layer, context) for m, d in enumerate(data)]
    return [
        _together.attempt(functools.partial(_with_record, one, d, state, m, schedule))
        for m, (one, d) in enumerate(zip(trained, data, strict=True))
    ]


class Batch:
    """Cells of M models, packed: tokens as shown (M, T), their places, and the targets (M, Q) with their shares."""

    def __init__(self, pieces: Sequence[Piece], shown: Sequence[Ints], hide: Sequence[Any], device: str) -> None:
        import torch

        lengths = np.stack([piece.lengths for piece in pieces])
        asked = [chosen(h, piece.lengths) for h, piece in zip(hide, pieces, strict=True)]
        widest = max(a.shape[1] for a in asked)
        positions = np.stack([np.pad(a, ((0, 0), (0, widest - a.shape[1])), constant_values=-1) for a in asked])
        self.packing = ragged(lengths, positions, device)
        targets = [piece.ids[h] for piece, h in zip(pieces, hide, strict=True)]
        shares = [np.full(len(t), 1 / max(len(t), 1), dtype=np.float32) for t in targets]
        arrays = (_filled(shown), _filled([places(row) for row in lengths]), _filled(targets), _filled(shares))
        self.ids, self.places, self.target, self.share = (torch.from_numpy(a).to(device) for a in arrays)

    def cross_entropy(self, states: Any, weights: Weights, precision: str) -> Any:
        """Return the (M,) mean -log P of the hidden tokens."""
        import torch

        dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32
        return _crossentropy.cross_entropy(
            states, weights["words"], weights["decoder.bias"], self.target, self.share, dtype
        )


def _filled(rows: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return rows of unequal length as one array, zeros at the end."""
    out = np.zeros((len(rows), max(map(len, rows))), dtype=rows[0].dtype)
    for row, mine in zip(rows, out, strict=True):
        mine[: len(row)] = row
    return out


def _hidden(piece: Piece, data: Data, step: int) -> tuple[NDArray[np.bool_], Ints]:
    """Return which (T,) tokens are to be foretold and what is shown: of ten hidden, 8 masks, 1 random, 1 itself."""
    random = np.random.default_rng(int(mix(np.uint64(data.seed) ^ mix(np.uint64(step)))))
    hide = random.random(len(piece.ids)) < MASK
    if not hide.any():
        hide[0] = True
    what = random.random(int(hide.sum()))
    others = random.choice(data.words.ids[data.words.ids >= 0], size=len(what))
    shown = piece.ids.copy()
    shown[hide] = np.where(what < 0.8, data.words.mask, np.where(what < 0.9, others, piece.ids[hide]))
    return hide, shown


def _validation(data: Sequence[Data], weights: Weights, precision: str, device: str, step: int) -> Any:
    """Return (M,) mean losses in nats of the validation cells, the same tokens hidden each time; -step without any."""
    import torch

    out = []
    for m, one in enumerate(data):
        own = {name: w[m : m + 1] for name, w in weights.items()}
        with _training.precise(device, precision):
            found = _sentences.mean_nats(own, one.config, one.words.mask, one.valid, one.seed, device)
        out.append(-float(step) if found is None else found)
    return torch.tensor(out, device=device)


def finished(data: Data, weights: Arrays, layer: int, context: Context) -> TrainedGeneformer:
    """Return the model with these weights."""
    own = Context(Path(), context.device, context.threads)
    return TrainedGeneformer(data.config, data.words, weights, data.frequency, layer, own, data.found)


def load(folder: Path, layer: int, context: Context) -> TrainedGeneformer:
    """Return the model that was saved in ``folder``, on the context's device."""
    features, own = _saved.read(folder, NAME)
    stored = _bert.read(folder)
    mask, pad = own["special"].tolist()
    words = Vocabulary(features, own["ids"], own["medians"], mask, pad)
    return TrainedGeneformer(stored.config, words, dict(stored.params), own["frequency"], layer, context)


def _with_record(trained: TrainedGeneformer, data: Data, state: State, m: int, schedule: Schedule) -> TrainedGeneformer:
    """Return the model with its cost, speed and learning curve."""
    curve = _training.curve(state, m, schedule.rate, judged=bool(data.valid.lengths.any()))
    lengths = data.train.lengths
    flop = _flops.TRAINING * _sentences.flops(trained.config, lengths) / len(lengths)
    speed = _training.speed(state, float(lengths.mean()), flop, trained.context.device)
    return replace(trained, train_flops=flop * curve[-1]["cells"], history=curve, speed=speed)
