"""Operations counted from the shape against torch's own counter, on the pass that training takes."""

import numpy as np
import pytest

from sclaws.models import _flops, _reconstruction, _stack
from sclaws.models._packing import Equal
from sclaws.models._stack import Shape

torch = pytest.importorskip("torch")

CELLS, GENES, MASKED = 4, 20, 3
SHAPES = [Shape(16, 1, 1, 16), Shape(24, 3, 4, 96), Shape(12, 2, 3, 24, pre_norm=False, activation="relu")]


def counted(run):
    """What torch counts, attention written out in products, which it counts."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("m", [1, 2])
def test_masked_positions(shape, m):
    forms = _reconstruction.shapes(GENES, shape, 2)
    weights = _stack.drawn(forms, range(m), "cpu", normal=("genes", "mask"))
    values = torch.rand(m, CELLS, GENES)
    wanted = torch.stack([torch.randperm(GENES)[:MASKED] for _ in range(m * CELLS)]).view(m, CELLS, MASKED)
    hide = torch.zeros(m, CELLS, GENES, dtype=torch.bool).scatter(2, wanted, True)

    def forward():
        return _reconstruction.foretell(weights, values, shape, wanted, hide)

    head = 2 * MASKED * shape.width * 2
    expected = m * (_flops.forward(shape, np.full(CELLS, GENES), np.full(CELLS, MASKED)) + CELLS * head)
    assert counted(forward) == expected
    assert counted(lambda: forward().sum().backward()) == _flops.TRAINING * expected


@pytest.mark.parametrize("shape", SHAPES)
def test_every_position(shape):
    from sclaws.models import _encoder

    weights = _stack.drawn(_stack.layer_shapes(shape), [0], "cpu")
    x = torch.rand(1, CELLS * GENES, shape.width)
    run = lambda: _encoder.encode(weights, x, shape, Equal(CELLS, GENES))  # noqa: E731
    assert counted(run) == _flops.forward(shape, np.full(CELLS, GENES))


def test_cells_of_any_length_add_up():
    shape, lengths, wanted = SHAPES[1], np.array([3, 0, 50]), np.array([1, 0, 7])
    each = [_flops.forward(shape, lengths[[i]], wanted[[i]]) for i in range(3)]
    assert _flops.forward(shape, lengths, wanted) == sum(each)
    assert each[1] == 0
    assert _flops.forward(shape, lengths, lengths) == _flops.forward(shape, lengths)


def test_share_of_the_peak(monkeypatch):
    assert _flops.utilisation(1e12, "cpu") is None
    for name, expected in {"NVIDIA H200": 0.5, "NVIDIA A100-SXM4-80GB": 494.5 / 312, "Some other": None}.items():
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device, name=name: name)
        assert _flops.utilisation(494.5e12, "cuda") == (expected if expected is None else pytest.approx(expected))
