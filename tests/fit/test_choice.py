"""Which laws are fitted, and which of them is marked as the best."""

import numpy as np
import pandas as pd
import pytest

from sclaws.errors import FitError, PluginError
from sclaws.fit import fit
from sclaws.laws.constant import Constant
from sclaws.laws.noise import Noise
from sclaws.laws.power_with_floor import PowerWithFloor

X = np.geomspace(10, 5000, 9)


def frame(law, theta, sd=0.01, x=X, seed=0):
    y = law.predict({law.inputs[0]: x}, theta) + sd * np.random.default_rng(seed).standard_normal((3, len(x)))
    return pd.DataFrame({"replicate": np.repeat(range(3), len(x)), "x": np.tile(x, 3), "y": y.ravel()})


RISING = frame(Noise(), {"i_max": 2.0, "u_bar": 200.0})
FALLING = frame(PowerWithFloor(), {"a": 4.0, "alpha": 0.5, "c": 1.0})


def names(fits):
    return set(fits.frame["law"])


def test_auto_takes_the_laws_of_the_direction_and_a_constant():
    rising, falling = (names(fit(table, "auto", "x", "y", n_draws=2)) for table in (RISING, FALLING))
    assert {"noise", "saturating-power", "constant"} <= rising
    assert "power-with-floor" not in rising
    assert {"power-with-floor", "constant"} <= falling
    assert not {"noise", "saturating-power"} & falling


@pytest.mark.parametrize(("table", "best"), [(RISING, "noise"), (FALLING, "power-with-floor")])
def test_the_law_that_made_the_points_is_best(table, best):
    found = fit(table, ["noise", "saturating-power", "power-with-floor", "constant"], "x", "y", n_draws=2).frame
    assert found.loc[found["best"], "law"].tolist() == [best]
    assert found["aicc"].idxmin() == found.index[found["best"]][0]


def test_nothing_is_best_where_a_constant_would_do():
    flat = frame(Constant(), {"value": np.full(9, 1.0)}, sd=0.2)
    found = fit(flat, "noise", "x", "y", n_draws=2).frame
    assert not found["best"].any()
    assert (found["constant_aicc"] < found["aicc"]).all()


def test_a_law_that_cannot_take_zero_is_left_out_of_auto():
    falling = PowerWithFloor().predict({"size": X}, {"a": 4.0, "alpha": 0.5, "c": 1.0})
    table = pd.DataFrame({"x": [0.0, *X], "y": [5.0, *falling]})
    assert "power-with-floor" not in names(fit(table, "auto", "x", "y", n_draws=2))


def test_names_and_objects_are_the_same_law():
    one, other = (fit(RISING, law, "x", "y", n_draws=2).frame for law in ("noise", Noise()))
    pd.testing.assert_frame_equal(one, other)


def test_what_is_no_law_is_refused():
    with pytest.raises(PluginError, match="unknown law 'nois': did you mean 'noise'"):
        fit(RISING, "nois", "x", "y")
    with pytest.raises(FitError, match="no law is named: give one, several, or auto"):
        fit(RISING, [], "x", "y")


def test_a_left_out_level_is_predicted_from_the_others():
    """Of a constant on a balanced table: the mean of the other levels, exactly."""
    found = fit(RISING, Constant(), "x", "y", n_draws=2)[0]
    others = [RISING.loc[RISING["x"] != x, "y"].mean() for x in RISING["x"]]
    assert found.loo == pytest.approx(np.sqrt(np.mean((RISING["y"] - others) ** 2)), rel=1e-6)


def test_a_nominal_level_is_left_out_as_a_whole():
    """Measured inputs of one nominal level differ a little between replicates."""
    jitter = RISING.assign(x_level=RISING["x"], x=RISING["x"] * (1 + 1e-6 * RISING["replicate"]))
    found, plain = (fit(table, Noise(), "x", "y", replicate="replicate", n_draws=2)[0] for table in (jitter, RISING))
    assert found.loo == pytest.approx(plain.loo, rel=1e-4)
    assert found.loo > 1.01 * found.rmse
