import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sclaws.laws.noise import Noise
from sclaws.laws.noise_with_floor import NoiseWithFloor

U = np.geomspace(1e-3, 1e6, 50)


@given(st.floats(0, 3), st.floats(0.01, 8), st.floats(0.1, 1e5))
def test_is_the_published_noise_law_on_a_floor(i_0, gain, u_bar):
    z = U / u_bar
    written = i_0 + gain - 0.5 * np.log2((1 + z) / (z + 2 ** (-2 * gain)))
    found = NoiseWithFloor().predict({"depth": U}, {"i_max": i_0 + gain, "u_bar": u_bar, "i_0": i_0})
    np.testing.assert_allclose(found, written, atol=1e-11)


def test_without_a_floor_it_is_the_noise_law():
    theta = {"i_max": 3.0, "u_bar": 200.0}
    np.testing.assert_array_equal(
        NoiseWithFloor().predict({"depth": U}, theta | {"i_0": 0.0}), Noise().predict({"depth": U}, theta)
    )


def test_begins_at_the_floor_and_never_falls_below_it():
    theta = {"i_max": np.array([[2.0], [0.1]]), "u_bar": 50.0, "i_0": 0.7}
    found = NoiseWithFloor().predict({"depth": np.array([0.0, 50.0, 1e12])}, theta)
    np.testing.assert_allclose(found[:, 0], 0.7)
    np.testing.assert_allclose(found[:, 2], [2.0, 0.7])
    np.testing.assert_allclose(NoiseWithFloor().limit(theta)[:, 0], [2.0, 0.7])


def test_what_an_untrained_model_knows_needs_no_depth():
    assert NoiseWithFloor().inverse(np.array([0.2, 0.7]), {"i_max": 2.0, "u_bar": 50.0, "i_0": 0.7}).tolist() == [0, 0]
