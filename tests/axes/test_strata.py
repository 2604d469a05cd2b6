"""The share of spiked cells is exact in every prefix."""

from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sclaws.axes._strata import reweighted, spiked
from sclaws.testing import cells

VIEW = cells.counts()
VIEW.source.adata.obs["set"] = pd.Categorical(np.where(np.arange(240) % 2, "ours", "theirs"))


@given(st.fractions(0, 1, max_denominator=200), st.integers(2, 120), st.integers(0, 9))
def test_the_share_is_kept_at_every_level_and_levels_nest(share, n, seed):
    order = spiked(VIEW, "set", "theirs", float(share), n, seed)
    assert len(set(order)) == n
    there = np.cumsum(order % 2 == 0)
    assert all(abs(Fraction(int(k)) - share * i) <= Fraction(1, 2) for i, k in enumerate(there, start=1))
    np.testing.assert_array_equal(order, spiked(VIEW, "set", "theirs", float(share), 120, seed)[:n])


def test_labels_are_weighted_equally_until_they_run_out():
    view = cells.counts()
    view.source.adata.obs["type"] = ["rare"] * 3 + ["some"] * 30 + ["most"] * 207
    order = reweighted(view, "type", seed=4)
    assert sorted(order) == list(range(240))
    for n, expected in ((9, [3, 3, 3]), (63, [3, 30, 30]), (103, [3, 30, 70])):
        assert view.obs["type"].iloc[order[:n]].value_counts()[["rare", "some", "most"]].tolist() == expected


def test_numbers_serve_as_labels():
    view = cells.counts()
    assert sorted(view.obs["day"].iloc[reweighted(view, "day", seed=0)[:3]]) == [2, 4, 6]


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_none_or_all_can_be_spiked(share):
    view = cells.counts()
    assert set(view.obs["donor"].iloc[spiked(view, "donor", "d3", share, 30, 0)] == "d3") == {bool(share)}
