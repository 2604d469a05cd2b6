"""What a data set must give: raw values of named cells, the same at every load; counts if they are sparse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import anndata
import numpy as np
from scipy import sparse

from sclaws import counts
from sclaws.errors import DataError
from sclaws.testing import cells
from sclaws.view import View


def check(dataset: Any) -> None:
    """Raise ``AssertionError`` unless this is a data set."""
    adata = dataset.load()
    assert isinstance(adata, anndata.AnnData), f"load returned {type(adata).__name__}"
    assert adata.n_obs and adata.n_vars, f"{adata.n_obs} cells x {adata.n_vars} features is empty"
    view = _checked(adata)
    again = dataset.load()
    same = adata.obs_names.equals(again.obs_names) and adata.var_names.equals(again.var_names)
    assert same, "loading twice gives other names"
    assert np.array_equal(cells.values(view), cells.values(View.of(again))), "loading twice gives different values"
    truth = adata.uns.get("truth", {})
    assert isinstance(truth, Mapping), f"uns['truth'] is {type(truth).__name__}; a table of numbers by name is needed"
    assert np.isfinite(list(map(float, truth.values()))).all(), f"uns['truth'] = {truth} has values that are not finite"


def _checked(adata: anndata.AnnData) -> View:
    try:
        view = View.of(adata)  # refuses names that are not unique
        if sparse.issparse(adata.X):
            remedy = "give raw counts, or a dense array for values that are no counts"
            counts.checked(adata.X, adata.obs_names, adata.var_names, where="X", remedy=remedy)
    except DataError as error:
        raise AssertionError(str(error)) from error
    if sparse.issparse(adata.X):
        assert adata.X.format == "csr", (
            f"X is sparse in the form {adata.X.format!r}; csr is needed, to be read by cells"
        )
    assert np.isfinite(np.asarray(cells.values(view), dtype=float)).all(), "values are not finite"
    return view
