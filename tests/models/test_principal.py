"""Walks of every kind give numpy's axes: held or not, alone or as one family, for counts, letters and measurements."""

import numpy as np
import pytest

from sclaws.counts import log_normalised
from sclaws.errors import ModelError
from sclaws.models import _columns, _principal
from sclaws.models._normalise import variable_genes
from sclaws.models._principal import axes_of_family, columns_and_mean
from sclaws.testing import cells
from sclaws.view import View

ORDER = np.random.default_rng(0).permutation(240)


def nested(view, sizes=(240, 120, 60)):
    return [view.take(np.sort(ORDER[:n])) for n in sizes]


def levels(views):
    """The last view that has each cell, cell by cell."""
    return np.array([sum(cell in set(view.cell_ids) for view in views) - 1 for cell in views[0].cell_ids])


def plainly(x, dim, centred):
    """Means and axes by a singular value decomposition of all at once."""
    mean = x.mean(axis=0) if centred else np.zeros(x.shape[1])
    return mean, np.linalg.svd(x - mean, full_matrices=False)[2][:dim].T


def agree(found, x, genes, dim, centred, rtol=1e-9):
    mean, axes = plainly(x[:, genes], dim, centred)
    np.testing.assert_array_equal(found.genes, genes)
    np.testing.assert_allclose(found.mean, mean, rtol=1e-10)
    np.testing.assert_allclose(np.abs((found.axes * axes).sum(axis=0)), 1, rtol=rtol)


def normalised(view):
    return log_normalised(view.to_adata().X).toarray()


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("n_genes", [15, "all"])
def test_counts(n_genes, centred):
    view = cells.counts()
    genes = variable_genes(view.to_adata().X, n_genes)
    agree(axes_of_family([view], n_genes, 3, centred=centred)[0], normalised(view), genes, 3, centred)


@pytest.mark.parametrize("centred", [True, False])
def test_measurements_far_from_zero(centred):
    adata = cells.measured().to_adata()
    adata.X = (adata.X + 1000).astype(np.float32)
    found = axes_of_family([View.of(adata)], 15, 3, centred=centred)[0]
    agree(found, np.asarray(adata.X, dtype=np.float64), np.arange(60), 3, centred)


def test_letters_are_those_that_occur():
    view = cells.sequences()
    x = _columns.one_hot(view.to_adata().X).toarray().astype(np.float64)
    there = np.flatnonzero(x.any(axis=0))
    assert 0 < len(there) < x.shape[1]
    agree(axes_of_family([view], 15, 2, centred=True)[0], x, there, 2, True)
    with pytest.raises(ModelError, match=f"pca: 4000 components need more than the {len(there)} letters that occur"):
        axes_of_family([view], 15, 4000, centred=True)


@pytest.mark.parametrize("kind", [cells.counts, cells.sequences, cells.measured])
@pytest.mark.parametrize("centred", [True, False])
def test_a_family_is_what_each_is_alone(kind, centred):
    """The genes, and the letters that occur, are each view's own."""
    views = nested(kind())
    together = axes_of_family(views, 15, 3, centred=centred, levels=levels(views))
    alone = [axes_of_family([view], 15, 3, centred=centred)[0] for view in views]
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.genes, other.genes)
        np.testing.assert_allclose(one.mean, other.mean, rtol=1e-10)
        np.testing.assert_allclose(one.axes, other.axes, atol=1e-10)
    if kind is cells.counts:
        assert len({tuple(one.genes) for one in together}) > 1


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("held", [2**27, 100], ids=["held", "walked"])
@pytest.mark.parametrize("kind", [cells.counts, cells.measured])
def test_more_columns_than_a_product_is_made_of(monkeypatch, kind, held, centred):
    monkeypatch.setattr(_principal, "_EXACT", 20)
    monkeypatch.setattr(_principal, "_HELD", held)
    view = kind()
    x = normalised(view) if view.counts else np.asarray(view.to_adata().X, dtype=np.float64)
    found = axes_of_family([view], "all", 2, centred=centred)[0]
    agree(found, x, np.arange(60), 2, centred, rtol=1e-7)  # what is left of 1e-5 enters squared


def test_some_of_a_family_may_have_too_many_letters_for_a_product(monkeypatch):
    views = nested(cells.sequences(), (240, 9))
    alone = [axes_of_family([view], 15, 3, centred=True)[0] for view in views]
    monkeypatch.setattr(_principal, "_EXACT", len(alone[1].genes))
    assert len(alone[0].genes) > len(alone[1].genes)
    for one, other in zip(axes_of_family(views, 15, 3, centred=True, levels=levels(views)), alone, strict=True):
        np.testing.assert_array_equal(one.genes, other.genes)
        np.testing.assert_allclose(one.axes, other.axes, atol=1e-6)


def test_the_mean_alone_is_that_of_the_same_columns():
    view = cells.counts()
    genes, mean = columns_and_mean(view, 15, 3)
    found = axes_of_family([view], 15, 3, centred=True)[0]
    np.testing.assert_array_equal(genes, found.genes)
    np.testing.assert_allclose(mean, found.mean, rtol=1e-12)
