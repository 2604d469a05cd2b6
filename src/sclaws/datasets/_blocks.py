"""Tissue cut into blocks, so that a split can keep neighbours on one side."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sclaws.errors import DataError, did_you_mean
from sclaws.protocols import Floats, Ints


def blocks(adata: Any, per_side: int, sections: str | None) -> pd.Series[Any]:
    """Return the name of each cell's block in ``obsm["spatial"]``, (n,), such as "3-0" or, with sections, "left:3-0".

    ``per_side`` strips of equal numbers of cells along the first coordinate, each cut into as many along the second
    (a third is not cut); ``sections`` names a column of ``obs`` whose values are each cut by themselves. Equal numbers,
    not equal widths, because tissue has holes and edges, where squares would hold a handful of cells.
    """
    if per_side < 2:
        raise DataError(f"blocks = {per_side} cuts nothing; give 2 or more, 8 makes 64 blocks")
    if "block" in adata.obs:
        raise DataError("obs has a column 'block' already; leave out `blocks`, or rename that column")
    places = _places(adata)
    if sections is None:
        return _series(_squares(places, per_side), adata)
    if sections not in adata.obs:
        raise DataError(f"sections: obs has no column {sections!r}; {did_you_mean(sections, adata.obs)}")
    if missing := int(adata.obs[sections].isna().sum()):
        raise DataError(f"sections: obs[{sections!r}] is missing for {missing} cells; fill it or drop them")
    names, of = np.unique(adata.obs[sections].astype(str).to_numpy(), return_inverse=True)
    out = np.empty(len(places), dtype=object)
    for i, name in enumerate(names):
        out[of == i] = [f"{name}:{square}" for square in _squares(places[of == i], per_side)]
    return _series(out, adata)


def _series(names: Any, adata: Any) -> pd.Series[Any]:
    return pd.Series(pd.Categorical(names), index=adata.obs_names)


def _places(adata: Any) -> NDArray[np.float64]:
    if "spatial" not in adata.obsm:
        raise DataError(f"`blocks` are cut from obsm['spatial']; {did_you_mean('spatial', adata.obsm)}")
    places = np.asarray(adata.obsm["spatial"], dtype=np.float64)
    if places.ndim != 2 or places.shape[1] not in (2, 3):
        raise DataError(f"obsm['spatial'] has shape {places.shape}; places have two or three columns")
    if bad := int((~np.isfinite(places).all(axis=1)).sum()):
        raise DataError(f"obsm['spatial'] is missing or infinite for {bad} cells, which are in no block; drop them")
    return places


def _squares(places: NDArray[np.float64], per_side: int) -> list[str]:
    across = _strips(places[:, 0], per_side)
    along = np.empty_like(across)
    for strip in np.unique(across):
        along[across == strip] = _strips(places[across == strip, 1], per_side)
    return [f"{i}-{j}" for i, j in zip(across, along, strict=True)]


def _strips(values: Floats, n: int) -> Ints:
    """Return the strip, 0 to n - 1, of each value; equal values share one."""
    return np.searchsorted(np.quantile(values, np.arange(1, n) / n), values, side="right")
