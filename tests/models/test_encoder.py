"""The encoder against torch's own, layer by layer with the same weights."""

import numpy as np
import pytest

from sclaws.models import _encoder, _stack
from sclaws.models._packing import Equal, ragged
from sclaws.models._stack import Shape

torch = pytest.importorskip("torch")

PAPER_A = Shape(12, 3, 3, 20)
BERT = Shape(12, 2, 4, 24, pre_norm=False, activation="relu", epsilon=1e-12)
CELLS, LENGTH = 5, 7
shapes = pytest.mark.parametrize("shape", [PAPER_A, BERT], ids=["pre-norm gelu", "post-norm relu"])
models = pytest.mark.parametrize("m", [1, 3])


def randomly(shape, m, seed=0):
    """Weights without a zero or a one among them, so that none can be forgotten."""
    generator = torch.Generator().manual_seed(seed)
    forms = _stack.layer_shapes(shape)
    return {n: (torch.randn(m, *form, generator=generator) * 0.4).requires_grad_() for n, form in forms.items()}


def torchs(shape, weights, m):
    """torch's layers with the weights of model ``m``."""
    layers = []
    for i in range(shape.layers):
        layer = torch.nn.TransformerEncoderLayer(
            shape.width, shape.heads, shape.hidden, 0.0, shape.activation, shape.epsilon, True, shape.pre_norm
        )
        own = {n.split(".", 2)[2]: w[m].detach() for n, w in weights.items() if n.startswith(f"layers.{i}.")}
        theirs = {
            "self_attn.in_proj_weight": own["qkv.weight"].T, "self_attn.in_proj_bias": own["qkv.bias"],
            "self_attn.out_proj.weight": own["out.weight"].T, "self_attn.out_proj.bias": own["out.bias"],
            "linear1.weight": own["up.weight"].T, "linear1.bias": own["up.bias"],
            "linear2.weight": own["down.weight"].T, "linear2.bias": own["down.bias"],
            **{n: own[n] for n in ("norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias")},
        }  # fmt: skip
        layer.load_state_dict(theirs)
        layers.append(layer.train())  # in evaluation torch takes another way
    return torch.nn.Sequential(*layers)


@shapes
@models
def test_values_and_gradients_are_torchs(shape, m):
    weights = randomly(shape, m)
    x = torch.randn(m, CELLS, LENGTH, shape.width, generator=torch.Generator().manual_seed(1)).requires_grad_()
    target = torch.randn(m, CELLS, LENGTH, shape.width, generator=torch.Generator().manual_seed(2))
    got = _encoder.encode(weights, x.flatten(1, 2), shape, Equal(CELLS, LENGTH)).view(x.shape)
    ((got * target).sum()).backward()
    for k in range(m):
        theirs, own = torchs(shape, weights, k), x[k].detach().requires_grad_()
        expected = theirs(own)
        torch.testing.assert_close(got[k], expected, rtol=1e-5, atol=1e-5)
        (expected * target[k]).sum().backward()
        torch.testing.assert_close(x.grad[k], own.grad, rtol=1e-4, atol=1e-4)
        for i in range(shape.layers):
            qkv = theirs[i].self_attn.in_proj_weight.grad.T
            torch.testing.assert_close(weights[f"layers.{i}.qkv.weight"].grad[k], qkv, rtol=1e-4, atol=1e-4)
            bias = theirs[i].norm2.bias.grad
            torch.testing.assert_close(weights[f"layers.{i}.norm2.bias"].grad[k], bias, rtol=1e-4, atol=1e-4)


@shapes
@models
@pytest.mark.parametrize("packed", ["equal", "ragged"])
def test_the_last_layer_at_wanted_positions_alone_is_the_same(shape, m, packed):
    rng = np.random.default_rng(3)
    positions = np.stack([[rng.permutation(LENGTH)[:3] for _ in range(CELLS)] for _ in range(m)])
    lengths = np.full((m, CELLS), LENGTH)
    packing = (
        Equal(CELLS, LENGTH, torch.from_numpy(positions)) if packed == "equal" else ragged(lengths, positions, "cpu")
    )
    start = torch.randn(m, CELLS * LENGTH, shape.width, generator=torch.Generator().manual_seed(4))
    target = torch.randn(m, CELLS * 3, shape.width, generator=torch.Generator().manual_seed(5))
    found = []
    for wanted in (True, False):
        weights, x = randomly(shape, m), start.clone().requires_grad_()
        states = _encoder.encode(weights, x, shape, packing, wanted=wanted)
        states = states if wanted else packing.select(states)
        (states * target).sum().backward()
        found.append([states, x.grad, *(w.grad for w in weights.values())])
    expected = start.view(m, CELLS, LENGTH, -1).gather(
        2, torch.from_numpy(positions)[..., None].expand(-1, -1, -1, shape.width)
    )
    torch.testing.assert_close(packing.select(start), expected.flatten(1, 2), rtol=0, atol=0)
    for one, two in zip(*found, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)


def test_dropout_is_asked_for_where_the_papers_have_it():
    """After attention, after the hidden units, after the feed-forward part: three times a layer."""
    asked = []

    def drop(x):
        asked.append(tuple(x.shape))
        return x

    x = torch.zeros(1, CELLS * LENGTH, PAPER_A.width)
    _encoder.encode(randomly(PAPER_A, 1), x, PAPER_A, Equal(CELLS, LENGTH), drop=drop)
    width, hidden = (1, CELLS * LENGTH, PAPER_A.width), (1, CELLS * LENGTH, PAPER_A.hidden)
    assert asked == [width, hidden, width] * PAPER_A.layers
