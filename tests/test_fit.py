"""Fits against the truth: exact data, closed forms, a second implementation, published numbers, simulated coverage."""

import json

import lmfit
import numpy as np
import pandas as pd
import pytest

from sclaws.errors import FitError, TableError
from sclaws.fit import Fits, fit
from sclaws.laws.constant import Constant
from sclaws.laws.noise import Noise
from sclaws.laws.power_with_floor import PowerWithFloor
from sclaws.laws.saturating_power import SaturatingPower
from sclaws.study import told
from sclaws.table import Table

DEPTHS = np.geomspace(10, 2500, 8)
NOISE = {"i_max": 2.0, "u_bar": 300.0}
EXACT = {
    "noise": (Noise(), np.geomspace(10, 2500, 10), NOISE),
    "saturating": (SaturatingPower(), np.geomspace(100, 1e7, 10), {"i_inf": 2.003, "n_sat": 165.344, "s": 0.402}),
    "power": (PowerWithFloor(), np.geomspace(533, 3.4e8, 7), {"a": 8.0, "alpha": 0.529, "c": 1.4666}),
    "constant": (Constant(), np.geomspace(1, 100, 6), {"value": 3.25}),
}


class Logarithm:
    """A user's own law: nothing of ours."""

    inputs = ("depth",)
    params = {"at_one": (-20, 20), "slope": (-5, 5)}

    def predict(self, x, theta):
        return theta["at_one"] + theta["slope"] * np.log2(x["depth"])


def simulate(mean, x, sd, rho, n, reps, seed):
    """n curves of ``reps`` replicates; a share rho of the variance is a shift that a replicate's points share."""
    rng = np.random.default_rng(seed)
    own, shift = rng.standard_normal((n, reps, len(x))), rng.standard_normal((n, reps, 1))
    y = mean + sd * (np.sqrt(1 - rho) * own + np.sqrt(rho) * shift)
    curve, replicate, level = np.indices(y.shape)
    columns = {"curve": curve, "replicate": replicate, "x": x[level], "y": y}
    return pd.DataFrame({name: values.ravel() for name, values in columns.items()})


def coverage(fits, truth):
    frame = fits.frame
    inside = [(frame[f"{name}_low"] <= v) & (v <= frame[f"{name}_high"]) for name, v in truth.items()]
    return [float(one.mean()) for one in inside]


def noise_curve(**theta):
    return Noise().predict({"depth": DEPTHS}, NOISE | theta)


# ── truth without noise ──────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("criterion", ["linear", "log"])
@pytest.mark.parametrize(("law", "x", "truth"), EXACT.values(), ids=EXACT)
def test_exact_data_give_the_truth(law, x, truth, criterion):
    y = np.broadcast_to(law.predict({law.inputs[0]: x}, truth), len(x))
    found = fit(pd.DataFrame({"x": x, "y": y}), law, "x", "y", criterion=criterion)[0]
    assert dict(found.value) == pytest.approx(truth, rel=1e-6)
    assert found.note.startswith(f"criterion {criterion}")


def test_the_criterion_matters():
    x = np.geomspace(500, 3e8, 7)
    y = PowerWithFloor().predict({"size": x}, {"a": 8.0, "alpha": 0.5, "c": 1.4}) * (1 + 0.05 * (-1.0) ** np.arange(7))
    both = [fit(pd.DataFrame({"x": x, "y": y}), PowerWithFloor(), "x", "y", criterion=c)[0] for c in ("linear", "log")]
    assert both[0].value["alpha"] != pytest.approx(both[1].value["alpha"], rel=1e-3)


def test_logarithmic_residuals_of_values_over_many_decades():
    x = np.geomspace(1e-2, 1e3, 12)
    y = Noise().predict({"depth": x}, NOISE)  # from 0.0003 bits on: a straight line would start below 0
    found = fit(pd.DataFrame({"x": x, "y": y}), Noise(), "x", "y", criterion="log")[0]
    assert dict(found.value) == pytest.approx(NOISE, rel=1e-6)


# ── closed forms and a second implementation ─────────────────────────────────────────────────────────────────────────
def test_linear_law_has_the_textbook_interval():
    rng = np.random.default_rng(5)
    x = np.tile(np.geomspace(1, 64, 7), 2)
    frame = pd.DataFrame({"x": x, "y": 1 + 0.3 * np.log2(x) + 0.2 * rng.standard_normal(14)})
    found = fit(frame, Logarithm(), "x", "y", n_draws=4000)[0]
    design = np.column_stack([np.ones(14), np.log2(x)])
    beta, rss, *_ = np.linalg.lstsq(design, frame["y"], rcond=None)
    error = np.sqrt(rss[0] / 12 * np.diag(np.linalg.inv(design.T @ design)))
    for k, name in enumerate(Logarithm.params):
        assert found.value[name] == pytest.approx(beta[k], rel=1e-6)
        half = 2.1788 * error[k]  # t quantile of .975 at 12 degrees of freedom
        assert found.low[name] == pytest.approx(beta[k] - half, abs=0.02 * half)
        assert found.high[name] == pytest.approx(beta[k] + half, abs=0.02 * half)
    # the draws know σ no better than 12 degrees of freedom do: t, whose variance is 12/10 of the normal's
    np.testing.assert_allclose(found.draws.std(), error * np.sqrt(1.2), rtol=0.06)
    assert np.corrcoef(found.draws.T)[0, 1] == pytest.approx(
        -np.mean(np.log2(x)) / np.sqrt(np.mean(np.log2(x) ** 2)), abs=0.02
    )


def test_profile_intervals_agree_with_lmfit():
    frame = simulate(noise_curve(), DEPTHS, 0.15, 0.0, 1, 3, seed=11)

    def residual(p):
        return Noise().predict({"depth": frame["x"].to_numpy()}, {k: v.value for k, v in p.items()}) - frame["y"]

    start = lmfit.Parameters()
    start.add("i_max", 1.5, min=0)
    start.add("u_bar", 200.0, min=1e-3)
    minimizer = lmfit.Minimizer(residual, start)
    theirs = lmfit.conf_interval(minimizer, minimizer.minimize(), sigmas=[0.95])
    ours = fit(frame, Noise(), "x", "y")[0]
    for name in NOISE:
        (_, low), (_, value), (_, high) = theirs[name]
        assert ours.value[name] == pytest.approx(value, rel=1e-4)
        assert [ours.low[name], ours.high[name]] == pytest.approx([low, high], abs=0.02 * (high - low))


def test_an_error_that_all_points_share_does_not_average_out():
    rng = np.random.default_rng(2)
    deviations = np.tile(rng.standard_normal(64) * 0.1, (12, 1))
    frame = pd.DataFrame({"run": [f"r{i}" for i in range(12)], "metric": "mi", "x": np.arange(1.0, 13)})
    frame["value"] = 2 + 0.001 * rng.standard_normal(12)
    draws = pd.DataFrame(deviations, index=pd.MultiIndex.from_frame(frame[["run", "metric"]]))
    found = fit(Table(frame, draws), Constant(), "x")[0]
    half = 1.9977 * np.sqrt(np.mean(deviations[0] ** 2))  # t quantile at 64 degrees of freedom, as many as draws
    assert found.high["value"] - found.low["value"] == pytest.approx(2 * half, rel=0.02)
    alone = fit(frame, Constant(), "x", "value")[0]
    assert alone.high["value"] - alone.low["value"] < 0.01


# ── coverage: 95 % intervals of 200 simulations; .90 and .99 are three binomial standard errors (.0154) away ─────────
@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_intervals_cover_with_replicates(rho):
    frame = simulate(noise_curve(), DEPTHS, 0.1, rho, 200, 3, seed=21)
    for found in coverage(fit(frame, Noise(), "x", "y", ["curve"], "replicate", n_draws=2), NOISE):
        assert 0.90 <= found <= 0.99


def sampled_table(n, seed):
    """Curves of two replicates whose errors are known through draws only: correlated .9 along a replicate."""
    rng = np.random.default_rng(seed)
    block = 0.08**2 * (0.1 * np.eye(8) + 0.9)
    root = np.kron(np.eye(2), np.linalg.cholesky(block))
    frame = simulate(noise_curve(), DEPTHS, 0.01, 0.0, n, 2, seed + 1).rename(columns={"y": "value"})
    frame["value"] += (rng.standard_normal((n, 16)) @ root.T).ravel()
    frame = frame.assign(run=[f"{i:05d}" for i in range(len(frame))], metric="information")
    draws = (root @ rng.standard_normal((n, 16, 64))).reshape(-1, 64)
    return Table(frame, pd.DataFrame(draws, index=pd.MultiIndex.from_frame(frame[["run", "metric"]])))


def test_intervals_cover_with_draws_and_do_not_without():
    table = sampled_table(200, seed=31)
    for found in coverage(fit(table, Noise(), "x", by="curve", replicate="replicate", n_draws=2), NOISE):
        assert 0.90 <= found <= 0.99
    assert coverage(fit(Table(table.frame), Noise(), "x", by="curve", n_draws=2), NOISE)[0] < 0.90


def test_bands_hold_new_observations():
    x = np.append(DEPTHS, [4000.0, 8000.0])
    frame = simulate(Noise().predict({"depth": x}, NOISE), x, 0.1, 0.3, 150, 3, seed=41)
    held_out = frame["x"] > 3000
    fits = fit(frame, Noise(), "x", "y", "curve", "replicate", held_out=held_out, n_draws=100)
    found = fits.predictions
    assert (found["held_out"] == held_out).all()
    inside = (found["low"] <= found["y"]) & (found["y"] <= found["high"])
    # 150 independent curves; a curve's six held-out points err together, so the error of the share is below .018
    assert 0.90 <= inside[held_out].mean() <= 1.0
    assert 0.90 <= inside[~held_out].mean() <= 1.0
    assert (found["high"] - found["low"])[held_out].median() < 1.0


# ── verdicts on simulated curves ─────────────────────────────────────────────────────────────────────────────────────
SHAPES = {
    "true": (noise_curve(), "follows the law"),
    "flat": (np.full(8, 1.0), "flat"),
    "saturated": (noise_curve(u_bar=3.0), "saturated"),
    "narrow": (noise_curve(i_max=5.0, u_bar=1e6), "not identifiable"),
    "hump": (1 + 0.8 * np.sin(np.linspace(0.3, 2.6, 8)), "no law: not monotone"),
    "bent": (0.5 + np.maximum(np.linspace(-2, 1.5, 8), 0), "no law: a parabola"),
}


@pytest.mark.parametrize(("mean", "verdict"), SHAPES.values(), ids=SHAPES)
def test_verdicts_of_known_shapes(mean, verdict):
    fits = fit(simulate(mean, DEPTHS, 0.015, 0.0, 50, 3, seed=51), Noise(), "x", "y", "curve", n_draws=100)
    assert fits.frame["verdict"].str.startswith(verdict).mean() >= 0.8
    if verdict != "follows the law":
        # where nothing tells ū from infinity, 2.5 % of the intervals close by chance: plus three errors of 50 curves
        assert (fits.frame["verdict"] == "follows the law").mean() <= 0.09


def test_a_narrow_range_gives_a_limit_and_no_number():
    narrow = simulate(noise_curve(i_max=3.0, u_bar=1e5), DEPTHS, 0.03, 0.0, 1, 3, seed=61)
    found = fit(narrow.rename(columns={"x": "umi"}), Noise(), "umi", "y")[0]
    assert found.high["u_bar"] == np.inf
    assert found.low["u_bar"] < 1e5
    assert "% of the transition; i_max > " in found.verdict
    assert "umi (95 %)" in found.verdict


# ── what comes back ──────────────────────────────────────────────────────────────────────────────────────────────────
def small(n=3):
    return simulate(noise_curve(), DEPTHS, 0.05, 0.0, n, 2, seed=71)


def test_one_law_along_two_axes_can_be_told_apart():
    along = [fit(small().rename(columns={"x": x}), [Noise()], x, "y", "curve") for x in ("a", "b")]
    both = Fits.join(along).frame
    assert both["x"].tolist() == ["a"] * 3 + ["b"] * 3
    assert [line for line in told.fitted(both).splitlines() if line.endswith(":")] == [
        "noise along a:",
        "noise along b:",
    ]
    assert told.fitted(along[0].frame).startswith("noise:")


def test_columns_of_frame_and_predictions():
    fits = fit(small(), [Noise(), Logarithm(), Constant()], "x", "y", "curve")
    ends = [f"{name}{end}" for name in ("i_max", "u_bar", "at_one", "slope", "value") for end in ("", "_low", "_high")]
    after = ["r2", "rmse", "aicc", "verdict", "note", "criterion", "weights", "loss", "constant_aicc", "best", "loo"]
    held = ["held_out", "held_out_rmse", "held_out_coverage"]
    assert list(fits.frame) == ["curve", "law", *ends, *after, *held, "x"]
    assert fits.frame["law"].tolist() == ["noise", "logarithm", "constant"] * 3
    told = ["predicted", "low", "high", "held_out", "worse_than_baseline"]
    refit = ["extrapolated", "extrapolated_low", "extrapolated_high"]
    assert list(fits.predictions) == ["curve", "law", "x", "y", *told, *refit]
    assert len(fits.predictions) == 3 * 3 * 16
    assert fits.to_pandas().equals(fits.frame)


def test_r2_and_rmse_are_those_of_the_residuals():
    fits = fit(small(1), Noise(), "x", "y")
    rest = fits.predictions["y"] - fits.predictions["predicted"]
    assert fits[0].rmse == pytest.approx(np.sqrt((rest**2).mean()))
    assert fits[0].r2 == pytest.approx(
        1 - (rest**2).sum() / ((fits.predictions["y"] - fits.predictions["y"].mean()) ** 2).sum()
    )


def test_aicc_of_a_gaussian_regression():
    fits = fit(small(1), Logarithm(), "x", "y")
    k, n = 3, 16
    textbook = n * (np.log(2 * np.pi * fits[0].rmse ** 2) + 1) + 2 * k + 2 * k * (k + 1) / (n - k - 1)
    assert fits[0].aicc == pytest.approx(textbook, abs=0.02)


def test_a_curve_does_not_depend_on_its_company():
    frame = small(4)
    together, alone = (fit(f, Noise(), "x", "y", "curve", "replicate") for f in (frame, frame[frame["curve"] == 2]))
    pd.testing.assert_frame_equal(together[2].draws, alone[0].draws, rtol=1e-5)
    assert dict(together[2].high) == pytest.approx(dict(alone[0].high), rel=1e-5)


def test_seed_fixes_the_draws():
    one, same, other = (fit(small(1), Noise(), "x", "y", seed=s)[0].draws for s in (1, 1, 2))
    pd.testing.assert_frame_equal(one, same, check_exact=True)
    assert not one.equals(other)


def test_predict_beyond_the_data():
    found = fit(small(1), Noise(), "x", "y")[0]
    band, new = found.predict(np.array([10.0, 1e5])), found.predict(np.array([10.0, 1e5]), sampling=0.0)
    assert (band["low"] < band["predicted"]).all()
    assert (band["predicted"] < band["high"]).all()
    assert (new["high"] - new["low"] > band["high"] - band["low"]).all()
    pd.testing.assert_frame_equal(found.predict({"x": np.array([10.0, 1e5])}), band)


def test_written_files_are_the_same_bytes_and_can_be_joined(tmp_path):
    both = Fits.join([fit(small(), law, "x", "y", "curve") for law in (Noise(), Constant())])
    assert both.frame["law"].tolist() == ["noise"] * 3 + ["constant"] * 3
    for name in ("a", "b"):
        both.write(tmp_path / name)
    for file in ("fits.csv", "predictions.csv"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    back = pd.read_csv(tmp_path / "a" / "fits.csv", float_precision="round_trip")
    pd.testing.assert_frame_equal(back, both.frame, check_exact=True)
    assert len(both.predictions) == len(pd.read_csv(tmp_path / "a" / "predictions.csv")) == 96


def test_show_themselves():
    fits = fit(small(1), Noise(), "x", "y")
    assert "noise, i_max = " in str(fits)
    assert "<table" in fits._repr_html_()
    assert "<table" in fits[0]._repr_html_()
    assert json.dumps(fits[0].row)
    assert str(Fits()) == "no fits"


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────────
def test_one_level_only():
    with pytest.raises(TableError, match="no curve can be fitted: underpowered: one level of x only"):
        fit(pd.DataFrame({"x": [5.0, 5.0, 5.0], "y": [1.0, 1.1, 1.2]}), Noise(), "x", "y")


def test_a_poor_curve_gets_a_verdict_beside_the_others():
    frame = small(3).drop(index=range(2, 16))
    fits = fit(frame, Noise(), "x", "y", "curve")
    assert fits[0].verdict == "underpowered: 2 points for 2 parameters"
    assert np.isnan(fits.frame["i_max"].iloc[0])
    assert fits[1].verdict == "follows the law"


def test_inputs_that_do_not_fit_the_law():
    with pytest.raises(FitError, match=r"unknown; valid: linear, log"):
        fit(small(1), Noise(), "x", "y", criterion="cubic")
    with pytest.raises(TableError, match="values of 0 or less, which have no logarithm"):
        fit(small(1).assign(y=0.0), Noise(), "x", "y", criterion="log")
    zero = pd.DataFrame({"x": [0.0, 1.0, 2.0, 4.0, 8.0], "y": [2.0, 1.8, 1.7, 1.6, 1.5]})
    with pytest.raises(FitError, match="PowerWithFloor gives no finite value at some point: does it allow x = 0"):
        fit(zero, PowerWithFloor(), "x", "y")


def test_a_depth_of_zero_is_a_point_of_the_noise_law():
    x = np.append(0.0, DEPTHS)
    y = Noise().predict({"depth": x}, NOISE)
    assert dict(fit(pd.DataFrame({"x": x, "y": y}), Noise(), "x", "y")[0].value) == pytest.approx(NOISE, rel=1e-6)
