"""The odds that a residue is intact: the rate they stand for, and what they are not for."""

import anndata
import numpy as np
import pytest

from sclaws.axes.intact_odds import IntactOdds
from sclaws.errors import DataError
from sclaws.testing import cells
from sclaws.view import View


@pytest.mark.parametrize(("odds", "rate"), [(1.0, 0.5), (19.0, 0.05), (9999.0, 1e-4)])
def test_the_rate_is_that_of_the_odds(odds, rate):
    view = View.of(anndata.AnnData(np.zeros((2000, 200), dtype=np.int8)))
    noisy = IntactOdds().prepare(view, odds, seed=3)(view)
    assert abs((noisy.to_adata().X > 0).mean() - rate) < 5 * np.sqrt(rate / 400_000)
    assert IntactOdds().measure(noisy) == {"intact_odds": pytest.approx(odds)}
    assert IntactOdds().measure(noisy.materialise()) == {"intact_odds": pytest.approx(odds)}


def test_nothing_is_measured_where_nothing_was_done():
    assert IntactOdds().measure(cells.sequences()) == {}


@pytest.mark.parametrize(
    ("view", "told"),
    [
        (cells.counts(), "these values are counts; use the axis umis_per_cell"),
        (cells.measured(), r"these values are measurements \(dense floats\); use the axis snr"),
        (
            View.of(anndata.AnnData(np.full((2, 3), 77))),
            "numbers such as 77, .*; give codes, as the data set sequences",
        ),
    ],
)
def test_other_values_are_refused(view, told):
    with pytest.raises(DataError, match=told):
        IntactOdds().prepare(view, 1.0, seed=0)


@pytest.mark.parametrize("odds", [0.0, -2.0, float("nan")])
def test_odds_are_above_zero(odds):
    with pytest.raises(DataError, match="intact_odds = .* must be above 0 .*all"):
        IntactOdds().prepare(cells.sequences(), odds, seed=0)
