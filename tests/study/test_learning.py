"""Learning curves and times stand beside the table: one row a check, one row a trial, in a fixed order."""

import json
from pathlib import Path

import pandas as pd

from sclaws.study import Study

MODEL = """
import numpy as np
class Learns:
    n_params = 7
    def __init__(self, checks): self.checks = checks
    def fit(self, train, valid, *, seed):
        self.history = [
            {"update": 10 * i, "n_cells": train.n_obs * i, "loss": 1 / i if i != 2 else np.inf}
            for i in range(1, self.checks + 1)
        ]
        self.speed = {"cells_per_second": 1e4 * self.checks}
        return self
    def embed(self, view): return view.totals[:, None]
"""


def studied(study: Path) -> Study:
    (study.parent / "learns.py").write_text(MODEL)
    models = '[{ use = "learns.py:Learns", checks = 3 }, "random-projection"]'
    study.write_text(study.read_text().replace('["random-projection", { use = "pca", dim = 4 }]', models))
    return Study.read(study)


def test_learning_curves_and_times_are_written(study: Path) -> None:
    opened = studied(study)
    result = opened.run(progress=False)
    frame = pd.read_csv(opened.out / "learning.csv")
    assert list(frame)[:4] == ["trial", "dataset", "model", "replicate"]
    assert len(frame) == 3 * 2 * 4  # checks, replicates, depths; the projection tells nothing
    assert set(frame["model"]) == {"Learns(checks=3)"}
    assert list(frame["trial"]) == sorted(frame["trial"])
    for _, curve in frame.groupby("trial"):
        assert list(curve["update"]) == [10, 20, 30]
        assert curve["loss"].round(6).fillna("").tolist() == [1, "", 0.333333]
        assert list(curve["history_n_cells"]) == list(curve["n_cells"] * [1, 2, 3])  # cells seen, and cells there are
    times = pd.read_csv(opened.out / "training.csv")
    assert sorted(times["trial"]) == list(times["trial"]) and len(times) == 2 * 4 * 2
    learns = times[times["model"] == "Learns(checks=3)"]
    assert (learns["n_params"] == 7).all() and (learns["cells_per_second"] == 3e4).all()
    assert (times["seconds"] > 0).all() and (times["together"] == 1).all() and (times["device"] == "cpu").all()
    assert times["cells_per_second"].isna().sum() == 8
    assert not {"seconds", "cells_per_second", "update"} & set(result.table.frame)
    json.loads((opened.out / "provenance.json").read_text(), parse_constant=lambda name: 1 / 0)


def test_the_same_study_has_the_same_curves_and_those_of_another_do_not_stay(study: Path) -> None:
    opened = studied(study)
    opened.run(progress=False)
    file = opened.out / "learning.csv"
    before = file.read_bytes()
    file.unlink()
    opened.result()
    assert file.read_bytes() == before
    study.write_text(study.read_text().replace('{ use = "learns.py:Learns", checks = 3 }, ', ""))
    Study.read(study).result()
    assert not file.exists()
    assert set(pd.read_csv(opened.out / "training.csv")["model"]) == {"random-projection"}
