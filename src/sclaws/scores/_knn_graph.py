"""The graph of nearest neighbours as scanpy and scIB make it, its clusters, and whether a type hangs together in it."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sclaws.protocols import Floats, Ints
from sclaws.scores._silhouette import blocks

_TRIES, _CLOSE, _LEAST = (
    64,
    1e-5,
    1e-3,
)  # UMAP's: rounds, tolerance, and the least sigma as a share of the mean distance


def neighbours(x: NDArray[np.float64], k: int) -> tuple[Ints, NDArray[np.float64]]:
    """Return the (n, k) positions and Euclidean distances of the nearest cells: itself first, then by distance.

    Exact; k <= n. Cells at one place are told apart by their position alone. Time grows as n² d, memory as n k.
    """
    index, far = np.empty((len(x), k), dtype=np.int64), np.empty((len(x), k))
    for rows, square in blocks(x):
        own = np.arange(rows.start, rows.stop)
        square[own - rows.start, own] = -1.0  # itself, also where others lie on top of it
        found = np.sort(np.argpartition(square, k - 1, axis=1)[:, :k], axis=1) if k < len(x) else _all(square)
        exact = np.sqrt(((x[found] - x[own, None]) ** 2).sum(axis=2))
        order = np.argsort(np.where(found == own[:, None], -1.0, exact), axis=1, kind="stable")
        index[rows], far[rows] = np.take_along_axis(found, order, 1), np.take_along_axis(exact, order, 1)
    return index, far


def _all(square: Floats) -> Ints:
    return np.broadcast_to(np.arange(square.shape[1]), square.shape)


def within(
    index: Ints, far: NDArray[np.float64], chosen: NDArray[np.bool_], k: int
) -> tuple[Ints, NDArray[np.float64]] | None:
    """Return the (m, k) neighbours among the m chosen cells (n,), from those among all; None if these are too few."""
    inside = chosen[index[chosen]]
    if inside.sum(axis=1).min() < k:
        return None
    inside &= np.cumsum(inside, axis=1) <= k
    position = np.cumsum(chosen) - 1
    return position[index[chosen][inside]].reshape(-1, k), np.asarray(far[chosen][inside].reshape(-1, k))


def connectivities(index: Ints, far: Floats) -> Any:
    """Return the (n, n) symmetric CSR weights in [0, 1] of neighbours (n, k), themselves first.

    UMAP's fuzzy union (McInnes et al. 2018, §3.1), which scanpy and scib-metrics use: w_ij = exp(-(d_ij - rho_i) /
    sigma_i) with rho_i the least distance above zero and sigma_i such that a cell's weights add up to log2 k; then
    w_ij + w_ji - w_ij w_ji.
    """
    from scipy import sparse

    n, k = index.shape
    apart = far[:, -1] > 0
    rho = np.min(far, axis=1, where=far > 0, initial=np.inf)
    beyond = np.maximum(far - np.where(apart, rho, 0.0)[:, None], 0.0)
    least = _LEAST * np.where(apart, far.mean(axis=1), far.mean())
    sigma = np.maximum(_bandwidth(beyond[:, 1:], math.log2(k)), least)
    weight = np.exp(-np.divide(beyond, sigma[:, None], out=np.zeros_like(beyond), where=beyond > 0))
    weight[:, 0] = 0.0
    one = sparse.csr_matrix((weight.ravel(), index.ravel(), np.arange(0, n * k + 1, k)), shape=(n, n))
    both = one + one.T - one.multiply(one.T)
    both.eliminate_zeros()
    both.sort_indices()
    return both.tocsr()


def _bandwidth(beyond: Floats, target: float) -> NDArray[np.float64]:
    """Return (n,) sigma at which sum exp(-d / sigma) of the distances (n, k) is the target, by halving as UMAP does."""
    low, high = np.zeros(len(beyond)), np.full(len(beyond), np.inf)
    sigma, todo = np.ones(len(beyond)), np.arange(len(beyond))
    for _ in range(_TRIES):
        total = np.exp(-beyond[todo] / sigma[todo, None]).sum(axis=1)
        off = np.abs(total - target) >= _CLOSE
        todo, above = todo[off], total[off] > target
        high[todo[above]], low[todo[~above]] = sigma[todo[above]], sigma[todo[~above]]
        sigma[todo] = np.where(np.isinf(high[todo]), 2 * sigma[todo], (low[todo] + high[todo]) / 2)
    return sigma


def clusters(graph: Any, resolutions: tuple[float, ...], seed: int) -> list[Ints]:
    """Return the (n,) Leiden clusters of a graph at each resolution (Traag et al. 2019), by modularity.

    As in scib-metrics and scanpy's "igraph": two rounds, each edge there once in each direction. igraph's one random
    state for the whole process is lent a seeded one, and gets Python's back, which it has from the start.
    """
    import igraph

    made = igraph.Graph.Weighted_Adjacency(graph, mode="directed")
    made.to_undirected(mode="each")
    found = []
    try:
        for resolution in resolutions:
            igraph.set_random_number_generator(random.Random(seed))
            parts = made.community_leiden(objective_function="modularity", weights="weight", resolution=resolution)
            found.append(np.asarray(parts.membership))
    finally:
        igraph.set_random_number_generator(random)
    return found


def in_largest_part(graph: Any, codes: Ints) -> NDArray[np.bool_]:
    """Return whether each cell is in the largest connected part of its type's cells (n,) in a symmetric graph."""
    from scipy import sparse
    from scipy.sparse.csgraph import connected_components

    edges = graph.tocoo()
    within = codes[edges.row] == codes[edges.col]
    own = sparse.coo_matrix((edges.data[within], (edges.row[within], edges.col[within])), shape=edges.shape)
    part = connected_components(own, directed=False)[1]
    order = np.lexsort((part, -np.bincount(part)[part], codes))
    largest = part[order[np.searchsorted(codes[order], np.arange(codes.max() + 1))]]
    return np.asarray(part == largest[codes])
