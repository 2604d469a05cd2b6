"""ESM-2 (Lin et al. 2023): a transformer that foretells hidden residues of proteins; trained here or before."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sclaws.errors import ModelError, PluginError
from sclaws.hashing import ranked
from sclaws.models import _esm, _esm_states, _esm_training, _saved, _training
from sclaws.models._esm import NAME
from sclaws.models._esm_states import KINDS, Proteins
from sclaws.models._normalise import aligned
from sclaws.models._training import Schedule
from sclaws.protocols import Context, Floats, View

_CONTEXT = Context(Path())
_PLAN = Schedule(
    1000, 4e-3, 16, warmup=100, decay="linear", weight_decay=0.01, check_every=50, patience=5, decay_all=True
)
_PUBLISHED_RATE, _FINE_TUNING_RATE = 4e-4, 1e-4
_WIDTH = 64  # at which the rate was tried, on influenza: half of it is a little worse
_VALIDATION, _COMPONENTS = 256, 2000  # sequences at most that decide when to stop, and that axes are taken from
_MEASURE = "bits of a hidden residue, one of 20, given the others of its sequence; 15 % are hidden"


@dataclass(frozen=True)
class ESM2:
    """The network of transformers' EsmForMaskedLM, with rotary positions and ESM-2's 33 tokens, over whole sequences.

    ``size`` is a published one ("t6_8M", "t12_35M", "t30_150M", "t33_650M", "t36_3B", "t48_15B") or "width x layers x
    heads". ``path`` is a folder of one that was trained before (``config.json``, ``model.safetensors``), whose size is
    its own; ``learn`` "nothing" takes its weights as they are, "all" goes on training them. Training hides 15 % of the
    residues (80 % masks, 10 % any residue, 10 % themselves) and makes at most ``max_updates`` steps of AdamW on
    ``batch_size`` sequences, after a warm-up of a tenth with a linear decay; every 50 steps it looks at 256 validation
    sequences, stops after ``patience`` looks without a better loss, and keeps the best weights. ``lr``: 4e-4 for a
    published size (theirs), 1e-4 for a folder, 0.004 x 64 / width otherwise.

    The embedding is the mean over residues of the last layer's states, along their ``dim`` principal components in (at
    most 2,000) training sequences; "all" of the width as it is. Only a folder as it is, with ``dim = "all"``, learns
    nothing at all. Measured on one core, size 64x2x4, 329 residues, batches of 16: 41,000 tokens a CPU second in
    training and 110,000 in embedding. The square of a sequence's length enters.
    """

    size: str = "64x2x4"
    path: str | None = None
    learn: Literal["nothing", "all"] = "all"
    dim: int | Literal["all"] = 16
    max_updates: int = 1000
    lr: float | None = None
    batch_size: int = 16
    patience: int = 5
    precision: Literal["float32", "bfloat16"] = "float32"
    version: ClassVar[int] = 1
    has_loss: ClassVar[bool] = True

    def __post_init__(self) -> None:
        width = _esm.parse(self.size).width
        for name, known in {"learn": ("nothing", "all"), "precision": ("float32", "bfloat16")}.items():
            if getattr(self, name) not in known:
                raise PluginError(f"{NAME}: {name} = {getattr(self, name)!r} is none of {', '.join(known)}")
        for name in ("dim", "max_updates", "lr", "batch_size", "patience"):
            if (value := getattr(self, name)) not in (None, "all") and not value > 0:
                raise PluginError(f"{NAME}: {name} = {value} must be above 0")
        if self.path is None and self.learn == "nothing":
            raise PluginError(f'{NAME}: learn = "nothing" is for a folder: give its path, or untrained = true')
        if self.path is None and self.dim != "all" and self.dim > width:
            raise PluginError(f"{NAME}: dim = {self.dim} is above the width of {self.size}, {width}; lower it")

    @property
    def trains(self) -> bool:
        """Whether anything is learned from the training sequences: weights, or the axes of the embedding."""
        return self.learn == "all" or self.dim != "all"

    def fit(self, train: View, valid: View, *, seed: int, context: Context = _CONTEXT) -> TrainedESM2:
        """Train, or take the folder as it is; stop on validation sequences."""
        proteins = _esm_states.read(train)
        with _training.quiet(context, NAME):
            net = self._network(seed).to(context.device)
            record = _esm_training.Record(0.0, (), {})
            if self.learn == "all":
                some = valid.take(np.sort(ranked(valid.cell_ids, seed)[:_VALIDATION]))
                judged = _learnable(_esm_states.read(aligned(some, train.feature_names, NAME)))
                record = _esm_training.train(
                    net,
                    _enough(_learnable(proteins)),
                    judged,
                    self._schedule(),
                    seed,
                    self.precision,
                    context,
                    repr(self),
                )
            found = self._finished(net, train, proteins, seed, context)
        return replace(found, train_flops=record.flops, history=record.history, speed=record.speed)

    def untrained(self, train: View, *, seed: int, context: Context = _CONTEXT) -> TrainedESM2:
        """Return the network as initialised, or the folder's as it is, and the axes of the training sequences."""
        with _training.quiet(context, NAME):
            return self._finished(self._network(seed).to(context.device), train, _esm_states.read(train), seed, context)

    def load(self, folder: Path, *, context: Context = _CONTEXT) -> TrainedESM2:
        """Return the model that was saved in ``folder``, on the context's device."""
        features, own = _saved.read(folder, NAME)
        frequency, mean, axes = (own[name] for name in ("frequency", "mean", "axes"))
        net = _esm.read(Path(folder)).to(context.device)
        return TrainedESM2(net, features, frequency, mean, axes, context, self.precision)

    def cost(self, cells: float, features: float) -> float:
        """Return CPU seconds, roughly: of all updates, which early stopping may not need, and of the axes."""
        shape = _esm.parse(self.size)
        if self.path is not None:
            with contextlib.suppress(ModelError):  # fit tells what is wrong with the folder
                shape = _esm.shape_in(Path(self.path))
        per_token = 2 * _esm.n_params(shape) + 4 * shape.layers * features * shape.width
        seen = 3 * self.max_updates * self.batch_size if self.learn == "all" else 0
        return 10.0 + (seen + min(cells, _COMPONENTS)) * (features + 2) * (
            per_token / 3e10 + 1e-8 * shape.width * shape.layers
        )

    def _network(self, seed: int) -> Any:
        if self.path is None:
            return _esm.network(_esm.parse(self.size), seed)
        net = _esm.read(Path(self.path))
        if self.dim != "all" and self.dim > (width := _esm.shape_of(net).width):
            raise ModelError(f"{NAME}: dim = {self.dim} is above the width of {self.path}, {width}; lower it")
        return net

    def _schedule(self) -> Schedule:
        scratch = _PUBLISHED_RATE if self.size in _esm.SIZES else _PLAN.rate * _WIDTH / _esm.parse(self.size).width
        rate = self.lr or (scratch if self.path is None else _FINE_TUNING_RATE)
        return replace(
            _PLAN, updates=self.max_updates, rate=rate, batch=self.batch_size, warmup=self.max_updates // 10,
            patience=self.patience,
        )  # fmt: skip

    def _finished(self, net: Any, train: View, proteins: Proteins, seed: int, context: Context) -> TrainedESM2:
        mean, axes = np.zeros(0), np.zeros((0, 0))
        if self.dim != "all":
            some = _enough(proteins.take(np.sort(ranked(proteins.cells, seed)[:_COMPONENTS])), self.dim + 1)
            with _training.precise(context.device, self.precision):
                mean, axes = _components(_esm_states.means(net, some, context.device), self.dim)
        own = Context(Path(), context.device, context.threads)
        frequency = _esm_states.frequencies(proteins)
        return TrainedESM2(net, train.feature_names, frequency, mean, axes, own, self.precision)


def _learnable(proteins: Proteins) -> Proteins:
    """Return the sequences with a known residue."""
    return proteins.take(np.flatnonzero((proteins.codes < KINDS).any(axis=1)))


def _enough(proteins: Proteins, least: int = 1) -> Proteins:
    if len(proteins.codes) < least:
        what = f"{len(proteins.codes)} training sequences, and {least} are needed"
        raise ModelError(f"{NAME}: there are {what}; lower dim, or give more" if least > 1 else f"{NAME}: {what}")
    return proteins


def _components(values: NDArray[np.float32], dim: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean (w,) and the leading principal axes (w, dim), each with its largest loading positive."""
    x = values.astype(np.float64)
    mean = x.mean(axis=0)
    _, axes = np.linalg.eigh((x - mean).T @ (x - mean))
    axes = axes[:, ::-1][:, :dim]
    return mean, axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(dim)])


@dataclass(frozen=True, eq=False)
class TrainedESM2:
    """A network and, of the training sequences, ``frequency`` (p, 20) of residues by position, which is the baseline.

    ``mean`` (w,) and ``axes`` (w, dim) of the embedding; empty for all of the width.
    """

    net: Any
    features: pd.Index
    frequency: NDArray[np.float64]
    mean: NDArray[np.float64]
    axes: NDArray[np.float64]
    context: Context = _CONTEXT
    precision: str = "float32"
    train_flops: float = 0.0
    history: Sequence[dict[str, float]] = ()
    speed: dict[str, float] = field(default_factory=dict)
    loss_measure: ClassVar[str] = _MEASURE

    @property
    def n_params(self) -> int:
        """Number of weights that a loss depends on: not those of transformers' head for contacts, nor the axes."""
        return sum(w.numel() for w in _esm.weights(self.net).values())

    def embed(self, view: View) -> Floats:
        """Return (n, dim or width) float32 coordinates of the sequences."""
        proteins = self._read(view)
        with _training.quiet(self.context, NAME), _training.precise(self.context.device, self.precision):
            found = _esm_states.means(self.net, proteins, self.context.device)
        return found if not self.axes.size else np.asarray((found - self.mean) @ self.axes, dtype=np.float32)

    def losses(self, view: View, *, seed: int) -> NDArray[np.float64]:
        """Return (n,) mean bits of each sequence's hidden residues; 0 for one without any known residue."""
        proteins = self._read(view)
        with _training.quiet(self.context, NAME), _training.precise(self.context.device, self.precision):
            return _esm_states.losses(_esm_states.foreteller(self.net), proteins, seed, self.context.device)

    def baseline_losses(self, view: View, *, seed: int) -> NDArray[np.float64]:
        """Return (n,) mean bits of the same residues, each given its position's frequencies in training alone."""
        return _esm_states.baseline(self.frequency, self._read(view), seed)

    def save(self, folder: Path) -> None:
        """Write the model to ``folder``, which is one that ``path`` and transformers read, too."""
        _esm.write(folder, self.net)
        arrays = {"frequency": self.frequency, "mean": self.mean, "axes": self.axes}
        _saved.write(folder, NAME, self.features, **arrays)

    def _read(self, view: View) -> Proteins:
        return _esm_states.read(aligned(view, self.features, NAME))
