import json

import numpy as np
import pytest

from sclaws.errors import ModelError
from sclaws.trial import learning


class Trained:
    def __init__(self, **told):
        self.__dict__.update(told)


def test_numbers_become_plain_and_whole_ones_stay_whole():
    found = learning.history(Trained(history=[{"update": np.int64(50), "loss": np.float32(0.5), "cells": 1600}]), "m")
    assert json.dumps(found) == '[{"update": 50, "loss": 0.5, "cells": 1600}]'
    assert learning.speed(Trained(speed={"flop_per_second": np.float64(2e9)}), "m") == {"flop_per_second": 2e9}


def test_a_model_that_tells_nothing_has_no_rows():
    assert (learning.history(Trained(), "m"), learning.speed(Trained(), "m")) == ([], {})


def test_values_that_are_not_finite_are_left_out_and_the_rest_is_kept():
    rows = [{"update": 1, "loss": float("nan")}, {"update": 2, "loss": np.float32(np.inf)}, {"update": 3, "loss": 0.5}]
    assert learning.history(Trained(history=rows), "m") == [{"update": 1}, {"update": 2}, {"update": 3, "loss": 0.5}]


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"history": {"loss": [1, 2]}}, "tiny: history is dict; a list of"),
        ({"history": [1.5]}, "tiny: history, row 1 is float"),
        ({"history": [{"loss": 1}, {"loss": "low"}]}, r"tiny: history, row 2: loss is 'low' \(str\)"),
        ({"speed": 1.5}, "tiny: speed is float"),
    ],
)
def test_anything_else_is_refused_by_name(told, message):
    with pytest.raises(ModelError, match=message):
        [ask(Trained(**told), "tiny") for ask in (learning.history, learning.speed)]
