import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sclaws.laws.logistic import Logistic
from sclaws.laws.parallel_channels import ParallelChannels

THETA = {"floor": 0.3, "ceiling": 2.3, "u_half": 200.0, "k": 2.0}


@given(st.floats(-2, 2), st.floats(-2, 4), st.floats(1, 1e4), st.floats(0.05, 20))
def test_is_the_written_formula(floor, ceiling, u_half, k):
    u = np.geomspace(0.01, 1e6, 30) if k < 5 else u_half * np.geomspace(0.1, 10, 30)
    written = floor + (ceiling - floor) / (1 + (u / u_half) ** -k)
    theta = {"floor": floor, "ceiling": ceiling, "u_half": u_half, "k": k}
    np.testing.assert_allclose(Logistic().predict({"depth": u}, theta), written, rtol=1e-10, atol=1e-12)


def test_landmarks():
    at = Logistic().predict({"depth": np.array([0.0, 200.0, 600.0, 1e200])}, THETA)
    np.testing.assert_allclose(at, [0.3, 1.3, 0.3 + 2.0 * 0.9, 2.3], rtol=1e-12)


def test_is_what_many_parallel_channels_become():
    u = np.geomspace(1, 1e5, 20)
    many = ParallelChannels().predict({"depth": u}, {"i_max": 2.0, "u_bar": 300.0, "d": 1e9})
    found = Logistic().predict({"depth": u}, {"floor": 0.0, "ceiling": 2.0, "u_half": 300.0, "k": 1.0})
    np.testing.assert_allclose(found, many, rtol=1e-8)


def test_inverse_before_the_floor_and_beyond_the_ceiling():
    assert Logistic().inverse(np.array([0.1, 0.3, 2.3, 2.5]), THETA).tolist() == [0, 0, np.inf, np.inf]
    falling = THETA | {"floor": 2.3, "ceiling": 0.3}
    assert Logistic().inverse(np.array([2.5, 0.1]), falling).tolist() == [0, np.inf]
    assert Logistic().inverse(np.array(1.3), falling) == pytest.approx(200.0)
