"""A Geneformer-type model (Theodoris et al. 2023): genes in order of rank, some of them hidden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np

from sclaws.errors import PluginError
from sclaws.models import _bert_architecture, _sentences, _stack, _together
from sclaws.models import _sentences_training as training
from sclaws.models._bert_architecture import Config
from sclaws.models._medians import medians
from sclaws.models._normalise import count_blocks
from sclaws.models._sentences import TrainedGeneformer
from sclaws.models._tokens import FIRST
from sclaws.models._training import Schedule
from sclaws.models._vocabulary import NAME, Vocabulary
from sclaws.protocols import Context, Job, View

_CONTEXT = Context(Path())
SIZES: Mapping[str, str] = {"two-layer": "128x2x4x4", "paper-B": "256x3x4x2", "paper-C": "256x6x4x2"}
_WIDTH = 256  # at which the default learning rate is the published one; it goes with 1/width
_SEEN = 1e8  # cells in all epochs of paper B's recipe: ten epochs of ten million
_TYPICAL = 1000.0  # tokens of a cell, where only the number of genes is known

SCHEDULES: Mapping[str, Schedule] = {
    "default": Schedule(2000, 1e-3, 32, warmup=100, decay="cosine", weight_decay=0.001, check_every=100, patience=5),
    "paper": Schedule(1, 1e-3, 64, warmup=5000, decay="linear", weight_decay=0.001, check_every=1000, patience=5),
}


@dataclass(frozen=True)
class Geneformer:
    """A BERT of ``size`` over sentences of at most ``context`` genes; one token for every gene of the data.

    ``size`` is a published one ("two-layer", "paper-B", "paper-C", whose context is 2,048) or "width x layers x heads x
    feed-forward multiple". The embedding is the mean over a cell's tokens of the states after ``layer`` (-1 the last;
    -2 is paper C's). ``recipe`` "paper" is paper B's: max(1, ⌊10⁸ / cells⌋) epochs at most. ``max_updates``,
    ``lr`` and ``batch_size`` stand for the recipe's own when given. Time of a cell grows with its tokens, and with
    their square for long contexts; memory with the tokens of the training cells.

    ``preset`` "paper-B-v2" is that recipe at its size; "paper-B-v1" (called nanoTxformer; arXiv 2503.02726) has the two
    layers and the rate, its number of updates is not published; "paper-C" is the size and context of DenAdel et al.
    """

    size: str = "two-layer"
    context: int = 512
    recipe: Literal["default", "paper"] = "default"
    max_updates: int | None = None
    lr: float | None = None
    batch_size: int | None = None
    dropout: float = 0.02
    layer: int = -1
    precision: Literal["float32", "bfloat16"] = "float32"
    version: ClassVar[int] = 1
    stacks: ClassVar[bool] = True
    has_loss: ClassVar[bool] = True
    adapts: ClassVar[bool] = True
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper-B-v1": {"size": "two-layer", "lr": 1e-4, "batch_size": 32},
        "paper-B-v2": {"size": "paper-B", "recipe": "paper", "context": 512},
        "paper-C": {"size": "paper-C", "context": 2048, "layer": -2},
    }

    def __post_init__(self) -> None:
        layers = _stack.parse(self.size, SIZES, NAME)[1]
        if not -layers <= self.layer <= -1:
            raise PluginError(
                f"{NAME}: layer = {self.layer} must lie between -{layers} and -1 in a model of {layers} layers"
            )
        if self.recipe not in SCHEDULES or self.precision not in ("float32", "bfloat16"):
            raise PluginError(f"{NAME}: recipe = {self.recipe!r} or precision = {self.precision!r} is not known")
        for name in ("context", "max_updates", "lr", "batch_size"):
            if (value := getattr(self, name)) is not None and not value > 0:
                raise PluginError(f"{NAME}: {name} = {value} must be above 0")
        if not 0 <= self.dropout < 1:
            raise PluginError(f"{NAME}: dropout = {self.dropout} must lie in [0, 1)")

    def config(self, genes: int) -> Config:
        """Return the architecture for a vocabulary of ``genes``, a filler and a mask."""
        width, layers, heads, hidden = _stack.parse(self.size, SIZES, NAME)
        return Config(genes + FIRST, width, layers, heads, hidden, self.context, "relu", self.dropout)

    def fit(self, train: View, valid: View, *, seed: int, context: Context = _CONTEXT) -> TrainedGeneformer:
        """Train on the training cells; stop on at most 1,000 of the validation cells, or at ``max_updates``."""
        found: TrainedGeneformer = _together.only(self.fit_many([Job(train, valid, seed)], context=context))
        return found

    def fit_many(self, jobs: Sequence[Job], *, context: Context = _CONTEXT) -> list[TrainedGeneformer | Exception]:
        """Train several models as one batch, those of one vocabulary's size together; memory grows with all cells."""
        plan = self._schedule
        return training.fit_many(jobs, self._prepared, plan, self.precision, self.layer, context, repr(self))

    def _prepared(self, job: Job) -> training.Data:
        words = vocabulary(job.train)
        return training.prepared(self.config(len(words.features)), words, job)

    def _schedule(self, cells: int) -> Schedule:
        plan, batch = SCHEDULES[self.recipe], self.batch_size or SCHEDULES[self.recipe].batch
        rate = plan.rate * _WIDTH / self.config(1).width if self.recipe == "default" else plan.rate
        updates = plan.updates if self.recipe == "default" else max(1, int(_SEEN / cells)) * -(-cells // batch)
        return training.schedule(replace(plan, rate=rate), self.max_updates or updates, self.lr, batch)

    def untrained(self, train: View, *, seed: int, context: Context = _CONTEXT) -> TrainedGeneformer:
        """Return the network as initialised, with the training cells' medians."""
        data = self._prepared(Job(train, train.take(np.arange(0)), seed))
        weights = _stack.arrays(training.initial([data], context.device), 0)
        return training.finished(data, weights, self.layer, context)

    def load(self, folder: Path, *, context: Context = _CONTEXT) -> TrainedGeneformer:
        """Return the model that was saved in ``folder``, on the context's device."""
        return training.load(folder, self.layer, context)

    def cost(self, cells: float, features: float) -> float:
        """Return CPU seconds, roughly: of all updates, which early stopping may not need."""
        plan, config = self._schedule(max(int(cells), 1)), self.config(int(features))
        length = np.array([min(self.context, _TYPICAL, features)])
        step = 3e-9 * _bert_architecture.n_params(config) + plan.batch * 3 * _sentences.flops(config, length) / 4e10
        return 1.0 + plan.updates * step


def vocabulary(train: View) -> Vocabulary:
    """Return a token for every gene of the view, in the view's order, and its median over the training cells."""
    ids = np.arange(FIRST, FIRST + train.n_vars, dtype=np.int32)
    return Vocabulary(train.feature_names, ids, medians(count_blocks(train, NAME), train.library, train.n_vars))
