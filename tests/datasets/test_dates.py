"""Dates become decimal years, and what is imprecise is not taken for precise."""

import math

import numpy as np
import pytest

from sclaws.datasets import _dates
from sclaws.errors import DataError


@pytest.mark.parametrize(
    ("text", "year", "exact"),
    [
        ("2009-01-01", 2009 + 0.5 / 365, True),
        ("2009-12-31", 2009 + 364.5 / 365, True),
        ("2008-03-01", 2008 + 60.5 / 366, True),  # 31 + 29 days before it
        (" 1992.25 ", 1992.25, True),
        ("2009-05", 2009 + (120 + 15.5) / 365, False),
        ("2009-05-XX", 2009 + (120 + 15.5) / 365, False),
        ("2009", 2009.5, False),
        ("2009-xx-xx", 2009.5, False),
    ],
)
def test_a_date_is_a_decimal_year(text, year, exact):
    assert _dates.read(text) == (pytest.approx(year, abs=1e-9), exact)


@pytest.mark.parametrize("text", ["", "?", "NA", "nan", "XXXX-XX-XX", "unknown"])
def test_a_missing_date_is_nan(text):
    found = _dates.read(text)
    assert math.isnan(found.year)
    assert not found.exact


@pytest.mark.parametrize(
    "text", ["10/24/2004", "2009-13-01", "2009-02-30", "2009-00-00", "0000", "2009-XX-05", "38284", "24 Oct 04", "1e3"]
)
def test_what_is_no_date_is_named(text):
    with pytest.raises(DataError, match="file, column 'd': '.*' of 'b' is no date; write days as 2009-05-31"):
        _dates.years(["2001-01-01", text], None, ["a", "b"], "drop", "file, column 'd'")


TEXTS, NAMES = ["2001.5", "2002", "", "2003-07-02"], list("abcd")


def test_imprecise_and_missing_dates_are_one_error():
    told = r"2 of 4 dates are missing or imprecise, the first is '2002' of 'b'; imprecise = \"drop\" .* \"middle\""
    with pytest.raises(DataError, match=told):
        _dates.years(TEXTS, None, NAMES, "refuse", "x")


def test_they_are_left_out_or_stay():
    year, keep = _dates.years(TEXTS, None, NAMES, "drop", "x")
    assert keep.tolist() == [True, False, False, True]
    year, keep = _dates.years(TEXTS, None, NAMES, "middle", "x")
    assert keep.all()
    np.testing.assert_allclose(year, [2001.5, 2002.5, np.nan, 2003.5], atol=1e-9)  # 2 July is day 183 of 365


def test_a_column_may_say_what_is_precise():
    _, keep = _dates.years(["2001.5", "2002.5"], ["False", "yes"], ["a", "b"], "drop", "x")
    assert keep.tolist() == [False, True]
    with pytest.raises(DataError, match="whether the date of 'b' is precise is 'perhaps'; true or false is needed"):
        _dates.years(["2001.5", "2002.5"], ["no", "perhaps"], ["a", "b"], "drop", "x")


@pytest.mark.parametrize("imprecise", ["drop", "middle"])
def test_a_column_without_any_date_is_refused(imprecise):
    with pytest.raises(DataError, match="no record has a"):
        _dates.years(["", "?"], None, ["a", "b"], imprecise, "x")
