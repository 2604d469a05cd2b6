"""Families of views are those whose cells, features, corruptions and values agree, and no others."""

import anndata
import numpy as np

from sclaws.models import _nested
from sclaws.testing import cells
from sclaws.thinning import Thin
from sclaws.view import View

ORDER = np.random.default_rng(0).permutation(240)


def families(views):
    return [family.members for family in _nested.families(views)]


def nested(view, sizes=(200, 90, 30)):
    return [view.take(np.sort(ORDER[:n])) for n in sizes]  # in the order of storage, so not prefixes


def test_subsets_in_any_order_are_one_family_the_largest_first():
    views = nested(cells.counts())
    assert families([views[1], views[2], views[0]]) == [[2, 0, 1]]
    (family,) = _nested.families(views)
    levels = family.levels
    assert np.bincount(levels).tolist() == [110, 60, 30]
    for level, view in enumerate(views):
        assert set(views[0].cell_ids[levels >= level]) == set(view.cell_ids)


def test_materialised_one_by_one_they_are_still_a_family():
    views = [view.corrupt(Thin.keep(0.3, seed=4)).materialise() for view in nested(cells.counts())]
    assert families(views) == [[0, 1, 2]]


def test_the_same_cells_twice_are_one_family():
    view = cells.counts()
    assert families([view, view.take(np.arange(240)[::-1])]) == [[0, 1]]


def test_what_differs_is_apart():
    view = cells.counts()
    few = view.take(np.arange(50))
    thinned, otherwise = (few.corrupt(Thin.keep(0.3, seed=seed)) for seed in (1, 2))
    overlapping = view.take(np.arange(100, 180))
    views = [view.take(np.arange(150)), few.choose(np.arange(9)), thinned, otherwise, overlapping, cells.measured()]
    assert sorted(map(len, families(views))) == [1] * 6


def test_equal_names_with_other_values_are_not_taken_for_the_same_cells():
    view = cells.counts()
    adata = view.to_adata()
    adata.X = adata.X * 2
    other = View.of(anndata.AnnData(adata.X, obs=adata.obs, var=adata.var)).take(np.arange(50))
    assert sorted(families([view, other])) == [[0], [1]]
