"""A random projection of the values: the baseline that learns nothing (paper B: 16 dimensions of raw counts)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sclaws.additive_noise import normals
from sclaws.counts import log_normalised
from sclaws.errors import PluginError
from sclaws.hashing import mix
from sclaws.models import _columns, _saved
from sclaws.models._normalise import aligned, checked, count_blocks, placed, totals, variable_genes
from sclaws.protocols import Block, Floats, Ids, Values, View
from sclaws.tallies import tallied

Kind = Literal["raw", "lognorm"]


@dataclass(frozen=True)
class RandomProjection:
    """Values times a Gaussian matrix of variance 1/dim, whose entries are hashed from (seed, feature, dimension).

    ``on`` = "raw" projects the values as they are (counts or measurements; of codes one column a letter), "lognorm"
    log(1 + count scaled to 10,000 a cell). A feature keeps its row of the matrix whatever other features there are.
    Nothing is learned from cells, so nothing changes with their number, unless ``n_genes`` variable genes are chosen on
    training cells, as ``preset`` "paper-B-v1" does; "paper-B-v2" projects raw counts (arXiv 2503.02726).
    """

    dim: int = 16
    on: Kind = "raw"
    n_genes: int | Literal["all"] = "all"
    version: ClassVar[int] = 1
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper-B-v1": {"dim": 16, "on": "lognorm", "n_genes": 750},
        "paper-B-v2": {"dim": 16, "on": "raw", "n_genes": "all"},
    }

    def __post_init__(self) -> None:
        if self.dim < 1:
            raise PluginError(f"random-projection: dim = {self.dim} must be at least 1")
        if self.n_genes != "all" and self.n_genes < 1:
            raise PluginError(f'random-projection: n_genes = {self.n_genes} must be above 0, or "all"')

    def fit(self, train: View, valid: View, *, seed: int) -> TrainedProjection:  # noqa: ARG002
        """Return the projection of the training view's features; ``valid`` is not looked at."""
        ids = train.feature_ids
        if _columns.are_codes(next(train.take(np.arange(1)).batches()).values):
            ids = np.repeat(ids, _columns.LETTERS) ^ np.tile(mix(np.arange(_columns.LETTERS)), len(ids))
        matrix = _matrix(ids, self.dim, seed)
        if self.n_genes != "all":
            tally = tallied(count_blocks(train, "random-projection(n_genes)"), train.n_vars)
            others = np.setdiff1d(np.arange(train.n_vars), variable_genes(tally, self.n_genes))
            matrix[others] = 0.0
        return TrainedProjection(train.feature_names, matrix, self.on)

    def load(self, folder: Path) -> TrainedProjection:
        """Return the projection that was saved in ``folder``."""
        features, arrays = _saved.read(folder, "random-projection")
        return TrainedProjection(features, arrays["matrix"], self.on)

    def cost(self, cells: float, features: float) -> float:
        """Return CPU seconds, roughly."""
        return 0.05 + 1e-9 * cells * features * self.dim


def _matrix(features: Ids, dim: int, seed: int) -> NDArray[np.float32]:
    """Return (p, dim) normals of variance 1/dim; the hash knows features as rows and dimensions as columns."""
    empty = np.empty((0, 0), dtype=np.float32)
    return normals(Block(features, np.arange(dim, dtype=np.uint64), empty), seed) / np.float32(np.sqrt(dim))


@dataclass(frozen=True, eq=False)
class TrainedProjection:
    """A projection: ``matrix`` (columns, dim) belongs to ``features`` (p,), of codes to 32 letters of each."""

    features: pd.Index
    matrix: NDArray[np.float32]
    on: Kind

    def embed(self, view: View) -> Floats:
        """Return (n, dim) float32 coordinates."""
        view = aligned(view, self.features, "random-projection")
        out = np.empty((view.n_obs, self.matrix.shape[1]), dtype=np.float32)
        for some, values in placed(block.values for block in view.batches()):
            out[some] = self._project(self._scaled(values) if self.on == "lognorm" else values)
        return out

    def _scaled(self, values: Values) -> Any:
        counts = checked(values, "random-projection(on=lognorm)")
        return log_normalised(counts, totals(counts))

    def _project(self, values: Any) -> NDArray[np.float32]:
        columns = _columns.of_block(values)
        return np.asarray(columns.astype(np.float64) @ self.matrix.astype(np.float64), dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Write the projection to ``folder``."""
        _saved.write(folder, "random-projection", self.features, matrix=self.matrix)
