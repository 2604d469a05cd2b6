"""A study whose grid degrades training cells, test cells and both: its decomposition, its files, its lines."""

import math
from pathlib import Path

import pandas as pd
import pytest

from sclaws.decomposition import Decomposition
from sclaws.study import Study, decomposing

GRID = """
[[grid]]
levels.umis_per_cell = [20, 60, "all"]

[[grid]]
levels.umis_per_cell = [20, 60]
test_levels.umis_per_cell = "all"

[[grid]]
levels.umis_per_cell = "all"
test_levels.umis_per_cell = [20{more}]

[[fit]]
law = "constant"
x = "umis_per_cell_test"
"""


@pytest.fixture
def grid(study: Path) -> Path:
    text = study.read_text().replace('levels.umis_per_cell = [20, 60, 150, "all"]\n', "")
    study.write_text(text + GRID.format(more=", 60"))
    return study


def test_a_grid_of_three_blocks_is_taken_apart(grid: Path) -> None:
    result = Study.read(grid).run(progress=False)
    frame = result.lost.frame
    assert len(frame) == 2 * 2 * 4  # models x levels x parts
    table = result.table.frame.set_index(["model", "umis_per_cell_level", "umis_per_cell_test_level", "replicate"])
    value = table["value"].unstack().mean(axis=1)
    full, trained = value["pca(dim=4)", math.inf, math.inf], value["pca(dim=4)", 20, math.inf]
    row = frame[(frame["model"] == "pca(dim=4)") & (frame["level"] == 20) & (frame["part"] == "model")].iloc[0]
    assert row["value"] == pytest.approx(full - trained)
    assert row["full"] == pytest.approx(full)
    assert (frame["low"] <= frame["value"]).all()
    assert (frame["value"] <= frame["high"]).all()
    bare = frame[(frame["model"] == "random-projection") & (frame["part"] == "model")]
    assert (bare["high"] == 0).all()  # its matrix does not depend on depth
    out = grid.parent / "small.sclaws"
    pd.testing.assert_frame_equal(pd.read_csv(out / "decomposition.csv"), frame, check_dtype=False)
    assert (out / "decomposition.svg").read_text().startswith("<svg")
    assert 'id="lost"' in result.report.read_text()
    assert "pca(dim=4): at umis_per_cell = 20 (" in repr(result)


def test_levels_without_their_kinds_are_told_and_stale_files_go(grid: Path) -> None:
    grid.write_text(grid.read_text().replace("[20, 60]\n\n[[fit", "[20]\n\n[[fit"))
    result = Study.read(grid).run(progress=False)
    assert set(result.lost.frame["level"]) == {20}
    assert sum("not taken apart: " in text and "umis_per_cell = 60" in text for text in result.warnings) == 2
    out = grid.parent / "small.sclaws"
    assert (out / "decomposition.csv").is_file()
    decomposing.write(out, Decomposition(result.lost.frame[:0]))
    assert not list(out.glob("decomposition.*"))


def test_a_model_that_does_not_train_is_known_to_the_study(grid: Path) -> None:
    grid.write_text(grid.read_text().replace('"random-projection"', '{ use = "oracle", key = "state" }'))
    frame = Study.read(grid).run(progress=False).lost.frame
    oracle = frame[frame["model"].str.startswith("oracle")]
    assert len(oracle) == 2 * 4
    assert (oracle["value"] == 0).all()  # no noise on the values reaches it


def test_a_study_without_the_kinds_says_nothing(study: Path) -> None:
    result = Study.read(study).run(progress=False)
    assert not result.lost
    assert decomposing.sentences(result.lost.frame) == decomposing.warnings(result.lost) == []
    assert not list((study.parent / "small.sclaws").glob("decomposition.*"))
    assert "taken apart" not in repr(result)


def line(**first) -> str:
    lost = {"model": 0.12, "measurement": 0.6, "interaction": 0.09, "both": 0.81}
    rows = [
        {
            "model": "pca", "axis": "umis_per_cell", "level": level, "share": level / 600, "full": 2.0, "part": part,
            "value": value * 60 / level, "low": value - 0.05, "high": value + 0.05, "unit": "bits", "replicates": 3,
            "verdict": "measurement",
        } | first
        for level in (20.0, 60.0, 300.0) for part, value in lost.items()
    ]  # fmt: skip
    (found,) = decomposing.sentences(pd.DataFrame(rows))
    return found


def test_the_line_is_about_a_tenth() -> None:
    assert line() == (
        "pca: at umis_per_cell = 60 (10 % of the whole) 0.81 (0.76 to 0.86) bits are lost: "
        "0.12 (0.07 to 0.17) by the model, 0.60 (0.55 to 0.65) by the measurement, "
        "0.09 (0.04 to 0.14) by both together; larger: measurement"
    )
    assert line(share=math.nan, axis="snr").startswith("pca: at snr = 20 ")  # nearest to a tenth of the largest
    assert "0.120 by the model" in line(low=math.nan, high=math.nan)
