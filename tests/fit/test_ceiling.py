"""A known ceiling: it bounds the law's own, closes the interval, and covers as an interval should."""

import numpy as np
import pandas as pd
import pytest

from sclaws.errors import FitError, TableError
from sclaws.fit import fit
from sclaws.laws.constant import Constant
from sclaws.laws.noise import Noise
from sclaws.laws.noise_and_cells import NoiseAndCells
from sclaws.laws.power_with_floor import PowerWithFloor
from sclaws.laws.saturating_power import SaturatingPower

U = np.geomspace(10, 2500, 8)
H = 2.3  # bits: the entropy of a label


def curves(i_max, n=1, sd=0.1, rho=0.3, u=U, seed=0):
    """n curves of three replicates, whose label's entropy differs a little by test split."""
    rng = np.random.default_rng(seed)
    own, shift = rng.standard_normal((n, 3, len(u))), rng.standard_normal((n, 3, 1))
    y = Noise().predict({"depth": u}, {"i_max": i_max, "u_bar": 300.0})
    y = y + sd * (np.sqrt(1 - rho) * own + np.sqrt(rho) * shift)
    curve, rep, level = np.indices(y.shape)
    columns = {"curve": curve, "rep": rep, "u": u[level], "y": y, "bound": H - 0.01 * rep}
    return pd.DataFrame({name: values.ravel() for name, values in columns.items()})


def made(frame, law=None, **how):
    return fit(frame, law or Noise(), "u", "y", ["curve"], "rep", **how)


# ── what it does ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_fit_that_would_pass_the_ceiling_stops_at_the_largest_of_its_rows():
    free, held = (made(curves(2.6, sd=0.02), ceiling=ceiling)[0] for ceiling in (None, "bound"))
    assert free.low["i_max"] > H
    assert held.value["i_max"] == held.high["i_max"] == pytest.approx(H)
    assert held.low["i_max"] < H
    assert held.closed


def test_a_fit_far_below_the_ceiling_is_the_same_without_it():
    free, held = (made(curves(1.2), ceiling=ceiling)[0] for ceiling in (None, "bound"))
    for ours, theirs in ((held.low, free.low), (held.value, free.value), (held.high, free.high)):
        assert dict(ours) == pytest.approx(theirs, rel=1e-4)  # the search starts elsewhere
    assert held.verdict == free.verdict


def test_a_limit_that_ends_at_the_ceiling_is_identified():
    """Few shallow levels: without the ceiling i_max is open above, with it both parameters are known."""
    frame = curves(2.28, u=np.geomspace(5, 60, 6), sd=0.05)
    free, held = (made(frame, ceiling=ceiling)[0] for ceiling in (None, "bound"))
    assert free.verdict.startswith("not identifiable")
    assert held.verdict.startswith("follows the law: ")
    assert "ceiling, i_max > " in held.verdict
    assert held.verdict.endswith(" bits (95 %)")
    assert held.high["i_max"] == pytest.approx(H)
    assert held.low["u_bar"] < 300 < held.high["u_bar"] < np.inf
    assert np.isfinite(held.need("fraction").high)


def test_the_fit_says_when_it_sits_there():
    held = made(curves(2.6, sd=0.02), ceiling="bound")[0]
    assert "at its ceiling, i_max > " in held.verdict
    assert "edge of the search" not in held.note


@pytest.mark.parametrize(("loss", "criterion"), [("huber", "linear"), ("squares", "log")])
def test_it_holds_for_every_loss_and_criterion(loss, criterion):
    held = made(curves(2.6, sd=0.005), ceiling="bound", loss=loss, criterion=criterion, delta=0.05)[0]
    assert held.value["i_max"] == held.high["i_max"] == pytest.approx(H)


def test_the_limit_of_cells_is_bounded_too():
    n = np.tile(np.geomspace(100, 3000, 7), 2)
    y = 2.6 - (n / 165.0) ** -0.4 + 0.01 * np.random.default_rng(1).standard_normal(14)
    frame = pd.DataFrame({"curve": 0, "u": n, "y": y, "rep": np.repeat([0, 1], 7), "bound": H})
    assert made(frame, SaturatingPower(), ceiling="bound")[0].value["i_inf"] == pytest.approx(H)


def test_curves_without_a_ceiling_have_none():
    frame = curves(2.6, n=2, sd=0.02)
    frame.loc[frame["curve"] == 1, "bound"] = np.nan
    label, protein = made(frame, ceiling="bound")
    assert label.value["i_max"] == pytest.approx(H)
    assert protein.value["i_max"] > H + 0.1


def test_auto_and_a_constant_compete_with_it():
    laws = {type(one.law).__name__ for one in made(curves(2.28), "auto", ceiling="bound")}
    assert {"Constant", "Noise", "Logistic"} <= laws
    assert "PowerWithFloor" not in laws
    assert len(made(curves(2.28), [Noise(), Constant()], ceiling="bound")) == 2


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_law_without_a_ceiling_is_refused_naming_those_that_have_one():
    with pytest.raises(FitError, match="power-with-floor has no parameter that a ceiling bounds; .*noise.*saturating"):
        made(curves(2.28), PowerWithFloor(), ceiling="bound")


def test_priors_take_no_ceiling():
    frame = curves(2.28).assign(cells=np.tile([100.0, 1000.0], 12))
    with pytest.raises(FitError, match="noise-and-cells is fitted with priors, which take no ceiling"):
        fit(frame, NoiseAndCells(), ["u", "cells"], "y", replicate="rep", ceiling="bound")


def test_columns_that_are_no_ceiling():
    with pytest.raises(TableError, match="no column 'bond': did you mean 'bound'"):
        made(curves(2.28), ceiling="bond")
    with pytest.raises(TableError, match="ceiling 'bound': 'high' is not a number"):
        made(curves(2.28).assign(bound="high"), ceiling="bound")
    with pytest.raises(FitError, match="a ceiling of -1 leaves nothing for 'i_max'"):
        made(curves(2.28).assign(bound=-1.0), ceiling="bound")


# ── coverage: .90 is three binomial standard errors (.0154) below .95; at a bound intervals may cover more ────────────
@pytest.mark.parametrize("i_max", [2.28, 1.9])
def test_intervals_cover_and_are_no_wider(i_max):
    free, held = (made(curves(i_max, n=200, seed=3), ceiling=c, n_draws=2).frame for c in (None, "bound"))
    for name, truth in {"i_max": i_max, "u_bar": 300.0}.items():
        inside = (held[f"{name}_low"] <= truth) & (truth <= held[f"{name}_high"])
        assert inside.mean() >= 0.90
        widths = [(np.log(f[f"{name}_high"]) - np.log(f[f"{name}_low"])).median() for f in (free, held)]
        assert widths[1] <= widths[0]
    assert not held["verdict"].str.startswith("not identifiable").any()
