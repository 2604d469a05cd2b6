"""Cells that annotations choose: one value of every column named, and none of those dropped."""

import numpy as np
import pandas as pd
import pytest

from sclaws.datasets._rows import kept
from sclaws.errors import DataError

OBS = pd.DataFrame(
    {
        "donor": ["d1", "d1", "d2", "d3"],
        "n": [1, 2, 1, 1],
        "kind": pd.Categorical(["b", None, "t", "b"]),
        "said": ["nan", "", "yes", "no"],
    },
    index=list("wxyz"),
)


@pytest.mark.parametrize(
    ("keep", "drop", "mask"),
    [
        (["donor=d1"], [], [1, 1, 0, 0]),
        (["donor=d1", "donor=d2"], [], [1, 1, 1, 0]),  # values of a column are alternatives
        (["donor = d1", "n=1", "donor=d3"], [], [1, 0, 0, 1]),  # columns all hold
        ([], ["kind="], [1, 0, 1, 1]),  # an empty value is a missing one
        ([], ["said="], [0, 0, 1, 1]),  # and so are the texts that one becomes in a file
        ([], ["donor=d1", "n=2"], [0, 0, 1, 1]),
        (["n=1"], ["kind=t"], [1, 0, 0, 1]),
    ],
)
def test_conditions(keep: list[str], drop: list[str], mask: list[int]):
    np.testing.assert_array_equal(kept(OBS, keep, drop), np.array(mask, bool))


@pytest.mark.parametrize(
    ("keep", "drop", "match"),
    [
        (["donor"], [], """keep: 'donor' is not "column=value\""""),
        (["doner=d1"], [], "no column 'doner'; did you mean 'donor'"),
        ([], ["donor=d9"], "drop: no cell has obs\\['donor'\\] = 'd9'; did you mean"),
        (["donor=d3"], [], "leave 1 of 4 cells"),
    ],
)
def test_conditions_that_mean_nothing(keep: list[str], drop: list[str], match: str):
    with pytest.raises(DataError, match=match):
        kept(OBS, keep, drop)
