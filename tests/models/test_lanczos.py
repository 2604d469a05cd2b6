import numpy as np
import pytest

from sclaws.models._lanczos import leading


def symmetric(values, seed=0):
    axes = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(values), len(values))))[0]
    return axes * values @ axes.T, axes


@pytest.mark.parametrize(
    "values", [np.geomspace(100, 1e-3, 300), np.r_[50, 40.0, 40.0, 30, 20, np.linspace(5, 0, 295)]]
)
def test_axes_are_the_eigenvectors(values):
    """Of a falling spectrum, and of one with two equal eigenvalues, whose plane alone is determined."""
    matrix, axes = symmetric(values)
    found = leading(lambda x: matrix @ x, 300, 5, tolerance=1e-8, walks=40)
    np.testing.assert_allclose(found.T @ found, np.eye(5), atol=1e-10)
    np.testing.assert_allclose(np.linalg.svd(axes[:, :5].T @ found)[1], 1, atol=1e-10)
    np.testing.assert_allclose(np.diag(found.T @ matrix @ found), values[:5], rtol=1e-8)


def test_it_stops_when_it_is_near_enough_or_has_walked_enough():
    matrix, _ = symmetric(np.geomspace(100, 1e-3, 300))
    calls = []

    def multiply(x):
        calls.append(x.shape)
        return matrix @ x

    leading(multiply, 300, 5, tolerance=1e-3, walks=40)
    rough = len(calls)
    leading(multiply, 300, 5, tolerance=1e-10, walks=40)
    assert rough < len(calls) - rough < 40
    calls.clear()
    leading(multiply, 300, 5, tolerance=0.0, walks=3)
    assert calls == [(300, 13)] * 3


def test_what_spans_everything_is_exact():
    """A matrix smaller than a block, and one of rank 2, leave no direction to walk for."""
    matrix, axes = symmetric(np.array([5.0, 3, 1]))
    np.testing.assert_allclose(np.abs(leading(lambda x: matrix @ x, 3, 2, tolerance=0, walks=9)), np.abs(axes[:, :2]))
    low, axes = symmetric(np.r_[7.0, 2.0, np.zeros(48)])
    found = leading(lambda x: low @ x, 50, 2, tolerance=0, walks=9)
    np.testing.assert_allclose(np.abs((found * axes[:, :2]).sum(axis=0)), 1, atol=1e-10)
