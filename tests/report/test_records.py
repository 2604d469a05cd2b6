"""What a panel knows about its curves and a parameter about its limits."""

import math

import pytest

from sclaws.report.records import Parameter

OPEN = math.nan


@pytest.mark.parametrize(
    ("low", "high", "side", "covered"),
    [(1, 3, "closed", True), (2.5, 3, "closed", False), (1, OPEN, "up", True), (2.5, OPEN, "up", False),
     (OPEN, 3, "down", True), (OPEN, 1, "down", False), (OPEN, OPEN, "none", True)],
)  # fmt: skip
def test_an_open_end_reaches_everything(low, high, side, covered):
    parameter = Parameter("a", 2.0, low, high, truth=2.0)
    assert parameter.side == side
    assert parameter.covered is covered


def test_without_a_truth_nothing_is_covered_or_missed():
    assert Parameter("a", 2.0, 1.0, 3.0).covered is None


def test_a_panel_shows_the_largest_level_and_what_has_none(panel):
    assert panel.largest == ("1,000",)
    assert [(c.model, c.levels) for c in panel.at(("1,000",))] == [
        ("pca", ("1,000",)), ("scvi", ("1,000",)), ("gene-mean", (None,)),
    ]  # fmt: skip
    assert panel.models == {"pca": False, "scvi": False, "gene-mean": True}
    assert len(panel.fitted) == 4
    assert panel.slices[0].numeric
