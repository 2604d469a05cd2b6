"""A study from words to report: Python and TOML say the same, results show themselves, odd cases end well."""

import tomllib
from pathlib import Path

import pandas as pd
import pytest

from sclaws import cli
from sclaws.study import Study
from sclaws.study.fitting import curve_columns


def test_the_same_words_in_python_give_the_same_table(study: Path) -> None:
    one = Study.read(study).run(progress=False)
    words = tomllib.loads(study.read_text())
    other = Study.of(words | {"name": "other"}, study.parent).run(progress=False)
    pd.testing.assert_frame_equal(one.table.to_pandas(), other.table.to_pandas())
    assert one.report.read_bytes().startswith(b"<!doctype html>") or one.report.stat().st_size > 10_000
    for shown in (one, one.table, one.fits):
        assert "<t" in shown._repr_html_()


def test_columns_of_the_table(study: Path) -> None:
    frame = Study.read(study).run(progress=False).table.to_pandas()
    assert len(frame) == 2 * 4 * 2
    assert (frame["low"] <= frame["high"]).all()
    assert set(frame["umis_per_cell_level"]) == {20, 60, 150, float("inf")}
    asked = frame[frame["umis_per_cell_level"] < 1000]
    assert ((asked["umis_per_cell"] / asked["umis_per_cell_level"] - 1).abs() < 0.1).all()
    assert (frame["n_cells"] == 160).all()


def test_one_level_is_no_curve_and_loses_nothing(study: Path) -> None:
    study.write_text(study.read_text().replace('[20, 60, 150, "all"]', "[20]"))
    result = Study.read(study).run(progress=False)
    assert len(result.table.frame) == 4
    assert len(result.fits) == 0
    assert "fit 1 (noise)" in result.table.provenance["warnings"][0]
    assert result.report.is_file()


def test_everything_failing_still_ends_with_a_report(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (study.parent / "bad.py").write_text("class Bad:\n  def fit(self, train, valid, *, seed): raise ValueError('no')\n")
    text = study.read_text().replace(
        'models = ["random-projection", { use = "pca", dim = 4 }]', 'models = "bad.py:Bad"'
    )
    study.write_text(text)
    result = Study.read(study).run(progress=False)
    assert result.failed == 8
    assert set(result.table.failures["message"]) == {"no"}
    assert "no" in result.report.read_text()
    monkeypatch.setattr("sys.argv", ["sclaws", "run", str(study)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1


def test_weights_of_a_model_that_cannot_be_loaded_are_refused(study: Path) -> None:
    (study.parent / "mine.py").write_text("class Mine:\n  def fit(self, train, valid, *, seed): return self\n")
    study.write_text('keep = ["weights"]\n' + study.read_text().replace('"random-projection"', '"mine.py:Mine"'))
    with pytest.raises(Exception, match=r"model 'mine.py:Mine' has no 'load'"):
        Study.read(study).check()


def test_curves_of_an_axis_are_told_apart_by_the_others() -> None:
    rows = [
        {"model": m, "signal": "s", "n_cells_level": n, "umis_per_cell_level": u, "umis_per_cell_test_level": u}
        for m in ("a", "b")
        for n in (10, 20)
        for u in (1, 2)
    ]
    frame = pd.DataFrame(rows)
    assert curve_columns(frame, ["umis_per_cell"]) == ["model", "signal", "n_cells_level"]
    assert curve_columns(frame, ["n_cells"]) == ["model", "signal", "umis_per_cell_level"]
    frozen = pd.concat([frame, frame.assign(model="oracle", umis_per_cell_level=float("inf"))])
    assert curve_columns(frozen, ["umis_per_cell_test"]) == ["model", "signal", "n_cells_level"]


def test_a_profile_overrides_before_hashing(study: Path) -> None:
    study.write_text(study.read_text() + "[profiles.smoke]\nreplicates = 1\nlevels.umis_per_cell = [20]\n")
    smoke = Study.read(study, profile="smoke")
    assert {run.key for run in smoke.runs} < {run.key for run in Study.read(study).runs}
    assert len(smoke.runs) == 2
    assert smoke.out != Study.read(study).out
