"""The frontier by a law and by isoFLOP readings: exact runs give the truth back, intervals are what they claim."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sclaws.design.frontier import compare, frontier, isoflop
from sclaws.errors import DesignError, TableError
from sclaws.fit import fit
from sclaws.laws.chinchilla import Chinchilla
from sclaws.laws.noise import Noise

LAW = Chinchilla()
TRUTH = {"e": 1.817, "a": 482.0, "b": 2085.0, "alpha": 0.348, "beta": 0.366}  # Besiroglu et al. 2024
SKEW = {"e": 3.169, "a": 215886.0, "b": 4750.0, "alpha": 0.684, "beta": 0.439}  # SODA, in Czech et al. 2026
BUDGETS = np.geomspace(6e18, 3e21, 5)


def runs(truth=TRUTH, sd=0.0, seed=0, sizes=7, wide=6.0, budgets=BUDGETS):
    """Sizes about the best at each budget, with errors of log loss."""
    centre = LAW.frontier(budgets, truth)[0]
    size = centre[:, None] * np.geomspace(1 / wide, wide, sizes)
    data = budgets[:, None] / 6 / size
    noise = sd * np.random.default_rng(seed).standard_normal(size.shape)
    loss = LAW.predict({"size": size, "data": data}, truth) * np.exp(noise)
    return pd.DataFrame({"size": size.ravel(), "data": data.ravel(), "loss": loss.ravel()})


def fitted(table, n_draws=199, **more):
    how = {"criterion": "log", "held_out": np.zeros(len(table), bool), "n_draws": n_draws}
    return fit(table, LAW, ["size", "data"], "loss", **how, **more)[0]


@pytest.fixture(scope="module")
def noisy():
    return fitted(runs(sd=0.005))


# ── by a law ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_exact_runs_give_the_true_frontier_back():
    found = frontier(fitted(runs()), [1e20, 3e23])
    size, data = LAW.frontier(np.array([1e20, 3e23]), TRUTH)
    np.testing.assert_allclose(found.frame["size"], size, rtol=1e-6)
    np.testing.assert_allclose(found.frame["data"], data, rtol=1e-6)
    np.testing.assert_allclose(found.frame["loss"], LAW.predict({"size": size, "data": data}, TRUTH), rtol=1e-8)
    np.testing.assert_allclose(found.frame["times_data"], [1 / 30, 100], rtol=1e-9)
    assert found.a.value == pytest.approx(0.366 / 0.714, rel=1e-6)
    assert found.b.value == pytest.approx(0.348 / 0.714, rel=1e-6)


def test_intervals_are_those_of_the_joint_draws(noisy):
    """Of 199 draws the fifth and the fifth from the end are the 2.5 % and 97.5 % limits."""
    found = frontier(noisy, 1e23)
    draws = {name: noisy.draws[name].to_numpy() for name in TRUTH}
    each = np.sort(LAW.frontier(np.array(1e23), draws)[0])
    assert found.frame.loc[0, "size_low"] == pytest.approx(each[4], rel=1e-12)
    assert found.frame.loc[0, "size_high"] == pytest.approx(each[-5], rel=1e-12)
    shares = np.sort(draws["beta"] / (draws["alpha"] + draws["beta"]))
    assert (found.a.low, found.a.high) == pytest.approx((shares[4], shares[-5]), rel=1e-9)
    assert (found.b.low, found.b.high) == pytest.approx((1 - found.a.high, 1 - found.a.low), rel=1e-12)


def test_a_budget_in_cells_is_the_same_as_one_in_their_tokens(noisy):
    cells = fitted(runs(sd=0.005).assign(data=lambda t: t["data"] / 2048))
    by_cell, by_token = frontier(cells, 1e23, tokens=2048), frontier(noisy, 1e23)
    assert by_cell.frame.loc[0, "size"] == pytest.approx(by_token.frame.loc[0, "size"], rel=1e-5)
    assert by_cell.frame.loc[0, "data"] * 2048 == pytest.approx(by_token.frame.loc[0, "data"], rel=1e-5)
    assert by_cell.largest == pytest.approx(by_token.largest, rel=1e-9) == pytest.approx(3e21)


def test_where_the_law_is_not_identifiable_sizes_have_no_interval():
    found = frontier(fitted(runs(sd=0.1, seed=2, sizes=3, budgets=BUDGETS[:3])), 1e23)
    assert not found.fit.closed
    assert (found.frame.loc[0, "size_low"], found.frame.loc[0, "size_high"]) == (0, np.inf)
    assert (found.a.low, found.b.high) == (-np.inf, np.inf)
    assert "not all parameters are identifiable" in found.text.lower()


def test_the_text_says_exponents_sizes_and_how_far_beyond(noisy):
    text = frontier(noisy, [1e20, 3e23]).text
    assert "C^0.5" in text
    assert "100 times the largest run that was fitted" in text
    assert text.count("times the largest") == 1  # the first budget lies within the data


def test_held_out_runs_are_no_data():
    table = runs(sd=0.005)
    some = fit(table, LAW, ["size", "data"], "loss", held_out=table["data"] * table["size"] > 4e20, n_draws=50)[0]
    assert frontier(some, 1e23).largest == pytest.approx(BUDGETS[BUDGETS < 3e21].max(), rel=1e-9)


@pytest.mark.parametrize("flop", [0, -1e20, np.nan, [], [[1e20]]])
def test_budgets_are_positive(noisy, flop):
    with pytest.raises(DesignError, match="positive numbers of FLOP"):
        frontier(noisy, flop)


def test_what_has_no_frontier_is_refused(noisy):
    with pytest.raises(DesignError, match="39: fit with n_draws=200"):
        frontier(dataclasses.replace(noisy, draws=noisy.draws[:10]), 1e20)
    with pytest.raises(DesignError, match="nothing was fitted"):
        frontier(dataclasses.replace(noisy, value={}), 1e20)
    with pytest.raises(DesignError, match="noise has no frontier of size and data"):
        frontier(dataclasses.replace(noisy, law=Noise()), 1e20)
    with pytest.raises(DesignError, match="tokens 0 must be a positive number"):
        frontier(noisy, 1e20, tokens=0)


# ── readings ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def parabolas(sizes=5, sd=0.0, seed=0, budgets=BUDGETS, a=0.47):
    """Parabolas in log size whose minima are C^a; sizes are not centred on them."""
    p = 2 * budgets[:, None] ** a * np.geomspace(0.2, 8, sizes)
    noise = sd * np.random.default_rng(seed).standard_normal(p.shape)
    loss = 2 + 0.05 * np.log(p / (2 * budgets[:, None] ** a)) ** 2 + noise
    return pd.DataFrame({"size": p.ravel(), "flop": np.repeat(budgets, sizes), "loss": loss.ravel()})


@pytest.mark.parametrize("degree", [2, 3])
def test_exact_parabolas_give_minima_and_exponent_back(degree):
    found = isoflop(parabolas(), flop="flop", degree=degree)
    assert (found.frame["state"] == "read").all()
    np.testing.assert_allclose(found.frame["size"], 2 * BUDGETS**0.47, rtol=1e-7)
    np.testing.assert_allclose(found.frame["data"], BUDGETS**0.53 / 12, rtol=1e-7)
    np.testing.assert_allclose(found.frame["loss"], 2, rtol=1e-9)
    assert found.a.value == pytest.approx(0.47, abs=1e-8)
    assert found.b.value == pytest.approx(0.53, abs=1e-8)
    np.testing.assert_allclose(found.at([1e24]).loc[0, ["size", "data"]], [2e24**0.47 * 2**0.53, 1e24**0.53 / 12])


def test_a_parabola_errs_by_the_known_shift_and_a_cubic_by_less():
    """Czech et al. 2026: about the optimum of the law the vertex is off by a factor that no budget changes."""
    z = np.linspace(-np.log(6), np.log(6), 9)
    skew = SKEW["beta"] / SKEW["alpha"] * np.exp(-SKEW["alpha"] * z) + np.exp(SKEW["beta"] * z)
    second = (len(z) * (z**2 * skew).sum() - (z**2).sum() * skew.sum()) / (len(z) * (z**4).sum() - (z**2).sum() ** 2)
    shift = -(z * skew).sum() / (z**2).sum() / 2 / second
    truth = LAW.frontier(BUDGETS, SKEW)[0]
    found = isoflop(runs(SKEW, sizes=9), data="data")
    np.testing.assert_allclose(np.log(found.frame["size"] / truth), shift, rtol=1e-6)
    assert abs(shift) > 0.05
    assert found.a.value == pytest.approx(0.439 / 1.123, abs=1e-7)
    cubic = isoflop(runs(SKEW, sizes=9), data="data", degree=3)
    assert np.abs(np.log(cubic.frame["size"] / truth)).max() < abs(shift) / 5


@pytest.mark.parametrize("degree", [2, 3])
def test_at_the_ends_of_an_interval_the_slope_is_zero_at_p_005(degree):
    """Student's test of the linear term, about each end; by least squares of numpy."""
    table = parabolas(sizes=12, sd=0.01, budgets=np.array([1e20]))
    found = isoflop(table, flop="flop", degree=degree).frame.iloc[0]
    for end in ("size_low", "size_high"):
        powers = np.vander(np.log(table["size"] / found[end]), degree + 1, increasing=True)
        coefficients, rest = np.linalg.lstsq(powers, table["loss"].to_numpy())[:2]
        freedom = len(table) - degree - 1
        error = np.sqrt(rest[0] / freedom * np.linalg.inv(powers.T @ powers)[1, 1])
        assert 2 * stats.t.sf(abs(coefficients[1] / error), freedom) == pytest.approx(0.05, abs=1e-6)
    assert found["size_low"] < found["size"] < found["size_high"]


def test_budgets_without_a_minimum_are_open_and_left_out():
    table = parabolas(sd=1e-4)
    up = table["flop"] == BUDGETS[0]
    down = table["flop"] == BUDGETS[1]
    bent = table["flop"] == BUDGETS[2]
    table.loc[up, "loss"] = 2 + 0.05 * np.log(table.loc[up, "size"] / table.loc[up, "size"].max() / 3) ** 2
    table.loc[down, "loss"] = 2 + 0.05 * np.log(table.loc[down, "size"] / table.loc[down, "size"].min() * 3) ** 2
    table.loc[bent, "loss"] = 4 - table.loc[bent, "loss"]
    found = isoflop(table, flop="flop")
    assert "largest size" in found.frame["state"][0]
    assert "smallest size" in found.frame["state"][1]
    assert "no minimum" in found.frame["state"][2]
    assert found.frame["size"][:3].isna().all()
    assert (found.frame["state"][3:] == "read").all()
    assert found.a.value == pytest.approx(0.47, abs=0.01)
    assert found.text.count("left out: open") == 3
    assert "read at 2 of 5 budgets" in found.text


def test_a_curve_may_as_well_have_no_minimum():
    found = isoflop(parabolas(sd=1.0, seed=5), flop="flop")
    assert found.frame["state"].str.startswith("open").any()
    assert found.frame["state"].str.contains("no clear minimum").any()


def test_too_few_sizes_are_open_and_a_single_reading_has_no_line():
    found = isoflop(parabolas()[:7], flop="flop")  # five sizes at one budget, two at the next
    assert found.frame["state"].tolist() == ["read", "open: 2 sizes, and 3 are the least"]
    assert found.a is None is found.b
    assert "Two are the least for an exponent" in found.text
    with pytest.raises(DesignError, match="fewer than two budgets could be read"):
        found.at(1e20)


def test_three_sizes_a_budget_leave_nothing_to_judge_errors_by():
    found = isoflop(parabolas(sizes=3), flop="flop")
    np.testing.assert_allclose(found.frame["size"], 2 * BUDGETS**0.47, rtol=1e-7)
    assert np.isinf(found.frame["size_high"]).all()
    assert found.a.value == pytest.approx(0.47, abs=1e-8)


def test_one_wild_run_spoils_its_own_budget_alone():
    table = parabolas(sizes=9, sd=0.002)
    wild = table.copy()
    wild.loc[4, "loss"] += 2
    clean, found = isoflop(table, flop="flop").frame, isoflop(wild, flop="flop").frame
    width = [np.log(one["size_high"] / one["size_low"])[1:] for one in (found, clean)]
    assert (width[0] < 1.5 * width[1]).all()


def test_budgets_are_parted_where_the_next_is_clearly_larger():
    table = parabolas().assign(data=lambda t: t["flop"] / 6 / t["size"] * np.tile([0.96, 1, 1.04, 0.98, 1.02], 5))
    found = isoflop(table.drop(columns="flop"), data="data")
    assert found.frame["runs"].tolist() == [5] * 5
    np.testing.assert_allclose(found.frame["flop"], BUDGETS, rtol=0.01)
    everywhere = pd.DataFrame({"size": np.geomspace(1e7, 1e9, 60), "data": 1e9, "loss": 2.0 + np.arange(60)})
    with pytest.raises(DesignError, match="no gap of 10 % parts them"):
        isoflop(everywhere, data="data")


def test_what_cannot_be_read_is_refused():
    table = parabolas()
    with pytest.raises(DesignError, match="one of the two"):
        isoflop(table)
    with pytest.raises(DesignError, match="degree 4 is not valid"):
        isoflop(table, flop="flop", degree=4)
    with pytest.raises(DesignError, match="tolerance -1 must be a positive number"):
        isoflop(table, flop="flop", tolerance=-1)
    with pytest.raises(DesignError, match="column 'size' has values of 0"):
        isoflop(table.assign(size=np.r_[0.0, table["size"][1:]]), flop="flop")
    with pytest.raises(TableError, match="has no column 'params'"):
        isoflop(table, size="params", flop="flop")


def test_lopsided_curves_are_said_and_straight_ones_are_not():
    assert isoflop(parabolas(sizes=9, sd=0.002), flop="flop").lopsided > 0.01
    stiff = isoflop(runs(SKEW, sd=0.001, sizes=9), data="data")
    assert stiff.lopsided < 1e-6
    assert "degree=3" in stiff.text
    assert isoflop(runs(SKEW, sd=0.001, sizes=9), data="data", degree=3).lopsided > 0.01


# ── side by side ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_law_and_readings_of_its_own_runs_agree(noisy):
    found = compare(frontier(noisy, [1e20, 3e21]), isoflop(runs(sd=0.005), data="data"))
    assert found.frame["agree"].all()
    assert (found.frame["cost"] >= 0).all()
    assert not found.warnings
    assert "Their intervals overlap." in found.text
    row = found.frame.iloc[1]
    by_hand = [
        noisy.law.predict({"size": s, "data": 3e21 / 6 / s}, noisy.value) for s in (row["isoflop_size"], row["size"])
    ]
    assert row["cost"] == pytest.approx(by_hand[0] - by_hand[1], rel=1e-9)


def test_budgets_beyond_the_data_are_warned_of(noisy):
    found = compare(frontier(noisy, [1e20, 3e23]), isoflop(runs(sd=0.005)[:28], data="data"))
    assert found.frame["times_data"].tolist() == pytest.approx([1 / 30, 100])
    assert found.frame["times_isoflop"].tolist() == pytest.approx([1e20 / BUDGETS[3], 3e23 / BUDGETS[3]])
    assert any("3e+23 FLOP is 100 times the largest run that was fitted" in said for said in found.warnings)
    assert any("times the largest budget that was read" in said for said in found.warnings)


def test_a_law_and_readings_of_other_runs_disagree(noisy):
    other = TRUTH | {"alpha": 0.25, "a": 150.0}
    found = compare(frontier(noisy, [1e20, 3e21]), isoflop(runs(other, sd=0.002, sizes=9), data="data"))
    assert any(said.startswith("the exponents of size disagree") for said in found.warnings)
    assert not found.frame["agree"].all()
    assert any("the best sizes disagree at" in said and "3e+21 FLOP" in said for said in found.warnings)
    assert "overlap" not in found.text
    assert found.text.count("Warning:") == len(found.warnings)


# ── published ────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def epoch(shared):
    """The 245 points that Epoch read off Hoffmann et al.'s figure, fewest tokens a parameter first."""
    raw = pd.read_csv(shared / "published" / "language" / "chinchilla_245.csv")
    size = raw["Model Size"]
    made = pd.DataFrame({"size": size, "data": raw["Training FLOP"] / (6 * size), "loss": raw["loss"]})
    return made.iloc[np.argsort(made["data"] / made["size"])].reset_index(drop=True)


@pytest.fixture(scope="module")
def published(shared):
    """Rows of one experiment of the published isoFLOP tables."""
    table = pd.read_csv(shared / "published" / "language" / "isoflops.csv")

    def of(name):
        return table.loc[table["experiment"] == name, ["params", "tokens", "budget", "loss", "outlier"]]

    return of


def test_240_points_give_the_printed_exponent_and_the_five_others_move_it(epoch):
    """Besiroglu et al. 2024 print alpha .348 and beta .366; with the five points of fewest tokens beta is .453."""
    without = frontier(fitted(epoch[5:].reset_index(drop=True), loss="huber"), 5.76e23)
    assert without.a.value == pytest.approx(0.366 / 0.714, abs=0.003)
    assert without.a.low < 0.49 < without.a.high  # approach 2 of Hoffmann et al., table 2
    assert not without.a.low < 0.46 < without.a.high  # their approach 3, which the replication refutes
    with_them = frontier(fitted(epoch, loss="huber"), 5.76e23)
    assert with_them.a.value == pytest.approx(0.453 / (0.453 + 0.349), abs=0.005)


def test_readings_of_chinchillas_curves_hold_the_published_exponent(published):
    table = published("epochai_chinchilla__massivetext__chinchilla")
    some = table[~table["outlier"]].drop(columns="outlier")
    found = isoflop(some, "params", flop="budget", degree=2)
    assert (found.frame["state"] == "read").all()
    assert found.a.low < 0.49 < found.a.high  # table 2 of Hoffmann et al.
    assert isoflop(some, "params", flop="budget", degree=3).a.value == pytest.approx(0.49, abs=0.02)


def test_readings_of_llama_3_hold_the_published_exponents(published):
    table = published("llama_3__exp_loss").drop(columns="outlier")
    found = isoflop(table, "params", flop="budget")
    assert found.b.low < 0.53 < found.b.high  # Grattafiori et al. 2024: tokens grow as C^.53
    assert found.a.low < 0.463 < found.a.high  # Czech et al. 2026: every budget counts alike there
    parts = [(np.log(c), np.polyfit(np.log(g["params"]), g["loss"], 2)) for c, g in table.groupby("budget")]
    plain = np.polyfit([c for c, _ in parts], [-k[1] / 2 / k[0] for _, k in parts], 1)[0]
    assert plain == pytest.approx(0.4632, abs=1e-4)
    read = (found.frame["state"] == "read").to_numpy()
    vertex = np.array([np.exp(-k[1] / 2 / k[0]) for _, k in parts])
    np.testing.assert_allclose(found.frame["size"][read], vertex[read], rtol=1e-6)


def test_where_sizes_reach_far_parabolas_are_said_to_be_biased_and_cubics_follow_the_law(published):
    """Czech et al. 2026 call parabolas biased where exponents differ, as Marin's do."""
    table = published("marin_202603__dclm__llama_2")
    some = table[~table["outlier"]].drop(columns="outlier").reset_index(drop=True)
    law = frontier(fitted(some.rename(columns={"params": "size", "tokens": "data"}), loss="huber"), [4e20, 4e22])
    parabola, cubic = (compare(law, isoflop(some, "params", flop="budget", degree=k)) for k in (2, 3))
    assert any("lopsided" in said for said in parabola.warnings)
    assert (cubic.frame["cost"] < parabola.frame["cost"] / 2).all()
    assert cubic.frame["agree"].all()
    assert not any("lopsided" in said or "disagree" in said for said in cubic.warnings)


# ── simulated truth ──────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.slow
@pytest.mark.parametrize("truth", [TRUTH, SKEW], ids=["even", "skew"])
@pytest.mark.parametrize("sd", [0.005, 0.02])
def test_intervals_of_the_size_at_100_times_the_compute_hold_the_truth(truth, sd):
    """93 to 97 % of 500 simulations; the binomial error of .95 is .010. 2,000 of more cases: benchmarks/frontier.py."""
    n, flop = 500, 3e21 * np.array([10.0, 100.0])
    tables = [runs(truth, sd, seed).assign(curve=seed) for seed in range(n)]
    table = pd.concat(tables, ignore_index=True)
    held_out = np.zeros(len(table), bool)
    fits = fit(table, LAW, ["size", "data"], "loss", by="curve", criterion="log", held_out=held_out)
    found = [frontier(one, flop).frame for one in fits]
    true = LAW.frontier(flop, truth)[0]
    held = np.mean([(one["size_low"] <= true) & (true <= one["size_high"]) for one in found], axis=0)
    slack = 2 * np.sqrt(0.95 * 0.05 / n)
    assert (held > 0.93 - slack).all() and (held < 0.97 + slack).all(), held


@pytest.mark.slow
def test_intervals_of_minima_and_exponent_hold_the_truth():
    """Exact parabolas, 1,000 simulations: the binomial error of .95 is .007."""
    found = [isoflop(parabolas(sizes=7, sd=0.004, seed=seed), flop="flop") for seed in range(1000)]
    truth = 2 * BUDGETS**0.47
    minima = np.mean([(one.frame["size_low"] <= truth) & (truth <= one.frame["size_high"]) for one in found])
    exponent = np.mean([one.a.low <= 0.47 <= one.a.high for one in found])
    assert 0.93 < minima < 0.97
    assert 0.93 < exponent < 0.97
