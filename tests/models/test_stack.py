import math

import numpy as np
import pytest

from sclaws.errors import PluginError
from sclaws.models import _stack
from sclaws.models._stack import Shape

torch = pytest.importorskip("torch")

NAMED = {"TINY": "16x1x1x1", "XS": "64x2x4x4"}
SHAPES = _stack.layer_shapes(Shape(12, 2, 3, 24)) | {"genes": (200, 12), "head.weight": (12, 2), "scale": (40,)}


def test_a_size_is_a_name_or_four_numbers():
    assert _stack.parse("XS", NAMED, "m") == (64, 2, 4, 256)
    assert _stack.parse("24x3x2x5", NAMED, "m") == (24, 3, 2, 120)


@pytest.mark.parametrize("size", ["HUGE", "64x2x4", "64x2x4x4x1", "64x2x4x1.5", ""])
def test_what_is_no_size_is_refused(size):
    with pytest.raises(
        PluginError, match='m: size = .* is none of TINY, XS and not "width x layers x heads x multiple"'
    ):
        _stack.parse(size, NAMED, "m")


@pytest.mark.parametrize("size", ["10x1x3x1", "16x0x1x1", "16x1x1x0", "-16x1x1x1"])
def test_heads_must_part_the_width(size):
    with pytest.raises(PluginError, match="all four must be at least 1, and the width a multiple of the heads"):
        _stack.parse(size, NAMED, "m")


def test_layers_have_as_many_parameters_as_torchs():
    layer = torch.nn.TransformerEncoderLayer(12, 3, 24)
    assert _stack.count(_stack.layer_shapes(Shape(12, 2, 3, 24))) == 2 * sum(p.numel() for p in layer.parameters())


def test_a_model_starts_the_same_whatever_its_neighbours():
    alone, among = _stack.drawn(SHAPES, [7], "cpu"), _stack.drawn(SHAPES, [3, 7, 9], "cpu")
    for name, form in SHAPES.items():
        assert among[name].shape == (3, *form)
        assert among[name].requires_grad
        assert torch.equal(among[name][1], alone[name][0])
        if not name.endswith("bias") and "norm" not in name:
            assert not torch.equal(among[name][0], among[name][1])


def test_starting_weights_have_the_spread_they_should():
    weights = _stack.drawn(SHAPES, [0, 1], "cpu", normal=("genes",))
    genes = weights["genes"].detach().numpy()
    assert abs(genes.std() / 0.02 - 1) < 4 / math.sqrt(2 * genes.size)
    assert abs(genes.mean()) < 4 * 0.02 / math.sqrt(genes.size)
    for name, bound in (("layers.0.qkv.weight", math.sqrt(6 / 48)), ("head.weight", math.sqrt(6 / 14))):
        drawn = weights[name].detach().numpy()  # uniform between the bounds: standard deviation bound / sqrt(3)
        assert np.abs(drawn).max() <= bound
        assert abs(drawn.var() / (bound**2 / 3) - 1) < 4 * math.sqrt(0.8 / drawn.size)  # Var(U²)/E(U²)² = 4/5
    assert all(not weights[n].any() for n in weights if n.endswith("bias"))
    assert all((weights[n] == 1).all() for n in weights if "norm" in n and n.endswith("weight"))


def test_stacked_and_taken_apart_again():
    rng = np.random.default_rng(0)
    models = [{n: rng.normal(size=form).astype(np.float32) for n, form in SHAPES.items()} for _ in range(3)]
    weights = _stack.stacked(models, "cpu")
    for m, model in enumerate(models):
        own = _stack.arrays(weights, m)
        assert own.keys() == model.keys()
        for name, values in model.items():
            assert own[name].tobytes() == values.tobytes()
