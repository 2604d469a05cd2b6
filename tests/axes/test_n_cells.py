"""Ways to choose cells: nested, recipes that travel, diversity of what was chosen, and what is refused."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sclaws.axes.n_cells import First, NCells
from sclaws.errors import DataError, PluginError
from sclaws.hashing import ranked
from sclaws.testing import cells

VIEW = cells.counts(300, 40)
VIEW.source.adata.obs["type"] = pd.Categorical(["rare"] * 6 + ["some"] * 60 + ["most"] * 234)
SCHEMES = {
    "uniform": NCells(),
    "reweighted by type": NCells("reweighted", by="type"),
    "sketched": NCells("sketched", dims=5, boxes=0.1),
    "20% spiked with some": NCells("spiked", by="type", spike="some", share=0.2),
}


def chosen(axis: NCells, n: int, seed: int = 5):
    return axis.prepare(VIEW, n, seed=seed)(VIEW)


def test_uniform_is_what_it_was():
    assert NCells().prepare(VIEW, 70, seed=5) == First(70, 5)
    np.testing.assert_array_equal(chosen(NCells(), 70).rows, ranked(VIEW.cell_ids, 5)[:70])


@pytest.mark.parametrize("name", SCHEMES)
def test_schemes_have_names(name):
    assert SCHEMES[name].scheme == name


@pytest.mark.parametrize("axis", SCHEMES.values(), ids=SCHEMES)
@given(st.integers(2, 200), st.integers(0, 50), st.integers(0, 5))
def test_levels_are_reached_and_nested(axis, n, more, seed):
    some, other = chosen(axis, n, seed), chosen(axis, n + more, seed)
    assert axis.measure(some) == {"n_cells": n}
    assert set(some.cell_ids) <= set(other.cell_ids)


@pytest.mark.parametrize("axis", SCHEMES.values(), ids=SCHEMES)
def test_a_recipe_travels_and_serves_part_of_the_cells(axis):
    recipe = pickle.loads(pickle.dumps(axis.prepare(VIEW, 80, seed=1)))
    whole = recipe(VIEW)
    np.testing.assert_array_equal(whole.rows, chosen(axis, 80, 1).rows)
    if axis.choose != "uniform":  # which takes the first 80 of whatever there is
        part = recipe(VIEW.take(np.arange(150)))
        assert set(part.cell_ids) == set(whole.cell_ids) & set(VIEW.cell_ids[:150])


@pytest.mark.parametrize("axis", SCHEMES.values(), ids=SCHEMES)
def test_cells_come_in_an_order_that_tells_nothing_of_their_kind(axis):
    ids = chosen(axis, 120).cell_ids
    np.testing.assert_array_equal(ids, ids[ranked(ids, 5)])


def test_reweighting_raises_diversity_to_its_greatest():
    axis = NCells("reweighted", by="type", types="type")
    found = axis.measure(chosen(axis, 18))
    assert found == pytest.approx({"n_cells": 18, "shannon": np.log2(3), "gini_simpson": 2 / 3, "inverse_simpson": 3})


@pytest.mark.parametrize("choose", ["uniform", "sketched"])
def test_diversity_needs_no_reweighting(choose):
    axis = NCells(choose, types="type", vendi=True)
    found = axis.measure(VIEW)
    shares = np.array([6, 60, 234]) / 300
    assert list(found) == ["n_cells", "shannon", "gini_simpson", "inverse_simpson", "vendi"]
    assert found["shannon"] == pytest.approx(-(shares * np.log2(shares)).sum())
    assert 1 < found["vendi"] < 40


def test_what_is_unknown_is_left_out():
    axis = NCells(types="kind", vendi=True)
    assert list(axis.measure(VIEW)) == ["n_cells", "vendi"]
    assert axis.measure(cells.measured(50)) == {"n_cells": 50}
    view = cells.counts(20, 9)
    view.source.adata.obs["kind"] = [None] * 20
    assert list(axis.measure(view)) == ["n_cells", "vendi"]
    assert axis.measure(VIEW.take(np.arange(0))) == {"n_cells": 0}


@pytest.mark.parametrize(
    ("fields", "level", "told"),
    [
        ({"choose": "reweighted", "by": "typ"}, 20, "by = 'typ' is not a column of obs; did you mean 'type'?"),
        ({"types": "typ"}, 20, "types = 'typ' is not a column of obs; did you mean 'type'?"),
        ({"choose": "spiked", "by": "type", "spike": "sone"}, 20, "spike = 'sone' is no .*; did you mean 'some'?"),
        ({"choose": "spiked", "by": "type", "spike": "rare", "share": 0.5}, 20,
         "n_cells = 20 with share = 0.5 needs 10 training cells whose 'type' is 'rare', and there are 6; lower"),
        ({"choose": "spiked", "by": "type", "spike": "most", "share": 0.5}, 200,
         "needs 100 training cells whose 'type' is not 'most', and there are 66; lower"),
        ({"choose": "reweighted", "by": "type"}, 301, "n_cells = 301 is not between 2 and the 300 training cells"),
        ({"choose": "sketched"}, 1, "n_cells = 1 is not between 2 and the 300 training cells"),
    ],
)  # fmt: skip
def test_what_cannot_be_chosen_is_told(fields, level, told):
    with pytest.raises(DataError, match=told):
        NCells(**fields).prepare(VIEW, level, seed=0)


@pytest.mark.parametrize("fields", [{"choose": "reweighted"}, {"choose": "spiked", "spike": "a"}])
def test_missing_labels_are_told(fields):
    view = cells.counts(20, 9)
    view.source.adata.obs["kind"] = ["a"] * 17 + [None] * 3
    with pytest.raises(DataError, match="obs\\['kind'\\] is missing for 3 cells; fill or drop them"):
        NCells(**fields, by="kind").prepare(view, 10, seed=0)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"choose": "reweighted"}, "choose = 'reweighted' needs the field 'by'"),
        ({"choose": "spiked", "by": "set"}, "choose = 'spiked' needs the field 'spike'"),
        ({"by": "type"}, "choose = 'uniform' does not use the field 'by'"),
        ({"choose": "sketched", "spike": "x"}, "choose = 'sketched' does not use the field 'spike'"),
        ({"share": 1.5}, "share = 1.5 must lie in"),
        ({"boxes": 0.0}, "boxes = 0 above 0"),
        ({"dims": 0}, "dims = 0 from 1 up"),
    ],
)
def test_fields_that_make_no_sense_are_told(fields, told):
    with pytest.raises(PluginError, match=told):
        NCells(**fields)
