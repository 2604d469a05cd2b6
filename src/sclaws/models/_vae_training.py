"""How ``scvi`` is trained: as scvi-tools would, but several models side by side, each stopped by validation cells."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sclaws import bits
from sclaws.errors import ModelError
from sclaws.hashing import ranked
from sclaws.models import _checkpoint, _flops, _stack, _streams, _together, _training, _vae
from sclaws.models._batches import Cells, training_cells
from sclaws.models._normalise import aligned, read_counts, totals
from sclaws.models._stack import Weights
from sclaws.models._training import Schedule
from sclaws.models._vae import Form
from sclaws.protocols import Context, Ints, Job

NAME = "scvi"
_VALIDATION = 1000  # cells at most that decide when to stop
# Counts in one batch of all models trained together. On a CPU a step of a model is quickest with arrays of 2 to 6 MB:
# smaller ones pay for calls, larger ones leave the cache (one thread, 200 to 2,000 genes). On a GPU: some 6 GB.
_TOGETHER = {"cpu": 2**20, "cuda": 2**26}
_MOLECULES = {"cpu": 2**28, "cuda": 2**30}  # counts above zero of their training cells, 8 bytes each
_BLOCK = 2**20  # counts that are looked at together when nothing is learned


@dataclass(frozen=True)
class Plan:
    """A network and how it is trained; the weight of the divergence rises from 0 to 1 over ``warmup`` steps."""

    latent: int
    hidden: int
    layers: int
    likelihood: Literal["nb", "zinb"]
    n_genes: int | Literal["all"]
    schedule: Schedule
    warmup: int
    dropout: float = 0.1  # of the encoder's hidden units, as in scvi-tools

    def form(self, genes: int) -> Form:
        """Return the network of as many genes."""
        return Form(genes, self.latent, self.hidden, self.layers, self.likelihood)


@dataclass(frozen=True, eq=False)
class Data:
    """What one model is trained on: counts (n, g) of its genes, validation cells' counts and their posterior draws."""

    features: pd.Index
    genes: Ints
    means: bits.GeneMeans
    train: _streams.Counts
    library: NDArray[np.float64]
    valid: sparse.csr_matrix
    noise: NDArray[np.float32]
    seed: int


@dataclass(frozen=True, eq=False)
class Result:
    """What came of a job's training."""

    weights: _stack.Arrays
    train_flops: float
    history: tuple[dict[str, float], ...]
    speed: dict[str, float]


def prepared(plan: Plan, job: Job, least: int = 2) -> Data:
    """Return what a job trains on: the genes that vary most in its training cells; at most 1,000 validation cells.

    ``ModelError`` where less than ``least`` training cells have a molecule: a batch normalisation needs two.
    """
    valid = job.valid.take(np.sort(ranked(job.valid.cell_ids, job.seed)[:_VALIDATION]))
    held = read_counts(aligned(valid, job.train.feature_names, NAME), NAME)
    mine = _streams.chosen(job.train, plan.n_genes, NAME)
    counts, genes, library = mine.counts, mine.genes, _streams.sums(mine.counts)
    some = np.flatnonzero(library > 0)
    if len(some) < least:
        raise ModelError(f"{NAME}: {len(some)} training cells have a molecule on its genes; {least} are needed")
    means = bits.gene_means_of_blocks(lambda: _streams.blocks(counts), len(genes), library)
    noise = _vae.draws(valid.cell_ids, job.seed, plan.latent)
    return Data(
        job.train.feature_names, genes, means, _streams.taken(counts, some), library[some], held[:, genes], noise,
        job.seed,
    )  # fmt: skip


def groups(plan: Plan, data: Mapping[int, Data], device: str) -> list[list[int]]:
    """Return positions of models to be trained together: of as many genes and cells a batch, and what memory holds.

    Models of as many cells are neighbours: they stop at about the same time. Cells that stay on disk go apart.
    """
    streamed = {i: isinstance(d.train, _streams.Stream) for i, d in data.items()}
    size = {i: (streamed[i], len(d.genes), _batch(plan, d), d.train.shape[0], i) for i, d in data.items()}
    kind, found, molecules = device.split(":")[0], list[list[int]](), 0
    for i in sorted(data, key=size.__getitem__):
        _, genes, batch, _, _ = size[i]
        molecules += _held(data[i].train)
        last = found[-1] if found else []
        fits = (len(last) + 1) * batch * genes <= _TOGETHER[kind] and molecules <= _MOLECULES[kind]
        if last and size[last[0]][:3] == size[i][:3] and fits:
            last.append(i)
        else:
            found.append([i])
            molecules = _held(data[i].train)
    return found


def _held(counts: _streams.Counts) -> int:
    """Return the non-zeros that are in memory throughout."""
    return _streams.HELD if isinstance(counts, _streams.Stream) else int(counts.nnz)


def start(plan: Plan, data: Sequence[Data], device: str) -> Weights:
    """Return the weights that training starts from.

    Dispersions start where the baseline's are: from random ones Poisson-like genes take thousands of steps. None starts
    above 1, so that a gene which varies for a reason still pulls on the weights.
    """
    log_r = np.stack([-np.log(np.minimum(d.means.dispersion, 1.0)) for d in data])
    return _vae.start(plan.form(len(data[0].genes)), [d.seed for d in data], log_r, device)


def train(plan: Plan, data: Sequence[Data], context: Context, describe: str) -> list[Result | Exception]:
    """Train models of one shape as one batch; an error in the place of one that diverged."""
    device, seeds = context.device, [d.seed for d in data]
    schedule = replace(plan.schedule, batch=_batch(plan, data[0]))
    weights = start(plan, data, device)
    cells = training_cells([d.train for d in data], [d.library for d in data], device)

    def loss(step: int) -> Any:
        random = _training.Random(seeds, step, device)
        counts, library = cells.batch(cells.rows(schedule.batch, seeds, step))
        noise, drop = random.normal(schedule.batch, plan.latent), random.dropping(plan.dropout)
        nats, divergence = _vae.losses(weights, counts, library, noise, drop=drop, learning=True)
        return (nats + min(step / max(plan.warmup, 1), 1.0) * divergence).mean(1)

    validation = _Validation(data, device)
    values = _checkpoint.fingerprint(a for d in data for a in (*_streams.values(d.train), d.valid.data))
    run = {"model": describe, "seeds": seeds, "cells": cells.n.tolist(), "genes": cells.genes, "values": values}
    patience = [_looks(schedule, n) for n in cells.n.tolist()]
    state = _training.train(weights, loss, lambda step: validation(weights, step), schedule, context, run, patience)
    products = {name: 2.0 * math.prod(w.shape[1:]) for name, w in weights.items() if w.ndim > 2}
    flop = _flops.TRAINING * sum(products.values()) - products["encoder.0.weight"]  # counts need no gradient
    finished = [functools.partial(_result, weights, state, m, d, schedule, flop, device) for m, d in enumerate(data)]
    return [_together.attempt(make) for make in finished]


def _batch(plan: Plan, data: Data) -> int:
    return min(plan.schedule.batch, data.train.shape[0])


def _looks(schedule: Schedule, cells: int) -> int:
    """Return after how many looks without a better one a model is done: ``patience``, or as many epochs if longer."""
    return math.ceil(schedule.patience * max(1.0, cells / schedule.batch / schedule.check_every))


def _result(
    weights: Weights, state: _training.State, m: int, data: Data, schedule: Schedule, flop: float, device: str
) -> Result:
    curve = _training.curve(state, m, schedule.rate, judged=data.valid.shape[0] > 0)
    speed = _training.speed(state, float(len(data.genes)), flop, device)
    del speed["tokens_per_second"]  # a gene is no token here
    return Result(_stack.arrays(weights, m), flop * curve[-1]["cells"], curve, speed)


class _Validation:
    """The (M,) mean -ELBO of validation cells, always with the same draws; ``-step`` where there are none."""

    def __init__(self, data: Sequence[Data], device: str) -> None:
        import torch

        self.cells, self.device = Cells.of([d.valid for d in data], [totals(d.valid) for d in data], device), device
        self.block = max(_BLOCK // (self.cells.genes * len(data)), 1)
        most = int(self.cells.n.max(initial=0))
        noise = [np.pad(d.noise, ((0, most - len(d.noise)), (0, 0))) for d in data]
        self.noise = torch.from_numpy(np.stack(noise)).to(device)
        self.counted = torch.from_numpy(np.arange(most) < self.cells.n[:, None]).to(device)

    def __call__(self, weights: Weights, step: int) -> Any:
        """Return the mean losses over cells."""
        import torch

        n = self.cells.n
        sums = torch.zeros(len(n), device=self.device)
        for begin in range(0, self.noise.shape[1], self.block):
            some = slice(begin, begin + self.block)
            rows = np.arange(*some.indices(self.noise.shape[1]))
            counts, library = self.cells.batch(np.minimum(rows[None], np.maximum(n[:, None] - 1, 0)))
            nats, divergence = _vae.losses(weights, counts, library, self.noise[:, some])
            sums += torch.where(self.counted[:, some], nats + divergence, 0.0).sum(1)
        means = sums / torch.from_numpy(np.maximum(n, 1)).to(self.device)
        return torch.where(torch.from_numpy(n > 0).to(self.device), means, -float(step))
