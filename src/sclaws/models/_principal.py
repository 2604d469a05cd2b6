"""Principal axes of training cells, in walks over their blocks; one for all views of a family of nested ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sclaws.counts import log_of
from sclaws.errors import ModelError
from sclaws.gram import Gram, leading, signed
from sclaws.models import _columns, _lanczos
from sclaws.models._normalise import count_blocks, placed, variable_genes
from sclaws.protocols import Ints, View
from sclaws.tallies import Tally

_EXACT = 2000  # columns up to which products of all with all are held and decomposed
_HELD = 2**27  # values, or non-zeros, up to which more columns are held for a Lanczos iteration: 1.6 GB
_LEFT, _WALKS = 1e-5, 12  # of the largest eigenvalue, when there are more, and how many walks that may take at most


class Axes(NamedTuple):
    """Which columns (g,), their means (g,), and ``axes`` (g, dim), those along which most varies first."""

    genes: Ints
    mean: NDArray[np.float64]
    axes: NDArray[np.float64]


def axes_of_family(
    views: Sequence[View], n_genes: int | Literal["all"], dim: int, *, centred: bool, levels: Any = None
) -> list[Axes]:
    """Return the principal axes of each of some views, of which every one has all cells of the next.

    Two walks over the cells of the first: for the genes that each view chooses on its own cells, and for products of
    their columns; one where nothing is chosen. ``levels`` (n,) is, for each cell of the first, the last view that has
    it; it is not needed for a single one.

    Above 2,000 columns there is no such product: a view's values are held where there are at most 2²⁷ (not zero, for
    counts and codes), else up to 12 walks (block Lanczos) bring the axes to 1e-5 of the largest eigenvalue.
    """
    levels = np.zeros(views[0].n_obs, dtype=np.int16) if levels is None else levels
    genes = _chosen(views, levels, n_genes, dim)
    found: dict[int, Axes] = {}
    small = [j for j, own in enumerate(genes) if len(own) <= _EXACT]
    if small:
        grams = _grams(views, levels, {j: genes[j] for j in small}, centred=centred)
        for j, gram in grams.items():
            matrix = gram.covariance() if centred else gram.second_moment()
            found[j] = Axes(genes[j], gram.mean if centred else np.zeros(len(genes[j])), leading(matrix, dim))
    for j in set(range(len(views))) - set(small):
        found[j] = _iterated(views[j], genes[j], dim, centred=centred)
    return [found[j] for j in range(len(views))]


def columns_and_mean(view: View, n_genes: int | Literal["all"], dim: int) -> tuple[Ints, NDArray[np.float64]]:
    """Return the columns (g,) that would be decomposed, and their means (g,)."""
    genes = _chosen([view], np.zeros(view.n_obs, dtype=np.int16), n_genes, dim)[0]
    sums = np.zeros(len(genes))
    for block in blocks(view, genes):
        sums += np.asarray(block.sum(axis=0, dtype=np.float64)).ravel()
    return genes, sums / view.n_obs


def blocks(view: View, genes: Ints) -> Iterator[Any]:
    """Yield columns (cells, g) some thousand cells at a time: log-normalised counts as CSR, letters as CSR, or dense.

    ``genes`` are positions among features, or of codes among letters. A cell's total is over all genes of the view.
    """
    for block in _raw(view):
        yield log_of(block, genes) if view.counts else block[:, genes]


def _raw(view: View) -> Iterator[Any]:
    return count_blocks(view, "pca") if view.counts else (_columns.of_block(block.values) for block in view.batches())


def _chosen(views: Sequence[View], levels: Any, n_genes: int | Literal["all"], dim: int) -> list[Ints]:
    """Return which columns each view is decomposed in."""
    first = views[0]
    p, codes = first.n_vars, False
    if not first.counts:
        codes = _columns.are_codes(next(first.take(np.arange(1)).batches()).values)
    if not codes and (not first.counts or n_genes == "all" or n_genes >= p):
        return [np.arange(p)] * len(views)
    tallies = [Tally(p * _columns.LETTERS if codes else p) for _ in views]
    for some, block in placed(_raw(first)):
        for level, part in _parts(block, levels[some]):
            tallies[level].add(part)
    whole = [tally.plus(tallies[j + 1 :]) for j, tally in enumerate(tallies)]
    return [_occurring(tally, dim) if codes else variable_genes(tally, n_genes) for tally in whole]


def _parts(block: Any, levels: Any) -> Iterator[tuple[int, Any]]:
    """Yield the rows of each level."""
    there = np.unique(levels)
    for level in there:
        yield int(level), block if len(there) == 1 else block[np.flatnonzero(levels == level)]


def _occurring(tally: Tally, dim: int) -> Ints:
    there = np.flatnonzero(tally.expressing)
    if len(there) <= dim:
        raise ModelError(f"pca: {dim} components need more than the {len(there)} letters that occur; lower dim")
    return there


def _grams(views: Sequence[View], levels: Any, genes: dict[int, Ints], *, centred: bool) -> dict[int, Gram]:
    """Return {view: sums and products of its columns}. A cell's columns are those of the views that have it."""
    wanted = {level: [own for j, own in genes.items() if j <= level] for level in range(len(views))}
    united = {level: np.unique(np.concatenate(own)) for level, own in wanted.items() if own}
    shift = _first_mean(views[0]) if centred and not views[0].counts else None
    grams = {level: Gram(len(own), None if shift is None else shift[own]) for level, own in united.items()}
    for some, block in placed(_raw(views[0])):
        for level, part in _parts(block, levels[some]):
            if level in grams:
                own = united[level]
                grams[level].add(log_of(part, own) if views[0].counts else part[:, own].astype(np.float64))
    out = {}
    for j, own in genes.items():
        out[j] = Gram(len(own), None if shift is None else shift[own])
        for level in range(j, len(views)):
            out[j].plus(grams[level], np.searchsorted(united[level], own))
    return out


def _first_mean(view: View) -> NDArray[np.float64] | None:
    """Return the mean of the first cells of dense columns, which keeps digits where all are far from zero."""
    block = next(_raw(view))
    return None if sparse.issparse(block) else np.asarray(block.mean(axis=0, dtype=np.float64))


def _iterated(view: View, genes: Ints, dim: int, *, centred: bool) -> Axes:
    held: list[Any] = []
    size = 0
    for block in blocks(view, genes):
        held.append(block)
        size += block.nnz if sparse.issparse(block) else block.size
        if size > _HELD:
            del held, block
            return _walked(lambda: blocks(view, genes), genes, dim, view.n_obs, centred=centred)
    values = sparse.csr_matrix(sparse.vstack(held)) if sparse.issparse(held[0]) else np.concatenate(held)
    mean = np.asarray(values.mean(axis=0, dtype=np.float64)).ravel() if centred else np.zeros(len(genes))
    return Axes(genes, mean, _arpack(values, dim, centred=centred))


def _arpack(values: Any, dim: int, *, centred: bool) -> NDArray[np.float64]:
    from sklearn import decomposition

    if centred:
        found = decomposition.PCA(dim, svd_solver="arpack", random_state=0).fit(values)
    else:
        found = decomposition.TruncatedSVD(dim, algorithm="arpack", random_state=0).fit(values)
    return signed(found.components_.T)


def _walked(columns: Callable[[], Iterator[Any]], genes: Ints, dim: int, n: int, *, centred: bool) -> Axes:
    mean = np.zeros(len(genes))
    if centred:
        for block in columns():
            mean += np.asarray(block.sum(axis=0, dtype=np.float64)).ravel()
        mean /= n

    def multiply(directions: NDArray[np.float64]) -> NDArray[np.float64]:
        out = np.zeros_like(directions)
        for block in columns():
            scores = np.asarray(block @ directions) - mean @ directions
            out += np.asarray(block.T @ scores) - np.outer(mean, scores.sum(axis=0))
        return out / n

    axes = _lanczos.leading(multiply, len(genes), dim, tolerance=_LEFT, walks=_WALKS)
    return Axes(genes, mean, signed(axes))
