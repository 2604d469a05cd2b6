"""A study from words to report: Python and TOML say the same, results show themselves, odd cases end well."""

import re
import tomllib
from pathlib import Path

import pandas as pd
import pytest

from sclaws import cli
from sclaws.errors import DataError
from sclaws.store import Store
from sclaws.study import Study
from sclaws.study.fitting import curve_columns


def test_the_same_words_in_python_give_the_same_table(study: Path) -> None:
    one = Study.read(study).run(progress=False)
    words = tomllib.loads(study.read_text())
    other = Study.of(words | {"name": "other"}, study.parent).run(progress=False)
    pd.testing.assert_frame_equal(one.table.to_pandas(), other.table.to_pandas())
    assert one.report == study.parent / "small.sclaws" / "report.html"
    assert one.report.read_text().startswith("<!doctype html>\n")
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


def test_a_model_that_is_not_trained_has_no_weights_to_keep(study: Path) -> None:
    text = study.read_text().replace('"random-projection"', '{ use = "oracle", key = "state" }')
    study.write_text('keep = "weights"\n' + text)
    Study.read(study).check()


def test_the_truth_stands_above_the_fits_it_holds_for(tmp_path: Path) -> None:
    """The truth of a simulation is that of its proteins: it stands above their curves, and not above a label's."""
    words = {
        "dataset": {"use": "simulated-tissue", "n_cells": 600, "n_genes": 60},
        "split": {"test": 0.5, "valid": 0.1},
        "models": ["random-projection", "pca"],
        "signals": {"use": "obsm", "key": "protein"},
        "scores": "gaussian",
        "levels": {"umis_per_cell": [20, 60, 180, 500, "all"]},
        "engine": "serial",
    }
    assert "(the truth)" in repr(Study.of(words, tmp_path).run(progress=False))
    label = words | {"signals": {"use": "obs", "column": "cell_type"}, "scores": "probe", "name": "label"}
    assert "(the truth)" not in repr(Study.of(label, tmp_path).run(progress=False))


def test_status_tells_how_far_the_work_on_a_trial_is(study: Path) -> None:
    opened = Study.read(study)
    store, trial = Store.open(opened.out), opened.runs[0].trial
    with store.lease(trial.key) as mine:
        assert mine
        assert f"working: {trial.label} (" in opened.status()
        store.say(trial.key, "step 3 of 7")
        assert opened.status().endswith("): step 3 of 7")
    assert "working" not in opened.status()


def test_one_trial_by_key_says_what_went_wrong(study: Path, monkeypatch, capsys) -> None:
    (study.parent / "bad.py").write_text("class Bad:\n  def fit(self, train, valid, *, seed): raise ValueError('no')\n")
    study.write_text(study.read_text().replace('"random-projection"', '"bad.py:Bad"'))
    key = next(run.trial.key for run in Study.read(study).runs if run.trial.label == "Bad")
    monkeypatch.setattr("sys.argv", ["sclaws", "trial", str(study), key])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 1
    assert "ValueError: no" in capsys.readouterr().err


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


MINE = """
import numpy as np
from dataclasses import dataclass
import anndata, pandas as pd
from scipy import sparse

@dataclass(frozen=True)
class Cells:
    n: int = 300
    worst: float = 1.0
    def load(self):
        rng = np.random.default_rng(0)
        values = rng.poisson(rng.gamma(1, 1, (self.n, 1)) * np.ones(40)).astype(float)
        values[0, 0] = self.worst
        data = anndata.AnnData(sparse.csr_matrix(values))
        data.obsm["size"] = values.sum(axis=1, keepdims=True)
        return data

class Sum:
    def fit(self, train, valid, *, seed): return self
    def embed(self, view): return view.totals[:, None]

@dataclass(frozen=True)
class Size:
    def pairs(self, view, embedding, *, seed):
        from sclaws.protocols import Pairs
        return Pairs(embedding, view.obsm("size"), np.arange(view.n_obs), view.cell_ids)

class Correlation:
    metrics = ("correlation",)
    def __call__(self, probe, *, seed):
        from sclaws.protocols import Estimate
        r = float(np.corrcoef(probe.pairs.x[:, 0], probe.pairs.y[:, 0])[0, 1])
        return {"correlation": Estimate(r, r, r, 0.1, "r", len(probe.pairs.x))}

class Breaks:
    inputs = ("depth",)
    params = {"a": (0, 1)}
    def predict(self, x, theta): raise RuntimeError("not today")
"""
WORDS = {
    "dataset": "mine.py:Cells",
    "split": {"test": 0.4, "valid": 0.1},
    "models": "mine.py:Sum",
    "signals": "mine.py:Size",
    "scores": "mine.py:Correlation",
    "levels": {"umis_per_cell": [5, 10, 20, "all"]},
    "engine": {"use": "processes", "workers": 2},
    "fit": [
        {"law": "mine.py:Breaks", "y": "correlation"},
        {"law": "constant", "x": "umis_per_cell", "y": "correlation"},
    ],
}


def test_everything_may_be_the_users_own_in_processes_too(tmp_path: Path) -> None:
    """And a law that breaks takes neither the table nor the other fits away."""
    (tmp_path / "mine.py").write_text(MINE)
    study = Study.of(WORDS | {"fit": [{**WORDS["fit"][0], "x": "umis_per_cell"}, WORDS["fit"][1]]}, tmp_path)
    result = study.run(progress=False)
    frame = result.table.to_pandas()
    assert result.failed == 0
    assert len(frame) == 4
    assert frame.loc[frame["umis_per_cell_level"] == float("inf"), "value"].item() == pytest.approx(1)
    assert (tmp_path / "study.sclaws" / "table.csv").is_file()
    assert any("RuntimeError: not today" in note for note in result.warnings)
    assert list(result.fits.frame["law"]) == ["constant"]


def test_counts_of_a_users_data_set_are_checked_too(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(MINE)
    words = WORDS | {"dataset": {"use": "mine.py:Cells", "worst": 0.5}}
    with pytest.raises(DataError, match=r"Cells\(worst=0.5\), X: the value of cell '0', gene '0' is 0.5.*raw counts"):
        Study.of(words, tmp_path).check()


def test_looking_makes_no_folder(study: Path) -> None:
    opened = Study.read(study)
    opened.check()
    assert "2 x random-projection: everything (train and score, 1 runs each)" in opened.listing()
    assert "0 of 16 trained" in opened.status()
    assert sum(map(len, opened.missing_trials())) == 16
    assert not opened.out.exists()


def test_what_another_process_works_on_is_told_and_is_no_success(study: Path, monkeypatch, capsys) -> None:
    opened = Study.read(study)
    Study.read(study).run(progress=False)
    victim = opened.runs[0]
    (opened.out / "runs" / f"{victim.key}.json").unlink()
    with Store.open(opened.out).lease(victim.trial.key) as mine:
        assert mine
        monkeypatch.setattr("sys.argv", ["sclaws", "run", str(study)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
    assert stop.value.code == 1
    assert "1 of 16 runs are missing: 0 failures are told in the report; 1 trials are being" in capsys.readouterr().out
    assert not Study.read(study).run(progress=False).missing


def test_a_dry_run_says_what_would_be_trained_and_what_only_scored(study: Path) -> None:
    opened = Study.read(study)
    assert "random-projection: umis_per_cell = 20 (train and score, 1 runs each)" in opened.listing()
    opened.run(progress=False)
    study.write_text(study.read_text().replace('["gaussian"]', '["gaussian", "ksg"]'))
    listing = Study.read(study).listing()
    assert "random-projection: umis_per_cell = 20 (score, 1 runs each)" in listing
    assert "16 of 16 trained, 0 to train; runs: 16 of 32 scored" in listing


def test_splits_of_two_blocks_are_told_apart(study: Path) -> None:
    """Rows of different splits are different curves, and the table says which is which."""
    more = 'grid = [{}, { split = { test = 0.4, valid = 0.1, by = "donor" } }]\n'
    study.write_text(more + study.read_text())
    result = Study.read(study).run(progress=False)
    assert set(result.table.frame["split"]) == {"test=0.5,valid=0.1", "test=0.4,valid=0.1,by=donor"}
    assert len(result.fits) == 4
    assert result.warnings == ()


def test_a_level_without_a_place_on_the_axis_is_left_out_of_fits(tmp_path: Path) -> None:
    words = {
        "dataset": {"use": "gaussian-channel", "n_cells": 600},
        "split": {"test": 0.5, "valid": 0.1},
        "models": "random-projection",
        "signals": {"use": "obsm", "key": "signal"},
        "scores": "gaussian",
        "levels": {"snr": [0.2, 1, 4, 16, 64, "all"]},
        "engine": "serial",
    }
    result = Study.of(words, tmp_path).run(progress=False)
    assert len(result.table.frame) == 6
    assert len(result.fits.predictions) == 5


def test_held_out_losses_of_the_models_that_have_one(study: Path) -> None:
    """The gene-mean baseline gains nothing on itself; PCA has no loss, and so no row."""
    text = study.read_text().replace('"random-projection"', '"gene-mean"').replace('["gaussian"]', '["heldout-loss"]')
    study.write_text(text)
    frame = Study.read(study).run(progress=False).table.frame
    assert set(frame["model"]) == {"gene-mean"}
    assert set(frame["metric"]) == {"loss", "gain"}
    assert (frame.loc[frame["metric"] == "gain", "value"] == 0).all()
    loss = frame[frame["metric"] == "loss"].groupby("umis_per_cell_level")["value"].mean()
    assert loss.is_monotonic_increasing  # more molecules, more bits to say


def test_a_fit_of_a_study_takes_what_the_verb_fit_takes(study: Path) -> None:
    """Several laws, a part that is fitted and one that is predicted, and targets beside the fits."""
    study.write_text(
        study.read_text()
        + '[[fit]]\nlaw = ["noise", "auto"]\ntrain = "umis_per_cell<=100"\ntest = "umis_per_cell>100"\n'
        'target = ["gap", 1.5]\n'
    )
    result = Study.read(study).run(progress=False)
    assert {"noise", "constant"} <= set(result.fits.frame["law"])
    assert result.fits.predictions["held_out"].sum() == 2 * 2 * 2 * result.fits.frame["law"].nunique()
    targets = pd.read_csv(Study.read(study).out / "targets.csv")
    assert set(targets["rule"]) == {"gap", "value"}
    assert set(targets.loc[targets["rule"] == "value", "target"]) == {1.5}


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ("weights = 'some'", "fit 1 .*weights.*some"),
    ],
)
def test_what_a_fit_cannot_take_is_told_and_the_table_stays(study: Path, more: str, match: str) -> None:
    study.write_text(study.read_text() + f'[[fit]]\nlaw = "noise"\n{more}\n')
    result = Study.read(study).run(progress=False)
    assert len(result.table.frame) == 16
    assert re.search(match, result.warnings[0])


def test_levels_that_are_worse_than_the_gene_means_set_no_slope(study: Path) -> None:
    (study.parent / "bad.py").write_text(
        "import numpy as np\nclass Bad:\n  has_loss = True\n"
        "  def fit(self, train, valid, *, seed): self.n = train.n_obs; return self\n"
        "  def embed(self, view): return np.ones((view.n_obs, 1))\n"
        "  def losses(self, view, *, seed): return np.linspace(.9, 1.1, view.n_obs) + 20 / self.n\n"
        "  def baseline_losses(self, view, *, seed): return np.full(view.n_obs, 1.5)\n"
    )
    text = study.read_text().replace(
        'models = ["random-projection", { use = "pca", dim = 4 }]', 'models = "bad.py:Bad"'
    )
    text = text.replace('["gaussian"]', '"heldout-loss"').replace(
        'umis_per_cell = [20, 60, 150, "all"]', "n_cells = [20, 30, 60, 90, 120]"
    )
    study.write_text(text + '[[fit]]\nlaw = "power-with-floor"\ny = "loss"\n')
    result = Study.read(study).run(progress=False)
    points = result.fits.predictions
    assert set(points.loc[points["worse_than_baseline"], "n_cells"]) == {20, 30}
    assert "4 points worse than baseline, not fitted" in result.fits[0].note
