import numpy as np
import pandas as pd
import pytest

from sclaws.fit import fit
from sclaws.laws.noise_and_cells import NoiseAndCells
from sclaws.laws.noise_cells_and_parameters import NoiseCellsAndParameters
from sclaws.testing import conforms

LAW = NoiseCellsAndParameters()
THETA = {"i_0": 0.05, "i_inf": 3.5, "u_bar": 400.0, "n_bar": 2e3, "s": 0.6, "p_bar": 1e5, "r": 0.8}
GRID = np.meshgrid(np.geomspace(10, 8000, 6), np.geomspace(100, 1e5, 6), np.geomspace(1e4, 1e8, 6))
X = dict(zip(("depth", "cells", "params"), (a.ravel() for a in GRID), strict=True))


def test_conforms():
    conforms("laws", LAW)


def test_without_dependence_on_size_it_is_the_law_of_depth_and_cells():
    joint = NoiseAndCells().predict(X, THETA)
    np.testing.assert_allclose(LAW.predict(X, THETA | {"p_bar": 0.0}), joint, rtol=1e-12)


def test_size_and_cells_limit_alike():
    swapped = {"depth": X["depth"], "cells": X["params"], "params": X["cells"]}
    theta = THETA | {"n_bar": 1e5, "s": 0.8, "p_bar": 2e3, "r": 0.6}
    np.testing.assert_allclose(LAW.predict(X, THETA), LAW.predict(swapped, theta), rtol=1e-12)


def test_rises_to_the_limit_in_every_input():
    far = {"depth": np.array([1e20]), "cells": np.array([1e30]), "params": np.array([1e30])}
    assert LAW.predict(far, THETA) == pytest.approx(float(LAW.limit(THETA)), abs=1e-6)
    start = LAW.predict(X, THETA)
    for role in X:
        assert (LAW.predict(X | {role: 2 * X[role]}, THETA) > start).all()


def test_noise_free_recovery():
    table = pd.DataFrame(X | {"mi": LAW.predict(X, THETA)})
    found = fit(table, LAW, x=list(X), y="mi", pool=False)[0].value
    for name, true in THETA.items():
        assert found[name] == pytest.approx(true, rel=1e-6, abs=1e-7), name


def test_natural_parameters_add_the_size_to_those_of_depth_and_cells():
    z = {name: np.array(mean) for name, (mean, _, _) in LAW.prior.items()}
    top = {"depth": np.array(800.0), "cells": np.array(1e4), "params": np.array(1e6)}
    theta = LAW.natural(z, top, np.array(2.0))
    assert {k: theta[k] for k in NoiseAndCells.params} == NoiseAndCells().natural(z, top, np.array(2.0))
    assert np.log((theta["p_bar"] / 1e6) ** theta["r"]) == pytest.approx(z["own"] - z["params"])
