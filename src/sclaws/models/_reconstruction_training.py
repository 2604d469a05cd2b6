"""How ``masked-reconstruction`` is trained: batches of cells with fresh entries hidden, several models side by side."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sclaws.errors import ModelError
from sclaws.hashing import ranked
from sclaws.models import _checkpoint, _flops, _likelihoods, _reconstruction, _stack, _streams, _together, _training
from sclaws.models._batches import Cells, hidden, positions, scaled, training_cells
from sclaws.models._normalise import aligned, read_counts, totals
from sclaws.models._reconstruction import NAME, Task, TrainedReconstruction
from sclaws.models._stack import Shape, Weights
from sclaws.models._training import Schedule
from sclaws.protocols import Context, Ids, Ints, Job

_STREAMED = 16  # models whose cells stay on disk, each of which keeps three pools: 100 MB
_VALIDATION = 1000  # cells at most that decide when to stop
_TOGETHER = {"cpu": 2**21, "cuda": 2**28}  # numbers in the states of one batch; on a CPU more was slower


@dataclass(frozen=True)
class Plan:
    """A size, what it foretells, and how it is trained.

    ``whole``: values relative to a cell's total over all genes of the data; ``rate``: the share of entries hidden.
    """

    task: Task
    shape: Shape
    schedule: Schedule
    dropout: float
    whole: bool
    n_genes: int | Literal["all"]
    rate: float
    precision: str


@dataclass(frozen=True, eq=False)
class Data:
    """What one model is trained on: counts of its genes, totals, and what the baseline knows."""

    features: pd.Index
    genes: Ints
    train: _streams.Counts
    library: NDArray[np.float64]
    valid: sparse.csr_matrix
    valid_library: NDArray[np.float64]
    valid_ids: Ids
    gene_ids: Ids
    known: dict[str, NDArray[np.float64]]
    seed: int


def prepared(plan: Plan, job: Job) -> Data:
    """Return what a job trains on; raise ``ModelError`` for values that are no counts and cells without molecules."""
    valid = job.valid.take(np.sort(ranked(job.valid.cell_ids, job.seed)[:_VALIDATION]))
    valid = aligned(valid, job.train.feature_names, NAME)
    held, mine = read_counts(valid, NAME), _streams.chosen(job.train, plan.n_genes, NAME)
    counts, genes = mine.counts, mine.genes
    library = job.train.library if plan.whole else _streams.sums(counts)
    depth = valid.library if plan.whole else totals(held[:, genes])
    some = np.flatnonzero(library > 0)
    if len(some) < 2:
        raise ModelError(f"{NAME}: {len(some)} training cells have a molecule on its genes; 2 are needed")
    counts, library = _streams.taken(counts, some), library[some]
    known = _likelihoods.constants(plan.task.likelihood, counts, library)
    return Data(
        job.train.feature_names, genes, counts, library, held[:, genes], depth, valid.cell_ids,
        job.train.feature_ids[genes], known, job.seed,
    )  # fmt: skip


def groups(plan: Plan, data: Mapping[int, Data], device: str) -> list[list[int]]:
    """Return positions of models to be trained together: of equal vocabulary, and not more than memory holds.

    Those whose cells stay on disk go apart from those whose cells are in memory.
    """
    found = []
    kinds = {i: (len(each.genes), isinstance(each.train, _streams.Stream)) for i, each in data.items()}
    for size, streamed in sorted(set(kinds.values())):
        same = [i for i, own in kinds.items() if own == (size, streamed)]
        most = max(_TOGETHER[device.split(":")[0]] // (plan.schedule.batch * size * plan.shape.width), 1)
        most = min(most, _STREAMED) if streamed else most
        found += [same[start : start + most] for start in range(0, len(same), most)]
    return found


def start(plan: Plan, data: Sequence[Data], device: str) -> Weights:
    """Return the weights that training starts from; where outputs are corrections, they start at none."""
    import torch

    form = _reconstruction.shapes(len(data[0].genes), plan.shape, _likelihoods.OUTPUTS[plan.task.likelihood])
    weights = _stack.drawn(form, [d.seed for d in data], device, normal=("genes", "mask"))
    if plan.task.offset:
        with torch.no_grad():
            weights["head.weight"].zero_()
    return weights


def train(plan: Plan, data: Sequence[Data], context: Context, describe: str) -> list[TrainedReconstruction | Exception]:
    """Train models of one vocabulary as one batch; an error in the place of one that diverged."""
    device, seeds = context.device, [d.seed for d in data]
    weights = start(plan, data, device)
    cells = training_cells([d.train for d in data], [d.library for d in data], device)
    known = _on_device(data, device)
    masked = max(round(plan.rate * cells.genes), 1)

    def loss(step: int) -> Any:
        import torch

        random = _training.Random(seeds, step, device)
        counts, library = cells.batch(cells.rows(plan.schedule.batch, seeds, step))
        values = scaled(counts, library)
        wanted = random.uniform(plan.schedule.batch, cells.genes).topk(masked).indices
        hide = torch.zeros_like(counts, dtype=torch.bool).scatter(2, wanted, True)
        with _training.precise(device, plan.precision):
            out = _reconstruction.foretell(weights, values, plan.shape, wanted, hide, random.dropping(plan.dropout))
        return plan.task.nats(out, counts, values, library, wanted, known).mean((1, 2)).float()

    judge = _Validation(plan, data, device, known)
    values = _checkpoint.fingerprint(a for d in data for a in (*_streams.values(d.train), d.library, d.gene_ids))
    run = {"model": describe, "seeds": seeds, "cells": cells.n.tolist(), "genes": cells.genes, "values": values}
    state = _training.train(weights, loss, lambda step: judge(weights, step), plan.schedule, context, run)
    baseline = judge(None, 0).tolist()
    out: list[TrainedReconstruction | Exception] = []
    for m, one in enumerate(data):
        judged = one.valid.shape[0] > 0
        errors = (float(state.lowest[m]), float(baseline[m])) if judged else None
        trained = finished(plan, one, _stack.arrays(weights, m), context, errors)
        record = functools.partial(_with_record, trained, state, m, plan.schedule, masked, judged)
        out.append(_together.attempt(record))
    return out


class _Validation:
    """The (M,) losses of the validation cells, always with the same values hidden; ``-step`` where there are none."""

    def __init__(self, plan: Plan, data: Sequence[Data], device: str, known: Mapping[str, Any]) -> None:
        self.plan, self.device, self.known = plan, device, known
        self.cells = Cells.of([d.valid for d in data], [d.valid_library for d in data], device)
        self.ids = [(d.valid_ids, d.gene_ids, d.seed) for d in data]
        self.block = max(_reconstruction.BLOCK // (self.cells.genes * plan.shape.width * len(data)), 1)

    @functools.cached_property
    def _hidden(self) -> list[NDArray[np.bool_]]:
        return [hidden(cells, genes, seed, self.plan.rate) for cells, genes, seed in self.ids]

    def __call__(self, weights: Weights | None, step: int) -> Any:
        """Return the mean losses over cells; the baseline's without weights."""
        import torch

        n = self.cells.n
        sums = torch.zeros(len(n), dtype=torch.float64, device=self.device)
        for start in range(0, int(n.max(initial=0)), self.block):
            rows = np.arange(start, min(start + self.block, int(n.max())))
            inside = rows[None] < n[:, None]
            mine = np.minimum(rows[None], np.maximum(n[:, None] - 1, 0))
            sums += self._block(weights, mine, inside)
        means = sums / torch.from_numpy(np.maximum(n, 1)).to(self.device)
        return torch.where(torch.from_numpy(n > 0).to(self.device), means, -float(step)).float()

    def _block(self, weights: Weights | None, rows: Ints, inside: NDArray[np.bool_]) -> Any:
        import torch

        empty = np.zeros((rows.shape[1], self.cells.genes), dtype=bool)
        masks = np.stack([h[r] if len(h) else empty for h, r in zip(self._hidden, rows, strict=True)])
        at, real = positions(masks.reshape(-1, masks.shape[2]))
        wanted = torch.from_numpy(at.reshape(*rows.shape, -1)).to(self.device)
        counts, library = self.cells.batch(rows)
        values, out = scaled(counts, library), None
        if weights is not None:
            hide = torch.from_numpy(masks).to(self.device)
            with _training.precise(self.device, self.plan.precision):
                out = _reconstruction.foretell(weights, values, self.plan.shape, wanted, hide)
        found = self.plan.task.nats(out, counts, values, library, wanted, self.known)
        weight = real.reshape(*rows.shape, -1) * inside[..., None]
        weight = torch.from_numpy(weight / np.maximum(real.sum(axis=1), 1).reshape(*rows.shape, 1)).to(self.device)
        return (found * weight).sum((1, 2))


def _on_device(data: Sequence[Data], device: str) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(np.stack([d.known[name] for d in data])).to(device) for name in data[0].known}


def finished(
    plan: Plan,
    data: Data,
    weights: _stack.Arrays,
    context: Context,
    errors: tuple[float, float] | None = None,
) -> TrainedReconstruction:
    """Return the trained model; without validation cells both errors are the baseline's on training cells."""
    spread = float(np.mean(data.known["variance"])) if "variance" in data.known else 1.0
    return TrainedReconstruction(
        plan.task, plan.shape, data.features, data.genes, weights, data.known, errors or (spread, spread),
        plan.whole, plan.rate, Context(Path(), context.device, context.threads),
    )  # fmt: skip


def _with_record(
    trained: TrainedReconstruction, state: _training.State, m: int, schedule: Schedule, masked: int, judged: bool
) -> TrainedReconstruction:
    """Return the model with its cost, speed and learning curve."""
    curve = _training.curve(state, m, schedule.rate, judged=judged)
    genes = np.array([len(trained.genes)])
    head = 2 * masked * trained.shape.width * _likelihoods.OUTPUTS[trained.task.likelihood]
    flop = _flops.TRAINING * (_flops.forward(trained.shape, genes, np.array([masked])) + head)
    speed = _training.speed(state, float(genes[0]), flop, trained.context.device)
    return replace(trained, train_flops=flop * curve[-1]["cells"], history=curve, speed=speed)
