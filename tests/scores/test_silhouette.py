import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import silhouette_samples

from sclaws.scores._silhouette import Silhouette, blocks


def clouds(n, d=6, apart=2.0, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(4, size=n)
    x = rng.normal(size=(n, d))
    x[:, 0] += apart * y
    return x, y


@pytest.mark.parametrize("origin", [0.0, 1e4])
def test_widths_are_scikit_learns(origin):
    x, y = clouds(300)
    y[0] = 4  # alone in its cluster
    x[1:4] = x[4]
    found = Silhouette.of(x + origin, y).widths
    assert found == pytest.approx(silhouette_samples(x, y), abs=1e-7)
    assert found[0] == 0


def test_cells_at_one_place_have_width_zero():
    assert (Silhouette.of(np.ones((10, 2)), np.arange(10) % 2).widths == 0).all()


def test_the_influence_is_what_leaving_a_cell_out_does():
    x, y = clouds(500, apart=1.0)
    found = Silhouette.of(x, y)
    influence = found.widths - found.widths.mean() + found.influence(np.ones(len(x)))
    assert influence.mean() == pytest.approx(0, abs=1e-12)
    left = []
    for cell in range(100):
        others = np.arange(len(x)) != cell
        left.append((len(x) - 1) * (found.widths.mean() - silhouette_samples(x[others], y[others]).mean()))
    off = np.array(left) - influence[:100]
    assert np.std(off) < 0.05 * np.std(left), "first order: one part in a cluster's 125 cells, and some more"
    alone = (found.widths - found.widths.mean())[:100]
    assert np.std(left - alone) > 0.3 * np.std(left), "what a cell does to the others is no small part"


def test_squared_distances_come_in_blocks_of_rows():
    x, _ = clouds(2000, d=3)
    shapes, rows = zip(*[(far.shape, rows) for rows, far in blocks(x)], strict=True)
    assert len(shapes) > 1
    assert [rows[0].start, rows[-1].stop] == [0, 2000]
    last, far = list(blocks(x))[-1]
    assert np.allclose(far, ((x[last, None] - x) ** 2).sum(axis=2), rtol=0, atol=1e-9)


def test_no_matrix_of_all_distances_is_ever_held():
    x, y = clouds(5000, d=2)
    tracemalloc.start()
    Silhouette.of(x, y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 5000**2 / 3
