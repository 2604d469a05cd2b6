"""How much is needed for a target, against closed forms, and how often its interval holds the truth."""

import numpy as np
import pandas as pd
import pytest

from sclaws.errors import FitError
from sclaws.fit import fit
from sclaws.laws.noise import Noise
from sclaws.laws.power_with_floor import PowerWithFloor

X = np.geomspace(10, 2500, 10)
I_MAX, U_BAR = 2.0, 300.0


def depth(bits, i_max=I_MAX, u_bar=U_BAR):
    """The noise law turned round, as it is printed: u/ū = (2^(2I) − 1)/(2^(2·I_max) − 2^(2I))."""
    return u_bar * (4**bits - 1) / (4**i_max - 4**bits)


def curves(count=1, sd=0.0, seed=0):
    y = Noise().predict({"depth": X}, {"i_max": I_MAX, "u_bar": U_BAR})
    y = y + sd * np.random.default_rng(seed).standard_normal((count, 3, len(X)))
    curve, replicate, level = (index.ravel() for index in np.indices(y.shape))
    return pd.DataFrame({"curve": curve, "replicate": replicate, "umi": X[level], "mi": y.ravel()})


@pytest.mark.parametrize(("rule", "bits"), [("fraction", 0.9 * I_MAX), ("gap", I_MAX + np.log2(0.95))])
def test_both_rules_are_the_published_ones(rule, bits):
    found = fit(curves(), Noise(), "umi", "mi")[0].need(rule)
    assert (found.rule, found.column) == (rule, "umi")
    assert found.target == pytest.approx(bits, rel=1e-6)
    assert found.value == pytest.approx(depth(bits), rel=1e-5)
    assert found.beyond == (depth(bits) > 2500)


def test_a_value_of_y():
    one = fit(curves(), Noise(), "umi", "mi")[0]
    assert one.reach(1.2).value == pytest.approx(depth(1.2), rel=1e-5)
    assert not one.reach(1.2).beyond
    assert one.reach(2.5).value == np.inf
    assert one.reach(2.5).beyond
    assert one.reach(1.95).beyond
    assert str(one.reach(1.95)).endswith("beyond the data")


class Bare:
    """The noise law without anything closed: the inverse and the ceiling are found numerically."""

    inputs, params = Noise.inputs, Noise.params
    predict, bounds = Noise.predict, Noise.bounds


def test_numerical_inverse_agrees_with_the_closed_one():
    closed, bare = (fit(curves(sd=0.03), law, "umi", "mi", seed=3)[0] for law in (Noise(), Bare()))
    for rule in ("fraction", "gap"):
        assert bare.need(rule).value == pytest.approx(closed.need(rule).value, rel=1e-5)
    assert bare.reach(1.0).value == pytest.approx(closed.reach(1.0).value, rel=1e-5)
    assert bare.reach(9.0).value == np.inf


def test_a_loss_falls_to_its_target():
    x = np.geomspace(500, 3e8, 8)
    y = PowerWithFloor().predict({"size": x}, {"a": 8.0, "alpha": 0.5, "c": 1.4})
    one = fit(pd.DataFrame({"x": x, "y": y}), PowerWithFloor(), "x", "y")[0]
    assert one.reach(1.41).value == pytest.approx((0.01 / 8) ** -2, rel=1e-4)
    assert one.reach(1.3).value == np.inf
    with pytest.raises(FitError, match="information that rises to a ceiling, which PowerWithFloor does not"):
        one.need("gap")


class Joint:
    inputs = ("depth", "cells")
    params = {"slope": (0.1, 2.0), "u_bar": (1.0, 3000.0)}

    def predict(self, x, theta):
        return Noise().predict(x, {"i_max": theta["slope"] * np.log10(x["cells"]), "u_bar": theta["u_bar"]})


def test_one_of_two_inputs_is_asked_for_at_a_value_of_the_other():
    u, n = (a.ravel() for a in np.meshgrid(X, np.geomspace(100, 1e5, 4)))
    y = Joint().predict({"depth": u, "cells": n}, {"slope": 0.5, "u_bar": 300.0})
    one = fit(pd.DataFrame({"umi": u, "n": n, "mi": y}), Joint(), ["umi", "n"], "mi")[0]
    assert one.reach(1.2, at={"n": 1e4}).value == pytest.approx(depth(1.2), rel=1e-5)
    assert one.reach(1.2).value == pytest.approx(depth(1.2, i_max=2.5), rel=1e-5)  # at the largest n
    cells = one.reach(depth_bits := 1.5, x="n", at={"umi": 1e9}).value
    assert cells == pytest.approx(10 ** (depth_bits / 0.5), rel=1e-4)
    with pytest.raises(FitError, match="'u' is no input of this fit; its inputs are umi, n"):
        one.reach(1.0, x="u")


def test_intervals_of_targets_hold_the_truth():
    """200 simulations: three binomial errors of .95 are .046."""
    fits = fit(curves(200, 0.08, seed=7), Noise(), "umi", "mi", "curve", "replicate")
    frame = fits.targets(["gap", "fraction", 1.5])
    for rule, bits in (("gap", I_MAX + np.log2(0.95)), ("fraction", 0.9 * I_MAX), ("value", 1.5)):
        some = frame[frame["rule"] == rule]
        inside = (some["low"] <= depth(bits)) & (depth(bits) <= some["high"])
        assert 0.90 <= inside.mean() <= 1.0
        assert some["needed"].median() == pytest.approx(depth(bits), rel=0.1)
    assert list(frame)[:3] == ["curve", "law", "rule"]


def test_an_open_law_gives_no_upper_limit():
    y = Noise().predict({"depth": X}, {"i_max": 4.0, "u_bar": 1e6})
    y = y + 0.01 * np.random.default_rng(1).standard_normal(len(X))
    found = fit(pd.DataFrame({"umi": X, "mi": y}), Noise(), "umi", "mi")[0].need("gap")
    assert found.high == np.inf
    assert found.note == "the law is not identifiable here: no upper limit"


def test_unknown_rules_and_curves_without_a_fit():
    fits = fit(pd.concat([curves(), curves().iloc[:2].assign(curve=9)]), Noise(), "umi", "mi", "curve")
    with pytest.raises(FitError, match="rule 'half' is unknown; valid: fraction, gap"):
        fits[0].need("half")
    with pytest.raises(FitError, match=r"nothing was fitted to this curve \(underpowered"):
        fits[1].need("gap")
    assert fits.targets(["gap"])["curve"].tolist() == [0]
