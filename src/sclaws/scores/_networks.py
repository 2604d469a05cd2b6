"""Many small networks trained as one: every tensor has a leading dimension of M models, so a step is one batch product.

The models are the folds of a cross-fit, and the sizes of training set of a learning curve. Each has its own data, its
own random numbers and its own best weights, so what it becomes does not depend on its neighbours (but for rounding).
Nothing here touches torch's global random state, and the number of threads is put back as it was.
"""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from sclaws.errors import ScoreError
from sclaws.protocols import Ints


def needed(score: str) -> None:
    """Raise ``ScoreError`` where torch is not installed: when a study is read, before any work."""
    if importlib.util.find_spec("torch") is None:
        raise ScoreError(f"{score} needs torch: pip install 'sclaws[learnt]'; gaussian, ksg and probe do without it")


@contextmanager
def one_thread() -> Iterator[str]:
    """Yield the device to use; on a CPU one thread works, which makes the numbers independent of how many there are."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield "cuda" if torch.cuda.is_available() else "cpu"
    finally:
        torch.set_num_threads(before)


def together() -> int:
    """Return how many estimates are worth training at once here: 16 on a GPU, which one alone leaves idle; else 1."""
    import torch

    return 16 if torch.cuda.is_available() else 1


class Stack:
    """M multilayer perceptrons of equal shape: (M, rows, sizes[0]) -> (M, rows, sizes[-1]), SiLU between layers."""

    def __init__(self, sizes: Sequence[int], seeds: Sequence[int], device: str, last: float = 1.0) -> None:
        import torch

        generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
        self.weights, self.biases = [], []
        for i, (wide, narrow) in enumerate(pairwise(sizes)):
            scale = math.sqrt(2 / wide) * (last if i == len(sizes) - 2 else 1.0)
            drawn = torch.stack([torch.randn(wide, narrow, generator=g) for g in generators])
            self.weights.append((drawn * scale).to(device).requires_grad_())
            self.biases.append(torch.zeros(len(seeds), 1, narrow, device=device, requires_grad=True))

    @property
    def parameters(self) -> list[Any]:
        """Everything that is trained."""
        return [*self.weights, *self.biases]

    def some(self, models: slice) -> Stack:
        """Return a view of some of the models."""
        part = object.__new__(Stack)
        part.weights = [weight[models] for weight in self.weights]
        part.biases = [bias[models] for bias in self.biases]
        return part

    def __call__(self, x: Any, noise: Callable[[Any], Any] = lambda hidden: hidden) -> Any:
        """Return the outputs; ``noise`` is applied to what enters every layer (dropout, while training)."""
        import torch

        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, noise(x), weight)
            if i < len(self.weights) - 1:
                x = torch.nn.functional.silu(x)
        return x


@dataclass(frozen=True)
class Schedule:
    """How long and how fast: at most ``steps`` of AdamW from ``rate`` down a half cosine, looking at the validation
    cells every ``every`` steps. A model that has not improved for ``patience`` looks is done; all stop with the last.
    """

    steps: int = 400
    rate: float = 3e-3
    decay: float = 0.1
    batch: int = 512
    every: int = 10
    patience: int = 30


def batches(rows: Sequence[Ints], size: int, seeds: Sequence[int]) -> Iterator[Any]:
    """Yield (M, size) row indices for ever; each model goes through its own rows in its own random order."""
    size = min(size, *map(len, rows))
    generators = [np.random.default_rng(seed) for seed in seeds]
    queues: list[Ints] = [np.empty(0, dtype=np.int64) for _ in rows]
    while True:
        for m, own in enumerate(rows):
            if len(queues[m]) < size:
                queues[m] = generators[m].permutation(own)
        yield np.stack([queue[:size] for queue in queues])
        queues = [queue[size:] for queue in queues]


def train(
    parameters: list[Any],
    loss: Callable[[Any], Any],
    valid: Callable[[], Any],
    rows: Iterator[Any],
    schedule: Schedule,
) -> Any:
    """Train until the validation loss (M,) of every model has stopped falling; return the lowest, (M,).

    ``loss(rows)`` returns (M,) training losses. Each model gets back the weights with which its own validation loss
    was lowest, copied when they were.
    """
    import torch

    optimiser = torch.optim.AdamW(parameters, lr=schedule.rate, weight_decay=schedule.decay)
    falling = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _cosine(step, schedule.steps))
    with torch.no_grad():
        lowest = valid()
    best = [p.detach().clone() for p in parameters]
    waiting = torch.zeros(len(lowest), dtype=torch.long, device=lowest.device)
    for step in range(1, schedule.steps + 1):
        optimiser.zero_grad()
        loss(torch.as_tensor(next(rows), device=parameters[0].device)).sum().backward()
        optimiser.step()
        falling.step()
        if step % schedule.every == 0:
            with torch.no_grad():
                now = valid()
                better = (now < lowest) & (waiting < schedule.patience)
                lowest = torch.where(better, now, lowest)
                for kept, p in zip(best, parameters, strict=True):
                    kept[better] = p.detach()[better]
                waiting = torch.where(better, 0, waiting + 1)
            if bool((waiting >= schedule.patience).all()):
                break
    with torch.no_grad():
        for kept, p in zip(best, parameters, strict=True):
            p.copy_(kept)
    return lowest


def _cosine(step: int, steps: int) -> float:
    """Return the share of the learning rate: up over 20 steps, then down a half cosine."""
    return min(1.0, (step + 1) / 20) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
