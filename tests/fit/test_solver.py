from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize

from sclaws.errors import FitError
from sclaws.fit import solver
from sclaws.fit.problem import Problem, bounds, cholesky_solve
from sclaws.fit.starts import starts
from sclaws.laws.noise import Noise
from sclaws.laws.power_with_floor import PowerWithFloor
from sclaws.protocols import Param


class Unbounded:
    inputs = ("depth",)
    params = {"slope": Param(-np.inf, np.inf)}

    def predict(self, x, theta):
        return theta["slope"] * x["depth"]


class Exponential:
    """Two exponentials: a known hard problem, with bounds that bind for half of the data below."""

    inputs = ("t",)
    params = {"a": (0.0, 2.0), "k": Param(0.1, 2.0, log=True), "b": (-0.5, 0.5)}

    def predict(self, x, theta):
        return theta["a"] * np.exp(-theta["k"] * x["t"]) + theta["b"]


def problem(law, x, y):
    """One curve each row of ``y``; ``x`` shared."""
    role = law.inputs[0]
    ends = [bounds(law, {role: x}, row) for row in y]
    return Problem(
        law,
        {role: np.broadcast_to(x, y.shape)},
        np.stack([low for low, _ in ends]),
        np.stack([high for _, high in ends]),
        log_y=False,
    )


def test_agrees_with_scipy_where_bounds_bind():
    rng = np.random.default_rng(3)
    t = np.linspace(0, 4, 12)
    truth = np.column_stack([rng.uniform(0.5, 2.6, 40), rng.uniform(0.05, 3, 40), rng.uniform(-0.7, 0.7, 40)])
    y = truth[:, :1] * np.exp(-truth[:, 1:2] * t) + truth[:, 2:] + 0.05 * rng.standard_normal((40, 12))
    weights = rng.uniform(0.3, 3, 12)
    ours = problem(Exponential(), t, y)
    root = np.broadcast_to(np.sqrt(weights), (40, 1, 12))
    found, cost = solver.best(*solver.solve(ours, y[:, None], root, starts(ours, y[:, None], root)))
    at_bound = 0
    for row, t_found, c in zip(y, found, cost, strict=True):

        def residual(p, row=row):
            return np.sqrt(weights) * (p[0] * np.exp(-np.exp(p[1]) * t) + p[2] - row)

        theirs = optimize.least_squares(
            residual, [1, 0, 0], bounds=([0, np.log(0.1), -0.5], [2, np.log(2), 0.5]), xtol=1e-12
        )
        assert c <= 2 * theirs.cost * (1 + 1e-6)
        at_bound += bool((np.abs(t_found - ours.high[0]) < 1e-9).any() or (np.abs(t_found - ours.low[0]) < 1e-9).any())
    assert at_bound > 5  # else the test would not show what it is for


def test_stragglers_end_where_they_would_alone():
    rng = np.random.default_rng(0)
    x = np.geomspace(10, 3000, 9)
    y = Noise().predict(
        {"depth": x}, {"i_max": rng.uniform(0.5, 4, (400, 1)), "u_bar": rng.uniform(20, 2000, (400, 1))}
    )
    y = y + 0.1 * rng.standard_normal(y.shape)
    many = problem(Noise(), x, y)
    start = np.repeat((many.low + many.high)[:, None] / 2, 1, axis=1)
    _, cost = solver.solve(many, y[:, None], np.ones((400, 1, 9)), start)
    for i in range(0, 400, 37):
        one = many.take(np.array([i]))
        _, own = solver.solve(one, y[i : i + 1, None], np.ones((1, 1, 9)), start[i : i + 1])
        assert own[0, 0] == pytest.approx(cost[i, 0], rel=1e-9)


def test_starts_solve_for_linear_parameters():
    x = np.geomspace(533, 3.4e8, 7)
    truth = {"a": 40.0, "alpha": 0.4, "c": 1.2}
    y = PowerWithFloor().predict({"size": x}, truth)[None]
    ours = problem(PowerWithFloor(), x, y)
    for a, alpha, c in starts(ours, y[:, None], np.ones((1, 1, 7)))[
        0
    ]:  # for the exponent that was tried, no other a and c are better
        basis = np.column_stack([x ** -np.exp(alpha), np.ones(7)])
        rest = y[0] - basis @ [np.exp(a), c]
        best = y[0] - basis @ np.linalg.lstsq(basis, y[0], rcond=None)[0]
        assert rest @ rest == pytest.approx(best @ best, rel=1e-3, abs=1e-9)


def test_held_parameters_stay():
    x, y = np.geomspace(10, 1000, 8), np.linspace(0.1, 1.4, 8)[None]
    ours = problem(Noise(), x, y)
    start = np.array([[[1.0, np.log(50.0)], [1.0, np.log(500.0)]]])
    t, _ = solver.solve(ours, y[:, None], np.ones((1, 1, 8)), start, np.array([True, False]))
    np.testing.assert_array_equal(t[..., 1], start[..., 1])
    assert (t[..., 0] != 1.0).all()


def test_cholesky_solve():
    rng = np.random.default_rng(1)
    root = rng.normal(size=(5, 7, 4, 4))
    matrix, right = root @ root.mT + np.eye(4), rng.normal(size=(5, 7, 4))
    found = cholesky_solve(matrix, right, 0.5)
    np.testing.assert_allclose(found, np.linalg.solve(matrix + 0.5 * np.eye(4), right[..., None])[..., 0], rtol=1e-9)


def test_unbounded_parameter_is_refused():
    with pytest.raises(FitError, match="Unbounded: parameter 'slope' has bounds -inf .. inf; give finite ones"):
        bounds(Unbounded(), {"depth": np.ones(3)}, np.ones(3))


def test_huber_agrees_with_scipy():
    rng = np.random.default_rng(8)
    t = np.linspace(0, 4, 15)
    y = 1.5 * np.exp(-0.8 * t) + 0.2 + 0.02 * rng.standard_normal((20, 15))
    y[:, ::5] += rng.uniform(-0.6, 0.6, (20, 3))
    delta = 0.03
    ours = replace(problem(Exponential(), t, y), delta=delta)
    _, cost = solver.best(
        *solver.solve(ours, y[:, None], np.ones((20, 1, 15)), starts(ours, y[:, None], np.ones((20, 1, 15))), True, 400)
    )
    for row, c in zip(y, cost, strict=True):

        def residual(p, row=row):
            return p[0] * np.exp(-np.exp(p[1]) * t) + p[2] - row

        ends = ([0, np.log(0.1), -0.5], [2, np.log(2), 0.5])
        theirs = optimize.least_squares(residual, [1, 0, 0], bounds=ends, loss="huber", f_scale=delta, xtol=1e-14)
        assert c <= 2 * theirs.cost * (1 + 1e-5)


def test_a_level_without_weight_is_not_there():
    rng = np.random.default_rng(9)
    x = np.geomspace(10, 1000, 8)
    y = Noise().predict({"depth": x}, {"i_max": 2.0, "u_bar": 90.0}) + 0.05 * rng.standard_normal((1, 8))
    whole, less = problem(Noise(), x, y), problem(Noise(), x[1:], y[:, 1:])
    weight = np.ones((1, 1, 8))
    weight[..., 0] = 0
    start = np.array([[[1.0, 4.0]]])
    t, _ = solver.solve(whole, y[:, None], weight, start)
    np.testing.assert_allclose(t, solver.solve(less, y[:, None, 1:], np.ones((1, 1, 7)), start)[0], rtol=1e-7)
