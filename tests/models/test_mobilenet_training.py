"""Batches, early stopping and the weights that are kept."""

import math

import numpy as np
import pytest

from sclaws.models import _mobilenet_network as network
from sclaws.models import _mobilenet_training as training
from sclaws.protocols import Context

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")


@pytest.mark.parametrize(("n", "size"), [(65, 64), (3, 2), (2, 64), (130, 64), (5, 4)])
def test_every_image_is_seen_once_an_epoch_and_none_alone(n, size):
    torch.manual_seed(0)
    batches = training._shuffled(n, size)
    for _ in range(3):
        seen = []
        while sum(map(len, seen)) < n:
            seen.append(next(batches))
        assert min(map(len, seen)) >= 2
        assert sorted(np.concatenate(seen)) == list(range(n))


def test_the_best_weights_are_kept_and_the_looks_since_counted():
    line = torch.nn.Linear(1, 1)
    best = training._Best()
    for value, loss in [(1.0, 0.5), (2.0, 0.3), (3.0, 0.4), (4.0, math.inf)]:
        torch.nn.init.constant_(line.weight, value)
        best.look(line, {"update": 1, "train_loss": 0.0, "valid_loss": loss})
    assert float(best.weights["weight"]) == 2.0
    assert best.waiting == 2
    assert len(best.history) == 4
    without = training._Best()
    without.look(line, {"update": 1, "train_loss": 0.0})
    assert (without.weights, without.waiting) == (None, 0)


def test_training_stops_when_validation_images_say_so():
    """Validation labels that contradict the training ones: the loss rises, and patience ends it."""
    torch.manual_seed(0)
    pixels = torch.rand(40, 8, 8, 1) * torch.tensor([0.3, 1.0]).repeat(20)[:, None, None, None]
    codes = torch.arange(40) % 2
    task = training.Task(2, pixels, codes, pixels, 1 - codes)
    plan = training.Plan(200, 20, 0.05, 2, 3, flip=False, size=None)
    found = training.learn(network.built(network.settings(0.35)), task, plan, Context(None))
    losses = [row["valid_loss"] for row in found]
    assert len(found) < 100
    assert len(losses) - 1 - int(np.argmin(losses)) == 3
