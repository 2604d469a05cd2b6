"""Principal components of log-normalised variable genes, chosen, centred and rotated on training cells alone."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sclaws.errors import ModelError, PluginError
from sclaws.models import _saved
from sclaws.models._normalise import aligned, lognorm, read_counts, totals, variable_genes
from sclaws.protocols import Floats, Ints, View

_EXACT = 2000  # genes up to which the whole covariance is decomposed; beyond, a Lanczos iteration


@dataclass(frozen=True)
class PCA:
    """Counts scaled to 10,000 a cell (over all genes of the view), log1p, ``n_genes`` variable genes, ``dim`` axes.

    Components are those of the *centred* matrix (paper B, version 1; its version 2 and paper C leave out the centring,
    which spends the first component on the mean). Scale, genes, means and components come from training cells.
    ``n_genes`` = "all" takes all. Deterministic: the seed changes nothing but ``untrained``.
    """

    dim: int = 16
    n_genes: int | Literal["all"] = 750
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.dim < 1 or (self.n_genes != "all" and self.n_genes <= self.dim):
            raise PluginError(f"pca: dim = {self.dim} must be at least 1 and below n_genes = {self.n_genes}")

    def fit(self, train: View, valid: View, *, seed: int) -> TrainedPCA:  # noqa: ARG002
        """Return the components of the training cells; ``valid`` is not looked at."""
        values, genes = self._training(train)
        return TrainedPCA(train.feature_names, genes, _mean(values), _components(values, self.dim))

    def untrained(self, train: View, *, seed: int) -> TrainedPCA:
        """Return random orthonormal directions of the same centred genes."""
        values, genes = self._training(train)
        drawn = np.random.default_rng(seed).standard_normal((len(genes), self.dim))
        return TrainedPCA(train.feature_names, genes, _mean(values), np.linalg.qr(drawn)[0])

    def load(self, folder: Path) -> TrainedPCA:
        """Return the model that was saved in ``folder``."""
        features, arrays = _saved.read(folder, "pca")
        return TrainedPCA(features, arrays["genes"], arrays["mean"], arrays["components"])

    def cost(self, cells: float, features: float) -> float:
        """Return CPU seconds, roughly."""
        genes = features if self.n_genes == "all" else min(self.n_genes, features)
        return 0.3 + 2e-8 * cells * features + 3e-8 * cells * genes

    def _training(self, train: View) -> tuple[sparse.csr_matrix, Ints]:
        counts = read_counts(train, "pca")
        least = self.dim + 1
        if counts.shape[0] < least or counts.shape[1] < least:
            raise ModelError(
                f"pca: {self.dim} components need at least {least} training cells and genes, "
                f"got {counts.shape[0]} cells x {counts.shape[1]} genes; lower dim"
            )
        genes = variable_genes(counts, self.n_genes)
        return lognorm(counts[:, genes], totals(counts)), genes


def _mean(values: sparse.csr_matrix) -> NDArray[np.float64]:
    return np.asarray(values.mean(axis=0)).ravel()


def _components(values: sparse.csr_matrix, dim: int) -> NDArray[np.float64]:
    """Return the (p, dim) leading principal axes, each with its largest loading positive."""
    from sklearn import decomposition

    solver = "covariance_eigh" if values.shape[1] <= _EXACT else "arpack"
    axes = decomposition.PCA(dim, svd_solver=solver, random_state=0).fit(values).components_.T
    return np.asarray(axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(dim)]))


@dataclass(frozen=True, eq=False)
class TrainedPCA:
    """Components: ``genes`` (g,) are positions in ``features`` (p,), ``mean`` (g,), ``components`` (g, dim)."""

    features: pd.Index
    genes: Ints
    mean: NDArray[np.float64]
    components: NDArray[np.float64]

    @property
    def n_params(self) -> int:
        """Number of learned numbers: means and loadings."""
        return self.mean.size + self.components.size

    def embed(self, view: View) -> Floats:
        """Return (n, dim) float32 coordinates of the cells along the training cells' components."""
        counts = read_counts(aligned(view, self.features, "pca"), "pca")
        values = lognorm(counts[:, self.genes], totals(counts))
        return np.asarray(values @ self.components - self.mean @ self.components, dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Write the model to ``folder``."""
        _saved.write(
            folder, "pca", self.features, genes=self.genes, mean=self.mean, components=self.components
        )  # fmt: skip
