"""What holds for every law: noise-free data give its parameters back, and its closed forms agree with its formula."""

import numpy as np
import pandas as pd
import pytest

from sclaws.fit import fit
from sclaws.laws.broken_power import BrokenPower
from sclaws.laws.chinchilla import Chinchilla
from sclaws.laws.constant import Constant
from sclaws.laws.logistic import Logistic
from sclaws.laws.noise import Noise
from sclaws.laws.noise_with_floor import NoiseWithFloor
from sclaws.laws.parallel_channels import ParallelChannels
from sclaws.laws.power_with_floor import PowerWithFloor
from sclaws.laws.saturating_power import SaturatingPower
from sclaws.testing import conforms

DEPTH = np.geomspace(10, 2500, 10)
SIZE = np.geomspace(500, 3e8, 12)
PARAMS, TOKENS = (grid.ravel() for grid in np.meshgrid(np.geomspace(4e7, 1.6e10, 6), np.geomspace(2e8, 5e11, 5)))
LAWS = {
    "broken": (BrokenPower(), [SIZE], {"c": 1.4, "h": 0.2, "x_break": 3e5, "alpha_1": 0.1, "alpha_2": 0.5}),
    "rising": (BrokenPower(), [SIZE], {"c": 2.5, "h": -0.4, "x_break": 1e5, "alpha_1": 0.05, "alpha_2": 0.7}),
    "chinchilla": (
        Chinchilla(),
        [PARAMS, TOKENS],
        {"e": 1.817, "a": 482.0, "b": 2085.0, "alpha": 0.348, "beta": 0.366},
    ),
    "constant": (Constant(), [DEPTH], {"value": 1.25}),
    "falling": (Logistic(), [DEPTH], {"floor": 3.0, "ceiling": 1.1, "u_half": 140.0, "k": 1.7}),
    "logistic": (Logistic(), [DEPTH], {"floor": 0.2, "ceiling": 2.1, "u_half": 300.0, "k": 0.9}),
    "noise": (Noise(), [DEPTH], {"i_max": 2.0, "u_bar": 300.0}),
    "with floor": (NoiseWithFloor(), [DEPTH], {"i_max": 2.5, "u_bar": 300.0, "i_0": 0.4}),
    "channels": (ParallelChannels(), [DEPTH], {"i_max": 3.0, "u_bar": 300.0, "d": 4.0}),
    "many channels": (ParallelChannels(), [DEPTH], {"i_max": 4.0, "u_bar": 150.0, "d": 20.0}),
    "power": (PowerWithFloor(), [SIZE], {"a": 8.0, "alpha": 0.529, "c": 1.4666}),
    "saturating": (SaturatingPower(), [SIZE], {"i_inf": 2.003, "n_sat": 165.344, "s": 0.402}),
}
EACH = pytest.mark.parametrize(("law", "x", "truth"), LAWS.values(), ids=LAWS)
# a power has no beginning, so there is no share of the way for its transition to name
PASSING = {name: case for name, case in LAWS.items() if hasattr(case[0], "transition")}
INVERTIBLE = {name: case for name, case in LAWS.items() if hasattr(case[0], "inverse")}


def columns(law, x):
    return dict(zip(law.inputs, x, strict=True))


def corners(law, x, y):
    """Every corner of the box that is searched for these data, as parameters that broadcast."""
    tight = law.bounds(x, y)
    ends = [tight.get(name, (param.low, param.high)) for name, param in law.params.items()]
    grid = np.stack(np.meshgrid(*ends, indexing="ij"), -1).reshape(-1, len(ends))
    return {name: grid[:, k, None] for k, name in enumerate(law.params)}


@EACH
def test_conforms(law, x, truth):
    conforms("laws", law)
    assert law.formula
    assert law.source


@pytest.mark.parametrize("criterion", ["linear", "log"])
@EACH
def test_exact_data_give_the_truth(law, x, truth, criterion):
    at = columns(law, x)
    frame = pd.DataFrame(at).assign(y=law.predict(at, truth))
    found = fit(frame, law, list(law.inputs), "y", criterion=criterion, n_draws=2)[0]
    assert dict(found.value) == pytest.approx(truth, rel=1e-6)


@EACH
def test_bounds_hold_the_truth(law, x, truth):
    at = columns(law, x)
    found = law.bounds(at, np.broadcast_to(law.predict(at, truth), len(x[0])))
    assert set(found) <= set(truth)
    assert all(low <= truth[name] <= high for name, (low, high) in found.items())


@EACH
def test_is_finite_in_every_corner_of_the_search(law, x, truth):
    at = columns(law, x)
    theta = corners(law, at, np.broadcast_to(law.predict(at, truth), len(x[0])))
    assert np.isfinite(law.predict(at, theta)).all()


@EACH
def test_limit_is_the_value_at_an_infinite_input(law, x, truth):
    far = {role: np.array([1e280]) for role in law.inputs}
    np.testing.assert_allclose(law.predict(far, truth), law.limit(truth), rtol=1e-8)


@pytest.mark.parametrize(("law", "x", "truth"), INVERTIBLE.values(), ids=INVERTIBLE)
def test_inverse_undoes_the_formula(law, x, truth):
    at = columns(law, x)
    np.testing.assert_allclose(law.inverse(law.predict(at, truth), truth), x[0], rtol=1e-9)
    beyond = law.limit(truth) + np.sign(law.limit(truth) - law.predict(at, truth)[-1]) * np.array([0.0, 0.3])
    assert (law.inverse(beyond, truth) == np.inf).all()


@pytest.mark.parametrize(("law", "x", "truth"), PASSING.values(), ids=PASSING)
def test_transition_is_from_5_to_95_percent_of_the_change(law, x, truth):
    ends = np.array(law.transition(truth))
    start = 0.0 if isinstance(law, SaturatingPower) else law.predict({law.inputs[0]: np.zeros(1)}, truth)
    share = (law.predict({law.inputs[0]: ends}, truth) - start) / (law.limit(truth) - start)
    np.testing.assert_allclose(share, [0.05, 0.95], rtol=1e-8)
