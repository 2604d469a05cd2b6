"""What is fitted, held out, dropped and left out; and how well the larger scales are predicted."""

import numpy as np
import pandas as pd
import pytest

from sclaws.errors import FitError, TableError
from sclaws.fit import fit
from sclaws.laws.noise import Noise
from sclaws.laws.power_with_floor import PowerWithFloor
from sclaws.protocols import Param

X = np.geomspace(10, 5000, 12)
THETA = {"i_max": 2.0, "u_bar": 200.0}


def table(curves=1, sd=0.05, seed=0, x=X, law=None, theta=None):
    law, theta = law or Noise(), theta or THETA
    mean = law.predict({law.inputs[0]: x}, theta)
    y = mean + sd * np.random.default_rng(seed).standard_normal((curves, 3, len(x)))
    curve, replicate, level = (index.ravel() for index in np.indices(y.shape))
    return pd.DataFrame({"curve": curve, "replicate": replicate, "x": x[level], "y": y.ravel()})


def test_train_and_test_are_the_same_as_fitting_some_rows():
    rows = table()
    top = rows["x"].max()
    both = fit(rows, Noise(), "x", "y", "curve", "replicate", train="x<=0.1*max", test=["x>=0.5*max"])
    some = fit(rows[rows["x"] <= 0.1 * top], Noise(), "x", "y", "curve", "replicate")
    assert dict(both[0].value) == pytest.approx(dict(some[0].value), rel=1e-9)
    shown = both.predictions
    assert shown["x"].min() <= 0.1 * top
    assert not shown["x"].between(0.1 * top * 1.001, 0.5 * top * 0.999).any()
    assert (shown["held_out"] == (shown["x"] >= 0.5 * top)).all()
    held = shown[shown["held_out"]]
    test = both[0].held_out
    assert test.n == len(held) == 6
    assert test.rmse == pytest.approx(np.sqrt(((held["y"] - held["predicted"]) ** 2).mean()))
    assert test.coverage == pytest.approx(((held["low"] <= held["y"]) & (held["y"] <= held["high"])).mean())


def test_the_largest_quarter_is_held_out_by_default():
    rows = table()
    one = fit(rows, Noise(), "x", "y", "curve", "replicate")
    cut = X[-4]
    other = fit(rows, Noise(), "x", "y", "curve", "replicate", train=f"x<={cut}", test=f"x>{cut}")
    assert one[0].held_out.n == 3 * 3
    assert one[0].held_out.rmse == pytest.approx(other[0].held_out.rmse, rel=1e-6)
    assert one[0].held_out.coverage == other[0].held_out.coverage
    shown, wanted = one.predictions, other.predictions.query("held_out")
    assert shown["extrapolated"].notna().tolist() == (rows["x"] > cut).tolist()
    np.testing.assert_allclose(shown["extrapolated"].dropna(), wanted["predicted"], rtol=1e-6)
    assert not shown["held_out"].any()


def test_bands_of_what_is_extrapolated_hold_it():
    """150 curves of a law that is known to hold; the nine points of a curve err together, so the error is under .02."""
    fits = fit(table(150, 0.1, 5), Noise(), "x", "y", "curve", "replicate", n_draws=100)
    assert 0.91 <= fits.frame["held_out_coverage"].mean() <= 0.99


def test_a_law_that_does_not_hold_misses_the_larger_scales():
    """The three largest levels lie half a bit below the law of the others."""
    rows = table(20, 0.02, 6).assign(y=lambda f: f["y"] - 0.5 * (f["x"] > X[-4]))
    assert fit(rows, Noise(), "x", "y", "curve", "replicate").frame["held_out_coverage"].mean() < 0.2


def test_too_few_levels_are_not_parted():
    found = fit(table(x=np.geomspace(10, 5000, 4)), Noise(), "x", "y").frame.iloc[0]
    assert found["held_out"] == 0
    assert np.isnan(found["held_out_rmse"])


class Plane:
    inputs = ("first", "second")
    params = {"a": Param(-9, 9, linear=True), "b": Param(-9, 9, linear=True), "c": Param(-9, 9, linear=True)}

    def predict(self, x, theta):
        return theta["a"] + theta["b"] * np.log(x["first"]) + theta["c"] * np.log(x["second"])


def test_the_corner_of_two_inputs_is_held_out_by_default():
    first, second = (a.ravel() for a in np.meshgrid(np.geomspace(1, 128, 8), np.geomspace(1, 128, 8)))
    y = 1 + 0.2 * np.log(first) + 0.1 * np.log(second) + 0.01 * np.random.default_rng(0).standard_normal(64)
    fits = fit(pd.DataFrame({"u": first, "v": second, "y": y}), Plane(), ["u", "v"], "y")
    corner = (first > 40) & (second > 40)
    assert fits[0].held_out.n == corner.sum() == 4
    assert fits.predictions["extrapolated"].notna().tolist() == corner.tolist()


# ── weights ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_weights_none_is_plain_least_squares_whatever_the_replicates():
    one, other = (fit(table(), Noise(), "x", "y", replicate=r, n_draws=2)[0] for r in (None, "replicate"))
    assert dict(one.value) == pytest.approx(dict(other.value), rel=1e-9)


def test_weights_of_replicates_tell_the_noisy_levels():
    """Half of the levels tenfold as noisy: weights halve the error at least, and bands follow the noise."""
    rng = np.random.default_rng(3)
    x = np.tile(X, 4)
    sd = np.where(np.tile(np.arange(12), 4) % 2, 0.4, 0.04)
    errors = {"none": [], "replicates": []}
    for _ in range(30):
        rows = pd.DataFrame({"x": x, "y": Noise().predict({"depth": x}, THETA) + sd * rng.standard_normal(48)})
        for weights, found in errors.items():
            one = fit(rows, Noise(), "x", "y", weights=weights)[0]
            found.append(one.value["i_max"] - 2.0)
    assert np.std(errors["replicates"]) < 0.6 * np.std(errors["none"])
    quiet, noisy = (one.predict([X[k]], 0.0).eval("high - low").item() for k in (4, 5))
    assert noisy > 3 * quiet


def test_weights_need_rows_that_repeat():
    with pytest.raises(TableError, match="weights replicates: no level has several rows .*; use weights none"):
        fit(table().query("replicate == 0"), Noise(), "x", "y", weights="replicates")


def test_huber_is_not_moved_by_an_outlier():
    rows = table(sd=0.01)
    rows.loc[5, "y"] += 1.5
    plain, huber = (fit(rows, Noise(), "x", "y", loss=loss, delta=0.02)[0] for loss in ("squares", "huber"))
    assert abs(huber.value["i_max"] - 2.0) < 0.02 < abs(plain.value["i_max"] - 2.0)
    assert huber.row["loss"] == "huber, delta 0.02"
    assert "huber, delta 0.02" in huber.note
    assert huber.low["i_max"] < 2.0 < huber.high["i_max"]


# ── baseline ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def losses():
    x = np.geomspace(500, 3e8, 8)
    y = PowerWithFloor().predict({"size": x}, {"a": 8.0, "alpha": 0.5, "c": 1.4})
    return pd.DataFrame({"x": x, "y": np.where(x < 600, 4.0, y), "baseline": 2.5})


def test_points_worse_than_the_baseline_are_shown_and_not_fitted():
    fits = fit(losses(), PowerWithFloor(), "x", "y")
    assert fits[0].value["alpha"] == pytest.approx(0.5, rel=1e-5)
    assert fits.predictions["worse_than_baseline"].tolist() == [True] + [False] * 7
    assert fits[0].note.endswith("1 points worse than baseline, not fitted")
    asked = fit(losses(), PowerWithFloor(), "x", "y", baseline="none")
    assert asked[0].value["alpha"] != pytest.approx(0.5, rel=0.1)
    assert not asked.predictions["worse_than_baseline"].any()


def test_worse_is_lower_for_information():
    rows = table().assign(floor=0.5)
    fits = fit(rows, Noise(), "x", "y", baseline="floor")
    mean = rows.groupby("x")["y"].transform("mean")
    assert fits.predictions["worse_than_baseline"].tolist() == (mean < 0.5).tolist()
    assert (mean < 0.5).any()


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────────
def test_what_may_not_be_asked_together():
    with pytest.raises(FitError, match="held_out and train or test say the same thing twice"):
        fit(table(), Noise(), "x", "y", train="x<5", held_out=np.zeros(36, bool))
    with pytest.raises(FitError, match="--test: no row of any curve fulfils it"):
        fit(table(), Noise(), "x", "y", test="x>1e9")
    with pytest.raises(FitError, match="column 'y' is both y and an input"):
        fit(table(), Noise(), "y", "y")
    with pytest.raises(FitError, match="weights 'some' is unknown; valid: none, replicates"):
        fit(table(), Noise(), "x", "y", weights="some")
    with pytest.raises(FitError, match="delta 0 of Huber's loss must be a positive number"):
        fit(table(), Noise(), "x", "y", loss="huber", delta=0)
