"""Principal components: of log-normalised variable genes, of pixels, of residues; learnt on training cells alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sclaws.counts import log_normalised
from sclaws.errors import ModelError, PluginError
from sclaws.models import _columns, _saved
from sclaws.models._normalise import aligned, read_counts, totals, variable_genes
from sclaws.protocols import Floats, Ints, View

_BLOCK = 4096  # cells that are dense at once
_EXACT = 2000  # genes up to which the whole covariance is decomposed; beyond, a Lanczos iteration


@dataclass(frozen=True)
class PCA:
    """Counts scaled to 10,000 a cell (over all genes of the view), log1p, ``n_genes`` variable genes, ``dim`` axes.

    Measurements, such as pixels, are taken as they are, and codes, such as residues, with one column a letter; all of
    them, whatever ``n_genes``. Components are those of the centred matrix unless ``centred`` is false, which spends the
    first component on the mean. Scale, genes, means and components come from training cells. ``n_genes`` = "all" takes
    all. Deterministic: the seed changes nothing but ``untrained``.

    ``preset`` "paper-B-v1" and "paper-B-v2" (Gowri et al., arXiv 2503.02726) differ in the centring: the second is a
    truncated singular value decomposition.
    """

    dim: int = 16
    n_genes: int | Literal["all"] = 750
    centred: bool = True
    version: ClassVar[int] = 1
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "paper-B-v1": {"dim": 16, "n_genes": 750, "centred": True},
        "paper-B-v2": {"dim": 16, "n_genes": 750, "centred": False},
    }

    def __post_init__(self) -> None:
        if self.dim < 1 or (self.n_genes != "all" and self.n_genes <= self.dim):
            raise PluginError(f"pca: dim = {self.dim} must be at least 1 and below n_genes = {self.n_genes}")

    def fit(self, train: View, valid: View, *, seed: int) -> TrainedPCA:  # noqa: ARG002
        """Return the components of the training cells; ``valid`` is not looked at."""
        values, genes = self._training(train)
        axes = _components(values, self.dim) if self.centred else _singular(values, self.dim)
        return TrainedPCA(train.feature_names, genes, self._mean(values), axes, train.counts)

    def untrained(self, train: View, *, seed: int) -> TrainedPCA:
        """Return random orthonormal directions of the same columns, centred if the model is."""
        values, genes = self._training(train)
        drawn = np.random.default_rng(seed).standard_normal((len(genes), self.dim))
        return TrainedPCA(train.feature_names, genes, self._mean(values), np.linalg.qr(drawn)[0], train.counts)

    def _mean(self, values: Any) -> NDArray[np.float64]:
        mean = np.asarray(values.mean(axis=0), dtype=np.float64).ravel()
        return mean if self.centred else np.zeros_like(mean)

    def load(self, folder: Path) -> TrainedPCA:
        """Return the model that was saved in ``folder``."""
        features, arrays = _saved.read(folder, "pca")
        return TrainedPCA(features, arrays["genes"], arrays["mean"], arrays["components"], bool(arrays["of_counts"]))

    def cost(self, cells: float, features: float) -> float:
        """Return CPU seconds, roughly."""
        genes = features if self.n_genes == "all" else min(self.n_genes, features)
        return 0.3 + 2e-8 * cells * features + 3e-8 * cells * genes

    def _training(self, train: View) -> tuple[Any, Ints]:
        """Return the columns (n, g) that are decomposed, and where they are among all."""
        least = self.dim + 1
        if train.n_obs < least or train.n_vars < least:
            raise ModelError(
                f"pca: {self.dim} components need at least {least} training cells and genes, "
                f"got {train.n_obs} cells x {train.n_vars} genes; lower dim"
            )
        if not train.counts:
            return _occurring(_columns.read(train), self.dim)
        counts = read_counts(train, "pca")
        genes = variable_genes(counts, self.n_genes)
        return log_normalised(counts[:, genes], totals(counts)), genes


def _occurring(columns: Any, dim: int) -> tuple[Any, Ints]:
    """Return measurements as they are, of letters those that occur in training; and their positions."""
    if not sparse.issparse(columns):
        return columns, np.arange(columns.shape[1])
    there = np.flatnonzero(columns.getnnz(axis=0))
    if len(there) <= dim:
        raise ModelError(f"pca: {dim} components need more than the {len(there)} letters that occur; lower dim")
    return columns[:, there], there


def _components(values: Any, dim: int) -> NDArray[np.float64]:
    """Return the (g, dim) leading principal axes, each with its largest loading positive."""
    if values.shape[1] <= _EXACT:
        from scipy import linalg

        last = values.shape[1] - 1
        axes = linalg.eigh(_covariance(values), subset_by_index=[last - dim + 1, last])[1]
        return _signed(axes[:, ::-1])
    from sklearn import decomposition

    return _signed(decomposition.PCA(dim, svd_solver="arpack", random_state=0).fit(values).components_.T)


def _covariance(values: Any) -> NDArray[np.float64]:
    """Return (g, g) covariances, from dense blocks of cells: sparse products took 1 to 4 times as long."""
    n, g = values.shape
    mean = np.asarray(values.mean(axis=0), dtype=np.float64).ravel()
    total = np.zeros((g, g))
    for start in range(0, n, _BLOCK):
        block = values[start : start + _BLOCK]
        block = (block.toarray() if sparse.issparse(block) else np.asarray(block)).astype(np.float64) - mean
        total += block.T @ block
    return total / max(n - 1, 1)


def _singular(values: Any, dim: int) -> NDArray[np.float64]:
    """Return the (g, dim) leading right singular vectors, signed the same way."""
    from sklearn import decomposition

    return _signed(decomposition.TruncatedSVD(dim, algorithm="arpack", random_state=0).fit(values).components_.T)


def _signed(axes: Any) -> NDArray[np.float64]:
    loadings = np.asarray(axes, dtype=np.float64)
    return loadings * np.sign(loadings[np.abs(loadings).argmax(axis=0), np.arange(loadings.shape[1])])


@dataclass(frozen=True, eq=False)
class TrainedPCA:
    """Components: ``genes`` (g,) are positions among the columns, which are ``features`` (p,) or, of codes, letters.

    ``mean`` (g,), ``components`` (g, dim).
    """

    features: pd.Index
    genes: Ints
    mean: NDArray[np.float64]
    components: NDArray[np.float64]
    of_counts: bool

    @property
    def n_params(self) -> int:
        """Number of learned numbers: means and loadings."""
        return self.mean.size + self.components.size

    def embed(self, view: View) -> Floats:
        """Return (n, dim) float32 coordinates of the cells along the training cells' components."""
        values = self._columns(aligned(view, self.features, "pca"))
        return np.asarray(values @ self.components - self.mean @ self.components, dtype=np.float32)

    def _columns(self, view: View) -> Any:
        if not self.of_counts:
            return _columns.read(view)[:, self.genes]
        counts = read_counts(view, "pca")
        return log_normalised(counts[:, self.genes], totals(counts))

    def save(self, folder: Path) -> None:
        """Write the model to ``folder``."""
        arrays = {"genes": self.genes, "mean": self.mean, "components": self.components, "of_counts": self.of_counts}
        _saved.write(folder, "pca", self.features, **arrays)
