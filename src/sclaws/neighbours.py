"""Exact nearest neighbours under the maximum norm, on all cores or a GPU, for 10² to 10⁵ points, 1 to 50 dimensions.

One method for every dimension: points are sorted into boxes of about a hundred by median cuts, and a query visits only
the boxes that it must. Inside a box the distances of one dimension are taken for all points at once, which the compiler
turns into vector instructions; that is what beats a tree of single points once the dimension exceeds three. The
numbers are exact, compared as they are computed (``|a - b|`` in float64), so they equal those of any other exact
method and do not depend on the number of threads. Memory: two copies of the points.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numba
import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from sclaws import _neighbours_torch
from sclaws.protocols import Floats, Ints

_BOX = 128  # points a box, measured: 64 is a little faster below four dimensions, 128 above
_FAST = {"nnan", "nsz"}  # points are finite, so minima and maxima may be taken in vectors; no rounding changes
_WORTH_THREADS = 2e7  # differences of coordinates, at most: about 5 ms
_QUERIES = 64  # points a parallel task: enough to outweigh its start


def kth_distance(points: Floats, k: int) -> NDArray[np.float64]:
    """Return the (n,) maximum-norm distance of each point to its k-th neighbour, itself left out.

    ``points`` (n, d) finite, n > k >= 1; else ``ValueError``.
    """
    points = _checked(points)
    if not 1 <= k < len(points):
        raise ValueError(f"k must lie in [1, {len(points) - 1}] for {len(points)} points, got {k}")
    if gpu := _neighbours_torch.device(len(points)):
        return _neighbours_torch.kth_distance(points, k, gpu)
    boxes = _Boxes(points)
    out = np.empty(len(points))
    with _threads(points):
        _kth(boxes.columns, boxes.low, boxes.high, boxes.edges, k, out)
    return boxes.unsorted(out)


def count_within(points: Floats, radius: Floats) -> NDArray[np.int64]:
    """Return how many other points lie strictly within ``radius`` (n,) of each point, (n,).

    ``points`` (n, d) finite; a radius of zero counts none. ``ValueError`` when the lengths differ.
    """
    points = _checked(points)
    radius = np.ascontiguousarray(radius, dtype=np.float64)
    if radius.shape != (len(points),):
        raise ValueError(f"one radius for each of the {len(points)} points is needed, got shape {radius.shape}")
    if gpu := _neighbours_torch.device(len(points)):
        return _neighbours_torch.count_within(points, radius, gpu)
    boxes = _Boxes(points)
    out = np.empty(len(points), dtype=np.int64)
    with _threads(points):
        _count(boxes.columns, boxes.low, boxes.high, boxes.edges, radius[boxes.order], out)
    return boxes.unsorted(out)


def _checked(points: Floats) -> NDArray[np.float64]:
    out = np.asarray(points, dtype=np.float64)
    out = out[:, None] if out.ndim == 1 else out
    if not np.isfinite(out).all():
        raise ValueError("points must be finite: a distance to NaN or infinity has no rank")
    return out


@contextmanager
def _threads(points: Floats) -> Iterator[None]:
    """Use one thread when the work is a few milliseconds: on a busy machine, waiting for another would cost more."""
    before = numba.get_num_threads()
    try:
        numba.set_num_threads(before if len(points) * points.size > _WORTH_THREADS else 1)
        yield
    finally:
        numba.set_num_threads(before)


class _Boxes:
    """Points sorted so that boxes are contiguous: ``columns`` (d, n), bounds (m, d) and ``edges`` (m + 1,)."""

    def __init__(self, points: NDArray[np.float64]) -> None:
        self.order, self.edges = _cut(points)
        ordered = points[self.order]
        self.low = np.minimum.reduceat(ordered, self.edges[:-1], axis=0)
        self.high = np.maximum.reduceat(ordered, self.edges[:-1], axis=0)
        self.columns = np.ascontiguousarray(ordered.T)

    def unsorted(self, values: NDArray[Any]) -> NDArray[Any]:
        out = np.empty_like(values)
        out[self.order] = values
        return out


def _cut(points: NDArray[np.float64]) -> tuple[Ints, Ints]:
    """Halve the points along their widest dimension until at most ``_BOX`` are left; return the order and the edges."""
    order = np.arange(len(points))
    edges, todo = [len(points)], [(0, len(points))]
    while todo:
        start, stop = todo.pop()
        if stop - start <= _BOX:
            edges.append(start)
            continue
        part = points[order[start:stop]]
        middle = (stop - start) // 2
        widest = int(np.argmax(part.max(axis=0) - part.min(axis=0)))
        order[start:stop] = order[start:stop][np.argpartition(part[:, widest], middle)]
        todo += [(start, start + middle), (start + middle, stop)]
    return order, np.array(sorted(edges))


@njit(cache=True, inline="always", fastmath=_FAST)
def _nearest(low: Any, high: Any, point: Any) -> Any:
    """Maximum-norm distance from a point to a box: zero inside it."""
    far = 0.0
    for c in range(len(point)):
        below, above = low[c] - point[c], point[c] - high[c]
        gap = below if below > above else above
        far = gap if gap > far else far
    return far


@njit(cache=True, inline="always", fastmath=_FAST)
def _farthest(low: Any, high: Any, point: Any) -> Any:
    """Maximum-norm distance from a point to the farthest corner of a box."""
    far = 0.0
    for c in range(len(point)):
        below, above = point[c] - low[c], high[c] - point[c]
        gap = below if below > above else above
        far = gap if gap > far else far
    return far


@njit(cache=True, fastmath=_FAST)
def _widen(column: Any, at: Any, out: Any) -> None:
    for j in range(len(column)):
        gap = abs(column[j] - at)
        out[j] = gap if gap > out[j] else out[j]


@njit(cache=True, fastmath=_FAST)
def _below(values: Any, size: Any, bound: Any) -> Any:
    found = 0
    for j in range(size):
        found += values[j] < bound
    return found


@njit(cache=True, fastmath=_FAST)
def _distances(columns: Any, start: Any, stop: Any, point: Any, bound: Any, out: Any) -> Any:
    """Write a box's distances and return how many are below the bound; stop early, at zero, when none can be."""
    out[: stop - start] = 0.0
    found = 0
    for c in range(len(point)):
        _widen(columns[c, start:stop], point[c], out)
        if c % 4 == 3 or c == len(point) - 1:
            found = _below(out, stop - start, bound)
            if found == 0:
                break
    return found


@njit(cache=True, inline="always", fastmath=_FAST)
def _insert(best: Any, value: Any) -> None:
    """Put a value into the ascending array of the k smallest, dropping the largest."""
    at = len(best) - 1
    while at > 0 and best[at - 1] > value:
        best[at] = best[at - 1]
        at -= 1
    best[at] = value


@njit(cache=True, parallel=True, nogil=True, fastmath=_FAST)
def _kth(columns: Any, low: Any, high: Any, edges: Any, k: Any, out: Any) -> None:
    n, boxes = columns.shape[1], len(edges) - 1
    for task in prange((n + _QUERIES - 1) // _QUERIES):
        buffer = np.empty(_BOX)
        best = np.empty(k)
        point = np.empty(len(columns))
        own = 0
        for i in range(task * _QUERIES, min(n, (task + 1) * _QUERIES)):
            point[:] = columns[:, i]
            best[:] = np.inf
            while not edges[own] <= i < edges[own + 1]:
                own += 1
            for step in range(boxes):  # its own box first, then outwards: a tight bound early skips the most
                b = own + (step + 1) // 2 * (1 if step % 2 else -1)
                b = b % boxes
                if _nearest(low[b], high[b], point) >= best[k - 1]:
                    continue
                if _distances(columns, edges[b], edges[b + 1], point, best[k - 1], buffer) == 0:
                    continue
                for j in range(edges[b + 1] - edges[b]):
                    if buffer[j] < best[k - 1] and edges[b] + j != i:
                        _insert(best, buffer[j])
            out[i] = best[k - 1]


@njit(cache=True, parallel=True, nogil=True, fastmath=_FAST)
def _count(columns: Any, low: Any, high: Any, edges: Any, radius: Any, out: Any) -> None:
    n, boxes = columns.shape[1], len(edges) - 1
    for task in prange((n + _QUERIES - 1) // _QUERIES):
        buffer = np.empty(_BOX)
        point = np.empty(len(columns))
        for i in range(task * _QUERIES, min(n, (task + 1) * _QUERIES)):
            point[:] = columns[:, i]
            bound = radius[i]
            found = 0
            for b in range(boxes):
                if _nearest(low[b], high[b], point) >= bound:
                    continue
                if _farthest(low[b], high[b], point) < bound:
                    found += edges[b + 1] - edges[b]
                else:
                    found += _distances(columns, edges[b], edges[b + 1], point, bound, buffer)
            out[i] = found - (bound > 0)  # the point itself is at distance zero
