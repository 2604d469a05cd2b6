"""What is written is what comes back; what a kill does to a run is in test_training.py."""

import pytest

from sclaws.models import _checkpoint
from sclaws.models._training import State

torch = pytest.importorskip("torch")


def run(steps, seed=0):
    """Weights, best weights, optimiser and state of a run that has taken some steps."""
    generator = torch.Generator().manual_seed(seed)
    weights = {
        n: torch.randn(2, *form, generator=generator).requires_grad_()
        for n, form in {"a": (3, 4), "b.bias": (4,)}.items()
    }
    best = {n: w.detach() * 2 for n, w in weights.items()}
    optimiser = torch.optim.AdamW(weights.values(), lr=0.01, fused=True)
    for _ in range(steps):
        optimiser.zero_grad()
        sum(w.square().sum() for w in weights.values()).backward()
        optimiser.step()
    state = State(torch.tensor([0.1, 0.2]), torch.tensor([3, 0]), steps, 1.5, [[{"update": 1, "valid_loss": 0.1}], []])
    return weights, best, optimiser, state


def test_all_of_a_run_comes_back(tmp_path):
    weights, best, optimiser, state = run(3)
    _checkpoint.save(tmp_path, {"seed": 1}, weights, best, optimiser, state)
    other, other_best, other_optimiser, other_state = run(0, seed=5)
    assert _checkpoint.restore(tmp_path, {"seed": 1}, other, other_best, other_optimiser, other_state)
    for name in weights:
        assert torch.equal(other[name], weights[name])
        assert torch.equal(other_best[name], best[name])
        for key, value in optimiser.state[weights[name]].items():
            assert torch.equal(other_optimiser.state[other[name]][key], value)
    assert torch.equal(other_state.lowest, state.lowest) and torch.equal(other_state.waiting, state.waiting)
    assert (other_state.step, other_state.seconds, other_state.history) == (3, 1.5, state.history)


def test_what_is_not_there_or_of_another_run_changes_nothing(tmp_path):
    weights, best, optimiser, state = run(3)
    before = {n: w.detach().clone() for n, w in weights.items()}
    assert not _checkpoint.restore(tmp_path, {"seed": 1}, weights, best, optimiser, state)
    _checkpoint.save(tmp_path, {"seed": 2}, *run(5, seed=4))
    assert not _checkpoint.restore(tmp_path, {"seed": 1}, weights, best, optimiser, state)
    assert not _checkpoint.restore(tmp_path / "no such folder", {"seed": 1}, weights, best, optimiser, state)
    assert all(torch.equal(weights[n], before[n]) for n in weights)
    assert state.step == 3


def test_a_new_one_stands_in_the_place_of_the_last(tmp_path):
    for steps in (1, 4):
        _checkpoint.save(tmp_path, {"seed": 1}, *run(steps))
    assert len(list(tmp_path.iterdir())) == 1
    weights, best, optimiser, state = run(0)
    _checkpoint.restore(tmp_path, {"seed": 1}, weights, best, optimiser, state)
    assert state.step == 4
