"""The metrics of integration that stand on a graph of neighbours, and how much that graph itself adds to their spread.

Clusters and connected parts are what an algorithm made of these cells; how they would move with others no derivative
tells. So halves of the cells that share none are taken through it all: what their difference has beyond that of the
cells' influences is the graph's own part of the spread.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sclaws.hashing import ranked
from sclaws.protocols import Floats, Ids, Ints
from sclaws.scores import _agreement, _knn_graph

HALVINGS = 8


@dataclass(frozen=True)
class Measured:
    """A metric: ``value``, ``influence`` (n,) of each cell, ``missed`` (8,) deviations that the influence misses."""

    value: float
    influence: NDArray[np.float64]
    missed: NDArray[np.float64]

    @classmethod
    def smooth(cls, value: float, influence: NDArray[np.float64]) -> Measured:
        """Return a metric of which the influence misses nothing."""
        return cls(float(value), influence, np.zeros(HALVINGS))

    @classmethod
    def mean(cls, parts: list[Measured]) -> Measured:
        """Return the mean of metrics of the same cells."""
        influence, missed = (np.mean([getattr(part, of) for part in parts], axis=0) for of in ("influence", "missed"))
        return cls(float(np.mean([part.value for part in parts])), influence, missed)


@dataclass(frozen=True)
class Clustering:
    """How cells are clustered: ``k`` neighbours, resolutions to choose from, seed of Leiden."""

    k: int
    resolutions: tuple[float, ...]
    seed: int

    def measured(
        self, x: NDArray[np.float64], near: tuple[Ints, NDArray[np.float64]], label: Ints, ids: Ids
    ) -> tuple[dict[str, Measured], dict[str, float]]:
        """Return nmi, ari and graph_connectivity of x (n, d) and its label codes, and what the best clusters are.

        ``near`` are k neighbours or more, (n, more) positions and distances; ``ids`` (n,) name what is resampled.
        Halves choose among three resolutions, those about the best.
        """
        found, best, count = self._of(near[0][:, : self.k], near[1][:, : self.k], label, self.resolutions)
        about = self.resolutions[max(best - 1, 0) : best + 2]
        missed: dict[str, list[float]] = {name: [] for name in found}
        for half in _halves(ids):
            apart = dict.fromkeys(found, 0.0)
            for sign, part in ((1, half), (-1, ~half)):
                again = self._of_part(x, near, label, part, about)
                for name in found:
                    apart[name] += sign * (again[name][0] - float(found[name][1][part].mean()))
            for name in found:  # of two parts, to the scale of the whole
                missed[name].append(apart[name] * float(np.sqrt(half.mean() * (~half).mean())))
        measured = {name: Measured(*found[name], np.array(missed[name])) for name in found}
        return measured, {"resolution": self.resolutions[best], "n_clusters": count}

    def _of_part(
        self,
        x: NDArray[np.float64],
        near: tuple[Ints, NDArray[np.float64]],
        label: Ints,
        part: NDArray[np.bool_],
        resolutions: tuple[float, ...],
    ) -> dict[str, tuple[float, NDArray[np.float64]]]:
        k = min(self.k, int(part.sum()))
        inside = _knn_graph.within(*near, part, k) or _knn_graph.neighbours(x[part], k)
        return self._of(*inside, np.unique(label[part], return_inverse=True)[1].reshape(-1), resolutions)[0]

    def _of(
        self, index: Ints, far: Floats, label: Ints, resolutions: tuple[float, ...]
    ) -> tuple[dict[str, tuple[float, NDArray[np.float64]]], int, int]:
        """Return the metrics, which resolution is best, and its number of clusters."""
        graph = _knn_graph.connectivities(index, far)
        clusters = _knn_graph.clusters(graph, resolutions, self.seed)
        agreed = [_agreement.nmi(label, cluster) for cluster in clusters]
        best = int(np.argmax([value for value, _ in agreed]))
        connected = _knn_graph.in_largest_part(graph, label).astype(np.float64)
        found = {
            "nmi": agreed[best],
            "ari": _agreement.ari(label, clusters[best]),
            "graph_connectivity": per_class(connected, label),
        }
        return found, best, int(clusters[best].max()) + 1


def per_class(values: NDArray[np.float64], label: Ints) -> tuple[float, NDArray[np.float64]]:
    """Return the mean over classes of the means of values (n,), and the influence of each cell (n,)."""
    size = np.bincount(label)
    means = np.bincount(label, values) / size
    return float(means.mean()), (values - means[label]) * len(label) / (size[label] * len(size))


def _halves(ids: Ids) -> Iterator[NDArray[np.bool_]]:
    """Yield (n,) masks of half of the units: those that come first by a hash of their id."""
    units, unit = np.unique(ids, return_inverse=True)
    for turn in range(HALVINGS):
        first = np.zeros(len(units), dtype=bool)
        first[ranked(units, turn + 1)[: len(units) // 2]] = True
        yield first[unit.reshape(-1)]
