"""A simulated tissue: counts driven by cell types and gene programmes, and proteins whose information is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import anndata
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sclaws.errors import PluginError

_BLOCK = 4096  # cells whose dense rates are in memory at once


class Genes(NamedTuple):
    """What is true of the genes: ``base`` (p,) log-rates, ``types`` (p, n_types) and ``programmes`` (p, k) effects."""

    base: NDArray[np.float64]
    types: NDArray[np.float64]
    programmes: NDArray[np.float64]

    def shares(self, kinds: NDArray[np.int64], activity: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return (n, p) shares of each gene in the molecules of cells of these types and programme activities."""
        logs = self.base + self.types.T[kinds] + activity @ self.programmes.T
        rates = np.exp(logs - logs.max(axis=1, keepdims=True))
        return np.asarray(rates / rates.sum(axis=1, keepdims=True))


@dataclass(frozen=True)
class SimulatedTissue:
    """Cells of ``n_types`` equally likely types, each with ``n_programmes`` activities s ~ N(0, 1).

    The share of gene g in a cell's molecules is p_g ∝ exp(base_g + type_g + W_g·s). Its molecules are Poisson with mean
    depth·p_g, and depth varies between cells as a log-normal of mean ``depth`` (UMI per cell) and spread ``depth_sd``
    (of the log); thinning such counts gives exactly the tissue at a smaller depth. ``type_effect`` and
    ``programme_effect`` are standard deviations of log-rates over molecules. Each cell's proteins are A·s plus
    N(0, noise²), A (n_proteins, n_programmes) with orthonormal columns.

    ``load`` gives CSR counts, ``obs["cell_type"]``, ``obsm["protein"]`` (n, n_proteins), ``obsm["state"]`` (n,
    n_programmes + n_types − 1; the activities, then indicators of every type but the first), and ``uns["truth"]``:

    - ``label_information`` = log2(n_types) and ``protein_information`` = (d/2)·log2(1 + 1/noise²), d = n_programmes:
      the information of the whole state, in bits, exact. No embedding of the counts can have more.
    - ``i_max`` (= protein_information), ``u_bar`` (UMI per cell) and ``channels`` (= d): the protein's noise law for an
      ideal observer. J, the Fisher information about an activity per molecule, is the mean over cells of
      Var_p(W): a multinomial is blind to the mean of W, which only scales all rates. With prior variance 1 the estimate
      of s from u molecules has variance uJ/(1+uJ), so I(u) = (d/2)·log2[(1+t)(1+uJ)/(1+t(1+uJ))] with t = noise²,
      which is the law of d parallel channels (d = 1: the noise law) with u_bar = (1+t)/(J·t). An approximation, good
      to a few hundredths of a bit: the posterior of s is taken as normal, types as known, depths as equal. A model
      that has to learn W from few cells needs more molecules than this.
    """

    n_cells: int = 3000
    n_genes: int = 600
    depth: float = 2000.0
    depth_sd: float = 0.25
    n_types: int = 4
    n_programmes: int = 1
    n_proteins: int = 4
    type_effect: float = 0.5
    programme_effect: float = 0.3
    noise: float = 0.25
    seed: int = 0
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        for name in ("n_cells", "depth", "n_types", "n_programmes", "programme_effect", "noise"):
            if not getattr(self, name) > 0:
                raise PluginError(f"simulated-tissue: {name} = {getattr(self, name)} must be above 0")
        if self.n_proteins < self.n_programmes:
            raise PluginError(
                f"simulated-tissue: {self.n_proteins} proteins cannot show {self.n_programmes} programmes; "
                f"n_proteins must be at least n_programmes"
            )
        if self.n_genes < (least := 2 * (self.n_types + self.n_programmes)):
            raise PluginError(f"simulated-tissue: n_genes = {self.n_genes} is too few, at least {least} are needed")

    def load(self) -> anndata.AnnData:
        """Return counts, signals and the truth. Time grows with cells x genes (about a second for 10,000 x 1,000)."""
        genes = self._genes()
        rng = np.random.default_rng([self.seed, 1])
        kinds = rng.integers(self.n_types, size=self.n_cells)
        activity = rng.standard_normal((self.n_cells, self.n_programmes))
        spread = rng.standard_normal(self.n_cells)
        depths = self.depth * np.exp(self.depth_sd * spread - self.depth_sd**2 / 2)
        counts, fisher = self._counts(genes, kinds, activity, depths, rng)
        names = np.array([f"type{k}" for k in range(self.n_types)])
        return anndata.AnnData(
            counts,
            obs=pd.DataFrame(
                {"cell_type": pd.Categorical(names[kinds], names), "depth": depths},
                index=[f"s{self.seed}-c{i}" for i in range(self.n_cells)],
            ),
            var=pd.DataFrame({"log_base": genes.base}, index=[f"gene{j}" for j in range(self.n_genes)]),
            obsm={"protein": self._proteins(activity, rng), "state": self._state(kinds, activity)},
            varm={"types": genes.types, "programmes": genes.programmes},
            uns={"truth": self._truth(fisher)},
        )

    def _genes(self) -> Genes:
        """Draw effects that are orthogonal over molecules: to each other, and to a change of all rates at once.

        So a programme is told apart from types and from other programmes, and an activity's Fisher information per
        molecule is about programme_effect².
        """
        rng = np.random.default_rng([self.seed, 0])
        base = rng.standard_normal(self.n_genes)
        share = np.exp(base) / np.exp(base).sum()
        drawn = rng.standard_normal((self.n_genes, self.n_types + self.n_programmes))
        columns = np.column_stack([np.ones(self.n_genes), drawn])
        basis, triangle = np.linalg.qr(np.sqrt(share)[:, None] * columns)
        effects = (basis * np.sign(np.diag(triangle)) / np.sqrt(share)[:, None])[:, 1:]
        types, programmes = effects[:, : self.n_types], effects[:, self.n_types :]
        return Genes(base, self.type_effect * types, self.programme_effect * programmes)

    def _counts(
        self, genes: Genes, kinds: Any, activity: Any, depths: Any, rng: np.random.Generator
    ) -> tuple[sparse.csr_matrix, float]:
        """Return the counts, and J: the Fisher information about one activity per molecule, averaged over cells."""
        blocks, fisher = [], 0.0
        for start in range(0, self.n_cells, _BLOCK):
            rows = slice(start, start + _BLOCK)
            shares = genes.shares(kinds[rows], activity[rows])
            blocks.append(sparse.csr_matrix(rng.poisson(depths[rows, None] * shares).astype(np.float32)))
            variances = shares @ genes.programmes**2 - (shares @ genes.programmes) ** 2
            fisher += float(variances.mean(axis=1).sum())
        return sparse.csr_matrix(sparse.vstack(blocks)), fisher / self.n_cells

    def _proteins(self, activity: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        loadings = np.linalg.qr(rng.standard_normal((self.n_proteins, self.n_programmes)))[0]
        proteins: NDArray[np.float64] = activity @ loadings.T
        return proteins + self.noise * rng.standard_normal(proteins.shape)

    def _state(self, kinds: NDArray[np.int64], activity: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.hstack([activity, np.eye(self.n_types)[kinds][:, 1:]])

    def _truth(self, fisher: float) -> dict[str, float]:
        variance = self.noise**2
        protein = self.n_programmes / 2 * math.log2(1 + 1 / variance)
        return {
            "protein_information": protein,
            "label_information": math.log2(self.n_types),
            "i_max": protein,
            "u_bar": (1 + variance) / (fisher * variance),
            "channels": float(self.n_programmes),
        }
