"""Units of parameters and the truth of simulated data, each for the curve that they belong to."""

import math

import numpy as np
import pandas as pd
import pytest

from sclaws.fit import Fit
from sclaws.laws.noise import Noise
from sclaws.laws.power_with_floor import PowerWithFloor
from sclaws.report import known


def a_fit(law: object, inputs: dict[str, str]) -> Fit:
    nan = math.nan
    return Fit({}, law, inputs, "value", "linear", {}, {}, {}, pd.DataFrame(), nan, nan, nan, nan, nan, "")


def test_the_unit_of_an_input_is_that_of_its_column():
    assert known.units(a_fit(Noise(), {"depth": "umi"}), ["umi"], "bits") == {"i_max": "bits", "u_bar": "umi"}
    assert (
        known.units(a_fit(Noise(), {"depth": "umis_per_cell_test"}), ["umis_per_cell_test"], "")["u_bar"]
        == "UMI per cell"
    )


def test_the_unit_of_the_loss_is_that_of_what_is_measured():
    found = known.units(a_fit(PowerWithFloor(), {"size": "n_params"}), ["n_params"], "bits/gene")
    assert found["a"] == found["c"] == "bits/gene"
    assert found["alpha"] == ""


class Plain:
    """A law of a user's own, with bare tuples for parameters."""

    inputs = ("x",)
    params = {"k": (0.0, 1.0)}


def test_a_users_own_law_needs_no_units():
    assert known.units(a_fit(Plain(), {"x": "time"}), ["time"], "bits") == {"k": ""}


def test_truth_is_looked_up_by_data_set():
    truth = {"a": {"i_max": 2.0}, "b": {"i_max": 3.0}}
    assert known.parameters(truth, {"dataset": "b"}) == {"i_max": 3.0}
    assert known.parameters({"i_max": 1.0, "note": "text"}, {}) == {"i_max": 1.0}
    assert known.parameters(truth, {"dataset": "c"}) == {}
    assert known.parameters(truth, {}) == {}
    assert known.parameters({"a": {"i_max": 2.0}}, {"model": "pca"}) == {"i_max": 2.0}


@pytest.mark.parametrize(
    ("signal", "expected"),
    [
        ("obsm(key=protein)", {"i_max": 3.0, "u_bar": 70.0}),
        ("obs(column=label)", {"i_max": 2.0}),
        ("obs(column=age)", {}),
    ],
)
def test_a_truth_of_another_signal_is_not_shown(signal, expected):
    truth = {"protein_information": 3.0, "label_information": 2.0, "i_max": 3.0, "u_bar": 70.0}
    found = known.parameters(truth, {"signal": signal})
    assert {k: v for k, v in found.items() if not k.endswith("_information")} == expected


def test_the_true_line_is_the_law():
    one, true = a_fit(Noise(), {"depth": "umi"}), {"i_max": 2.0, "u_bar": 50.0}
    (knot,) = known.line(one, np.array([50.0]), true)
    assert knot.y == pytest.approx(2.0 - 0.5 + 0.5 * math.log2(1 + 2**-4))  # half a bit below the ceiling, nearly
    assert known.line(one, np.array([50.0]), {"i_max": 2.0}) == ()
