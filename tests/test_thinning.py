"""Thinning against the truth: binomial margins, nested levels, and the same molecules however they are read."""

import multiprocessing

import anndata
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse, stats

from sclaws.errors import DataError
from sclaws.thinning import Thin, exact_per_gene, exact_total, molecule_hashes
from sclaws.view import View


def counts(n: int = 300, p: int = 40, mean: float = 3.0, seed: int = 0) -> View:
    dense = np.random.default_rng(seed).poisson(mean, (n, p)).astype(np.float32)
    return View.of(named(sparse.csr_matrix(dense)))


def named(values: sparse.csr_matrix) -> anndata.AnnData:
    adata = anndata.AnnData(values)
    adata.obs_names = [f"c{i}" for i in range(adata.n_obs)]
    adata.var_names = [f"g{i}" for i in range(adata.n_vars)]
    return adata


def thinned(view: View, fraction: float, seed: int = 1) -> np.ndarray:
    return view.corrupt(Thin.keep(fraction, seed)).to_adata().X.toarray()


@pytest.mark.parametrize("fraction", [0.03, 0.3, 0.9])
def test_kept_counts_are_binomial(fraction: float) -> None:
    """Chi-square of 40,000 cells x genes that all hold 12 molecules, against the binomial distribution."""
    view = View.of(named(sparse.csr_matrix(np.full((1000, 40), 12, dtype=np.float32))))
    kept = thinned(view, fraction).astype(int).ravel()
    observed = np.bincount(kept, minlength=13)
    expected = stats.binom.pmf(np.arange(13), 12, fraction) * kept.size
    rare = expected < 5
    observed = np.append(observed[~rare], observed[rare].sum())
    expected = np.append(expected[~rare], expected[rare].sum())
    statistic = ((observed - expected) ** 2 / expected).sum()
    assert stats.chi2.sf(statistic, len(expected) - 1) > 1e-4


def test_cells_and_genes_are_thinned_independently() -> None:
    """Row and column sums have binomial variance: a shared hash along either would inflate it."""
    view = View.of(named(sparse.csr_matrix(np.full((600, 500), 4, dtype=np.float32))))
    kept = thinned(view, 0.25)
    for sums, molecules in ((kept.sum(axis=1), 2000), (kept.sum(axis=0), 2400)):
        ratio = sums.var(ddof=1) / (molecules * 0.25 * 0.75)
        spread = np.sqrt(2 / (len(sums) - 1))
        assert abs(ratio - 1) < 4 * spread


def test_seeds_give_independent_draws() -> None:
    view = counts(mean=5)
    first, second = thinned(view, 0.5, 1), thinned(view, 0.5, 2)
    full = view.to_adata().X.toarray()
    residuals = ((first - full / 2).ravel(), (second - full / 2).ravel())
    assert abs(np.corrcoef(*residuals)[0, 1]) < 4 / np.sqrt(full.size)


@settings(max_examples=30, deadline=None)
@given(low=st.floats(0, 1), high=st.floats(0, 1), seed=st.integers(0, 2**31 - 1))
def test_levels_are_nested(low: float, high: float, seed: int) -> None:
    low, high = sorted((low, high))
    view = counts(60)
    assert (thinned(view, low, seed) <= thinned(view, high, seed)).all()


@settings(max_examples=30, deadline=None)
@given(size=st.integers(1, 400), order=st.permutations(range(90)), seed=st.integers(0, 2**31 - 1))
def test_same_in_any_batch_and_any_order(size: int, order: list[int], seed: int) -> None:
    view = counts(90).corrupt(Thin.keep(0.4, seed))
    whole = view.to_adata().X.toarray()
    batches = np.vstack([block.values.toarray() for block in view.batches(size)])
    shuffled = view.take(order).to_adata().X.toarray()
    genes = view.choose(np.arange(39, -1, -2)).to_adata().X.toarray()
    assert (batches == whole).all()
    assert (shuffled == whole[order]).all()
    assert (genes == whole[:, 39::-2]).all()


def _elsewhere(_: int) -> np.ndarray:
    return thinned(counts(), 0.37)


def test_same_in_another_process() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert (pool.map(_elsewhere, [0])[0] == thinned(counts(), 0.37)).all()


def test_the_ends_keep_nothing_and_everything() -> None:
    view = counts()
    assert thinned(view, 0.0).sum() == 0
    assert (thinned(view, 1.0) == view.to_adata().X.toarray()).all()
    with pytest.raises(ValueError, match=r"lies in \[0, 1\], got 1.5"):
        Thin.keep(1.5, 0)


@pytest.mark.parametrize("fraction", [0.01, 0.2, 0.77])
def test_global_mode_keeps_exactly_the_published_total(fraction: float) -> None:
    view = counts()
    kept = view.corrupt(exact_total(view, fraction, 3)).to_adata().X
    assert kept.sum() == int(view.totals.sum() * fraction)


def test_per_gene_floor_keeps_exact_totals_and_erases_rare_genes() -> None:
    rng = np.random.default_rng(0)
    dense = rng.poisson(np.geomspace(0.01, 5, 40), (300, 40)).astype(np.float32)
    view = View.of(named(sparse.csr_matrix(dense)))
    kept = view.corrupt(exact_per_gene(view, 0.1, 3)).to_adata().X
    assert (np.asarray(kept.sum(axis=0)).ravel() == np.floor(dense.sum(axis=0) * 0.1)).all()
    rare = (dense.sum(axis=0) * 0.1 < 1) & (dense.sum(axis=0) > 0)
    assert rare.any()
    # genes chosen afterwards still find their own threshold
    assert (view.choose([7, 30]).corrupt(exact_per_gene(view, 0.1, 3)).to_adata().X != kept[:, [7, 30]]).nnz == 0


def test_the_kernel_uses_the_hashes_that_are_listed() -> None:
    """Two implementations: the thinning kernel, and a comparison of the listed hashes in numpy."""
    view = counts(50)
    hashes, genes = molecule_hashes(view, 9)
    per_cell = np.repeat(np.arange(50), view.totals.astype(int))
    kept = np.zeros((50, 40))
    np.add.at(kept, (per_cell, genes), hashes < np.uint64(0.3 * 2**64))
    assert (kept == thinned(view, 0.3, 9)).all()
    assert len(np.unique(hashes)) == len(hashes)


def test_a_thinning_made_gene_by_gene_is_refused_for_other_genes() -> None:
    view = counts()
    some = view.choose([7, 30])
    with pytest.raises(DataError, match="made gene by gene, for other genes; thin before choosing genes"):
        view.corrupt(exact_per_gene(some, 0.1, 3)).to_adata()
