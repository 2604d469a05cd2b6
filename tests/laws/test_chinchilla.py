import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from sclaws.laws.chinchilla import Chinchilla

# Hoffmann et al. 2022 (arXiv 2203.15556), approach 3, as printed
PRINTED = {"e": 1.69, "a": 406.4, "b": 410.7, "alpha": 0.34, "beta": 0.28}


def test_printed_loss_of_the_printed_model():
    # Chinchilla itself: 70e9 parameters, 1.4e12 tokens; the three terms by hand
    by_hand = 1.69 + 406.4 / 70e9**0.34 + 410.7 / 1.4e12**0.28
    assert Chinchilla().predict({"size": 70e9, "data": 1.4e12}, PRINTED) == pytest.approx(by_hand, rel=1e-12)


def test_frontier_of_the_printed_parameters():
    size, data = Chinchilla().frontier(np.array([5.76e23, 5.76e25]), PRINTED)
    g = (0.34 * 406.4 / (0.28 * 410.7)) ** (1 / 0.62)  # their eq. 4
    assert size[0] == pytest.approx(g * (5.76e23 / 6) ** (0.28 / 0.62), rel=1e-12)
    # their table 2 prints exponents of approach 3: .46 and .54, with coefficients rounded to two digits
    assert np.log10(size[1] / size[0]) / 2 == pytest.approx(0.46, abs=0.01)
    assert np.log10(data[1] / data[0]) / 2 == pytest.approx(0.54, abs=0.01)


@given(st.floats(18, 26), st.floats(0.1, 0.9), st.floats(0.1, 0.9), st.floats(1, 4), st.floats(1, 4))
def test_frontier_is_the_least_loss_of_a_budget(log_flop, alpha, beta, log_a, log_b):
    theta = {"e": 1.5, "a": 10**log_a, "b": 10**log_b, "alpha": alpha, "beta": beta}
    flop = 10**log_flop
    size, data = Chinchilla().frontier(np.array(flop), theta)
    assert 6 * size * data == pytest.approx(flop, rel=1e-9)

    def excess(log_size):
        p = np.exp(log_size)
        return Chinchilla().predict({"size": p, "data": flop / 6 / p}, theta | {"e": 0.0})

    middle = np.log(size)
    found = optimize.minimize_scalar(excess, bracket=(middle - 3, middle + 2), tol=1e-12)
    assert found.x == pytest.approx(middle, abs=1e-5)


def test_loss_that_does_not_fall_with_data_is_a_power_of_the_size():
    found = Chinchilla().predict({"size": np.array([1e3, 1e6]), "data": 7.0}, PRINTED | {"b": 0.0})
    np.testing.assert_allclose(found, 1.69 + 406.4 * np.array([1e3, 1e6]) ** -0.34, rtol=1e-12)
