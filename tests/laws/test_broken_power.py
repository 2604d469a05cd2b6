import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sclaws.laws.broken_power import BrokenPower
from sclaws.laws.power_with_floor import PowerWithFloor

SIZE = np.geomspace(10, 1e9, 40)
THETA = {"c": 1.4, "h": 0.3, "x_break": 1e5, "alpha_1": 0.1, "alpha_2": 0.6}


def caballero(x, a, b, c0, c1, d1, f1):
    """Their eq. 1 with one break, as printed."""
    return a + b * x**-c0 * (1 + (x / d1) ** (1 / f1)) ** (-c1 * f1)


@given(st.floats(0.2, 3), st.floats(0.01, 1), st.floats(0.01, 2), st.floats(2, 8), st.floats(-2, 2))
def test_is_the_published_form(width, alpha_1, alpha_2, log_break, h):
    x_break = 10**log_break
    b = h * x_break**alpha_1 * 2 ** ((alpha_2 - alpha_1) * width)
    published = caballero(SIZE, 0.7, b, alpha_1, alpha_2 - alpha_1, x_break, width)
    theta = {"c": 0.7, "h": h, "x_break": x_break, "alpha_1": alpha_1, "alpha_2": alpha_2}
    np.testing.assert_allclose(BrokenPower(width).predict({"size": SIZE}, theta), published, rtol=1e-8, atol=1e-12)


def test_excess_at_the_break():
    assert BrokenPower().predict({"size": 1e5}, THETA) == pytest.approx(1.7, rel=1e-12)


@pytest.mark.parametrize(("at", "slope"), [(1e-12, -0.1), (1e22, -0.6)])
def test_slopes_far_from_the_break(at, slope):
    excess = BrokenPower().predict({"size": np.array([at, 10 * at])}, THETA | {"c": 0.0})
    assert np.diff(np.log10(excess))[0] == pytest.approx(slope, abs=1e-9)


def test_equal_exponents_make_it_a_power():
    found = BrokenPower().predict({"size": SIZE}, THETA | {"alpha_2": 0.1})
    plain = PowerWithFloor().predict({"size": SIZE}, {"a": 0.3 * 1e5**0.1, "alpha": 0.1, "c": 1.4})
    np.testing.assert_allclose(found, plain, rtol=1e-12)


def test_narrow_break_stays_finite():
    found = BrokenPower(width=1e-3).predict({"size": SIZE}, THETA)
    sharp = 1.4 + 0.3 * np.where(SIZE < 1e5, (SIZE / 1e5) ** -0.1, (SIZE / 1e5) ** -0.6)
    np.testing.assert_allclose(found, sharp, rtol=1e-3)
