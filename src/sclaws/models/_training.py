"""Training a stack of models: AdamW, warm-up and decay, each model's best weights, and going on after a kill.

Nothing random is carried from step to step: the batch, the masks and the dropout of step s are drawn from (seed, s).
So a checkpoint is the weights, the optimiser's moments and a few numbers, and a run that was killed and resumed takes
exactly the steps that one left alone would have taken.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from sclaws.errors import ModelError
from sclaws.hashing import mix
from sclaws.models import _checkpoint, _flops
from sclaws.models._stack import Weights
from sclaws.protocols import Context, Ints

_ORDERED = 2**25  # cells of all orders that are kept: a quarter of a gigabyte
_orders: OrderedDict[tuple[int, int, int], Ints] = OrderedDict()
CHECKPOINT_SECONDS = 60.0  # between two checkpoints, at least: one is written only after a look at validation cells


@dataclass(frozen=True)
class Schedule:
    """At most ``updates`` steps of AdamW at ``rate``, after a linear rise over ``warmup`` steps, then ``decay``.

    The validation cells are looked at every ``check_every`` steps; a model that has not improved for ``patience`` looks
    is done; ``min_delta`` or less is no improvement. ``decay_all``: weight decay also of biases and normalisations (as
    torch does when nobody says otherwise). ``adam``: plain Adam, in which weight decay is part of the gradient.
    """

    updates: int
    rate: float
    batch: int
    warmup: int
    decay: Literal["cosine", "linear", "none"]
    weight_decay: float
    check_every: int
    patience: int
    clip: float = 1.0
    decay_all: bool = False
    min_delta: float = 0.0
    adam: bool = False
    epsilon: float = 1e-8

    def share(self, step: int) -> float:
        """Return the learning rate of step 1, 2, ... as a share of ``rate``."""
        rising = min(1.0, step / max(self.warmup, 1))
        left = max(self.updates - self.warmup, 1)
        gone = min(max(step - self.warmup, 0) / left, 1.0)
        falling = {"cosine": 0.5 * (1 + math.cos(math.pi * gone)), "linear": 1 - gone, "none": 1.0}[self.decay]
        return rising * falling


@dataclass
class State:
    """Where training is: ``lowest`` (M,) validation losses so far, ``waiting`` (M,) looks since, learning curves.

    ``patience`` (M,) looks without a better one, after which a model is done.
    """

    lowest: Any
    waiting: Any
    step: int = 0
    seconds: float = 0.0  # of training steps alone
    history: list[list[dict[str, float]]] = field(default_factory=list)
    patience: Any = None


@contextlib.contextmanager
def quiet(context: Context, model: str) -> Iterator[None]:
    """Use the context's threads and see that its device is there; leave the process as it was."""
    import torch

    if context.device.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError(f"{model}: device {context.device!r} was asked for and there is none; use device = 'cpu'")
    threads = torch.get_num_threads()
    torch.set_num_threads(context.threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def precise(device: str, precision: str) -> Any:
    """Return the context in which products are taken in ``precision``; weights and sums stay float32."""
    import torch

    return torch.autocast(device.split(":")[0], dtype=torch.bfloat16, enabled=precision == "bfloat16")


def curve(state: State, m: int, rate: float, *, judged: bool) -> tuple[dict[str, float], ...]:
    """Return a model's learning curve; raise ``ModelError`` when it diverged.

    ``judged``: there were validation cells; without them the curve is of training losses alone.
    """
    mine = state.history[m]
    if not np.isfinite(mine[-1]["valid_loss"]):
        raise ModelError(
            f"the loss is no longer finite after {mine[-1]['update']} updates: training diverged; lower lr = {rate:g}"
        )
    hidden = () if judged else ("valid_loss",)
    return tuple({name: value for name, value in look.items() if name not in hidden} for look in mine)


def speed(state: State, tokens: float, flop: float, device: str) -> dict[str, float]:
    """Return tokens and operations a second of training, of all models together: ``tokens`` and ``flop`` of a cell.

    On a GPU that :mod:`sclaws.models._flops` knows, ``mfu`` is the share of its peak.
    """
    cells = sum(own[-1]["cells"] for own in state.history if own) / max(state.seconds, 1e-9)
    out = {
        "tokens_per_second": cells * tokens,
        "flop_per_second": cells * flop,
        "models_together": float(len(state.history)),
    }
    share = _flops.utilisation(out["flop_per_second"], device)
    return out if share is None else out | {"mfu": share}


class Random:
    """Random numbers of M models at a step, on a device: drawn from each model's seed, the step and a purpose."""

    def __init__(self, seeds: Sequence[int], step: int, device: str) -> None:
        self.seeds, self.step, self.device, self.asked = seeds, step, device, 0

    def uniform(self, *form: int) -> Any:
        """Return (M, *form) numbers in [0, 1); asking again gives others."""
        import torch

        return self._drawn(torch.rand, form)

    def _drawn(self, law: Callable[..., Any], form: tuple[int, ...]) -> Any:
        import torch

        self.asked += 1
        salt = mix(np.uint64(self.step) * np.uint64(2**20) + np.uint64(self.asked))
        drawn = []
        for seed in self.seeds:
            generator = torch.Generator(self.device).manual_seed(int(mix(np.uint64(seed) ^ salt)) >> 1)
            drawn.append(law(form, generator=generator, device=self.device))
        return torch.stack(drawn)

    def normal(self, *form: int) -> Any:
        """Return (M, *form) standard normal numbers; asking again gives others."""
        import torch

        return self._drawn(torch.randn, form)

    def dropping(self, rate: float) -> Callable[[Any], Any]:
        """Return dropout at ``rate``."""
        if rate == 0:
            return lambda x: x
        return lambda x: x * (self.uniform(*x.shape[1:]) >= rate) / (1 - rate)


def rows(n: int, batch: int, seed: int, step: int) -> Ints:
    """Return the (batch,) cells of step 1, 2, ...: shuffled epochs, one after another, cut into equal pieces."""
    first, last = (step - 1) * batch, step * batch
    epochs = range(first // n, (last - 1) // n + 1)
    order = np.concatenate([_epoch(n, seed, epoch) for epoch in epochs])
    return order[first - epochs[0] * n : last - epochs[0] * n]


def _epoch(n: int, seed: int, epoch: int) -> Ints:
    """Return the order of an epoch; those of the models that are trained together are kept, as far as there is room."""
    if (n, seed, epoch) not in _orders:
        while _orders and sum(map(len, _orders.values())) + n > _ORDERED:
            _orders.popitem(last=False)
        _orders[n, seed, epoch] = np.random.default_rng([seed, epoch]).permutation(n)
    _orders.move_to_end((n, seed, epoch))
    return _orders[n, seed, epoch]


def train(
    weights: Weights,
    loss: Callable[[int], Any],
    validate: Callable[[int], Any],
    schedule: Schedule,
    context: Context,
    describe: Mapping[str, Any],
    patience: Sequence[int] | None = None,
) -> State:
    """Train in place; each model is left with the weights of its lowest validation loss.

    Tensors that need no gradient, such as the moving averages of a batch normalisation, are ``loss``'s to change; they
    are kept and written with the weights.
    ``loss(step)`` returns (M,) losses of a batch, ``validate(step)`` (M,) losses of the validation cells. At the first
    look after every minute a checkpoint is written to ``context.folder``; one of the same ``describe`` that is there is
    gone on from. ``Path()`` is no folder: who trains by hand finds nothing new in theirs. ``patience`` (M,) looks,
    where the schedule's is not everyone's.
    """
    import torch

    optimiser = _optimiser(weights, schedule)
    with torch.no_grad():
        first = validate(0)
    waiting = torch.zeros_like(first, dtype=torch.long)
    limit = torch.full_like(waiting, schedule.patience) if patience is None else waiting.new_tensor(patience)
    state = State(first, waiting, history=[[] for _ in range(len(first))], patience=limit)
    best = {name: w.detach().clone() for name, w in weights.items()}
    _checkpoint.restore(context.folder, describe, weights, best, optimiser, state)
    began = saved = time.monotonic()
    sums = torch.zeros_like(first)
    while state.step < schedule.updates and bool((state.waiting < state.patience).any()):
        started = time.perf_counter()
        last = min(state.step + schedule.check_every, schedule.updates)
        sums.zero_()
        for step in range(state.step + 1, last + 1):
            sums += _update(weights, loss(step), optimiser, schedule, step)
        mean = (sums / (last - state.step)).tolist()  # waits for the device
        state.seconds, state.step = state.seconds + time.perf_counter() - started, last
        _look(weights, best, validate, state, schedule, mean)
        context.progress(_told(state, schedule))
        if time.monotonic() - saved > CHECKPOINT_SECONDS:
            _checkpoint.save(context.folder, describe, weights, best, optimiser, state)
            saved = time.monotonic()
    if time.monotonic() - began > CHECKPOINT_SECONDS:  # jobs that are trained after this one may yet be killed
        _checkpoint.save(context.folder, describe, weights, best, optimiser, state)
    with torch.no_grad():
        for name, w in weights.items():
            w.copy_(best[name])
    return state


def _optimiser(weights: Weights, schedule: Schedule) -> Any:
    import torch

    learned = {n: w for n, w in weights.items() if w.requires_grad}
    plain = [] if schedule.decay_all else [n for n in learned if n.endswith("bias") or "norm" in n]
    groups = [
        {"params": [w for n, w in learned.items() if n not in plain], "weight_decay": schedule.weight_decay},
        {"params": [learned[n] for n in plain], "weight_decay": 0.0},
    ]
    kind = torch.optim.Adam if schedule.adam else torch.optim.AdamW
    return kind([g for g in groups if g["params"]], lr=schedule.rate, eps=schedule.epsilon, fused=True)


def _update(weights: Weights, losses: Any, optimiser: Any, schedule: Schedule, step: int) -> Any:
    """Take one step; return the (M,) losses before it. Gradients are clipped model by model, unless ``clip`` is inf."""
    optimiser.zero_grad(set_to_none=True)
    losses.sum().backward()
    if math.isfinite(schedule.clip):
        _clip(weights, schedule.clip)
    for group in optimiser.param_groups:
        group["lr"] = schedule.rate * schedule.share(step)
    optimiser.step()
    return losses.detach()


def _clip(weights: Weights, most: float) -> None:
    """Scale gradients down, model by model, to a length of ``most``."""
    import torch

    gradients = [w.grad for w in weights.values() if w.requires_grad]
    squares = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0)
    factors = (most / (squares.sqrt() + 1e-6)).clamp(max=1.0)
    for g in gradients:
        g.mul_(factors.view(-1, *[1] * (g.ndim - 1)))


def _look(
    weights: Weights,
    best: Weights,
    validate: Callable[[int], Any],
    state: State,
    schedule: Schedule,
    trained: list[float],
) -> None:
    """Take the validation losses; keep the weights of the models that got better; one that diverged is done.

    Its last loss stays in its history, not finite, for who asked for the model to see.
    """
    import torch

    with torch.no_grad():
        now = validate(state.step)
        finite = torch.isfinite(now) & torch.isfinite(torch.tensor(trained, device=now.device))
        now = torch.where(finite, now, torch.nan)  # without validation cells the training loss alone tells
        going = state.waiting < state.patience
        better = (now < state.lowest - schedule.min_delta) & going
        state.lowest = torch.where(better, now, state.lowest)
        for name, kept in best.items():
            kept[better] = weights[name].detach()[better]
        state.waiting = torch.where(better, 0, torch.where(finite, state.waiting + 1, state.patience))
    for m, (mine, value) in enumerate(zip(state.history, now.tolist(), strict=True)):
        if bool(going[m]):
            mine.append(
                {
                    "update": state.step,
                    "cells": state.step * schedule.batch,
                    "train_loss": trained[m],
                    "valid_loss": value,
                }
            )


def _told(state: State, schedule: Schedule) -> str:
    lowest = ", ".join(f"{value:.4f}" for value in state.lowest.tolist()[:4])
    models = f" of {len(state.lowest)} models" if len(state.lowest) > 1 else ""
    return f"{state.step} of {schedule.updates} updates, lowest validation loss{models} {lowest}"
