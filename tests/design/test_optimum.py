from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest

from sclaws.design.limits import limits
from sclaws.design.optimum import best, cheapest, pareto
from sclaws.errors import DesignError
from sclaws.fit import Fit
from sclaws.laws.chinchilla import Chinchilla
from sclaws.laws.noise import Noise
from sclaws.laws.noise_and_cells import NoiseAndCells

JOINT = {"i_0": 0.0, "i_inf": 3.0, "u_bar": 1000.0, "n_bar": 5000.0, "s": 0.5}


@dataclass(frozen=True)
class Flat:
    """So much a cell and so much a molecule, above a fixed cost; whole lanes of so many cells when asked."""

    cell: float = 0.1
    molecule: float = 1e-4
    fixed: float = 0.0
    lane: float = 0.0
    currency: str = "EUR"

    def cost(self, levels):
        cells = np.asarray(levels["cells"], dtype=float)
        bought = np.ceil(cells / self.lane) * self.lane if self.lane else cells
        return self.fixed + self.cell * bought + self.molecule * cells * np.asarray(levels["umis"])


@dataclass(frozen=True)
class Compute:
    """Money is FLOP."""

    currency: str = "FLOP"

    def cost(self, levels):
        return 6 * np.asarray(levels["size"], dtype=float) * np.asarray(levels["data"])


def fitted(law, inputs, value, span, spread=0.0, seed=0, draws=200):
    rng = np.random.default_rng(seed)
    moved = {name: v * np.exp(spread * rng.normal(size=draws)) for name, v in value.items()}
    return Fit({}, law, inputs, "bits", "linear", value, pd.DataFrame(moved), sigma=0.05, span=span, freedom=20.0)


def joint(spread=0.0, **value):
    span = {"umis": (30.0, 2000.0), "cells": (100.0, 10_000.0)}
    return fitted(NoiseAndCells(), {"depth": "umis", "cells": "cells"}, JOINT | value, span, spread)


def test_the_best_size_and_data_for_a_compute_budget_are_the_closed_form():
    theta = {"e": 1.8, "a": 480.0, "b": 2085.0, "alpha": 0.35, "beta": 0.37}
    span = {"size": (1e7, 1e9), "data": (1e8, 1e10)}
    fit = fitted(Chinchilla(), {"size": "size", "data": "data"}, theta, span)
    for flop in (1e19, 1e21):
        size, data = Chinchilla().frontier(np.array(flop), {k: np.array(v) for k, v in theta.items()})
        plan = best(fit, Compute(), flop)
        assert plan.choices["size"].value == pytest.approx(float(size), rel=0.05)  # places are 4 % apart
        assert plan.choices["data"].value == pytest.approx(float(data), rel=0.05)
        least = float(Chinchilla().predict({"size": size, "data": data}, {k: np.array(v) for k, v in theta.items()}))
        assert plan.y == pytest.approx(least, rel=1e-4)
        assert plan.cost == pytest.approx(flop, rel=1e-6)


def test_a_target_and_a_budget_are_two_sides_of_one_thing():
    fit, prices = joint(), Flat(fixed=100.0)
    plan = best(fit, prices, 5000.0)
    way = cheapest(fit, prices, plan.y)
    assert way.cost == pytest.approx(5000.0, rel=0.01)
    assert way.choices["cells"].value == pytest.approx(plan.choices["cells"].value, rel=0.1)


def test_no_other_way_of_spending_the_budget_is_better():
    fit, prices = joint(), Flat()
    plan = best(fit, prices, 2000.0)
    rng = np.random.default_rng(1)
    cells = np.exp(rng.uniform(np.log(10), np.log(20_000), size=5000))
    umis = (2000.0 / cells - prices.cell) / prices.molecule
    keep = umis > 1
    theta = {k: np.array(v) for k, v in JOINT.items()}
    bits = NoiseAndCells().predict({"depth": umis[keep], "cells": cells[keep]}, theta)
    assert plan.y >= bits.max() - 1e-4
    assert plan.regret == pytest.approx(0.0, abs=1e-9)  # every draw is the same law


def test_whole_lanes_are_filled():
    plan = best(joint(), Flat(lane=4000.0, cell=1.0), 13_000.0)
    cells = plan.choices["cells"].value
    assert plan.cost <= 13_000.0
    assert cells / 4000 > 0.9 * np.ceil(cells / 4000)  # nobody pays for a lane and leaves it empty


def test_intervals_and_regret_come_from_the_draws():
    sure, unsure = (best(joint(spread), Flat(), 20_000.0) for spread in (0.01, 0.3))
    widths = [p.choices["cells"].high / p.choices["cells"].low for p in (sure, unsure)]
    assert widths[0] < 1.3 < widths[1]
    assert 0 <= sure.regret < unsure.regret
    assert unsure.choices["cells"].beyond > 1
    low, high = unsure.choices["cells"].flat
    assert low < unsure.choices["cells"].value < high


def test_one_input_alone_gets_all_the_money():
    fit = fitted(Noise(), {"depth": "umis"}, {"i_max": 2.0, "u_bar": 500.0}, {"umis": (30.0, 2000.0)})

    @dataclass(frozen=True)
    class Umis:
        currency: str = "EUR"

        def cost(self, levels):
            return 50 + 0.5 * np.asarray(levels["umis"], dtype=float)

    plan = best(fit, Umis(), 1050.0)
    assert plan.choices["umis"].value == pytest.approx(2000.0, rel=1e-6)
    way = cheapest(fit, Umis(), plan.y)
    assert way.cost == pytest.approx(1050.0, rel=1e-4)


def test_the_front_rises_and_says_where_the_data_end():
    front = pareto(joint(0.1), Flat(), [100.0, 1000.0, 10_000.0, 100_000.0])
    assert (np.diff(front["y"]) > 0).all()
    assert front["cells_beyond_data"].iloc[0] < 1 < front["cells_beyond_data"].iloc[-1]


def test_a_target_above_the_ceiling_names_it():
    with pytest.raises(DesignError, match=r"no umis or cells reaches 3.5: the model's ceiling is 3 \(3 to 3\)"):
        cheapest(joint(), Flat(), 3.5)


def test_a_target_that_some_draws_never_reach_has_an_open_cost():
    way = cheapest(joint(0.2), Flat(), 2.8)
    assert np.isfinite(way.cost) and way.cost_high == np.inf
    assert "of the draws no level that can be bought reaches it" in way.note


@pytest.mark.parametrize(
    ("budget", "told"),
    [
        (-5.0, "budget = -5 must be a positive"),
        (np.nan, "must be a positive"),
        (90.0, "buys nothing: the smallest plan"),
    ],
)
def test_budgets_that_buy_nothing_are_refused(budget, told):
    with pytest.raises(DesignError, match=told):
        best(joint(), Flat(fixed=100.0), budget)


def test_what_is_not_fitted_cannot_be_planned():
    with pytest.raises(DesignError, match="nothing was fitted to this curve"):
        best(fitted(Noise(), {"depth": "umis"}, {}, {}), Flat(), 100.0)


def test_what_limits_is_the_noise_that_is_largest():
    few = limits(joint(0.02, n_bar=5e6, u_bar=1.0), Flat())  # deep enough, far too few cells
    shallow = limits(joint(0.02, n_bar=1.0, u_bar=1e5), Flat())
    assert (few.verdict, shallow.verdict) == ("cells", "umis")
    gain = few.frame.set_index("column")["gain"]
    assert gain["cells"] > 10 * gain["umis"] >= 0


def test_gains_are_those_of_the_law():
    fit, prices = joint(), Flat()
    found = limits(fit, prices, extra=100.0)
    paid = float(prices.cost({"cells": 10_000.0, "umis": 2000.0}))
    more = (paid + 100) / (prices.cell + prices.molecule * 2000)
    theta = {k: np.array(v) for k, v in JOINT.items()}
    y = [float(NoiseAndCells().predict({"depth": np.array(2000.0), "cells": np.array(n)}, theta)) for n in (1e4, more)]
    assert found.frame.set_index("column").loc["cells", "gain"] == pytest.approx((y[1] - y[0]) / 100, rel=1e-6)


def test_a_model_that_has_seen_enough_limits_itself_and_a_close_call_is_left_open():
    assert limits(joint(0.01, n_bar=1e-6, u_bar=1.0), Flat()).verdict == "model"
    assert limits(joint(0.6), Flat()).verdict == "cannot tell"


def test_the_present_can_be_given():
    found = limits(joint(), Flat(), at={"cells": 100.0})
    assert found.levels == {"umis": 2000.0, "cells": 100.0}
    with pytest.raises(DesignError, match="'genes' is no input of this law; its inputs are umis, cells"):
        limits(joint(), Flat(), at={"genes": 5.0})
