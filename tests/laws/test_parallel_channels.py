import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sclaws.laws.noise import Noise
from sclaws.laws.parallel_channels import ParallelChannels

U = np.geomspace(1e-3, 1e6, 50)


def vector_channel(u, signal, noise, d):
    """I(Y; Z) of the vector channel Z = √u (Y + N(0, noise·1)) + N(0, 1) in a turned basis, by determinants."""
    turn = np.linalg.qr(np.random.default_rng(d).normal(size=(d, d)))[0]
    y, x = signal * turn @ turn.T, noise * np.eye(d)
    given_nothing, given_y = u * (y + x) + np.eye(d), u * x + np.eye(d)
    return 0.5 * (np.linalg.slogdet(given_nothing)[1] - np.linalg.slogdet(given_y)[1]) / np.log(2)


@pytest.mark.parametrize("d", [1, 2, 5, 16])
@pytest.mark.parametrize(("signal", "noise"), [(1.0, 0.3), (20.0, 0.05), (0.2, 4.0)])
def test_is_the_vector_gaussian_channel(d, signal, noise):
    theta = {"i_max": 0.5 * d * np.log2(1 + signal / noise), "u_bar": 1 / noise, "d": float(d)}
    truth = [vector_channel(u, signal, noise, d) for u in U]
    np.testing.assert_allclose(ParallelChannels().predict({"depth": U}, theta), truth, rtol=1e-7)


@given(st.floats(0.01, 12), st.floats(0.1, 1e5), st.floats(1, 64))
def test_is_the_written_formula(i_max, u_bar, d):
    x = U / u_bar
    written = d / 2 * np.log2((1 + x * 2 ** (2 * i_max / d)) / (1 + x))
    found = ParallelChannels().predict({"depth": U}, {"i_max": i_max, "u_bar": u_bar, "d": d})
    np.testing.assert_allclose(found, written, atol=1e-10)


@given(st.floats(0, 50), st.floats(0.1, 1e5))
def test_one_channel_is_the_noise_law(i_max, u_bar):
    theta = {"i_max": i_max, "u_bar": u_bar}
    one = ParallelChannels().predict({"depth": U}, theta | {"d": 1.0})
    np.testing.assert_allclose(one, Noise().predict({"depth": U}, theta), rtol=1e-14)


def test_many_channels_approach_the_hyperbola():
    x = U / 300
    found = ParallelChannels().predict({"depth": U}, {"i_max": 2.0, "u_bar": 300.0, "d": 1e9})  # beyond its bounds
    np.testing.assert_allclose(found, 2.0 * x / (1 + x), rtol=1e-8)


@given(st.floats(0.6, 12), st.floats(0.1, 1e5), st.floats(1, 64))
def test_half_bit_depth(i_max, u_bar, d):
    theta = {"i_max": i_max, "u_bar": u_bar, "d": d}
    depth = ParallelChannels().half_bit_depth(theta)
    assert ParallelChannels().predict({"depth": depth}, theta) == pytest.approx(i_max - 0.5, rel=1e-9)
    written = u_bar * (2 ** ((2 * i_max - 1) / d) - 1) / (2 ** (2 * i_max / d) - 2 ** ((2 * i_max - 1) / d))
    assert depth == pytest.approx(written, rel=1e-9)


def test_half_a_bit_is_all_there_is():
    assert ParallelChannels().half_bit_depth({"i_max": np.array([0.3, 0.5]), "u_bar": 9.0, "d": 2.0}).tolist() == [0, 0]


def test_inverse_keeps_its_digits_near_the_limit():
    theta = {"i_max": 6.0, "u_bar": 10.0, "d": 3.0}
    # far beyond ū the gap is 1.5·(1 − 2^(−4))/x / ln 2 bits, to second order in 1/x
    gap = 1e-10
    found = ParallelChannels().inverse(np.array(6.0 - gap), theta)
    assert found == pytest.approx(10.0 * 1.5 * (1 - 2.0**-4) / (gap * np.log(2)), rel=1e-5)
