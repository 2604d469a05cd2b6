import numpy as np
import pytest
import torch

from sclaws.models import _crossentropy
from sclaws.models._crossentropy import cross_entropy, nats


def given(models, queries, vocabulary, width=8, scale=1.0, seed=0):
    rng = np.random.default_rng(seed)
    states, weight, bias = (
        torch.from_numpy(rng.normal(0, scale, form).astype(np.float32)).requires_grad_()
        for form in ((models, queries, width), (models, vocabulary, width), (models, vocabulary))
    )
    target = torch.from_numpy(rng.integers(0, vocabulary, (models, queries)))
    share = torch.from_numpy(rng.random((models, queries)).astype(np.float32))
    share[:, ::3] = 0
    return states, weight, bias, target, share


def plain(states, weight, bias, target, share):
    """All logits at once, in float64."""
    states, weight, bias, share = (t.double() for t in (states, weight, bias, share))
    logits = torch.einsum("mqd,mvd->mqv", states, weight) + bias[:, None]
    each = torch.nn.functional.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none")
    return (each.view(target.shape) * share).sum(1)


def with_gradients(function, inputs):
    """The sums, and the gradients of a sum of them in which every model counts differently."""
    found = function(*inputs)
    factor = torch.arange(1, len(found) + 1, dtype=found.dtype)
    return found.detach(), torch.autograd.grad((found * factor).sum(), inputs[:3])


@pytest.mark.parametrize("rows", [1, 7, 1000])
@pytest.mark.parametrize(("models", "queries", "vocabulary"), [(1, 20, 11), (3, 20, 300), (3, 1, 2)])
def test_sums_and_gradients_are_those_of_all_logits_at_once(models, queries, vocabulary, rows, monkeypatch):
    monkeypatch.setattr(_crossentropy, "_rows", lambda *_: rows)
    inputs = given(models, queries, vocabulary)
    found, gradients = with_gradients(cross_entropy, inputs)
    expected, theirs = with_gradients(plain, inputs)
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)
    for name, mine, other in zip(("states", "weight", "bias"), gradients, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-5, msg=lambda m, name=name: f"{name}: {m}")


def test_a_position_without_a_share_counts_for_nothing():
    states, weight, bias, target, share = given(2, 9, 5)
    _, (gradient, *_) = with_gradients(cross_entropy, (states, weight, bias, target, share))
    assert not gradient[:, ::3].any()
    assert gradient[:, 1::3].any(dim=2).all()
    target[:, ::3] = 0
    found = cross_entropy(states, weight, bias, target, share)
    torch.testing.assert_close(found, plain(states, weight, bias, target, share).float(), atol=1e-5, rtol=1e-5)


def test_logits_far_from_zero_do_not_overflow():
    inputs = given(1, 12, 9, scale=40.0)
    found, gradients = with_gradients(cross_entropy, inputs)
    expected, theirs = with_gradients(plain, inputs)
    assert expected[0] > 1000
    torch.testing.assert_close(found.double(), expected, atol=0, rtol=1e-5)
    for mine, other in zip(gradients, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-3, rtol=1e-4)


def test_bfloat16_is_near():
    """bfloat16 keeps 8 binary digits: products of numbers near 1 are good to a percent or so."""
    inputs = given(2, 200, 64)
    found, gradients = with_gradients(lambda *args: cross_entropy(*args, torch.bfloat16), inputs)
    expected, theirs = with_gradients(plain, inputs)
    torch.testing.assert_close(found.double(), expected, atol=0, rtol=0.01)
    assert (found.double() != expected).all()
    for mine, other in zip(gradients, theirs, strict=True):
        assert mine.dtype == torch.float32
        assert (mine - other).norm() < 0.02 * other.norm()


@pytest.mark.parametrize("rows", [1, 7, 1000])
def test_nats_of_each_position(rows, monkeypatch):
    monkeypatch.setattr(_crossentropy, "_rows", lambda *_: rows)
    states, weight, bias, target, _ = given(1, 30, 17)
    found = nats(states[0], weight[0], bias[0], target[0])
    logits = states[0].double() @ weight[0].double().T + bias[0].double()
    expected = torch.nn.functional.cross_entropy(logits, target[0], reduction="none")
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)
    assert nats(states[0, :0], weight[0], bias[0], target[0, :0]).shape == (0,)


def test_a_uniform_guess_costs_the_logarithm_of_the_vocabulary():
    states, weight, bias, target, _ = given(1, 10, 32)
    share = torch.full((1, 10), 0.1)
    found = cross_entropy(states * 0, weight, torch.zeros_like(bias), target, share)
    torch.testing.assert_close(found, torch.tensor([np.log(32)], dtype=torch.float32))


def test_blocks_are_small_and_do_not_vanish():
    assert _crossentropy._rows(128, 25_000, "cpu") * 25_000 < 2**22
    assert _crossentropy._rows(8, 10, "cpu") >= 32
    assert _crossentropy._rows(256, 2**30, "cuda") == 1
