import random

import igraph
import numpy as np
import pytest
from scipy import optimize, sparse
from sklearn.neighbors import NearestNeighbors

from sclaws.scores import _knn_graph


def points(n=300, d=4, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def test_neighbours_are_scikit_learns():
    x = points()
    far, index = NearestNeighbors(n_neighbors=15, algorithm="kd_tree").fit(x).kneighbors(x)  # brute rounds
    found = _knn_graph.neighbours(x + 1e3, 15)
    assert np.array_equal(found[0], index)
    assert found[1] == pytest.approx(far, abs=1e-9)


def test_a_cell_is_its_own_first_neighbour_even_where_others_lie_on_it():
    x = points()
    x[:40] = 0.5
    index, far = _knn_graph.neighbours(x, 15)
    assert np.array_equal(index[:, 0], np.arange(300))
    assert (far[:40] == 0).all()
    assert all(len(set(row)) == 15 for row in index)


def test_all_cells_can_be_neighbours():
    index, far = _knn_graph.neighbours(points(20), 20)
    assert np.array_equal(np.sort(index, axis=1), np.tile(np.arange(20), (20, 1)))
    assert (np.diff(far, axis=1) >= 0).all()


def test_neighbours_in_a_part_are_those_of_the_part_alone():
    x, chosen = points(), np.random.default_rng(1).random(300) < 0.5
    near = _knn_graph.neighbours(x, 90)
    for found, alone in zip(_knn_graph.within(*near, chosen, 15), _knn_graph.neighbours(x[chosen], 15), strict=True):
        assert found == pytest.approx(alone)
    assert _knn_graph.within(*near, chosen, 60) is None, "90 neighbours cannot show 60 of a half"


def direct(index, far):
    """UMAP's weights cell by cell: the bandwidth from a root finder, then the fuzzy union."""
    n, k = index.shape
    weights = np.zeros((n, n))
    for i in range(n):
        over = np.maximum(far[i] - far[i][far[i] > 0].min(), 0)
        sigma = optimize.brentq(lambda s, over=over: np.exp(-over[1:] / s).sum() - np.log2(k), 1e-3, 1e3)
        weights[i, index[i, 1:]] = np.exp(-over[1:] / sigma)
    return weights + weights.T - weights * weights.T


def test_connectivities_follow_the_definition():
    near = _knn_graph.neighbours(points(120), 15)
    found = _knn_graph.connectivities(*near)
    assert found.toarray() == pytest.approx(direct(*near), abs=1e-5)
    assert (found != found.T).nnz == 0


@pytest.mark.slow
def test_connectivities_are_those_of_umap():
    umap = pytest.importorskip("umap.umap_", reason="umap-learn comes with scanpy")
    x = points()
    x[:20] = 0.5  # all neighbours at distance zero
    index, far = _knn_graph.neighbours(x, 15)
    theirs = umap.fuzzy_simplicial_set(
        sparse.coo_matrix((300, 1)), 15, None, None, knn_indices=index, knn_dists=far.astype(np.float32)
    )[0]
    ours = _knn_graph.connectivities(index, far)
    assert abs(ours - theirs).max() < 1e-5


def planted(n=400):
    rng = np.random.default_rng(2)
    y = rng.integers(4, size=n)
    return _knn_graph.connectivities(*_knn_graph.neighbours(rng.normal(size=(n, 3)) + 20 * np.eye(4)[y, :3], 15)), y


def test_clusters_find_what_was_planted_and_more_of_it_at_a_higher_resolution():
    graph, y = planted()
    few, many = _knn_graph.clusters(graph, (0.2, 3.0), 0)
    assert len(set(zip(few, y, strict=True))) == 4 == len(set(few))
    assert len(set(many)) > 4


def test_clustering_leaves_the_global_random_states_alone():
    graph, _ = planted()
    random.seed(5)
    before = random.getstate()
    first = _knn_graph.clusters(graph, (1.0, 2.0), 3)
    assert random.getstate() == before
    igraph.Graph.Erdos_Renyi(20, 0.5)
    assert random.getstate() != before, "igraph draws from Python's random again, as it does from the start"
    for one, other in zip(first, _knn_graph.clusters(graph, (1.0, 2.0), 3), strict=True):
        assert np.array_equal(one, other)


def test_the_largest_part_of_a_type_is_found_in_its_own_edges_alone():
    # 0-1-2 of type 0; 3 of type 0 hangs on type 1 alone; 4-5 and 6 of type 1
    edges = [(0, 1), (1, 2), (3, 4), (4, 5), (2, 6)]
    graph = sparse.csr_matrix((np.ones(5), tuple(zip(*edges, strict=True))), shape=(7, 7))
    found = _knn_graph.in_largest_part(graph + graph.T, np.array([0, 0, 0, 0, 1, 1, 1]))
    assert found.tolist() == [True, True, True, False, True, True, False]
