"""The baseline that knows every gene's mean and of a cell only how many molecules it has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sclaws import bits
from sclaws.models import _saved
from sclaws.models._normalise import aligned, count_blocks, placed, positions, totals
from sclaws.protocols import Floats, View


@dataclass(frozen=True)
class GeneMean:
    """Each gene's share of molecules and dispersion in the training cells (:mod:`sclaws.bits`).

    Its embedding is log(1 + total) of a cell: the information that depth alone carries. Its loss is the one that every
    model with a likelihood has to beat.
    """

    version: ClassVar[int] = 1
    has_loss: ClassVar[bool] = True

    def fit(self, train: View, valid: View, *, seed: int) -> TrainedGeneMean:  # noqa: ARG002
        """Return the means of the training cells; ``valid`` is not looked at."""
        means = bits.gene_means_of_blocks(lambda: count_blocks(train, "gene-mean"), train.n_vars)
        return TrainedGeneMean(train.feature_names, means)

    def load(self, folder: Path) -> TrainedGeneMean:
        """Return the model that was saved in ``folder``."""
        features, arrays = _saved.read(folder, "gene-mean")
        return TrainedGeneMean(features, bits.GeneMeans(arrays["share"], arrays["dispersion"]))

    def cost(self, cells: float, features: float) -> float:
        """Return CPU seconds, roughly."""
        return 0.1 + 3e-8 * cells * features + 3e-5 * features


@dataclass(frozen=True, eq=False)
class TrainedGeneMean:
    """The means and dispersions of ``features`` (p,)."""

    features: pd.Index
    means: bits.GeneMeans

    @property
    def n_params(self) -> int:
        """Number of learned numbers: a share and a dispersion for each gene."""
        return 2 * len(self.features)

    @property
    def loss_measure(self) -> str:
        """What the losses are measured in."""
        return bits.MEASURE.format(n=len(self.features))

    def embed(self, view: View) -> Floats:
        """Return (n, 1) log(1 + molecules)."""
        out = np.empty((view.n_obs, 1), dtype=np.float32)
        for some, counts in self._blocks(view):
            out[some, 0] = np.log1p(totals(counts))
        return out

    def losses(self, view: View, *, seed: int, genes: pd.Index | None = None) -> NDArray[np.float64]:  # noqa: ARG002
        """Return (n,) bits per gene of each cell, over ``genes`` alone or all; given its total over all either way."""
        at = None if genes is None else positions(self.features, genes, "gene-mean")
        means, out = self.means if at is None else self.means.of(at), np.empty(view.n_obs)
        for some, counts in self._blocks(view):
            out[some] = means.losses(counts if at is None else counts[:, at], totals(counts))
        return out

    def _blocks(self, view: View) -> Iterator[tuple[slice, sparse.csr_matrix]]:
        return placed(count_blocks(aligned(view, self.features, "gene-mean"), "gene-mean"))

    def baseline_losses(self, view: View, *, seed: int, genes: pd.Index | None = None) -> NDArray[np.float64]:
        """Return (n,) the same: this is the baseline."""
        return self.losses(view, seed=seed, genes=genes)

    def save(self, folder: Path) -> None:
        """Write the model to ``folder``."""
        _saved.write(folder, "gene-mean", self.features, share=self.means.share, dispersion=self.means.dispersion)
