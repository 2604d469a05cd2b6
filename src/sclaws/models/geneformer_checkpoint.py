"""A Geneformer folder that somebody trained before: as it is, or fine-tuned on the cells of a study.

Fine-tuned on thinned cells it is the cheap probe of how much noise such a model tolerates that paper B (Gowri et al.,
arXiv 2503.02726) proposes: nothing is pre-trained.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from sclaws.errors import ModelError, PluginError
from sclaws.models import _bert, _together
from sclaws.models import _sentences_training as training
from sclaws.models._sentences import TrainedGeneformer
from sclaws.models._training import Schedule
from sclaws.models._vocabulary import Vocabulary
from sclaws.protocols import Context, Job, View

NAME = "geneformer-checkpoint"
_CONTEXT = Context(Path())
_PLAN = Schedule(500, 1e-4, 32, warmup=50, decay="linear", weight_decay=0.001, check_every=50, patience=5)


@dataclass(frozen=True)
class GeneformerCheckpoint:
    """The model in the folder ``path``, of ours or one that was downloaded; docs/transformers.md names its files.

    ``learn`` "nothing" embeds with the weights as they are, whatever the training cells; "all" fine-tunes every weight
    on them, by the task the model was made with, for at most ``max_updates`` steps, stopping on validation cells. Genes
    are found by name, and those that the folder does not know are passed over. ``layer``: see ``geneformer``.
    """

    path: str
    learn: Literal["nothing", "all"] = "nothing"
    max_updates: int = 500
    lr: float = 1e-4
    batch_size: int = 32
    layer: int = -1
    precision: Literal["float32", "bfloat16"] = "float32"
    version: ClassVar[int] = 1
    stacks: ClassVar[bool] = True
    has_loss: ClassVar[bool] = True
    adapts: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for name, known in {"learn": ("nothing", "all"), "precision": ("float32", "bfloat16")}.items():
            if getattr(self, name) not in known:
                raise PluginError(f"{NAME}: {name} = {getattr(self, name)!r} is none of {', '.join(known)}")
        for name in ("max_updates", "lr", "batch_size"):
            if not getattr(self, name) > 0:
                raise PluginError(f"{NAME}: {name} = {getattr(self, name)} must be above 0")

    @property
    def trains(self) -> bool:
        """Whether anything is learned from the training cells."""
        return self.learn == "all"

    def fit(self, train: View, valid: View, *, seed: int, context: Context = _CONTEXT) -> TrainedGeneformer:
        """Return the model of the folder, fine-tuned if that is asked for."""
        found: TrainedGeneformer = _together.only(self.fit_many([Job(train, valid, seed)], context=context))
        return found

    def fit_many(self, jobs: Sequence[Job], *, context: Context = _CONTEXT) -> list[TrainedGeneformer | Exception]:
        """Return one model a job; those that learn do so as one batch. Memory grows with all their cells."""
        if self.trains:
            plan = training.schedule(_PLAN, self.max_updates, self.lr, self.batch_size)
            how = self.precision, self.layer, context, repr(self)
            return training.fit_many(jobs, self._prepared, lambda _: plan, *how)
        return [_together.attempt(functools.partial(self._as_it_is, job, context)) for job in jobs]

    def _as_it_is(self, job: Job, context: Context) -> TrainedGeneformer:
        data = self._prepared(job)
        assert data.start is not None  # what is in the folder
        return training.finished(data, data.start, self.layer, context)

    def _prepared(self, job: Job) -> training.Data:
        stored = _bert.read(Path(self.path))
        if not -stored.config.layers <= self.layer <= -1:
            raise ModelError(f"{NAME}: layer = {self.layer}, and {self.path} has {stored.config.layers} layers")
        words = Vocabulary(stored.genes, stored.token_ids, stored.medians, stored.mask_id, stored.pad_id)
        if not words.known(job.train):
            raise ModelError(
                f"{NAME}: none of the {len(stored.genes)} genes of {self.path} (the first is {stored.genes[0]!r}) is "
                f"in these data (the first is {job.train.feature_names[0]!r}); name the genes as the folder does"
            )
        return training.prepared(stored.config, words, job, dict(stored.params))

    def load(self, folder: Path, *, context: Context = _CONTEXT) -> TrainedGeneformer:
        """Return the model that was saved in ``folder``, on the context's device."""
        return training.load(folder, self.layer, context)

    def cost(self, cells: float, features: float) -> float:  # noqa: ARG002
        """Return CPU seconds, roughly: of all updates, for a model of ten million parameters."""
        return 5.0 + (self.max_updates * self.batch_size * 0.3 if self.trains else 0.0)
