import numpy as np

from sclaws.laws.power_with_floor import PowerWithFloor, log_grid_fit

THETA = {"a": 2.15276, "alpha": 0.26643, "c": 1.44376}


def test_excess_over_the_floor_is_a_power():
    size = np.array([1.0, 10.0, 1e8])
    excess = PowerWithFloor().predict({"size": size}, THETA) - THETA["c"]
    np.testing.assert_allclose(excess / THETA["a"], [1, 10**-0.26643, 10 ** (-8 * 0.26643)], rtol=1e-9)


def test_inverse_and_limit():
    size = np.array([533.0, 1e5, 3.4e8])
    law = PowerWithFloor()
    np.testing.assert_allclose(law.inverse(law.predict({"size": size}, THETA), THETA), size, rtol=1e-8)
    assert law.inverse(np.array(1.4), THETA) == np.inf
    assert law.limit(THETA) == 1.44376


def test_bounds_hold_the_truth():
    x = {"size": np.geomspace(533, 3.4e8, 7)}
    for alpha in (0.05, 0.5, 2.0):
        truth = {"a": 0.7 * 533**alpha, "alpha": alpha, "c": -0.3}
        found = PowerWithFloor().bounds(x, PowerWithFloor().predict(x, truth))
        assert all(low <= truth[name] <= high for name, (low, high) in found.items())


def test_log_grid_finds_a_floor_that_is_on_its_grid():
    size = np.geomspace(500, 1e8, 7)
    shape = PowerWithFloor().predict({"size": size}, {"a": 2.0, "alpha": 0.3, "c": 0.0})
    step = 1 / 99  # with 100 steps to .99 of the least loss, the 61st is 60 % of it
    loss = shape + 0.6 / 0.4 * shape.min()
    found = log_grid_fit(size, loss, steps=100)
    assert found["c"] == np.float64(60) * step * 0.99 * loss.min()
    np.testing.assert_allclose([found["a"], found["alpha"], found["r2"]], [2.0, 0.3, 1.0], rtol=1e-9)
