from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from sclaws import heads
from sclaws.errors import ModelError

QUICK = replace(heads.PUBLISHED, rate=3e-3, epochs=60)


def two_normals(n, apart, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(2, size=n)
    return rng.normal(size=(n, 1)) + apart * y[:, None], y, rng.permutation(n).astype(np.uint64)


def test_the_recipe_is_the_published_one():
    """REFERENCE: 128 hidden units, dropout .2, Adam 1e-4, batch 128, at most 500 epochs."""
    ours = heads.PUBLISHED
    assert (ours.hidden, ours.dropout, ours.rate, ours.batch, ours.epochs) == (128, 0.2, 1e-4, 128, 500)


def test_it_gives_the_posterior_of_two_normals():
    x, y, ids = two_normals(1500, 2.0)
    answer = heads.on_coordinates(x, y, ids, seed=0, recipe=replace(QUICK, rate=1e-3, patience=60))
    at = np.linspace(-1, 3, 9)[:, None]
    one, other = (stats.norm.pdf(at[:, 0] - mean) for mean in (0.0, 2.0))
    np.testing.assert_allclose(answer(at)[:, 1], other / (one + other), atol=0.08)


def test_the_unit_of_the_coordinates_and_the_order_of_the_cells_do_not_matter():
    x, y, ids = two_normals(300, 2.0)
    order = np.random.default_rng(1).permutation(300)
    found = heads.on_coordinates(x, y, ids, seed=0, recipe=QUICK)(x)
    moved = heads.on_coordinates(x[order], y[order], ids[order], seed=0, recipe=QUICK)(x)
    np.testing.assert_array_equal(moved, found)
    scaled = heads.on_coordinates(5 + x / 64, y, ids, seed=0, recipe=QUICK)(5 + x / 64)
    np.testing.assert_allclose(scaled, found, atol=1e-3)
    other = heads.on_coordinates(x, y, ids, seed=1, recipe=QUICK)(x)
    assert not np.allclose(other, found, atol=1e-6)


def test_coordinates_that_do_not_move_are_passed_over():
    x, y, ids = two_normals(300, 2.0)
    more = np.column_stack([x, np.full(300, 0.1), np.zeros(300)])
    answer = heads.on_coordinates(more, y, ids, seed=0, recipe=QUICK)
    shifted = np.column_stack([x, np.full(300, 1.1), np.ones(300)])
    np.testing.assert_array_equal(answer(shifted), answer(more))
    assert np.mean(answer(more).argmax(1) == y) > 0.8  # an ideal observer has .84


def test_cells_set_aside_are_a_tenth_of_every_class_and_never_a_whole_one():
    y = np.repeat(np.arange(5), [500, 300, 100, 60, 1])
    learn, judge = heads.set_aside(y, np.random.default_rng(0).permutation(len(y)))
    assert sorted(np.r_[learn, judge]) == list(range(len(y)))
    np.testing.assert_array_equal(np.bincount(y[judge], minlength=5), [50, 30, 10, 6, 0])
    learn, judge = heads.set_aside(np.arange(40), np.arange(40))
    assert len(judge) == 0, "each cell is the only one of its class"


def test_the_weights_that_were_best_on_cells_set_aside_are_kept():
    """Noise for labels: the longer it is learned, the worse unseen cells are foretold; stopping early limits that."""
    rng = np.random.default_rng(2)
    x, y, ids = rng.normal(size=(200, 20)), rng.integers(2, size=200), np.arange(200, dtype=np.uint64)
    unseen, truth = rng.normal(size=(2000, 20)), rng.integers(2, size=2000)
    fast = replace(QUICK, rate=1e-2, dropout=0.0, epochs=40)
    costs = []
    for patience in (2, 40):
        recipe = replace(fast, patience=patience)
        answer = heads.on_coordinates(x, y, ids, seed=0, recipe=recipe)(unseen)
        costs.append(-np.log2(answer[np.arange(2000), truth]).mean())
    assert costs[0] == costs[1], "waiting longer changes nothing: the best weights are kept"
    assert costs[0] < 1.3, "one bit is what the frequencies cost"


def test_what_is_below_learns_too():
    """The label is in a direction that the starting weights do not show at all."""
    import torch

    rng = np.random.default_rng(3)
    y = rng.integers(2, size=400)
    x = torch.from_numpy(np.column_stack([rng.normal(size=400), 4.0 * y + rng.normal(size=400)]).astype(np.float32))
    ids = np.arange(400, dtype=np.uint64)
    accuracy = {}
    for learns in (False, True):
        weight = torch.tensor([[1.0], [0.0]], requires_grad=True)

        def features(rows, weight=weight):
            return x[rows] @ weight

        below = {"weight": weight} if learns else None
        head = heads.fit(features, y, ids, seed=0, recipe=replace(QUICK, rate_below=3e-2), below=below)
        accuracy[learns] = np.mean(head.probabilities(features, 400).argmax(1) == y)
        assert torch.equal(weight, torch.tensor([[1.0], [0.0]])) != learns
    assert accuracy[False] < 0.65
    assert accuracy[True] > 0.9  # an ideal observer has .977


def test_nothing_random_is_left_behind():
    import torch

    before = torch.random.get_rng_state()
    x, y, ids = two_normals(60, 2.0)
    heads.on_coordinates(x, y, ids, seed=0, recipe=QUICK)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_what_diverges_is_told():
    x, y, ids = two_normals(60, 2.0)
    with pytest.raises(ModelError, match="fine-tuning diverged in epoch 1: the loss is no longer finite"):
        heads.on_coordinates(np.where(x > 2, np.nan, x), y, ids, seed=0, recipe=QUICK)
