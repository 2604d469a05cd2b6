import numpy as np
import pandas as pd
import pytest

from sclaws.design.next_runs import grid_of, loop, suggest
from sclaws.design.optimum import Plan
from sclaws.errors import DesignError
from sclaws.fit import Fit
from sclaws.laws.noise_and_cells import NoiseAndCells


class Line:
    """y = a·x + b·z: what is seen at (1, 0) is a alone, at (0, 1) b alone."""

    inputs = ("x", "z")
    params = {}

    def predict(self, x, theta):
        return theta["a"] * x["x"] + theta["b"] * x["z"]


def line(sigma=0.1):
    rng = np.random.default_rng(0)
    draws = pd.DataFrame({"a": rng.normal(size=400), "b": rng.normal(size=400)})
    span = {"x": (0.0, 1.0), "z": (0.0, 1.0)}
    return Fit({}, Line(), {"x": "x", "z": "z"}, "y", "linear", {"a": 0.0, "b": 0.0}, draws, sigma=sigma, span=span)


def plan_of(fit, decision):
    """A plan whose best level, draw by draw, is exp(decision)."""
    draws = np.exp(np.append(decision.mean(), decision))[:, None]
    return Plan({}, {}, 1, 1, 1, 0, 0, 0, 1.0, "EUR", draws=draws)


CANDIDATES = pd.DataFrame({"x": [1.0, 0.0, 1.0], "z": [0.0, 1.0, 1.0]})


def test_the_run_that_shows_what_decides_is_chosen():
    fit = line()
    for which, wanted in (("a", 0), ("b", 1)):
        found = suggest(fit, plan_of(fit, fit.draws[which].to_numpy()), CANDIDATES, np.ones(3), k=1)
        assert found.runs[["x", "z"]].iloc[0].tolist() == CANDIDATES.iloc[wanted].tolist()
        # a standard normal seen with errors of .1 keeps .01 / 1.01 of its variance
        assert found.runs["left"].iloc[0] == pytest.approx(0.01 / 1.01, abs=0.01)


def test_what_is_known_is_not_asked_twice():
    fit = line(sigma=0.01)
    both = (fit.draws["a"] + 0.9 * fit.draws["b"]).to_numpy()
    found = suggest(fit, plan_of(fit, both), CANDIDATES.iloc[:2], np.ones(2), k=2)
    assert found.runs["x"].tolist() == [1.0, 0.0]
    assert found.runs["left"].iloc[0] == pytest.approx(0.81 / 1.81, abs=0.05)
    assert found.runs["left"].iloc[1] < 0.01


def test_what_is_dear_must_tell_more_and_money_ends_it():
    fit = line()
    decision = fit.draws["a"].to_numpy() + 0.5 * fit.draws["b"].to_numpy()
    cheap_b = suggest(fit, plan_of(fit, decision), CANDIDATES.iloc[:2], np.array([100.0, 1.0]), k=1)
    assert cheap_b.runs["z"].iloc[0] == 1.0
    some = suggest(fit, plan_of(fit, decision), CANDIDATES, np.full(3, 10.0), k=5, money=25.0)
    assert len(some.runs) == 2 and some.total == 20.0
    assert suggest(fit, plan_of(fit, decision), CANDIDATES, np.full(3, 10.0), k=5, money=5.0).runs.empty


def test_bad_candidates_are_refused():
    fit = line()
    plan = plan_of(fit, fit.draws["a"].to_numpy())
    with pytest.raises(DesignError, match="the candidates have no column 'z'"):
        suggest(fit, plan, CANDIDATES[["x"]], np.ones(3))
    with pytest.raises(DesignError, match="needs one positive cost"):
        suggest(fit, plan, CANDIDATES, np.array([1.0, 0.0, 1.0]))
    with pytest.raises(DesignError, match="ask for at least one run"):
        suggest(fit, plan, CANDIDATES, np.ones(3), k=0)


def test_candidates_go_one_step_beyond_the_data():
    rows = pd.DataFrame({"depth": [10.0, 100.0, 1000.0], "cells": [50.0, 50.0, 200.0]})
    law, value = NoiseAndCells(), {"i_0": 0.0, "i_inf": 3.0, "u_bar": 1.0, "n_bar": 1.0, "s": 0.5}
    fit = Fit({}, law, {"depth": "depth", "cells": "cells"}, "y", "linear", value, pd.DataFrame(value, index=[0]))
    found = grid_of(fit, rows)
    assert sorted(set(found["depth"])) == pytest.approx([10, 100, 1000, 10_000])
    assert sorted(set(found["cells"])) == pytest.approx([50, 200, 800])
    assert len(found) == 12


def test_the_loop_stops_when_it_is_sure_and_when_the_money_is_spent():
    from sclaws.fit import fit as fit_table

    theta = {"i_0": 0.0, "i_inf": 3.0, "u_bar": 800.0, "n_bar": 3000.0, "s": 0.6}
    rng = np.random.default_rng(2)

    class Prices:
        currency = "EUR"

        def cost(self, levels):
            return np.asarray(levels["cells"], dtype=float) * (0.1 + 1e-4 * np.asarray(levels["depth"]))

    def run(levels):
        x = {c: levels[c].to_numpy(float) for c in ("depth", "cells")}
        bits = NoiseAndCells().predict(x, {k: np.array(v) for k, v in theta.items()})
        return levels.assign(bits=bits + 0.02 * rng.normal(size=len(levels)))

    def refit(rows):
        return fit_table(rows, NoiseAndCells(), ["depth", "cells"], "bits", pool=False, n_draws=100)[0]

    depth, cells = (v.ravel() for v in np.meshgrid(np.geomspace(20, 3000, 6), np.geomspace(100, 10_000, 5)))
    every = pd.DataFrame({"depth": depth, "cells": cells})
    first = every[(every["depth"] < 500) & (every["cells"] < 2000)].reset_index(drop=True)

    def cost(levels):
        return Prices().cost({c: levels[c].to_numpy() for c in ("depth", "cells")})

    said = []
    _, sure, rows = loop(run, refit, first, every, cost, Prices(), 1e4, money=1e9, regret=0.001, said=said.append)
    assert sure.regret <= 0.001 and len(rows) > len(first)
    assert len(said) >= 2 and "regret" in said[-1]
    start = float(np.sum(cost(first)))
    _, unsure, few = loop(run, refit, first, every, cost, Prices(), 1e4, money=start * 1.5, regret=0.0)
    assert float(np.sum(cost(few))) <= 1.5 * start
    assert unsure.regret > 0
