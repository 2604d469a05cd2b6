"""Variable genes themselves as the embedding: what is known of a cell before anything is learned of genes together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pandas as pd

from sclaws.counts import log_of
from sclaws.errors import ModelError, PluginError
from sclaws.models import _saved
from sclaws.models._normalise import aligned, count_blocks, placed, variable_genes
from sclaws.protocols import Floats, Ints, View
from sclaws.tallies import tallied


@dataclass(frozen=True)
class HVG:
    """Counts scaled to 10,000 a cell (over all genes of the view), log1p, the ``n_genes`` most variable genes.

    Genes are chosen on training cells; all are taken if there are fewer, or with "all". Deterministic: the seed changes
    nothing. The baseline that paper C (DenAdel et al.) calls HVG; theirs chooses the genes on the cells that it is then
    judged on, as many as pass scanpy's thresholds, so there is no preset.
    """

    n_genes: int | Literal["all"] = 2000
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.n_genes != "all" and self.n_genes < 1:
            raise PluginError(f'hvg: n_genes = {self.n_genes} must be above 0, or "all"')

    def fit(self, train: View, valid: View, *, seed: int) -> TrainedHVG:  # noqa: ARG002
        """Choose the genes on the training cells, one walk over them; ``valid`` is not looked at."""
        if not train.n_obs or not train.n_vars:
            raise ModelError(f"hvg: nothing to choose among: {train.n_obs} training cells x {train.n_vars} genes")
        tally = tallied(count_blocks(train, "hvg"), train.n_vars)
        return TrainedHVG(train.feature_names, variable_genes(tally, self.n_genes))

    def load(self, folder: Path) -> TrainedHVG:
        """Return the model that was saved in ``folder``."""
        features, arrays = _saved.read(folder, "hvg")
        return TrainedHVG(features, arrays["genes"])

    def cost(self, cells: float, features: float) -> float:
        """Return CPU seconds, roughly."""
        return 0.2 + 2e-8 * cells * features


@dataclass(frozen=True, eq=False)
class TrainedHVG:
    """The chosen ``genes`` (g,), positions in ``features`` (p,)."""

    features: pd.Index
    genes: Ints
    n_params: ClassVar[int] = 0

    def embed(self, view: View) -> Floats:
        """Return (n, g) float32 log-normalised expression of the chosen genes. Memory: 4 bytes a value."""
        out = np.empty((view.n_obs, len(self.genes)), dtype=np.float32)
        for some, counts in placed(count_blocks(aligned(view, self.features, "hvg"), "hvg")):
            out[some] = log_of(counts, self.genes).astype(np.float32).toarray()
        return out

    def save(self, folder: Path) -> None:
        """Write the model to ``folder``."""
        _saved.write(folder, "hvg", self.features, genes=self.genes)
