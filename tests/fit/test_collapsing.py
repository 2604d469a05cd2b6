"""Curves with different parameters fall onto one: exactly, when their points are exact."""

import numpy as np
import pandas as pd
import pytest

from sclaws.fit import fit
from sclaws.laws.constant import Constant
from sclaws.laws.noise import Noise
from sclaws.laws.power_with_floor import PowerWithFloor
from sclaws.laws.saturating_power import SaturatingPower

LAWS = {
    "noise": (Noise(), [{"i_max": 2.0, "u_bar": 300.0}, {"i_max": 0.7, "u_bar": 60.0}], lambda r: r / (1 + r)),
    "saturating": (
        SaturatingPower(),
        [{"i_inf": 2.0, "n_sat": 150.0, "s": 0.4}, {"i_inf": 1.0, "n_sat": 20.0, "s": 0.6}],
        lambda r: 1 / r,
    ),
    "power": (
        PowerWithFloor(),
        [{"a": 8.0, "alpha": 0.5, "c": 1.4}, {"a": 3.0, "alpha": 0.3, "c": 0.2}],
        lambda r: 1 / r,
    ),
}


@pytest.mark.parametrize(("law", "thetas", "universal"), LAWS.values(), ids=LAWS)
def test_exact_points_lie_on_the_universal_curve(law, thetas, universal):
    x = np.geomspace(10, 3000, 10)
    parts = [
        pd.DataFrame({"curve": k, "x": x, "y": law.predict({law.inputs[0]: x}, theta)})
        for k, theta in enumerate(thetas)
    ]
    found = fit(pd.concat(parts), [law, Constant()], "x", "y", "curve").collapse()
    assert len(found) == 20  # a constant has no universal curve
    np.testing.assert_allclose(found["y_scaled"], universal(found["x_scaled"]), rtol=1e-4)
    np.testing.assert_allclose(found["predicted_scaled"], universal(found["x_scaled"]), rtol=1e-4)
    assert list(found)[:2] == ["curve", "law"]


def test_without_such_a_law_there_are_no_rows():
    assert fit(pd.DataFrame({"x": [1.0, 2, 3, 4], "y": [1.0, 2, 1, 2]}), Constant(), "x", "y").collapse().empty
