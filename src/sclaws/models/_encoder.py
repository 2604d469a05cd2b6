"""The forward pass of a stack of transformer encoders, with no work on padding and none on outputs nobody reads.

Tokens of all models lie packed in one tensor (M, T, d); only attention knows where cells begin and end
(:mod:`sclaws.models._packing`). The last layer is computed at the wanted positions alone (the masked ones): its keys
and values come from every token, its queries and everything after them from those. That is exact, not a shortcut.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sclaws.models._packing import Packing
from sclaws.models._stack import Shape, Weights

Drop = Callable[[Any], Any]


def keep(x: Any) -> Any:
    """Drop nothing."""
    return x


def linear(x: Any, weight: Any, bias: Any) -> Any:
    """Return (M, n, out) of (M, n, in); one model goes the quicker way of a plain product."""
    import torch

    if x.shape[0] == 1:
        return torch.addmm(bias[0], x[0], weight[0])[None]
    return torch.baddbmm(bias[:, None], x, weight)


def norm(x: Any, weight: Any, bias: Any, epsilon: float) -> Any:
    """Return the layer normalisation of (M, n, d), each model with its own scale and shift."""
    import torch

    if x.shape[0] == 1:
        return torch.nn.functional.layer_norm(x, x.shape[-1:], weight[0], bias[0], epsilon)
    return torch.nn.functional.layer_norm(x, x.shape[-1:], eps=epsilon) * weight[:, None] + bias[:, None]


def encode(weights: Weights, x: Any, shape: Shape, packing: Packing, *, wanted: bool = False, drop: Drop = keep) -> Any:
    """Return (M, T, d) states after the last layer, or (M, Q, d) at the positions that ``packing`` wants.

    ``drop`` is dropout: applied to what either part of a layer adds and to the hidden units, not to attention weights.
    """
    for i in range(shape.layers):
        own = {name.split(".", 2)[2]: w for name, w in weights.items() if name.startswith(f"layers.{i}.")}
        x = _layer(own, x, shape, packing, wanted and i == shape.layers - 1, drop)
    return x


def _layer(own: Weights, x: Any, shape: Shape, packing: Packing, wanted: bool, drop: Drop) -> Any:
    norms = [(own[f"norm{n}.weight"], own[f"norm{n}.bias"], shape.epsilon) for n in (1, 2)]
    entering = norm(x, *norms[0]) if shape.pre_norm else x
    x = packing.select(x) if wanted else x
    x = x + drop(_attention(own, entering, shape, packing, wanted))
    x = x if shape.pre_norm else norm(x, *norms[0])
    hidden = linear(norm(x, *norms[1]) if shape.pre_norm else x, own["up.weight"], own["up.bias"])
    x = x + drop(linear(drop(activate(hidden, shape.activation)), own["down.weight"], own["down.bias"]))
    return x if shape.pre_norm else norm(x, *norms[1])


def activate(x: Any, activation: str) -> Any:
    """Return GELU (exact) or ReLU."""
    import torch

    return torch.nn.functional.gelu(x) if activation == "gelu" else torch.nn.functional.relu(x)


def _attention(own: Weights, x: Any, shape: Shape, packing: Packing, wanted: bool) -> Any:
    weight, bias, d = own["qkv.weight"], own["qkv.bias"], shape.width
    if wanted:
        q = linear(packing.select(x), weight[..., :d], bias[..., :d])
        k, v = linear(x, weight[..., d:], bias[..., d:]).split(d, dim=-1)
    else:
        q, k, v = linear(x, weight, bias).split(d, dim=-1)
    return linear(packing.attend(q, k, v, shape.heads, wanted), own["out.weight"], own["out.bias"])
