"""The cells that members are checked on: counts, the same cells measured in another way, images and sequences."""

from __future__ import annotations

from typing import Any

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from sclaws.residues import AMINO_ACIDS, GAP, PADDING
from sclaws.view import View


def counts(n: int = 240, p: int = 60, seed: int = 0) -> View:
    """Return a view of simulated counts for checks and tests.

    With a label, a donor, proteins and a state; clones of four cells, on day 2, 4, 6 and 6; places in nine blocks.
    """
    rng = np.random.default_rng(seed)
    state = rng.normal(size=(n, 1))
    rates = np.exp(rng.normal(0, 0.7, p) + state * rng.normal(0, 0.8, (1, p)))
    values = rng.poisson(rates / rates.sum(axis=1, keepdims=True) * rng.lognormal(5.5, 0.2, (n, 1)))
    adata = anndata.AnnData(sparse.csr_matrix(values.astype(np.float32)))
    adata.obs_names = [f"s{seed}-c{i}" for i in range(n)]
    adata.var_names = [f"g{i}" for i in range(p)]
    adata.obs["label"] = pd.Categorical(np.where(state[:, 0] > 0, "high", "low"))
    adata.obs["donor"] = pd.Categorical([f"d{i % 8}" for i in range(n)])
    adata.obsm["protein"] = state + rng.normal(0, 0.3, (n, 2))
    adata.obsm["state"] = state
    adata.obs["clone"] = pd.Categorical([f"k{i // 4}" for i in range(n)])
    adata.obs["day"] = [(2, 4, 6, 6)[i % 4] for i in range(n)]
    adata.obsm["spatial"] = places = rng.uniform(0, 3, (n, 2))
    adata.obs["block"] = pd.Categorical([f"{x}-{y}" for x, y in places.astype(int)])
    return View.of(adata)


def measured(n: int = 240, p: int = 60, seed: int = 0) -> View:
    """Return the same cells with dense values that are no counts."""
    adata = counts(n, p, seed).to_adata()
    adata.X = np.log1p(adata.X.toarray())
    return View.of(adata)


def sequences(n: int = 240, p: int = 60, seed: int = 0) -> View:
    """Return the same cells as sequences: codes of residues; some have gaps, and some end before the others."""
    rng = np.random.default_rng(seed)
    adata = counts(n, p, seed).to_adata()
    high = (adata.obs["label"] == "high").to_numpy()
    families = rng.integers(len(AMINO_ACIDS), size=(2, p))
    codes = np.where(rng.random((n, p)) < 0.2, rng.integers(len(AMINO_ACIDS), size=(n, p)), families[high.astype(int)])
    codes[rng.random((n, p)) < 0.02] = GAP
    codes[np.arange(p) >= rng.integers(p - 10, p + 1, size=(n, 1))] = PADDING
    adata.X = codes.astype(np.int8)
    return View.of(adata)


def images(n: int = 240, side: int = 48, seed: int = 0) -> View:
    """Return a view of grey images: a bright stripe, which lies for the label "high" and stands for "low"."""
    rng = np.random.default_rng(seed)
    lies = rng.random(n) < 0.5
    grey = rng.uniform(0, 0.4, (n, side, side)).astype(np.float32)
    for image, flat, at in zip(grey, lies, rng.integers(side - side // 6, size=n), strict=True):
        stripe = slice(at, at + side // 6)
        image[(stripe, slice(None)) if flat else (slice(None), stripe)] += 0.6
    y, x = np.divmod(np.arange(side * side), side)
    return View.of(
        anndata.AnnData(
            grey.reshape(n, -1),
            obs=pd.DataFrame(
                {"label": pd.Categorical(np.where(lies, "high", "low"))}, index=[f"s{seed}-i{i}" for i in range(n)]
            ),
            var=pd.DataFrame({"y": y, "x": x, "channel": 0}, index=[f"y{j}x{i}c0" for j, i in zip(y, x, strict=True)]),
        )
    )


def values(view: View) -> Any:
    """Return the (n, p) values of a view as a dense array."""
    found = view.to_adata().X
    return found.toarray() if sparse.issparse(found) else np.asarray(found)
