"""Cells of one data set seen through the features of another: found by name, in the other's order."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sclaws.errors import DataError, did_you_mean
from sclaws.hashing import mix
from sclaws.protocols import Ids
from sclaws.view import Source, View

_TELLING = 20  # genes that a cell must have for its counts to be its own and no other's
_HEAD = 3  # names that an error shows


def aligned(view: View, features: pd.Index, *, found: float = 0.0) -> tuple[View, float]:
    """Return the cells with exactly ``features`` (p,), and the share of these that the view has.

    Counts of a gene that the view lacks are zero, as of a gene that was not measured: whoever reads the result should
    know the share. Genes that ``features`` lacks are left out, of a cell's library, too: depth then is over the genes
    of those who learned. Raises ``DataError`` when less than a share ``found`` is there, or when measurements that are
    no counts lack anything. Time and memory grow with the view's non-zeros.
    """
    places = view.feature_names.get_indexer(features)
    there = places >= 0
    share = float(there.mean()) if len(features) else 0.0
    if share < found or not there.any():
        raise DataError(_lacking(view.feature_names, features, int(there.sum()), found))
    if there.all() and (len(features) == view.n_vars or not view.counts):
        same = len(features) == view.n_vars and (places == np.arange(view.n_vars)).all()
        return (view if same else view.choose(places)), share
    if not view.counts:
        raise DataError(
            f"{int((~there).sum())} of {len(features)} features are missing, the first is {features[~there][0]!r}; "
            f"measurements that are no counts must have them all"
        )
    few = view.in_memory() if view.on_disk else view
    if few.on_disk:
        raise DataError(
            f"{view.n_obs:,} cells are lined up with {len(features):,} features in memory, and take more than the data "
            "set's in_memory_gb: raise that, or ingest fewer cells to be tested"
        )
    return _filled(few, features, np.flatnonzero(there), places[there]), share


def _filled(view: View, features: pd.Index, there: NDArray[np.intp], places: NDArray[np.intp]) -> View:
    """Return these columns of the view, with zeros where it has nothing."""
    import anndata

    chosen = view.choose(places).to_adata()
    counts = sparse.csc_matrix(chosen.X)
    ends = np.zeros(len(features) + 1, dtype=counts.indptr.dtype)
    ends[there + 1] = np.diff(counts.indptr)
    wide = sparse.csc_matrix((counts.data, counts.indices, np.cumsum(ends)), shape=(view.n_obs, len(features)))
    names = pd.DataFrame(index=features)
    made = anndata.AnnData(sparse.csr_matrix(wide), obs=chosen.obs, var=names, obsm=dict(chosen.obsm))
    source = Source(made)
    source.__dict__.update(cell_ids=view.cell_ids)  # the ids are the old ones, not hashed again
    return View(source, np.arange(view.n_obs))


def _lacking(have: pd.Index, features: pd.Index, n: int, found: float) -> str:
    one, other = (", ".join(map(repr, names[:_HEAD])) for names in (features, have))
    near = "" if n else f" ({did_you_mean(str(features[0]), map(str, have))})"
    return (
        f"{n} of the {len(features)} features learned from are found (at least {found:.0%} are asked for): they are "
        f"called like {one}, and here {other}{near}; bring both to one kind of name (genes = a column of var, "
        f"genes_path = a table of names), or lower found"
    )


def contents(view: View) -> Ids:
    """Return (m,) hashes of the counts of those cells that have enough genes for equal counts to mean the same cell.

    The sum of hashes of (gene, count), so neither the order of genes nor the cell's name matters. One walk.
    """
    parts = [np.empty(0, np.uint64)]
    for block in view.batches():
        values = sparse.csr_matrix(block.values)
        values.eliminate_zeros()
        ids = mix(block.feature_ids)[values.indices] ^ mix(values.data.astype(np.int64).astype(np.uint64))
        sums = np.concatenate([[np.uint64(0)], np.cumsum(mix(ids), dtype=np.uint64)])
        own = sums[values.indptr[1:]] - sums[values.indptr[:-1]]
        parts.append(own[np.diff(values.indptr) >= _TELLING])
    return np.concatenate(parts)
