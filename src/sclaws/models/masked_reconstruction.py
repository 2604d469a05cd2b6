"""The masked-reconstruction transformer of paper A (Kendiukhov, arXiv 2602.15253): genes are tokens, values are hidden.

A token is a gene's learned vector plus its value's; 15 % of a cell's values are hidden, and foretold from the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from sclaws.errors import PluginError
from sclaws.models import _flops, _likelihoods, _saved, _stack, _together
from sclaws.models import _reconstruction_training as training
from sclaws.models._reconstruction import NAME, Task, TrainedReconstruction
from sclaws.models._reconstruction_training import Plan
from sclaws.models._stack import Shape
from sclaws.models._training import Schedule
from sclaws.protocols import Context, Job, View

SIZES: Mapping[str, str] = {
    "XXS": "1x1x1x1", "TINY": "16x1x1x1", "XS": "64x2x4x4", "S": "128x4x8x4", "M": "512x6x8x4", "L": "1020x8x12x4",
    "XL": "1536x12x16x4",
}  # fmt: skip
_CONTEXT = Context(Path())


@dataclass(frozen=True)
class Recipe:
    """How a size is trained. The learning rate is ``rate``·(width/64)^``power``."""

    schedule: Schedule
    power: float
    dropout: float
    offset: bool  # outputs correct the gene's mean, and start at none
    whole: bool  # values relative to the cell's total over all genes of the data

    def schedule_for(self, width: int, updates: int | None, lr: float | None, batch: int | None) -> Schedule:
        """Return the schedule for a width; what is given stands for the recipe's own."""
        plan = self.schedule
        return replace(
            plan,
            updates=updates or plan.updates,
            rate=plan.rate * (width / 64) ** self.power if lr is None else lr,
            batch=batch or plan.batch,
            warmup=min(plan.warmup, (updates or plan.updates) // 5),
        )


RECIPES: Mapping[str, Recipe] = {
    "default": Recipe(
        Schedule(2000, 8e-3, 32, warmup=100, decay="cosine", weight_decay=0.01, check_every=50, patience=8),
        power=-1.0, dropout=0.0, offset=True, whole=True,
    ),
    "paper": Recipe(
        Schedule(7500, 3.125e-5, 32, 0, "none", 0.01, check_every=125, patience=61, decay_all=True),
        power=0.0, dropout=0.1, offset=False, whole=False,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class MaskedReconstruction:
    """A transformer of ``size`` over ``n_genes`` genes; time and memory of a cell grow with the square of the genes.

    ``size`` is a published one (XXS to XL) or "width x layers x heads x feed-forward multiple", so a size axis can be
    as dense as one likes. ``n_genes`` most variable genes of the training cells are the tokens ("all": every gene, for
    an axis of vocabularies). ``likelihood``: see :mod:`sclaws.models._likelihoods`. ``recipe`` "default" stops on
    validation cells and keeps the best weights; "paper" is the published one (docs/transformers.md lists its quirks).
    ``max_updates``, ``lr`` and ``batch_size`` stand for the recipe's own when given. ``precision`` "bfloat16" takes
    products in bfloat16 (on any device); weights and losses stay float32.
    """

    size: str = "TINY"
    likelihood: Literal["nb", "gaussian", "mse"] = "nb"
    n_genes: int | Literal["all"] = 512
    recipe: Literal["default", "paper"] = "default"
    max_updates: int | None = None
    lr: float | None = None
    batch_size: int | None = None
    mask_rate: float = 0.15
    precision: Literal["float32", "bfloat16"] = "float32"
    version: ClassVar[int] = 1
    stacks: ClassVar[bool] = True
    has_loss: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _stack.parse(self.size, SIZES, NAME)
        choices = {"likelihood": _likelihoods.OUTPUTS, "recipe": RECIPES, "precision": ("float32", "bfloat16")}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise PluginError(f"{NAME}: {name} = {getattr(self, name)!r} is none of {', '.join(known)}")
        for name in ("max_updates", "lr", "batch_size"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise PluginError(f"{NAME}: {name} = {value} must be above 0")
        if self.n_genes != "all" and self.n_genes < 2:
            raise PluginError(f'{NAME}: n_genes = {self.n_genes} must be at least 2, or "all"')
        if not 0 < self.mask_rate < 1:
            raise PluginError(f"{NAME}: mask_rate = {self.mask_rate} must lie between 0 and 1")

    @property
    def plan(self) -> Plan:
        """The size, what it foretells and how it is trained, spelt out."""
        recipe, shape = RECIPES[self.recipe], Shape(*_stack.parse(self.size, SIZES, NAME))
        return Plan(
            Task(self.likelihood, recipe.offset or self.likelihood != "mse"), shape,
            recipe.schedule_for(shape.width, self.max_updates, self.lr, self.batch_size),
            recipe.dropout, recipe.whole, self.n_genes, self.mask_rate, self.precision,
        )  # fmt: skip

    def fit(self, train: View, valid: View, *, seed: int, context: Context = _CONTEXT) -> TrainedReconstruction:
        """Train on the training cells; stop on at most 1,000 of the validation cells, or at ``max_updates``."""
        found: TrainedReconstruction = _together.only(self.fit_many([Job(train, valid, seed)], context=context))
        return found

    def fit_many(self, jobs: Sequence[Job], *, context: Context = _CONTEXT) -> list[TrainedReconstruction | Exception]:
        """Train several models as one batch, those with as many genes together; memory grows with all their cells."""
        plan = self.plan

        def train(data: Sequence[training.Data], some: Sequence[int]) -> list[TrainedReconstruction | Exception]:
            run = f"{self!r}, jobs {some}"  # others, of one seed and as many cells, have checkpoints there, too
            return training.train(plan, data, context, run)

        prepare, groups = partial(training.prepared, plan), partial(training.groups, plan, device=context.device)
        return _together.fit_many(jobs, prepare, groups, train, context, NAME)

    def untrained(self, train: View, *, seed: int, context: Context = _CONTEXT) -> TrainedReconstruction:
        """Return the network as initialised."""
        data = training.prepared(self.plan, Job(train, train.take(np.arange(0)), seed))
        weights = training.start(self.plan, [data], context.device)
        return training.finished(self.plan, data, _stack.arrays(weights, 0), context)

    def load(self, folder: Path, *, context: Context = _CONTEXT) -> TrainedReconstruction:
        """Return the model that was saved in ``folder``, on the context's device."""
        features, stored = _saved.read(folder, NAME)
        parts: dict[str, dict[str, Any]] = {"known": {}, "weights": {}}
        for name in [name for name in stored if "/" in name]:
            part, _, own = name.partition("/")
            parts[part][own] = stored[name]
        model, baseline = stored["variance"].tolist()
        return TrainedReconstruction(
            self.plan.task, self.plan.shape, features, stored["genes"], parts["weights"], parts["known"],
            (model, baseline), self.plan.whole, self.mask_rate, context,
        )  # fmt: skip

    def cost(self, cells: float, features: float) -> float:  # noqa: ARG002
        """Return CPU seconds, roughly: of all updates, which early stopping may not need."""
        plan, genes = self.plan, features if self.n_genes == "all" else min(self.n_genes, features)
        flop = _flops.TRAINING * _flops.forward(plan.shape, np.array([genes]), np.array([self.mask_rate * genes]))
        each = 0.004 + plan.schedule.batch * (flop / 3e10 + genes * plan.shape.width * 2e-9)
        return 1.0 + plan.schedule.updates * each
