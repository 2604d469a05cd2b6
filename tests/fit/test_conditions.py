"""Conditions read as they are written, per curve, and refuse what they cannot read."""

import numpy as np
import pandas as pd
import pytest

from sclaws.errors import FitError, TableError
from sclaws.fit import conditions, fit
from sclaws.table import Table

FRAME = pd.DataFrame({"umi": [1.0, 3.0, 10.0], "model": ["a", "b", "a"], "n cells": [5, 6, 7]})
TABLE = Table(FRAME)


def kept(text):
    return conditions.parts(FRAME, conditions.parse(text, TABLE, "--train"), None)[0].tolist()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("umi<=3", [True, True, False]),
        ("umi<3", [True, False, False]),
        ("umi >= 0.3*max", [False, True, True]),  # 0.3 * 10 is 3, whatever the last digit of the product
        ("umi>0.3 * max", [False, False, True]),
        ("umi<max", [True, True, False]),
        ("umi=3", [False, True, False]),
        ("umi!=3", [True, False, True]),
        ("model==a", [True, False, True]),
        ("model!=a,umi>=1e0", [False, True, False]),
        ("n cells>=6,umi<=9", [False, True, False]),
        (["umi>=2", "model==a"], [False, False, True]),
    ],
)
def test_conditions_are_joined_by_and(text, wanted):
    assert kept(text) == wanted


def test_the_largest_value_is_that_of_the_curve():
    frame = pd.DataFrame({"model": ["a", "a", "b", "b"], "umi": [1.0, 10.0, 1.0, 100.0]})
    some = conditions.parse("umi>=0.5*max", Table(frame), "--train")
    assert [conditions.parts(rows, some, None)[0].tolist() for _, rows in frame.groupby("model")] == [[False, True]] * 2


def test_one_list_alone_leaves_the_rest_to_the_other():
    some = conditions.parse("umi<=3", TABLE, "--train")
    assert [part.tolist() for part in conditions.parts(FRAME, some, None)] == [
        [True, True, False],
        [False, False, True],
    ]
    assert [part.tolist() for part in conditions.parts(FRAME, None, some)] == [
        [False, False, True],
        [True, True, False],
    ]


def test_rows_in_neither_are_in_neither():
    train, test = (conditions.parse(text, TABLE, "--train") for text in ("umi<=1", "umi>=10"))
    assert [part.tolist() for part in conditions.parts(FRAME, train, test)] == [
        [True, False, False],
        [False, False, True],
    ]


@pytest.mark.parametrize(
    "text", ["umi", "umi<", "<=3", "umi<=>3", "umi<=3*min", "umi<=0.3*", "umi<=many", "umi<=nan", ""]
)
def test_what_is_no_condition_is_refused(text):
    with pytest.raises(FitError, match=r"--test: .*; give COLUMN<=NUMBER, COLUMN>=0.4\*max or COLUMN==WORD"):
        conditions.parse(text, TABLE, "--test")


def test_an_unknown_column_is_refused():
    with pytest.raises(TableError, match="no column 'umis': did you mean 'umi'"):
        conditions.parse("umis<=3", TABLE, "--train")


def test_text_is_not_compared_with_a_number():
    with pytest.raises(TableError, match="condition on 'model': 'a' is not a number; compare it with == or !="):
        kept("model<=3")


def test_all_is_a_word_in_a_column_of_words_and_a_missing_value_is_told_as_such():
    frame = pd.DataFrame({"genes": ["all", "some", "all"], "umi": [1.0, np.nan, 3.0]})
    assert conditions.kept(Table(frame), "genes==all").frame.index.tolist() == [0, 2]
    with pytest.raises(TableError, match=r"condition on 'umi': it is missing in 1 row\(s\)"):
        conditions.kept(Table(frame), "umi==1")


def test_a_row_cannot_be_in_both():
    train, test = (conditions.parse(text, TABLE, "--train") for text in ("umi<=3", "umi>=3"))
    with pytest.raises(FitError, match=r"1 row\(s\) are in both --train and --test"):
        conditions.parts(FRAME, train, test)


def test_masks_are_of_booleans():
    assert all(part.dtype == np.bool_ for part in conditions.parts(FRAME, None, None))


def test_a_column_is_compared_with_a_column_and_all_is_the_level_of_that_name():
    frame = pd.DataFrame({"umi_level": [5.0, 5.0, np.inf, np.inf], "umi_test_level": [5.0, np.inf, 5.0, np.inf]})
    for text, wanted in {
        "umi_test_level==umi_level": [0, 3],
        "umi_test_level!=umi_level": [1, 2],
        "umi_level==all": [2, 3],
        "umi_level==all,umi_test_level<umi_level": [2],
        "umi_level!=all": [0, 1],
    }.items():
        assert conditions.kept(Table(frame), text).frame.index.tolist() == wanted, text
    with pytest.raises(FitError, match="--where 'umi_level==7': no row fulfils it"):
        conditions.kept(Table(frame), "umi_level==7")


def test_where_is_said_of_rows_before_curves_are_told_apart():
    x = np.tile([1.0, 2, 4, 8, 16], 2)
    frame = pd.DataFrame({"umi": x, "kind": ["a"] * 5 + ["b"] * 5, "mi": np.r_[np.log2(1 + x[:5]), -x[:5]]})
    fits = fit(frame, "noise", x="umi", y="mi", by="kind", where="kind==a")
    assert [one.curve["kind"] for one in fits] == ["a"]
    with pytest.raises(FitError, match="held_out is a mask over all rows"):
        fit(frame, "noise", x="umi", y="mi", where="kind==a", held_out=np.zeros(10, bool))
