import numpy as np
import pytest

from sclaws.laws.saturating_power import SaturatingPower

THETA = {"i_inf": 2.003, "n_sat": 165.344, "s": 0.402}  # Geneformer, developmental day (Gowri et al. 2025)


def test_deficit_is_one_bit_at_n_sat_and_a_power_beyond():
    cells = np.array([165.344, 165.344 * 2, 165.344 * 2**10])
    deficit = THETA["i_inf"] - SaturatingPower().predict({"cells": cells}, THETA)
    np.testing.assert_allclose(deficit, [1, 2**-0.402, 2**-4.02], rtol=1e-10)


def test_inverse_and_limit():
    cells = np.array([10.0, 1e3, 1e6])
    law = SaturatingPower()
    np.testing.assert_allclose(law.inverse(law.predict({"cells": cells}, THETA), THETA), cells)
    assert law.inverse(np.array(2.1), THETA) == np.inf
    assert law.limit(THETA) == 2.003


@pytest.mark.parametrize("s", [0.05, 0.4, 3.0])
def test_bounds_hold_the_truth(s):
    x = {"cells": np.geomspace(100, 1e5, 10)}
    truth = {"i_inf": 2.0, "n_sat": 100 * 0.5 ** (1 / s), "s": s}  # the deficit is half a bit at the smallest size
    found = SaturatingPower().bounds(x, SaturatingPower().predict(x, truth))
    assert all(low <= truth[name] <= high for name, (low, high) in found.items())


def test_transition_by_hand_and_none_where_nothing_is_known():
    theta = {"i_inf": np.array([2.0, -0.1]), "n_sat": 100.0, "s": 1.0}  # deficits of 1.9 and .1 bits
    low, high = SaturatingPower().transition(theta)
    np.testing.assert_allclose([low[0], high[0]], [100 / 1.9, 1000], rtol=1e-12)
    assert np.isnan([low[1], high[1]]).all()
