"""How diverse cells are: by their labels (Shannon, Simpson), and without any, by how alike they are (Vendi score)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sclaws.counts import log_normalised
from sclaws.hashing import ranked
from sclaws.protocols import View

SAMPLE = 2048  # cells, or genes, whose Gram matrix is decomposed: 1 to 4 s on one core; twice as many take 8 times that


def shannon(labels: Any) -> float:
    """Return the entropy of (n,) labels in bits, by their frequencies; missing labels are left out.

    Without any bias correction, as published (DenAdel et al. 2024). Raises ``ValueError`` when no label is left.
    """
    shares = _shares(labels)
    return float(-(shares * np.log2(shares)).sum()) + 0.0


def gini_simpson(labels: Any) -> float:
    """Return 1 - Σ share², the chance that two cells drawn with replacement have different labels (n,)."""
    return float(1 - (_shares(labels) ** 2).sum())


def inverse_simpson(labels: Any) -> float:
    """Return 1 / Σ share²: of how many equally frequent labels (n,) the chance above would be that of these."""
    return float(1 / (_shares(labels) ** 2).sum())


def _shares(labels: Any) -> NDArray[np.float64]:
    import pandas as pd

    sizes = pd.Series(np.asarray(labels)).value_counts(dropna=True).to_numpy(dtype=np.float64)
    if not sizes.sum():
        raise ValueError("no labels: all are missing")
    return sizes[sizes > 0] / sizes.sum()


def vendi(rows: Any) -> float:
    """Return the Vendi score of (n, p) rows, CSR or dense: how many orthogonal rows would be as diverse as these.

    exp(-Σ λ ln λ) over the eigenvalues λ of K / n, where K (n, n) is the cosine of rows (Friedman & Dieng 2023, TMLR,
    eq. 2, q = 1). Between 1 (all rows alike) and the smaller of n and p. Rows of zeros have no direction and are left
    out; NaN when none is left. Time and memory are those of the smaller of the matrices (n, n) and (p, p).
    """
    unit = _unit(rows)
    n, p = unit.shape
    return _effective(_product(unit, unit.T) if n <= p else _product(unit.T, unit), n)


def vendi_of_counts(view: View, *, sample: int = SAMPLE) -> float:
    """Return the Vendi score of the cells of a view, log-normalised over the genes of the view; NaN if all are empty.

    All cells are used where there are at most ``sample`` of them, or as many genes: those in batches. Otherwise the
    first ``sample`` in a hashed order stand for all. The score grows with the number of cells, so that is too low: by
    10 % with the default, 18 % with half as many, for 12,261 cells whose own score is 38.7 (kang12k, 1,287 genes);
    by more where molecules are few and genes many, for there the score still grows by 1.26 to 1.38 from 1,024 cells
    to 2,048 (three data sets of 4,000 to 28,205 genes, 45 to 157). Compare scores of equally many cells only.
    """
    if min(view.n_obs, view.n_vars) > sample:
        view = view.take(ranked(view.cell_ids, 0)[:sample])
    if view.n_obs <= view.n_vars:
        blocks = [log_normalised(block.values) for block in view.batches()]
        return vendi(sparse.vstack(blocks)) if blocks else np.nan
    gram, n = np.zeros((view.n_vars, view.n_vars)), 0
    for block in view.batches():
        unit = _unit(log_normalised(block.values))
        gram += _product(unit.T, unit)
        n += unit.shape[0]
    return _effective(gram, n)


def _unit(rows: Any) -> Any:
    """Return the rows that are not zero at unit length, float64."""
    rows = rows.astype(np.float64) if sparse.issparse(rows) else np.asarray(rows, dtype=np.float64)
    squares = rows.multiply(rows) if sparse.issparse(rows) else rows * rows
    lengths = np.sqrt(np.asarray(squares.sum(axis=1)).ravel())
    there = np.flatnonzero(lengths)
    return sparse.diags(1 / lengths[there]) @ rows[there]


def _product(left: Any, right: Any) -> NDArray[np.float64]:
    product = left @ right
    return product.toarray() if sparse.issparse(product) else np.asarray(product)


def _effective(gram: NDArray[np.float64], n: int) -> float:
    """Return exp of the entropy of the eigenvalues of a Gram matrix whose trace is n."""
    if not n:
        return np.nan
    shares = np.linalg.eigvalsh(gram / n)
    shares = shares[shares > 0]
    return float(np.exp(-(shares * np.log(shares)).sum()))
