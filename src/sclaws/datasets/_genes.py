"""Genes under other names: from a column of ``var``, or from a table of two columns, such as Ensembl id and symbol."""

from __future__ import annotations

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
from scipy import sparse

from sclaws.errors import DataError, did_you_mean


def renamed(data: anndata.AnnData, column: str | None, table: str | None) -> anndata.AnnData:
    """Return the data with genes under their new names; genes that share one are added up, in the first one's place.

    ``column`` of ``var`` holds new names; ``table`` is a CSV or TSV file whose first column has the names in use
    (Ensembl ids with or without their version) and whose second has the new ones. A gene without a new name keeps its
    own. Raises ``DataError`` for both at once, an unknown column, a table of another shape, and when nothing gets a
    new name.
    """
    if column is None and table is None:
        return data
    return _added_up(data, new_names(data.var, column, table))


def new_names(var: pd.DataFrame, column: str | None, table: str | None) -> np.ndarray:
    """Return the (p,) new names of the genes of ``var``; raises as :func:`renamed`. Their own, if nothing is asked."""
    old = np.asarray(var.index.astype(str))
    if column is None and table is None:
        return old
    if column is not None and table is not None:
        raise DataError(f"genes = {column!r} and genes_path = {table!r} say the same thing twice; give one of them")
    names = _of_column(var, str(column)) if table is None else _of_table(var, Path(table))
    missing = names.isna().to_numpy() | (names.astype(str).str.strip() == "").to_numpy()
    if missing.all():
        where = f"var[{column!r}]" if table is None else str(table)
        raise DataError(f"{where} has a new name for none of the {len(old)} genes, the first is {old[0]!r}")
    return np.where(missing, old, names.astype(str).to_numpy())


def _of_column(var: pd.DataFrame, column: str) -> pd.Series:
    if column not in var:
        raise DataError(f"genes = {column!r} is no column of var; {did_you_mean(column, var)}")
    return pd.Series(var[column].to_numpy(dtype=object))


def _of_table(var: pd.DataFrame, file: Path) -> pd.Series:
    try:
        separator = "," if file.suffix.lower() == ".csv" else "\t"
        table = pd.read_csv(file, sep=separator, dtype=str)
    except (OSError, ValueError) as error:
        raise DataError(f"{file} cannot be read as a table of gene names: {error}") from error
    if table.shape[1] < 2:
        raise DataError(
            f"{file}: a table of gene names needs two columns, those in use and the new ones; .csv is read "
            f"with commas, anything else with tabs"
        )
    known = pd.Series(table.iloc[:, 1].to_numpy(), index=table.iloc[:, 0].to_numpy())
    known = known[~known.index.duplicated() & known.index.notna()]
    names = pd.Series(var.index.astype(str))
    found = names.map(known)
    return found.where(found.notna(), names.str.replace(r"\.\d+$", "", regex=True).map(known))


def _added_up(data: anndata.AnnData, names: np.ndarray) -> anndata.AnnData:
    place, first = pd.factorize(names)[0], np.flatnonzero(~pd.Index(names).duplicated())  # genes stay where they were
    var = data.var.iloc[first].set_axis(pd.Index(names[first], dtype=object), axis=0)
    counts = data.X
    if len(first) < len(names):
        ones = np.ones(len(names), dtype=np.float32)
        counts = sparse.csr_matrix(data.X @ sparse.csr_matrix((ones, (np.arange(len(names)), place))))
        counts.sort_indices()
    return anndata.AnnData(counts, obs=data.obs, var=var, obsm=dict(data.obsm), uns=dict(data.uns))
