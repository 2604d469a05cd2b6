import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sclaws.laws.noise import Noise

U = np.geomspace(1e-3, 1e6, 50)


def channel(u, signal, noise):
    """I(Y; Z) of Z = √u (Y + N(0, noise)) + N(0, 1), from the variances of Z and of Z given Y."""
    return 0.5 * np.log2((u * (signal + noise) + 1) / (u * noise + 1))


@given(st.floats(0.01, 100), st.floats(1e-4, 10))
def test_is_the_gaussian_channel(signal, noise):
    theta = {"i_max": 0.5 * np.log2(1 + signal / noise), "u_bar": 1 / noise}
    np.testing.assert_allclose(Noise().predict({"depth": U}, theta), channel(U, signal, noise), rtol=1e-10)


@given(st.floats(0.01, 12), st.floats(0.1, 1e5))
def test_is_the_published_formula(i_max, u_bar):
    z = U / u_bar
    written = i_max - 0.5 * np.log2((1 + z) / (z + 2 ** (-2 * i_max)))
    np.testing.assert_allclose(Noise().predict({"depth": U}, {"i_max": i_max, "u_bar": u_bar}), written, atol=1e-11)


def test_landmarks():
    theta = {"i_max": 3.0, "u_bar": 200.0}
    at = Noise().predict({"depth": np.array([0.0, 200.0, 1e15])}, theta)
    np.testing.assert_allclose(at, [0, 3 - 0.5 + 0.5 * np.log2(1 + 2**-6), 3], rtol=1e-12)


def test_stays_finite_at_its_bounds():
    theta = {"i_max": np.array([[0.0], [50.0]]), "u_bar": np.array([[1e-9], [1e12]])}
    assert np.isfinite(Noise().predict({"depth": np.array([0.0, 1.0, 1e9])}, theta)).all()


@given(st.floats(0.05, 12), st.floats(0.1, 1e5), st.floats(0.01, 0.99))
def test_inverse(i_max, u_bar, share):
    theta = {"i_max": i_max, "u_bar": u_bar}
    depth = Noise().inverse(np.array(share * i_max), theta)
    np.testing.assert_allclose(Noise().predict({"depth": depth}, theta), share * i_max, rtol=1e-8)


def test_no_depth_reaches_what_is_above_the_limit():
    assert Noise().inverse(np.array([2.0, 2.5]), {"i_max": 2.0, "u_bar": 10.0}).tolist() == [np.inf, np.inf]


def test_no_depth_is_needed_for_nothing():
    assert Noise().inverse(np.array([-0.3, 0.0]), {"i_max": 2.0, "u_bar": 10.0}).tolist() == [0, 0]


def test_inverse_keeps_its_digits_near_the_limit():
    # far beyond ū the gap is (1 − 2^(−2·I_max))·ū/(2·ln 2·u) bits
    found = Noise().inverse(np.array(6.0 - 1e-10), {"i_max": 6.0, "u_bar": 10.0})
    assert found == pytest.approx(10.0 * (1 - 2.0**-12) / (2e-10 * np.log(2)), rel=1e-5)


def test_transition_and_limit():
    theta = {"i_max": 2.0, "u_bar": 30.0}
    ends = np.array(Noise().transition(theta))
    np.testing.assert_allclose(Noise().predict({"depth": ends}, theta), [0.1, 1.9])
    assert Noise().limit(theta) == 2.0


def test_bounds_hold_the_truth_of_a_narrow_range():
    x = {"depth": np.geomspace(10, 300, 8)}
    found = Noise().bounds(x, Noise().predict(x, {"i_max": 4.0, "u_bar": 3000.0}))
    assert found["i_max"][0] <= 4.0 <= found["i_max"][1]
    assert found["u_bar"][0] <= 3000.0 <= found["u_bar"][1]
