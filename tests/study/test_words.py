"""Words of the wrong shape, and what a profile does to them: one sentence that names the word."""

import pytest

from sclaws.errors import DataError, PluginError, SclawsError, StudyError
from sclaws.study import Study
from sclaws.study.words import settle

WORDS = {
    "dataset": {"use": "simulated-tissue", "n_cells": 300, "n_genes": 60},
    "split": {"test": 0.5, "valid": 0.1},
    "models": ["random-projection"],
    "signals": [{"use": "obsm", "key": "protein"}],
    "scores": ["gaussian"],
    "levels": {"umis_per_cell": [20, 60, "all"]},
    "engine": "serial",
}


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"fit": {"law": "noise"}}, StudyError, r"write one \[\[fit\]\] table, with two brackets"),
        ({"fit": [{"x": "n_cells"}]}, StudyError, r"\[\[fit\]\] number 1: 'law' is missing"),
        ({"fit": [{"law": "noise", "x": 3}]}, StudyError, "x = 3 must be a column's name"),
        ({"fit": [{"law": "noise", "y": ["a"]}]}, StudyError, r"y = \['a'\] must be the name of a metric"),
        ({"fit": [{"law": "noise", "y": "los"}]}, StudyError, "no score gives 'los'; valid: information"),
        (
            {"fit": [{"law": "noise", "where": "modl==pca"}]},
            StudyError,
            "1, where: .*no column 'modl': did you mean 'model'",
        ),
        ({"fit": [{"law": "noise", "where": "n_cells"}]}, StudyError, "1, where: 'n_cells' is not a condition"),
        (
            {"fit": [{"law": "noise", "train": "n_cells<=x"}]},
            StudyError,
            "1, train: 'x' in 'n_cells<=x' is not a number",
        ),
        ({"fit": [{"law": "noise", "where": 3}]}, StudyError, "1, where = 3 must be text; give COLUMN<=NUMBER"),
        ({"fit": [{"law": "noise", "by": ["modl"]}]}, StudyError, "by: unknown column 'modl'; did you mean 'model'"),
        ({"fit": [{"law": "noise", "among": "x"}]}, StudyError, "unknown key 'among'"),
        ({"fit": [{"law": 7}]}, PluginError, "laws: 7 is no component"),
        ({"grid": {"models": "pca"}}, StudyError, r"grid: write one \[\[grid\]\] table for each block"),
        ({"grid": []}, StudyError, "nothing would run"),
        ({"models": []}, StudyError, "nothing would run"),
        ({"models": 3}, PluginError, "models: 3 has no 'use'|models: .*3"),
        ({"models": [{"use": "pca", "untrained": "no"}]}, StudyError, "untrained = 'no' must be true or false"),
        ({"models": [{"use": "pca", "sweep": [4]}]}, StudyError, r"sweep = \[4\] must be a table"),
        ({"scores": "heldout-loss"}, StudyError, "nothing would run"),
        ({"levels": [20, 60]}, StudyError, r"levels = \[20, 60\] must be a table"),
        ({"test_levels": "all"}, StudyError, "test_levels = 'all' must be a table"),
        ({"axes": ["n_cells"]}, StudyError, r"axes = \['n_cells'\] must be a table"),
        ({"axes": {"umis_per": {"use": "umis_per_cell"}}}, StudyError, "unknown key 'umis_per'; did you mean 'umis_"),
        ({"split": {"test": "half"}}, DataError, "test = 'half' must be a share"),
        ({"split": {"by": 3}}, DataError, "by = 3 must be the name of a column"),
        ({"keep": "weight"}, StudyError, "keep: unknown 'weight'; did you mean 'weights'"),
        ({"device": "gpu"}, StudyError, "device = 'gpu'; "),
        ({"name": ""}, StudyError, "name = '' must be text"),
        ({"out": 3}, StudyError, "out = 3 must be text"),
        ({"profiles": {"smoke": 3}}, StudyError, "smoke = 3 must be a table"),
        ({"engine": 3}, PluginError, "engines: 3 is no component"),
        ({"dataset": None}, PluginError, "datasets: None is no component"),
    ],
)
def test_words_of_the_wrong_shape(change: dict, error: type[SclawsError], match: str, tmp_path) -> None:
    with pytest.raises(error, match=match):
        Study.of(WORDS | change, tmp_path).check()


def test_weights_may_be_asked_for_in_one_word(tmp_path) -> None:
    assert "weights" in Study.of(WORDS | {"models": "pca", "keep": "weights"}, tmp_path).settings().keep


def test_a_profile_merges_tables_but_replaces_components() -> None:
    words = WORDS | {"levels": {"umis_per_cell": [20], "n_cells": [50]}, "out": "here/results"}
    over = {"dataset": {"use": "gaussian-channel"}, "levels": {"n_cells": [60]}}
    settled = settle(words | {"profiles": {"smoke": over}}, "s", "smoke")
    assert settled["dataset"] == {"use": "gaussian-channel"}
    assert settled["levels"] == {"umis_per_cell": [20], "n_cells": [60]}
    assert settled["out"] == "here/results-smoke"
    there = settle(words | {"profiles": {"smoke": over | {"out": "x"}}}, "s", "smoke")
    assert there["out"] == "x"
    assert settle(words, "s", None)["out"] == "here/results"
    assert settle(WORDS, "s", None)["out"] == "s.sclaws"


def test_two_things_of_one_name_are_refused(tmp_path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text(
            f"class M:\n  {name} = 1\n  def fit(self, train, valid, *, seed): return self\n"
        )
    both = WORDS | {"models": ["a.py:M", "b.py:M"]}
    with pytest.raises(StudyError, match=r"two different models are called 'M': give one of them a name"):
        Study.of(both, tmp_path).check()
    named = WORDS | {"models": ["a.py:M", {"use": "b.py:M", "name": "other"}]}
    assert {run.trial.label for run in Study.of(named, tmp_path).runs} == {"M", "other"}


def test_the_axis_of_a_fit_is_the_one_whose_law_it_is(tmp_path) -> None:
    two = WORDS | {"levels": {"umis_per_cell": [20, 60], "n_cells": [50, 90]}}
    asked = Study.of(two | {"fit": [{"law": "saturating-power"}, {"law": ["noise", "constant"]}]}, tmp_path)._asked()
    assert [each["x"] for each in asked] == ["n_cells", "umis_per_cell"]
    with pytest.raises(StudyError, match="number 1: 'x' is missing; the study varies n_cells, umis_per_cell"):
        Study.of(two | {"fit": [{"law": "power-with-floor"}]}, tmp_path).check()


def test_losses_alone_are_fitted_by_their_gain(tmp_path) -> None:
    words = WORDS | {"models": "gene-mean", "scores": "heldout-loss"}
    assert [each["y"] for each in Study.of(words, tmp_path)._asked()] == ["gain"]
