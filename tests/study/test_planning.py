import numpy as np
import pandas as pd
import pytest

from sclaws.design.prices import Prices
from sclaws.errors import DesignError
from sclaws.study.planning import follow, plan

PRICES = """
currency = "EUR"
[cells]
price = 0.1
[depth]
price_per_million_umis = 100
"""
WORDS = {
    "dataset": {"use": "simulated-tissue", "n_cells": 900, "n_genes": 60},
    "models": ["pca"],
    "signals": {"use": "obsm", "key": "protein"},
    "scores": "gaussian",
    "engine": "serial",
    "replicates": 1,
}


@pytest.fixture
def prices(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(PRICES)
    return path


def test_a_study_follows_its_own_suggestions_and_trains_nothing_twice(tmp_path, prices):
    cells, umis = (v.ravel() for v in np.meshgrid([60, 120, 240, 480], [10.0, 20.0, 40.0, 80.0]))
    every = pd.DataFrame({"umis_per_cell": umis, "n_cells": cells})
    first = every[(every["n_cells"] <= 240) & (every["umis_per_cell"] <= 40)].reset_index(drop=True)
    said = []

    def go():
        return follow(
            WORDS | {"out": str(tmp_path / "out")}, first, every, Prices.read(prices), 500.0, money=300.0, regret=0.0,
            folder=tmp_path, at_once=3, said=said.append,
        )  # fmt: skip

    fit, found, rows = go()
    assert len(first) < len(rows) <= len(every)
    assert not rows[["n_cells_level", "umis_per_cell_level"]].duplicated().any()
    assert len(said) >= 2 and found.cost <= 500.0 * (1 + 1e-9)
    trained = {p: p.stat().st_mtime_ns for p in (tmp_path / "out" / "trials").rglob("*") if p.is_file()}
    assert go()[2]["run"].tolist() == rows["run"].tolist()
    assert {p: p.stat().st_mtime_ns for p in trained} == trained

    # and the verb reads what is in the folder
    designs, folder = plan(
        tmp_path / "out", prices, None, budget=500.0, target="50%", law="noise-and-cells", x="", y="", by="",
        replicate=None, k=2, seed=0,
    )  # fmt: skip
    assert folder == tmp_path / "out" / "design" and (folder / "design.svg").is_file()
    assert designs.designs[0].plan is not None and "pca" in str(designs)
    assert fit.value["i_inf"] == pytest.approx(designs.designs[0].fit.value["i_inf"], rel=0.5)


def test_a_table_must_be_told_what_y_is(tmp_path, prices):
    path = tmp_path / "mi.csv"
    pd.DataFrame({"umis_per_cell": [1.0, 2.0], "n_cells": [1.0, 2.0], "mi": [0.1, 0.2]}).to_csv(path, index=False)
    with pytest.raises(DesignError, match="--y is missing"):
        plan(
            path, prices, None, budget=1.0, target=None, law="noise-and-cells", x="", y="", by="", replicate=None, k=0,
            seed=0,
        )  # fmt: skip
