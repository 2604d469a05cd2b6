"""Principal components: of log-normalised variable genes, of pixels, of residues; learnt on training cells alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sclaws.errors import ModelError, PluginError
from sclaws.models import _nested, _principal, _saved
from sclaws.models._normalise import aligned, placed
from sclaws.protocols import Context, Floats, Ints, Job, View

_CONTEXT = Context(Path())


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
        return self._fitted([self._enough(train)])[0]

    def fit_many(self, jobs: Sequence[Job], *, context: Context = _CONTEXT) -> list[TrainedPCA | Exception]:  # noqa: ARG002
        """Return the components of each job's training cells: those that have each other's cells share their walks.

        So all numbers of cells at one depth cost as much as the largest. Genes are chosen on each job's own cells.
        """
        found: dict[int, TrainedPCA | Exception] = {}
        able = []
        for i, job in enumerate(jobs):
            try:
                able.append((i, self._enough(job.train)))
            except ModelError as error:
                found[i] = error
        for family in _nested.families([view for _, view in able]):
            made = self._tried([able[at][1] for at in family.members], family.levels)
            found.update((able[at][0], one) for at, one in zip(family.members, made, strict=True))
        return [found[i] for i in range(len(jobs))]

    def _tried(self, views: Sequence[View], levels: Any = None) -> list[TrainedPCA | Exception]:
        """Fit a family together, or one by one where that fails: a value that is no count may be in some alone."""
        try:
            return [*self._fitted(views, levels)]
        except Exception as error:
            return [error] if len(views) == 1 else [self._tried([view])[0] for view in views]

    def _fitted(self, views: Sequence[View], levels: Any = None) -> list[TrainedPCA]:
        axes = _principal.axes_of_family(views, self.n_genes, self.dim, centred=self.centred, levels=levels)
        return [TrainedPCA(view.feature_names, *own, view.counts) for view, own in zip(views, axes, strict=True)]

    def untrained(self, train: View, *, seed: int) -> TrainedPCA:
        """Return random orthonormal directions of the same columns, centred if the model is."""
        genes, mean = _principal.columns_and_mean(self._enough(train), self.n_genes, self.dim)
        drawn = np.random.default_rng(seed).standard_normal((len(genes), self.dim))
        centre = mean if self.centred else np.zeros_like(mean)
        return TrainedPCA(train.feature_names, genes, centre, np.linalg.qr(drawn)[0], train.counts)

    def load(self, folder: Path) -> TrainedPCA:
        """Return the model that was saved in ``folder``."""
        features, arrays = _saved.read(folder, "pca")
        return TrainedPCA(features, arrays["genes"], arrays["mean"], arrays["components"], bool(arrays["of_counts"]))

    def cost(self, cells: float, features: float) -> float:
        """Return CPU seconds, roughly."""
        genes = features if self.n_genes == "all" else min(self.n_genes, features)
        return 0.3 + 2e-8 * cells * features + 3e-8 * cells * genes

    def _enough(self, train: View) -> View:
        least = self.dim + 1
        if train.n_obs < least or train.n_vars < least:
            raise ModelError(
                f"pca: {self.dim} components need at least {least} training cells and genes, "
                f"got {train.n_obs} cells x {train.n_vars} genes; lower dim"
            )
        return train


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
        out = np.empty((view.n_obs, self.components.shape[1]), dtype=np.float32)
        view, centre = aligned(view, self.features, "pca"), self.mean @ self.components
        for some, values in placed(_principal.blocks(view, self.genes)):
            out[some] = values @ self.components - centre
        return out

    def save(self, folder: Path) -> None:
        """Write the model to ``folder``."""
        arrays = {"genes": self.genes, "mean": self.mean, "components": self.components, "of_counts": self.of_counts}
        _saved.write(folder, "pca", self.features, **arrays)
