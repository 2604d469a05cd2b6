"""The network of scVI (Lopez et al. 2018) as scvi-tools has it, for M models side by side: every tensor begins with M.

Hidden layers are a product, a batch normalisation, ReLU and, in the encoder, dropout. The encoder reads log(1 + count)
and gives a normal posterior; the decoder gives shares of genes, and a dispersion is a gene's. scvi-tools is not needed:
it is the second implementation in the tests, to which weights are handed over.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from sclaws.hashing import GOLDEN, mix
from sclaws.models import _encoder, _negative_binomial
from sclaws.models._encoder import Drop, keep
from sclaws.models._stack import Weights
from sclaws.protocols import Ids

_MOMENTUM, _EPSILON = 0.01, 1e-3  # of a batch normalisation
_LEAST = 1e-4  # of a posterior's variance


@dataclass(frozen=True)
class Form:
    """``genes`` g, ``latent`` d, and ``layers`` hidden layers of ``hidden`` units on both sides."""

    genes: int
    latent: int
    hidden: int
    layers: int
    likelihood: Literal["nb", "zinb"]


def shapes(form: Form) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all weights that learn; a matrix is (in, out)."""
    heads = {"mean": (form.hidden, form.latent), "variance": (form.hidden, form.latent)}
    out = _hidden("encoder", form.genes, form)
    for name, pair in heads.items():
        out |= {f"{name}.weight": pair, f"{name}.bias": pair[1:]}
    out |= _hidden("decoder", form.latent, form)
    for name in ("share", "extra") if form.likelihood == "zinb" else ("share",):
        out |= {f"{name}.weight": (form.hidden, form.genes), f"{name}.bias": (form.genes,)}
    return out | {"log_r": (form.genes,)}


def _hidden(name: str, width: int, form: Form) -> dict[str, tuple[int, ...]]:
    out: dict[str, tuple[int, ...]] = {}
    for i in range(form.layers):
        out |= {f"{name}.{i}.weight": (form.hidden if i else width, form.hidden)}
        out |= {f"{name}.{i}.{own}": (form.hidden,) for own in ("bias", "norm.weight", "norm.bias")}
    return out


def start(form: Form, seeds: Sequence[int], log_r: NDArray[np.float64], device: str) -> Weights:
    """Return the weights that training starts from, one model a seed; ``log_r`` (M, g) as given.

    A product's matrix and shift are uniform within ±1/√in, as torch's own. With them come the moving averages of the
    batch normalisations, mean 0 and variance 1, which have no gradient.
    """
    import torch

    generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
    forms, weights = shapes(form), {}
    for name, size in forms.items():
        if "norm" in name:
            made = torch.full((len(seeds), *size), float(name.endswith("weight")))
        elif name == "log_r":
            made = torch.from_numpy(log_r.astype(np.float32))
        else:
            bound = 1 / math.sqrt(forms[f"{name.rpartition('.')[0]}.weight"][0])
            made = torch.stack([torch.rand(size, generator=g) for g in generators]) * (2 * bound) - bound
        weights[name] = made.to(device).requires_grad_()
    for name in [name for name in weights if name.endswith("norm.weight")]:
        layer = name.removesuffix("weight")
        weights[f"{layer}average"] = torch.zeros_like(weights[name], requires_grad=False)
        weights[f"{layer}square"] = torch.ones_like(weights[name], requires_grad=False)
    return weights


def posterior(weights: Weights, counts: Any, *, drop: Drop = keep, learning: bool = False) -> tuple[Any, Any]:
    """Return means and variances (M, B, d) of the latents of cells, from counts (M, B, g)."""
    import torch

    x = _layers(weights, "encoder", torch.log1p(counts), drop, learning)
    return _linear(weights, "mean", x), _linear(weights, "variance", x).exp() + _LEAST


def losses(
    weights: Weights, counts: Any, library: Any, noise: Any, *, drop: Drop = keep, learning: bool = False
) -> tuple[Any, Any]:
    """Return (M, B) -log probability of the counts, and the divergence of the posterior from the prior, in nats.

    Their sum is the -ELBO. ``library`` (M, B) totals of the counts; ``noise`` (M, B, d) standard normal numbers, which
    draw from the posterior. ``learning``: batches are normalised by themselves, and the moving averages follow them.
    """
    mean, variance = posterior(weights, counts, drop=drop, learning=learning)
    x = _layers(weights, "decoder", mean + variance.sqrt() * noise, keep, learning)
    extra = _linear(weights, "extra", x) if "extra.weight" in weights else None
    nats = _negative_binomial.nats(_linear(weights, "share", x), weights["log_r"], counts, library, extra)
    return nats, 0.5 * (variance + mean.square() - 1 - variance.log()).sum(-1)


def draws(ids: Ids, seed: int, dim: int) -> NDArray[np.float32]:
    """Return (n, dim) standard normal numbers that are a hash of (seed, cell): the same in any order of the cells."""
    salted = mix(np.asarray(ids, dtype=np.uint64) ^ mix(np.uint64(seed)))
    with np.errstate(over="ignore"):
        hashes = mix(salted[:, None] + GOLDEN * np.arange(1, dim + 1, dtype=np.uint64))
    return np.asarray(ndtri(((hashes >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53), dtype=np.float32)


def _linear(weights: Weights, name: str, x: Any) -> Any:
    return _encoder.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def _layers(weights: Weights, name: str, x: Any, drop: Drop, learning: bool) -> Any:
    import torch

    for i in range(sum(key.startswith(f"{name}.") and key.endswith(".norm.bias") for key in weights)):
        x = _linear(weights, f"{name}.{i}", x)
        x = drop(torch.relu(_normalised(weights, f"{name}.{i}.norm", x, learning)))
    return x


def _normalised(weights: Weights, name: str, x: Any, learning: bool) -> Any:
    """Return the batch normalisation of (M, B, h): every unit of every model is a channel of its own."""
    import torch

    known, own = ([weights[f"{name}.{w}"].view(-1) for w in two] for two in (("average", "square"), ("weight", "bias")))
    if x.shape[0] == 1:
        return torch.nn.functional.batch_norm(x[0], *known, *own, learning, _MOMENTUM, _EPSILON)[None]
    m, cells, units = x.shape
    channels = x.transpose(1, 2).reshape(1, m * units, cells)
    found = torch.nn.functional.batch_norm(channels, *known, *own, learning, _MOMENTUM, _EPSILON)
    return found.view(m, units, cells).transpose(1, 2)
