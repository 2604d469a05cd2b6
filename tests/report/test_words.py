"""Numbers as a reader wants them: every expectation is worked out by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sclaws.report import words

OPEN = math.nan


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (1.0, "1.00"),
        (0.012345, "0.0123"),
        (999.6, "1,000"),
        (4861.13, "4,861"),
        (-0.25, "−0.250"),
        (25_000_000.0, "2.50 × 10⁷"),
        (1.5e-6, "1.50 × 10⁻⁶"),
        (math.nan, "unknown"),
        (math.inf, "unknown"),
        (None, "unknown"),
    ],
)
def test_number(value, text):
    assert words.number(value) == text


@given(st.floats(min_value=1e-4, max_value=9e6))
def test_a_number_keeps_three_digits(value):
    shown = float(words.number(value).replace(",", ""))
    assert abs(shown - value) <= 0.00501 * value


@pytest.mark.parametrize(
    ("value", "low", "high", "text"),
    [
        (4861.13, 3571.0, 6150.0, "4,900 (3,600 to 6,200)"),  # 2,579 wide: hundreds
        (2.037, 1.98, 2.096, "2.04 (1.98 to 2.10)"),  # .116 wide: hundredths
        (2.31, 2.1, 2.62, "2.31 (2.10 to 2.62)"),
        (100.0, 80.0, 120.0, "100 (80 to 120)"),
        (0.01, -0.03, 0.05, "0.010 (−0.030 to 0.050)"),
        (800.0, 3.0, 60_000.0, "800 (3.0 to 60,000)"),  # no decimal place suits both ends
        (5.0, 5.0, 5.0, "5.00 (5.00 to 5.00)"),
        (900.0, 812.0, OPEN, "> 812"),
        (900.0, OPEN, 1000.0, "< 1,000"),
        (900.0, OPEN, OPEN, "not determined"),
        (900.0, 812.0, math.inf, "> 812"),
    ],
)
def test_interval(value, low, high, text):
    assert words.interval(value, low, high) == text


def test_interval_carries_its_unit():
    assert words.interval(2.0, 1.0, 3.0, "bits") == "2.0 (1.0 to 3.0) bits"
    assert words.interval(2.0, OPEN, OPEN, "bits") == "not determined (bits)"
    assert words.interval(2.0, 1.0, OPEN, "UMI per cell") == "> 1.00 UMI per cell"


@pytest.mark.parametrize(
    ("value", "text"), [(21544, "21,544"), (100.0, "100"), (0.5, "0.500"), (math.inf, "all"), ("x", "x")]
)
def test_level(value, text):
    assert words.level(value) == text


def test_names_become_words():
    assert words.column("umis_per_cell_test") == "depth of the test cells (UMI per cell)"
    assert words.column("n_cells_level") == "training cells"
    assert words.column("my_own") == "my own"
    assert words.symbol("u_bar") == "ū"
    assert words.symbol("gamma7") == "gamma7"


def test_signals_are_called_by_their_name():
    assert words.name("obsm(key=protein)") == "protein"
    assert words.name("obs(column=cell_type)") == "cell_type"
    assert words.name("clone(key=a,other=b)") == "clone(key=a,other=b)"


def test_lists_sentences_and_counts():
    assert words.listing(["a"]) == "a"
    assert words.listing(["a", "b", "c"]) == "a, b and c"
    assert words.sentence("no law: not monotone") == "No law: not monotone."
    assert words.sentence("") == ""
    assert (words.count(1, "run"), words.count(1200, "run")) == ("1 run", "1,200 runs")
