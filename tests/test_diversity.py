"""Diversity against its formulas, written out, and against cases whose answer is known."""

import anndata
import numpy as np
import pytest
from scipy import sparse

from sclaws.diversity import gini_simpson, inverse_simpson, shannon, vendi, vendi_of_counts
from sclaws.testing import cells
from sclaws.view import View


def directly(rows: np.ndarray) -> float:
    """The definition: the n × n cosine kernel by loops, its eigenvalues over n, exp of their entropy."""
    n = len(rows)
    kernel = np.array([[a @ b / np.sqrt((a @ a) * (b @ b)) for b in rows] for a in rows])
    return float(np.exp(-sum(v * np.log(v) for v in np.linalg.eigvalsh(kernel / n) if v > 1e-14)))


def log_rows(counts: np.ndarray) -> np.ndarray:
    return np.array([np.log1p(cell / cell.sum() * 1e4) for cell in counts])


@pytest.mark.parametrize(("sizes", "bits", "gini"), [([5], 0, 0), ([1, 1, 1, 1], 2, 0.75), ([2, 1, 1], 1.5, 0.625)])
def test_labels_by_hand(sizes, bits, gini):
    labels = np.repeat(list("abcd")[: len(sizes)], sizes)
    assert shannon(labels) == pytest.approx(bits)
    assert gini_simpson(labels) == pytest.approx(gini)
    assert inverse_simpson(labels) == pytest.approx(1 / (1 - gini))


def test_missing_labels_and_unused_categories_count_for_nothing():
    import pandas as pd

    labels = pd.Series(pd.Categorical(["a", "b", None, "b", "a"], categories=["a", "b", "c"]))
    assert shannon(labels) == 1
    assert inverse_simpson([1, 2, np.nan]) == pytest.approx(2)
    with pytest.raises(ValueError, match="no labels: all are missing"):
        shannon([None, None])


@pytest.mark.parametrize("shape", [(30, 12), (12, 30), (20, 20)])
def test_vendi_is_the_entropy_of_the_kernel_from_either_side(shape):
    rows = np.random.default_rng(0).poisson(1.5, shape) + np.eye(*shape)
    assert vendi(rows) == pytest.approx(directly(rows), rel=1e-9)
    assert vendi(sparse.csr_matrix(rows)) == pytest.approx(directly(rows), rel=1e-9)


@pytest.mark.parametrize("n", [2, 40])
def test_rows_that_are_alike_count_once(n):
    row = np.random.default_rng(1).uniform(1, 2, 17)
    assert vendi(np.outer(np.arange(1, n + 1), row)) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("groups", [1, 4, 9])
def test_equal_groups_that_are_orthogonal_count_as_many(groups):
    assert vendi(np.kron(np.eye(groups), np.ones((6, 3)))) == pytest.approx(groups)


def test_rows_of_zeros_are_left_out():
    rows = np.random.default_rng(2).uniform(size=(10, 5))
    assert vendi(np.vstack([rows, np.zeros((4, 5))])) == pytest.approx(vendi(rows))
    assert np.isnan(vendi(np.zeros((3, 5))))


@pytest.mark.parametrize(("n", "p"), [(50, 20), (20, 50)])
def test_counts_of_a_view_are_log_normalised(n, p):
    view = cells.counts(n, p)
    expected = directly(log_rows(cells.values(view).astype(float)))
    assert vendi_of_counts(view) == pytest.approx(expected, rel=1e-9)
    assert vendi_of_counts(view.take(np.arange(n)[::-1])) == pytest.approx(expected, rel=1e-9)


def test_many_cells_are_walked_over_in_batches():
    view = cells.counts(9000, 12)
    rows = log_rows(cells.values(view).astype(float))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    shares = np.linalg.eigvalsh(rows.T @ rows / 9000)
    assert vendi_of_counts(view) == pytest.approx(np.exp(-(shares * np.log(shares)).sum()), rel=1e-9)


def test_a_sample_stands_for_many_cells_and_scores_less():
    view = cells.counts(400, 120)
    whole, some = vendi_of_counts(view), vendi_of_counts(view, sample=60)
    assert 1 < some < whole
    assert some == vendi_of_counts(view.take(np.random.default_rng(0).permutation(400)), sample=60)


def test_cells_without_a_molecule_have_no_score():
    empty = View.of(anndata.AnnData(sparse.csr_matrix((5, 3), dtype=np.float32)))
    assert np.isnan(vendi_of_counts(empty))
    assert np.isnan(vendi_of_counts(empty.take(np.arange(0))))
