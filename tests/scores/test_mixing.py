import numpy as np
import pytest
from scipy import optimize, stats

from sclaws.scores import _knn_graph
from sclaws.scores._mixing import Mixing


def mixing(scale=1.0, batches=3, n=300):
    rng = np.random.default_rng(0)
    x, batch = scale * rng.normal(size=(n, 4)), rng.integers(batches, size=n)
    x[:, 0] += scale * batch
    near = _knn_graph.neighbours(x, 90)
    return Mixing.of(*near, batch, 30), near, batch


@pytest.mark.parametrize("scale", [1.0, 300.0, 0.01])
def test_lisi_follows_the_definition(scale):
    found, (index, far), batch = mixing(scale)
    for cell in range(0, 300, 29):
        d = far[cell, 1:] - far[cell, 1]

        def weights(beta, d=d):
            return np.exp(-beta * d) / np.exp(-beta * d).sum()

        beta = optimize.brentq(lambda b: stats.entropy(weights(b)) - np.log(30), 1e-6 / scale, 1e3 / scale)
        share = np.bincount(batch[index[cell, 1:]], weights(beta), 3)
        # the published search stops when the entropy is within 1e-5 nats
        assert found.lisi[cell] == pytest.approx(1 / np.sum(share**2), abs=1e-4)


def test_lisi_lies_between_one_and_the_number_of_batches():
    found = mixing()[0].lisi
    assert 1 <= found.min() < found.max() <= 3


def test_lisi_is_one_in_the_midst_of_a_batch():
    rng = np.random.default_rng(1)
    batch = np.arange(200) % 2
    near = _knn_graph.neighbours(rng.normal(size=(200, 2)) + 100 * batch[:, None], 90)
    assert Mixing.of(*near, batch, 30).lisi == pytest.approx(np.ones(200))


def test_the_influence_is_what_a_cell_that_weighs_more_does_to_the_others():
    found, (index, _), batch = mixing()
    of = np.random.default_rng(1).random(300)
    influence = found.influence(of)
    for cell in range(0, 300, 17):
        weight = found.weight * np.where(index[:, 1:] == cell, 1 + 1e-6, 1.0)
        weight /= weight.sum(axis=1, keepdims=True)
        share = np.stack([np.where(batch[index[:, 1:]] == b, weight, 0).sum(axis=1) for b in range(3)])
        change = of @ (1 / (share**2).sum(axis=0) - found.lisi) / 1e-6
        assert influence[cell] == pytest.approx(change, abs=1e-4 * np.abs(influence).max())
