"""The Gaussian channel of Box 1 of paper B: data that are no counts, on which the noise law is exact."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import anndata
import numpy as np
import pandas as pd

from sclaws.errors import PluginError


@dataclass(frozen=True)
class GaussianChannel:
    """X = a·(Y + U): a signal Y ~ N(0, sigma_y²) that is measured with a noise U ~ N(0, sigma_u²) of its own.

    ``a`` is a unit vector over the features. The axis ``snr`` adds N(0, 1/u) to every feature, and whoever knows ``a``
    then has I(u) = ½·log2(1 + sigma_y²/(sigma_u² + 1/u)): the noise law with u_bar = 1/sigma_u² and
    i_max = ½·log2(1 + sigma_y²/sigma_u²) bits (Gowri et al., arXiv 2503.02726, Box 1, with u = η²). A linear embedding
    that can be inverted keeps all of it.

    ``load`` gives dense float32 ``X`` (n_cells, n_features), ``obsm["signal"]`` = Y (n_cells, 1), and in
    ``uns["truth"]`` i_max (bits) and u_bar. Cells of different seeds are independent and have different names.
    """

    n_cells: int = 2000
    n_features: int = 1
    sigma_y: float = 1.0
    sigma_u: float = 0.25
    seed: int = 0
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        for name in ("n_cells", "n_features", "sigma_y", "sigma_u"):
            if not getattr(self, name) > 0:
                raise PluginError(f"gaussian-channel: {name} = {getattr(self, name)} must be above 0")

    @property
    def truth(self) -> dict[str, float]:
        """``{"i_max": bits, "u_bar": 1/variance}``, exact."""
        ratio = (self.sigma_y / self.sigma_u) ** 2
        return {"i_max": 0.5 * math.log2(1 + ratio), "u_bar": self.sigma_u**-2}

    def load(self) -> anndata.AnnData:
        """Return the channel's input to the experiment: X, Y and the truth."""
        rng = np.random.default_rng([self.seed, self.n_features])
        direction = rng.standard_normal(self.n_features)
        direction /= np.linalg.norm(direction)
        signal = self.sigma_y * rng.standard_normal(self.n_cells)
        measured = signal + self.sigma_u * rng.standard_normal(self.n_cells)
        return anndata.AnnData(
            np.outer(measured, direction).astype(np.float32),
            obs=pd.DataFrame(index=[f"s{self.seed}-c{i}" for i in range(self.n_cells)]),
            var=pd.DataFrame({"direction": direction}, index=[f"x{j}" for j in range(self.n_features)]),
            obsm={"signal": signal[:, None]},
            uns={"truth": self.truth},
        )
