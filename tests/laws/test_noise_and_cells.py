import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sclaws.fit import fit
from sclaws.laws.noise import Noise
from sclaws.laws.noise_and_cells import NoiseAndCells
from sclaws.testing import conforms

LAW = NoiseAndCells()
DEPTH, CELLS = (a.ravel() for a in np.meshgrid(np.geomspace(10, 8000, 10), np.geomspace(100, 1e5, 10)))
X = {"depth": DEPTH, "cells": CELLS}


def table(theta, **more):
    return pd.DataFrame({"umi": DEPTH, "cells": CELLS, "mi": LAW.predict(X, theta), **more})


def test_conforms():
    conforms("laws", LAW)


@given(st.floats(0.05, 8), st.floats(0.5, 1e5))
def test_without_dependence_on_cells_it_is_the_noise_law(i_max, u_bar):
    theta = {"i_0": 0.0, "i_inf": i_max, "u_bar": u_bar, "n_bar": 0.0, "s": 0.5}
    noise = Noise().predict({"depth": DEPTH}, {"i_max": i_max, "u_bar": u_bar})
    np.testing.assert_allclose(LAW.predict(X, theta), noise, rtol=1e-9)


@given(st.floats(-0.2, 0.5), st.floats(0.6, 6), st.floats(1, 1e5), st.floats(1, 1e6), st.floats(0.05, 3))
def test_is_a_noise_law_at_any_number_of_cells(i_0, i_inf, u_bar, n_bar, s):
    # ceiling and ū of the noise law at N, from the fraction h that is left of the signal-to-noise ratio
    h = 1 / (1 + (n_bar / CELLS) ** s)
    ceiling = 0.5 * np.log2(1 + (4 ** (i_inf - i_0) - 1) * h)
    noise = Noise().predict({"depth": DEPTH}, {"i_max": ceiling, "u_bar": u_bar * h})
    theta = {"i_0": i_0, "i_inf": i_inf, "u_bar": u_bar, "n_bar": n_bar, "s": s}
    np.testing.assert_allclose(LAW.predict(X, theta), i_0 + noise, rtol=1e-8, atol=1e-9)
    assert (ceiling >= 0).all()


def test_two_noises_add_in_a_gaussian_channel():
    # Z = Y + own + measurement + training noise, all Gaussian: ½ log2 of the ratio of variances
    own, measured, trained = 0.3, 0.7, 0.2
    theta = {"i_0": 0.0, "i_inf": 0.5 * np.log2(1 + 1 / own), "u_bar": measured / own, "n_bar": trained / own, "s": 1.0}
    found = LAW.predict({"depth": np.array([1.0]), "cells": np.array([1.0])}, theta)
    noise = own + measured + trained
    np.testing.assert_allclose(found, 0.5 * np.log2((1 + noise) / noise), rtol=1e-12)


def test_landmarks():
    theta = {"i_0": 0.1, "i_inf": 3.0, "u_bar": 500.0, "n_bar": 1e4, "s": 0.5}
    at = LAW.predict({"depth": np.array([0.0, 1e15]), "cells": np.array([1e4, 1e40])}, theta)
    np.testing.assert_allclose(at, [0.1, 3.0], atol=1e-6)
    assert LAW.limit(theta) == 3.0


THETA = {"i_0": 0.1, "i_inf": 3.0, "u_bar": 500.0, "n_bar": 3e3, "s": 0.6}


@pytest.mark.parametrize("change", [{}, {"s": 1.5}, {"i_inf": 1.0, "u_bar": 3000.0}, {"i_0": 0.0, "n_bar": 200.0}])
def test_noise_free_recovery(change):
    theta = THETA | change
    found = fit(table(theta), LAW, x=["umi", "cells"], y="mi", pool=False)[0].value
    for name, true in theta.items():
        assert found[name] == pytest.approx(true, rel=1e-6, abs=1e-7), name


@pytest.mark.parametrize("s", [0.05, 0.4, 3.0])
def test_bounds_hold_the_truth(s):
    theta = THETA | {"s": s}
    found = LAW.bounds(X, LAW.predict(X, theta))
    assert all(low <= theta[name] <= high for name, (low, high) in found.items())


@given(st.floats(-1, 1), st.floats(0, 7), st.floats(-1, 3), st.floats(-1, 4), st.floats(-3, 1))
def test_natural_parameters_have_the_shares_of_noise_that_they_were_made_from(floor, own, depth, cells, exponent):
    z = {"floor": floor, "own": own, "depth": depth, "cells": cells, "cells_exponent": exponent}
    top = {"depth": np.array(800.0), "cells": np.array(1e4)}
    theta = LAW.natural({k: np.array(v) for k, v in z.items()}, top, np.array(2.0))
    noises = [1.0, theta["u_bar"] / 800, (theta["n_bar"] / 1e4) ** theta["s"]]
    np.testing.assert_allclose(np.log(noises), [0, own - depth, own - cells], atol=1e-6)
    # the model's own noise alone would leave e^own times the signal-to-noise ratio that 1.95 bits need
    signal = np.expm1(2 * np.log(2) * (theta["i_inf"] - floor))
    np.testing.assert_allclose(signal, (4**1.95 - 1) * np.exp(own), rtol=1e-9)
