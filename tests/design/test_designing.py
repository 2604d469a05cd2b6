import numpy as np
import pandas as pd
import pytest

from sclaws.design.designing import design
from sclaws.design.prices import Prices
from sclaws.errors import DesignError
from sclaws.fit import fit
from sclaws.laws.noise import Noise
from sclaws.laws.noise_and_cells import NoiseAndCells

THETA = {"i_0": 0.0, "i_inf": 3.0, "u_bar": 800.0, "n_bar": 3000.0, "s": 0.6}
PRICES = """
currency = "EUR"
fixed = 200
[cells]
price = 0.1
[depth]
price_per_million_umis = 100
"""


@pytest.fixture
def prices(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(PRICES)
    return Prices.read(path)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(0)
    depth, cells, replicate = (
        v.ravel() for v in np.meshgrid(np.geomspace(20, 3000, 6), np.geomspace(100, 10_000, 5), [0, 1], indexing="ij")
    )
    frames = []
    for model, ceiling in (("small", 1.2), ("large", 3.0)):
        theta = {k: np.array(v) for k, v in (THETA | {"i_inf": ceiling}).items()}
        bits = NoiseAndCells().predict({"depth": depth, "cells": cells}, theta)
        noisy = bits + 0.03 * rng.normal(size=len(bits))
        frames.append(
            pd.DataFrame(
                {"model": model, "umis_per_cell": depth, "n_cells": cells, "replicate": replicate, "bits": noisy}
            )
        )
    return pd.concat(frames, ignore_index=True)


@pytest.fixture(scope="module")
def fits(table):
    return fit(table, NoiseAndCells(), ["umis_per_cell", "n_cells"], "bits", "model", pool=False)


def test_every_question_is_answered_in_plain_sentences(fits, prices, tmp_path):
    found = design(fits, prices, budget=5000.0, target="50%", k=3)
    text = str(found)
    for said in ("small", "large", "The best for", "The cheapest way to bits", "Next runs", "best buy in", "Assumed:"):
        assert said in text
    assert "e+0" not in text  # a biologist's numbers
    large = found.designs[0]
    assert large.plan.cost <= 5000.0 * (1 + 1e-9)
    assert large.plan.y_low <= large.plan.y <= large.plan.y_high
    assert large.way.target == pytest.approx(0.5 * large.fit.value["i_inf"])
    assert (found.front.groupby("model")["y"].apply(lambda y: np.diff(y).min()) > -0.05).all()
    folder = found.write(tmp_path / "out")
    assert sorted(p.name for p in folder.iterdir()) == [
        "design.csv", "design.svg", "front.csv", "limits.csv", "next.csv",
    ]  # fmt: skip
    assert pd.read_csv(folder / "design.csv").groupby("question").size().to_dict() == {"budget": 2, "target": 2}
    assert (folder / "design.svg").read_text().startswith("<svg")


def test_a_question_without_an_answer_leaves_the_others(fits, prices):
    found = design(fits, prices, budget=5000.0, target=2.5)
    large, small = found.designs
    assert small.way is None and large.way is not None
    assert "no umis_per_cell or n_cells reaches 2.5: the model's ceiling is 1." in "".join(small.notes)
    assert small.plan is not None


def test_what_limits_agrees_with_the_law_that_was_simulated(fits, prices):
    """At 3,000 UMI and 10,000 cells the noises of depth and cells are .27 and .49 of the model's own."""
    limits = design(fits, prices).designs[0].limits
    theta = {k: np.array(v) for k, v in THETA.items()}

    def bits(depth, cells):
        return float(NoiseAndCells().predict({"depth": np.array(depth), "cells": np.array(cells)}, theta))

    paid = 200 + 1e4 * (0.1 + 1e-4 * 3000)
    extra = 0.1 * paid
    deeper = bits(3000 + extra / 1e4 / 1e-4, 1e4) - bits(3000, 1e4)
    more = bits(3000, 1e4 + extra / 0.4) - bits(3000, 1e4)
    gain = limits.frame.set_index("column")
    assert limits.extra == pytest.approx(extra)
    for column, truth in (("umis_per_cell", deeper), ("n_cells", more)):
        low, high = (extra * gain.loc[column, side] for side in ("low", "high"))
        assert low <= truth <= high


def test_a_law_of_depth_alone_and_a_price_that_is_missing(table, prices, tmp_path):
    one = table[(table["model"] == "large") & (table["n_cells"] == 10_000)]
    fits = fit(one, Noise(), "umis_per_cell", "bits")
    with pytest.raises(DesignError, match="n_cells"):
        design(fits, prices, budget=5000.0)  # how many cells are paid for?
    path = tmp_path / "cells.toml"
    path.write_text('currency = "EUR"\n[cells]\nprice = 0.1\n')
    with pytest.raises(DesignError, match="the prices say nothing of 'umis_per_cell', which the law needs"):
        design(fits, Prices.read(path))


@pytest.mark.parametrize(
    ("target", "told"),
    [("120%", "between 0% and 100%"), ("much", "'much' is no number"), (float("nan"), "is no number")],
)
def test_targets_that_mean_nothing_are_refused(fits, prices, target, told):
    with pytest.raises(DesignError, match=told):
        design(fits, prices, target=target)


def test_a_curve_without_an_answer_does_not_take_the_others_with_it(table, tmp_path):
    """One was measured deeper than a library as poor as this one goes; of another there are three points."""
    deep = table[table["model"] == "large"].assign(model="deep")
    deep["umis_per_cell"] *= 10
    few = table[table["model"] == "small"].head(3).assign(model="few")
    fits = fit(
        pd.concat([table, deep, few]), NoiseAndCells(), ["umis_per_cell", "n_cells"], "bits", "model", pool=False
    )
    path = tmp_path / "prices.toml"
    path.write_text(
        'currency = "EUR"\n[cells]\nprice = 0.1\n[depth]\nprice_per_million_reads = 2\nmolecules = 9000\nusable = 0.5\n'
    )
    found = design(fits, Prices.read(path), budget=5000.0)
    assert {each.name for each in found.designs} == {"small", "large", "deep"}
    assert found.left_out[0].startswith("few: ")
    assert "few: " in str(found)
    lost = next(each for each in found.designs if each.name == "deep")
    assert lost.limits is None and "what limits now cannot be said" in lost.notes[0]
    assert lost.plan.choices["umis_per_cell"].value < 9000
    assert {row["model"] for row in found.plain["design"]} == {"small", "large", "deep"}


def test_what_is_free_is_refused(fits, tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text('currency = "EUR"\n[cells]\nprice = 0\n[depth]\nprice_per_million_umis = 0\n')
    with pytest.raises(DesignError, match="costs nothing: give a price"):
        design(fits, Prices.read(path), budget=5000.0)


def test_a_column_that_the_plan_needs_is_refused(table, prices):
    fits = fit(
        table.rename(columns={"model": "cost"}),
        NoiseAndCells(),
        ["umis_per_cell", "n_cells"],
        "bits",
        "cost",
        pool=False,
    )
    with pytest.raises(DesignError, match="called 'cost', as one of the plan's: rename it"):
        design(fits, prices)
