"""The weights of M transformers of one shape, every tensor with a leading dimension of M: a step is one batch product.

Small models do not fill a processor, still less a GPU; M of them side by side do. Each has its own random numbers, its
own data and its own best weights, so what a model becomes does not depend on its neighbours (but for rounding).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sclaws.errors import PluginError

Weights: TypeAlias = dict[str, Any]  # name -> (M, ...) tensor
Arrays: TypeAlias = dict[str, NDArray[np.float32]]  # name -> array, of a single model


@dataclass(frozen=True)
class Shape:
    """An encoder: ``width`` d, ``layers``, ``heads``, ``hidden`` units of the feed-forward part.

    ``pre_norm``: a layer normalises what enters its two parts (paper A) and not what leaves them (BERT).
    """

    width: int
    layers: int
    heads: int
    hidden: int
    pre_norm: bool = True
    activation: Literal["gelu", "relu"] = "gelu"
    epsilon: float = 1e-5


def parse(size: str, named: Mapping[str, str], model: str) -> tuple[int, int, int, int]:
    """Return (width, layers, heads, hidden) of a size: a published name, or "width x layers x heads x multiple".

    ``multiple`` is the feed-forward width over the width. Raise ``PluginError`` for anything else.
    """
    try:
        width, layers, heads, multiple = (int(part) for part in named.get(size, size).split("x"))
    except ValueError:
        known = ", ".join(named)
        raise PluginError(
            f'{model}: size = {size!r} is none of {known} and not "width x layers x heads x multiple", as "64x2x4x4" is'
        ) from None
    if min(width, layers, heads, multiple) < 1 or width % heads:
        raise PluginError(
            f"{model}: size = {size!r}: all four must be at least 1, and the width a multiple of the heads"
        )
    return width, layers, heads, multiple * width


def layer_shapes(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Return the shapes of an encoder's weights; a weight is (in, out), queries, keys and values in one."""
    d, f = shape.width, shape.hidden
    one = {
        "qkv.weight": (d, 3 * d), "qkv.bias": (3 * d,), "out.weight": (d, d), "out.bias": (d,),
        "norm1.weight": (d,), "norm1.bias": (d,), "up.weight": (d, f), "up.bias": (f,),
        "down.weight": (f, d), "down.bias": (d,), "norm2.weight": (d,), "norm2.bias": (d,),
    }  # fmt: skip
    return {f"layers.{i}.{name}": form for i in range(shape.layers) for name, form in one.items()}


def count(shapes: Mapping[str, tuple[int, ...]]) -> int:
    """Return the number of parameters."""
    return sum(math.prod(form) for form in shapes.values())


def drawn(
    shapes: Mapping[str, tuple[int, ...]], seeds: Sequence[int], device: str, *, normal: Sequence[str] = ("",)
) -> Weights:
    """Return weights at their start, one model a seed: biases 0, normalisations 1, matrices random.

    Those whose name begins with one of ``normal`` are N(0, 0.02), the others uniform after Glorot & Bengio (2010).
    """
    import torch

    generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    weights = {}
    for name, form in shapes.items():
        if name.endswith("bias"):
            start = torch.zeros(len(seeds), *form)
        elif "norm" in name:
            start = torch.ones(len(seeds), *form)
        elif name.startswith(tuple(normal)):
            start = torch.stack([torch.randn(form, generator=g) for g in generators]) * 0.02
        else:
            bound = math.sqrt(6 / (form[0] + (form[1] if len(form) > 1 else 1)))
            start = torch.stack([torch.rand(form, generator=g) for g in generators]) * (2 * bound) - bound
        weights[name] = start.to(device).requires_grad_()
    return weights


def stacked(models: Sequence[Arrays], device: str) -> Weights:
    """Return the weights of several models of one shape as one."""
    import torch

    return {
        name: torch.from_numpy(np.stack([model[name] for model in models])).to(device).requires_grad_()
        for name in models[0]
    }


def arrays(weights: Weights, m: int) -> Arrays:
    """Return the weights of model ``m``, as float32 arrays of its own."""
    return {name: tensor[m].detach().float().cpu().numpy().copy() for name, tensor in weights.items()}
