import numpy as np

from sclaws.laws.constant import Constant


def test_is_its_value_whatever_the_input():
    theta = {"value": np.array([[1.5], [2.5]])}
    found = np.broadcast_to(Constant().predict({"x": np.arange(3.0)}, theta), (2, 3))
    assert found.tolist() == [[1.5] * 3, [2.5] * 3]
    assert (Constant().limit(theta) == theta["value"]).all()


def test_bounds_reach_beyond_the_data():
    ((low, high),) = Constant().bounds({}, np.array([1.0, 2.0])).values()
    assert low < 1.0
    assert high > 2.0
