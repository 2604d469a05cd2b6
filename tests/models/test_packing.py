"""Packed cells read within themselves alone: each must come out as it does by itself."""

import numpy as np
import pytest

from sclaws.models._packing import Equal, ragged

torch = pytest.importorskip("torch")

HEADS, WIDTH = 2, 6


def by_itself(q, k, v):
    """Attention of one cell, (tokens, d) each, from its definition."""
    parts = [t.view(len(t), HEADS, WIDTH // HEADS).transpose(0, 1) for t in (q, k, v)]
    scores = parts[0] @ parts[1].transpose(1, 2) / (WIDTH / HEADS) ** 0.5
    return (scores.softmax(-1) @ parts[2]).transpose(0, 1).reshape(len(q), WIDTH)


def numbers(*form, seed=0):
    return torch.randn(*form, generator=torch.Generator().manual_seed(seed))


def positions_in(lengths, most, rng):
    """Up to ``most`` positions of each cell, some cells with none; -1 fills up."""
    out = np.full((*lengths.shape, most), -1)
    for m, c in np.ndindex(lengths.shape):
        some = rng.permutation(lengths[m, c])[: rng.integers(0, most + 1)]
        out[m, c, : len(some)] = np.sort(some)
    return out


def cells_of(lengths):
    """(model, cell, slice of the model's tokens)."""
    ends = np.cumsum(lengths, axis=1)
    return [(m, c, slice(ends[m, c] - lengths[m, c], ends[m, c])) for m, c in np.ndindex(lengths.shape)]


CASES = {
    "any": np.array([[5, 1, 9, 3, 7, 7, 2, 12], [4, 6, 1, 1, 8, 3, 10, 2]]),
    "empty ones": np.array([[0, 4, 0, 9, 3], [6, 0, 2, 0, 0]]),
    "a whole model empty": np.array([[3, 5, 1], [0, 0, 0]]),
    "alone": np.array([[6, 2, 11, 5]]),
    "the first and last empty": np.array([[0, 3, 3, 0]]),
}


@pytest.mark.parametrize("case", CASES)
def test_ragged_cells_are_as_each_by_itself(case):
    lengths = CASES[case]
    positions = positions_in(lengths, 3, np.random.default_rng(1))
    packing = ragged(lengths, positions, "cpu")
    longest = lengths.sum(axis=1).max()
    q, k, v = (numbers(len(lengths), longest, WIDTH, seed=s).requires_grad_() for s in range(3))
    weight, weight_asked = numbers(len(lengths), longest, WIDTH, seed=3), numbers(len(lengths), 99, WIDTH, seed=4)
    full, some = packing.attend(q, k, v, HEADS, False), packing.attend(packing.select(q), k, v, HEADS, True)
    assert full.shape == q.shape
    objective = expected_objective = 0
    at = np.zeros(len(lengths), dtype=int)
    for m, c, own in cells_of(lengths):
        expected = by_itself(q[m, own], k[m, own], v[m, own])
        torch.testing.assert_close(full[m, own], expected, rtol=1e-5, atol=1e-6)
        wanted = positions[m, c][positions[m, c] >= 0]
        into = slice(at[m], at[m] + len(wanted))
        torch.testing.assert_close(some[m, into], expected[wanted], rtol=1e-5, atol=1e-6)
        objective = objective + (full[m, own] * weight[m, own]).sum() + (some[m, into] * weight_asked[m, into]).sum()
        expected_objective = (
            expected_objective + (expected * weight[m, own]).sum() + (expected[wanted] * weight_asked[m, into]).sum()
        )
        at[m] += len(wanted)
    assert torch.isfinite(full).all() and torch.isfinite(some).all()  # what is filled up, too
    for one, two in zip(
        torch.autograd.grad(objective, (q, k, v)), torch.autograd.grad(expected_objective, (q, k, v)), strict=True
    ):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)


def test_random_lengths_many_times():
    rng = np.random.default_rng(2)
    for trial in range(15):
        lengths = rng.integers(0, rng.integers(2, 30), size=(2, 17))
        packing, longest = ragged(lengths, None, "cpu"), int(lengths.sum(axis=1).max())
        q, k, v = (numbers(2, longest, WIDTH, seed=10 * trial + s) for s in range(3))
        got = packing.attend(q, k, v, HEADS, False)
        for m, _, own in cells_of(lengths):
            torch.testing.assert_close(got[m, own], by_itself(q[m, own], k[m, own], v[m, own]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("wanted", [False, True])
def test_cells_of_one_length_are_the_same_either_way(wanted):
    models, cells, length = 3, 4, 6
    positions = np.stack(
        [[np.random.default_rng([m, c]).permutation(length)[:2] for c in range(cells)] for m in range(models)]
    )
    equal = Equal(cells, length, torch.from_numpy(positions))
    other = ragged(np.full((models, cells), length), positions, "cpu")
    x, k, v = (numbers(models, cells * length, WIDTH, seed=s) for s in range(3))
    torch.testing.assert_close(equal.select(x), other.select(x), rtol=0, atol=0)
    q = equal.select(x) if wanted else x
    one, two = (packing.attend(q, k, v, HEADS, wanted) for packing in (equal, other))
    torch.testing.assert_close(one, two, rtol=1e-5, atol=1e-6)


def test_cells_of_nearly_one_length_share_a_group_and_little_is_filled_up():
    lengths = np.random.default_rng(0).integers(200, 2000, size=(1, 500))
    groups = ragged(lengths, None, "cpu").groups
    slots = sum(keys.numel() for keys, _, _ in groups)
    assert len(groups) < 15
    assert lengths.sum() <= slots < 1.15 * lengths.sum()


def test_no_cell_with_a_token_is_no_trouble():
    packing = ragged(np.zeros((2, 3), dtype=int), np.full((2, 3, 1), -1), "cpu")
    nothing = torch.zeros(2, 0, WIDTH)
    assert packing.attend(nothing, nothing, nothing, HEADS, False).shape == (2, 0, WIDTH)
