"""Tables that once were given a verdict they do not deserve, or none: each with what is true of it."""

import numpy as np
import pandas as pd
import pytest

from sclaws.errors import FitError, TableError
from sclaws.fit import fit
from sclaws.laws.chinchilla import Chinchilla
from sclaws.laws.logistic import Logistic
from sclaws.laws.noise import Noise
from sclaws.laws.noise_and_cells import NoiseAndCells
from sclaws.table import Table


def curve(levels, repeats: int = 3, noise: float = 0.03, seed: int = 0, i_max: float = 2.0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    u = np.repeat(np.asarray(levels, dtype=float), repeats)
    y = Noise().predict({"depth": u}, {"i_max": i_max, "u_bar": 300.0}) + rng.normal(0, noise, len(u))
    return pd.DataFrame({"umi": u, "mi": y, "rep": np.tile(np.arange(repeats), len(levels))})


@pytest.mark.parametrize("criterion", ["linear", "log"])
def test_a_curve_that_is_well_known_is_identified_by_either_criterion(criterion):
    """At the edge of the search the law is 0, and its logarithm is not finite: that end is closed all the more."""
    one = fit(curve(np.geomspace(20, 20000, 10)), Noise(), x="umi", y="mi", replicate="rep", criterion=criterion)[0]
    assert one.verdict.startswith(("follows the law", "saturated"))
    size, data = (v.ravel() for v in np.meshgrid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e8, 1e11, 6)))
    theta = {"e": 1.8, "a": 480.0, "b": 2000.0, "alpha": 0.35, "beta": 0.37}
    loss = Chinchilla().predict({"size": size, "data": data}, theta)
    table = pd.DataFrame({"p": size, "d": data, "loss": loss})
    assert fit(table, Chinchilla(), x=["p", "d"], y="loss", criterion=criterion)[0].closed


def test_a_law_of_one_input_is_not_fitted_to_two():
    table = curve(np.geomspace(20, 20000, 10)).assign(cells=100.0)
    with pytest.raises(
        FitError, match=r"noise needs 1 inputs \(depth\); x names 2 .*at several cells are told apart by"
    ):
        fit(table, [Noise(), NoiseAndCells()], x=["umi", "cells"], y="mi", replicate="rep")
    with pytest.raises(FitError, match="x names column 'umi' twice"):
        fit(table, NoiseAndCells(), x=["umi", "umi"], y="mi", replicate="rep")


@pytest.mark.parametrize("replicate", ["rep", None])
def test_two_levels_cannot_test_a_law_of_two_parameters(replicate):
    one = fit(curve([10, 10000]), Noise(), x="umi", y="mi", replicate=replicate)[0]
    assert one.verdict == "underpowered: 2 levels cannot test a law of 2 parameters"
    assert one.value["i_max"] > 0


def test_a_step_is_not_the_noise_law():
    """Half the levels at .2 bits and half at 1.5: no smooth law comes near, and the repeats say so."""
    table = curve(np.geomspace(20, 20000, 10))
    rng = np.random.default_rng(1)
    table["mi"] = np.where(table["umi"] < 300, 0.2, 1.5) + rng.normal(0, 0.05, len(table))
    one = fit(table, Noise(), x="umi", y="mi", replicate="rep")[0]
    assert one.verdict.startswith("no law: levels depart from it further than their repeats scatter (R² 0.8")


@pytest.mark.parametrize("name", ["k", "k_low", "note", "best", "law", "y", "held_out"])
def test_columns_that_are_called_as_results_are(name: str):
    table = curve(np.geomspace(20, 20000, 10)).assign(**{name: "a"})
    with pytest.raises(FitError, match=f"column '{name}' is called as a column of the results is: rename it"):
        fit(table, Logistic(), x="umi", y="mi", by=name, replicate="rep")


def test_a_curve_of_too_many_levels_is_refused_before_memory_runs_out():
    table = pd.DataFrame({"umi": np.geomspace(1, 1e6, 20_000), "mi": np.linspace(0, 2, 20_000)})
    with pytest.raises(TableError, match="a curve has 20,000 different values of umi, and 5,000 are the most"):
        fit(table, Noise(), x="umi", y="mi")


def test_yes_and_no_are_no_numbers():
    table = curve(np.geomspace(20, 20000, 10))
    with pytest.raises(TableError, match="column 'mi' holds True and False"):
        fit(table.assign(mi=table["mi"] > 1), Noise(), x="umi", y="mi", replicate="rep")


def test_a_column_of_text_called_baseline_is_not_used_unasked():
    table = curve(np.geomspace(20, 20000, 10)).assign(baseline="pca")
    assert fit(table, Noise(), x="umi", y="mi", replicate="rep")[0].value


@pytest.mark.parametrize(
    ("text", "encoding", "match"),
    [
        ("umi;mi\n1;2\n", "utf-8", "has one column, 'umi;mi': it is parted by semicolons; .csv means commas"),
        ("umi,mi,mi\n1,2,3\n", "utf-8", "has two columns called 'mi': rename or remove one"),
        ("umi\tmi\n1\t2\n", "utf-8", "it is parted by tabs"),
        ("umi,größe\n1,2\n", "latin-1", "is not UTF-8 text .*: save it as UTF-8"),
    ],
)
def test_files_of_another_dialect(text: str, encoding: str, match: str, tmp_path):
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    with pytest.raises(TableError, match=match):
        Table.read(tmp_path / "t.csv")


def test_a_scale_that_may_be_any_is_open():
    """Cells from 100 to 1,000 of a law whose scale is a million: the prior alone would give it an upper end."""
    rng = np.random.default_rng(0)
    umi, cells = (v.ravel() for v in np.meshgrid(np.geomspace(50, 500, 6), np.geomspace(100, 1000, 5)))
    theta = {"i_0": 0.0, "i_inf": 4.0, "u_bar": 300.0, "n_bar": 1e6, "s": 0.3}
    mi = NoiseAndCells().predict({"depth": umi, "cells": cells}, theta) + rng.normal(0, 0.03, len(umi))
    one = fit(pd.DataFrame({"umi": umi, "cells": cells, "mi": mi}), NoiseAndCells(), x=["umi", "cells"], y="mi")[0]
    assert one.high["n_bar"] / one.value["n_bar"] < 100 or one.high["n_bar"] == np.inf
    assert one.low["n_bar"] < 1e6 < one.high["n_bar"]
