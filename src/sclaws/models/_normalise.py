"""What several models do with counts before they learn: line up genes, read, normalise, choose variable genes."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sclaws.counts import as_csr, first_problem
from sclaws.errors import ModelError
from sclaws.protocols import Ints, View
from sclaws.tallies import Tally, tallied


def aligned(view: View, features: pd.Index, model: str) -> View:
    """Return the view with exactly these features, found by name; raise ``ModelError`` naming how many are missing."""
    if view.feature_names.equals(features):
        return view
    positions = view.feature_names.get_indexer(features)
    if (missing := positions < 0).any():
        raise ModelError(
            f"{model}: {int(missing.sum())} of the {len(features)} features it was trained on are not in these data, "
            f"the first is {features[int(np.argmax(missing))]!r}; embed data with the same features"
        )
    return view.choose(positions)


def positions(features: pd.Index, genes: pd.Index, model: str) -> Ints:
    """Return where ``genes`` are among a model's features; raise ``ModelError`` naming the first that is not."""
    found = features.get_indexer(genes)
    if (missing := found < 0).any():
        raise ModelError(
            f"{model}: {int(missing.sum())} of the {len(genes)} genes asked for are not among its {len(features)}, "
            f"the first is {genes[int(np.argmax(missing))]!r}; ask for genes that it has"
        )
    return np.asarray(found)


def read_counts(view: View, model: str) -> sparse.csr_matrix:
    """Return (n, p) float32 CSR counts of a view; raise ``ModelError`` when its values are not counts, or too many."""
    if view.on_disk and (view := view.in_memory()).on_disk:
        raise too_many(view, model)
    blocks = [as_csr(block.values) for block in view.batches()]
    return checked(sparse.vstack(blocks) if blocks else np.empty((0, view.n_vars)), model)


def too_many(view: View, model: str) -> ModelError:
    """Return what to raise when a model needs cells in memory that stay on disk."""
    return ModelError(
        f"{model} needs its cells in memory, and {view.n_obs:,} take more than the data set's in_memory_gb: raise "
        "that, or lower n_cells (of the cells that are tested: split.test)"
    )


def count_blocks(view: View, model: str) -> Iterator[sparse.csr_matrix]:
    """Yield the counts of a view, some thousand cells at a time, as :func:`read_counts` gives all of them."""
    for block in view.batches():
        yield checked(block.values, model)


def placed(blocks: Iterable[Any]) -> Iterator[tuple[slice, Any]]:
    """Yield each block of cells and where it lies among all of them."""
    start = 0
    for block in blocks:
        yield slice(start, start := start + block.shape[0]), block


def checked(values: Any, model: str) -> sparse.csr_matrix:
    """Return values (n, p) as float32 CSR counts; raise ``ModelError`` when they are none."""
    counts = as_csr(values)
    if problem := first_problem(counts):
        value = counts.data[problem[0]]
        raise ModelError(f"{model} needs counts, and there is a value of {value:g}, {problem[1]}; use another model")
    return counts


def totals(counts: sparse.csr_matrix) -> NDArray[np.float64]:
    """Return the (n,) molecules of each cell."""
    return np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()


def variable_genes(counts: sparse.csr_matrix | Tally, n: int | Literal["all"], *, span: float = 1.0) -> Ints:
    """Return the sorted positions of the ``n`` most variable genes of (cells, p) counts, or of all if there are fewer.

    The rule called seurat_v3 (Stuart et al. 2019, as in scanpy): the variance expected from a gene's mean is a loess of
    degree 2 of log variance on log mean; counts are clipped at √cells such deviations; genes rank by their clipped
    variance over the expected one. ``span`` = 1 is paper B's. Where the loess is singular, as with very few cells, a
    parabola stands in for it. Ties go to the gene that comes first. A tally of the cells is all that is needed of them.
    """
    p = counts.genes if isinstance(counts, Tally) else counts.shape[1]
    if n == "all" or n >= p:
        return np.arange(p)
    score = _standardised(counts if isinstance(counts, Tally) else tallied([counts], p), span)
    return np.sort(np.argsort(-score, kind="stable")[:n])


def _standardised(tally: Tally, span: float) -> NDArray[np.float64]:
    """Return each gene's (p,) clipped variance over the one expected from its mean, 0 where it does not vary."""
    genes, found, _ = entries = tally.entries()
    cells, freedom = tally.cells, max(tally.cells - 1, 1)
    mean = entries.sums(found, tally.genes) / max(cells, 1)
    variance = (entries.sums(found**2, tally.genes) / max(cells, 1) - mean**2) * cells / freedom
    varies = variance > 1e-12
    expected = np.ones_like(mean)
    expected[varies] = 10 ** _trend(np.log10(mean[varies]), np.log10(variance[varies]), span)
    clipped = np.minimum(found, (mean + np.sqrt(expected * cells))[genes])
    squares, sums = entries.sums(clipped**2, tally.genes), entries.sums(clipped, tally.genes)
    score = (cells * mean**2 + squares - 2 * sums * mean) / (freedom * expected)
    score[~varies] = 0.0
    return np.asarray(score)


def _trend(x: NDArray[np.float64], y: NDArray[np.float64], span: float) -> NDArray[np.float64]:
    """Return the smooth value of y at each x: a loess where it can be had, a parabola otherwise, else the mean."""
    if len(x) < 4:
        return np.full_like(y, y.mean() if len(y) else 0.0)
    with contextlib.suppress(ImportError, ValueError):  # ValueError: singular, extrapolation, too few points
        fitted = _loess(x, y, span)
        if np.isfinite(fitted).all():
            return fitted
    degree = min(2, len(np.unique(x)) - 1)
    return np.asarray(np.polyval(np.polyfit(x, y, degree), x))


def _loess(x: Any, y: Any, span: float) -> NDArray[np.float64]:
    from skmisc.loess import loess  # takes a quarter of a second to import

    model = loess(x, y, span=span, degree=2)
    model.fit()
    return np.asarray(model.outputs.fitted_values)
