"""A study along the number of training cells: its saturation, its agreement, their files and lines."""

import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from sclaws import cli
from sclaws.agreement import COLUMNS
from sclaws.saturation import Saturation
from sclaws.study import Study, agreeing, saturating
from sclaws.table import Table


@pytest.fixture
def cells_study(study: Path) -> Path:
    text = study.read_text().replace(
        'levels.umis_per_cell = [20, 60, 150, "all"]', 'levels.n_cells = [20, 60, 120, "all"]'
    )
    study.write_text(text)
    return study


def test_a_study_along_cells(cells_study: Path) -> None:
    result = Study.read(cells_study).run(progress=False)
    frame = result.ends.frame
    assert sorted(frame["model"]) == ["pca(dim=4)", "random-projection"]
    assert set(frame["x"]) == {"n_cells"} and set(frame["levels"]) == {4}
    table = result.table.frame
    assert set(frame["whole"]) == {table["n_cells"].max()}
    means = table[table["model"] == "pca(dim=4)"].groupby("n_cells")["value"].mean()
    row = frame[frame["model"] == "pca(dim=4)"].iloc[0]
    assert row["best"] == pytest.approx(means.max())
    assert row["mean"] == means[means >= 0.95 * means.max()].index.min()
    assert row["law"] == "saturating-power" and row["law_verdict"]
    assert "test cells" in row["covers"]
    out = cells_study.parent / "small.sclaws"
    stored = pd.read_csv(out / "saturation.csv")
    same = [c for c in stored if stored[c].notna().any()]
    assert {"mean_low", "covers", "law_at", "law_verdict"} <= set(same)
    pd.testing.assert_frame_equal(stored[same], frame[same], check_dtype=False)
    assert (out / "saturation.svg").read_text().startswith("<svg")
    assert 'id="saturated"' in result.report.read_text()
    assert "pca(dim=4): saturates at n_cells = " in repr(result)
    assert result.agreement.empty and not (out / "agreement.csv").exists()  # information alone
    saturating.write(out, Saturation(frame[:0]))
    assert not list(out.glob("saturation.*"))


def test_a_study_along_depth_says_nothing_of_cells(study: Path) -> None:
    result = Study.read(study).run(progress=False)
    assert not result.ends
    assert saturating.sentences(result.ends) == []
    assert not list((study.parent / "small.sclaws").glob("saturation.*"))


def test_lines_are_of_curves_from_which_least_is_taken() -> None:
    rows = [
        {"model": "m", "metric": "information", "value": 1 - 10 / cells, "stderr": 0.01, "replicate": r, "status": "ok",
         "n_cells": float(cells), "n_cells_level": float(cells), "umis_per_cell_level": depth}
        for cells in (20, 100, 500) for r in range(2) for depth in (50.0, 80.0, np.inf)
    ]  # fmt: skip
    both, _ = saturating.saturation(Table(pd.DataFrame(rows)))
    assert len(both.frame) == 3
    assert [line.partition(" saturates")[0] for line in saturating.sentences(both)] == ["m:"]
    some = [row | {"model": row["umis_per_cell_level"]} for row in rows if row["umis_per_cell_level"] < np.inf]
    shallow, _ = saturating.saturation(
        Table(pd.DataFrame(some).assign(model=lambda each: each["model"].map("m{:g}".format)))
    )
    assert [line.partition(" saturates")[0] for line in saturating.sentences(shallow)] == ["m80:"]


def test_the_folder_of_a_study_can_be_asked_again(cells_study: Path, tmp_path, monkeypatch, capsys) -> None:
    Study.read(cells_study).run(progress=False)
    folder = cells_study.parent / "small.sclaws"
    command = ["sclaws", "saturation", folder, "--share", "0.5", "--out", tmp_path / "half", "--json"]
    monkeypatch.setattr("sys.argv", list(map(str, command)))
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    found = json.loads(capsys.readouterr().out)
    first = pd.read_csv(folder / "saturation.csv").set_index("model")["mean"]
    assert all(row["mean"] <= first[row["model"]] for row in found["saturation"])
    assert (tmp_path / "half" / "saturation.svg").is_file()


# ── loss and task ────────────────────────────────────────────────────────────────────────────────────────────────────
def measured() -> pd.DataFrame:
    """Ten trials of two models whose loss falls as their F1 rises."""
    return pd.DataFrame([
        {"trial": f"{m}{i}", "model": m, "replicate": i, "signal": signal, "score": score, "metric": metric, "value": v}
        for m in ("a", "b") for i in range(10)
        for signal, score, metric, v in (
            ("none", "heldout-loss", "loss", -i), ("none", "heldout-loss", "gain", i), ("type", "knn", "f1", i**2),
        )
    ])  # fmt: skip


def test_lines_and_file_of_an_agreement(tmp_path: Path) -> None:
    frame = agreeing.agreeing(Table(measured()))
    first, second = agreeing.sentences(frame)
    assert re.match(r"loss \(heldout-loss\) and f1 \(type, knn\): rank correlation −1.* within models: better", first)
    assert re.match(r"gain \(heldout-loss\) and f1 .* correlation 1.* within models, .* over all: better", second)
    agreeing.write(tmp_path, frame)
    assert list(pd.read_csv(tmp_path / "agreement.csv").columns) == list(COLUMNS)
    agreeing.write(tmp_path, frame[:0])
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("metrics", [["loss", "gain"], ["f1"], []])
def test_one_kind_of_metric_is_no_agreement(metrics: list[str]) -> None:
    rows = measured()
    assert agreeing.agreeing(Table(rows[rows["metric"].isin(metrics)])).empty
    assert agreeing.agreeing(Table(pd.DataFrame())).empty
