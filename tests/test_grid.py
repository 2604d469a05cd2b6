"""The words of a study -> trials and runs: what counts, what does not, and what is refused."""

import pytest

from sclaws import grid
from sclaws.errors import PluginError, StudyError
from sclaws.study import check

WORDS = {
    "dataset": "simulated-tissue",
    "split": {"test": 0.2, "valid": 0.1},
    "models": ["pca", "random-projection"],
    "signals": [{"use": "obsm", "key": "protein"}],
    "scores": ["gaussian", "ksg"],
    "levels": {"n_cells": {"log": [100, 1000, 3]}, "umis_per_cell": [50, 200, "all"]},
    "replicates": 2,
}


def test_cartesian_grid_has_every_combination_once() -> None:
    found = grid.runs(WORDS)
    assert len(found) == 2 * 3 * 3 * 2 * 2
    assert len({run.trial.key for run in found}) == 2 * 3 * 3 * 2
    assert [run.key for run in found] == sorted(run.key for run in found)
    cells = {s.level for run in found for s in run.trial.levels if s.name == "n_cells"}
    assert cells == {100, 316, 1000}


def test_blocks_are_a_union_without_duplicates() -> None:
    block = {k: v for k, v in WORDS.items() if k != "dataset"}
    twice = {"dataset": WORDS["dataset"], "grid": [block, block | {"replicates": 1}]}
    assert [r.key for r in grid.runs(twice)] == [r.key for r in grid.runs(WORDS)]


def test_all_is_left_out_and_defaults_are_spelt_out() -> None:
    one = WORDS | {"levels": {"umis_per_cell": "all"}, "models": "pca", "replicates": 1}
    none = {k: v for k, v in one.items() if k != "levels"}
    assert [r.trial.key for r in grid.runs(one)] == [r.trial.key for r in grid.runs(none)]
    spelt = one | {"models": {"use": "pca", "dim": 16}}
    assert [r.trial.key for r in grid.runs(one)] == [r.trial.key for r in grid.runs(spelt)]
    other = one | {"models": {"use": "pca", "dim": 15}}
    assert {r.trial.key for r in grid.runs(one)}.isdisjoint(r.trial.key for r in grid.runs(other))


def test_test_levels_share_the_trained_models() -> None:
    both = WORDS | {"test_levels": {"umis_per_cell": [50, "all"]}}
    found = grid.runs(both)
    assert {r.trial.key for r in found} == {r.trial.key for r in grid.runs(WORDS)}
    assert len(found) == 2 * len(grid.runs(WORDS))
    assert {tuple(s.level for s in r.test_levels) for r in found} == {(50.0,), ()}


def test_zip_pairs_levels() -> None:
    paired = WORDS | {"design": "zip"}
    levels = {tuple((s.name, s.level) for s in r.trial.levels) for r in grid.runs(paired)}
    assert levels == {
        (("n_cells", 100.0), ("umis_per_cell", 50.0)),
        (("n_cells", 316.0), ("umis_per_cell", 200.0)),
        (("n_cells", 1000.0),),
    }


def test_zip_pairs_levels_that_occur_twice() -> None:
    levels = {"n_cells": [100, 100, 300], "umis_per_cell": [50, 200, 200]}
    found = {tuple(s.level for s in run.trial.levels) for run in grid.runs(WORDS | {"design": "zip", "levels": levels})}
    assert found == {(100, 50), (100, 200), (300, 200)}


def test_an_axis_says_on_its_class_what_it_acts_on(tmp_path) -> None:
    (tmp_path / "a.py").write_text("class A:\n  on = 'cells'\n")
    words = WORDS | {"levels": {"mine": [1]}, "axes": {"mine": "a.py:A"}}
    with pytest.raises(PluginError, match="its class says on = 'cells'; one of rows, values, features is needed"):
        grid.runs(words, tmp_path)


def test_sweep_expands_fields_and_untrained_is_another_model() -> None:
    words = WORDS | {"models": [{"use": "pca", "sweep": {"dim": [4, 8]}}, {"use": "pca", "dim": 4, "untrained": True}]}
    assert {r.trial.label for r in grid.runs(words)} == {"pca(dim=4)", "pca(dim=8)", "pca(dim=4) untrained"}


def test_a_frozen_model_is_trained_once_for_all_levels() -> None:
    words = WORDS | {"models": [{"use": "oracle", "key": "state"}], "replicates": 1}
    assert len({r.trial.key for r in grid.runs(words)}) == 1


def test_seeds_do_not_depend_on_level_or_model() -> None:
    trials = {r.trial for r in grid.runs(WORDS)}
    for replicate in (0, 1):
        mine = [t for t in trials if t.replicate == replicate]
        assert len({t.seed("split") for t in mine}) == len({t.seed("axis n_cells") for t in mine}) == 1
    assert len({t.seed("split") for t in trials}) == 2


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"modles": ["pca"]}, StudyError, "unknown key 'modles'; did you mean 'models'"),
        ({"models": ["pac"]}, PluginError, "unknown model 'pac': did you mean 'pca'"),
        ({"models": [{"use": "pca", "dims": 3}]}, PluginError, "'pca' has no field 'dims': did you mean 'dim'"),
        ({"levels": {"n_cell": [1]}}, PluginError, "unknown axe 'n_cell': did you mean 'n_cells'|unknown axis"),
        ({"levels": {"n_cells": []}}, StudyError, "levels.n_cells is empty"),
        ({"levels": {"n_cells": [-5]}}, StudyError, "-5 is neither a number above 0 nor"),
        ({"levels": {"n_cells": ["al"]}}, StudyError, "'al' is neither a number above 0 nor"),
        ({"levels": {"n_cells": {"log": [10, 1, 3]}}}, StudyError, r"must be \{ log = \[low, high, n\] \}"),
        ({"levels": {"n_cells": {"lgo": [1, 10, 3]}}}, StudyError, "unknown key 'lgo'; did you mean 'log'"),
        ({"replicates": 0}, StudyError, "replicates = 0 must be a whole number"),
        ({"design": "zipped"}, StudyError, "design = 'zipped'; did you mean 'zip'"),
        ({"split": {"tset": 0.1}}, StudyError, "unknown key 'tset'; did you mean 'test'"),
        ({"split": 0.2}, StudyError, "must be a table such as"),
        ({"signals": []}, StudyError, "'signals' is missing"),
        ({"test_levels": {"n_cells": [5]}}, StudyError, "only axes that corrupt values act on test cells"),
        ({"test_levels": {"n_genes": [5]}}, StudyError, 'has no levels.n_genes.*add levels.n_genes = "all"'),
        ({"models": [{"use": "oracle", "key": "state", "untrained": True}]}, StudyError, "has no untrained form"),
    ],
)
def test_mistakes_are_named(change: dict, error: type[Exception], match: str) -> None:
    key = next(iter(change))
    words = {"grid": [change], **{k: v for k, v in WORDS.items() if k != key}}
    with pytest.raises(error, match=match):
        grid.runs(words)


def test_whether_a_model_trains_and_has_a_loss_may_depend_on_its_fields(tmp_path) -> None:
    """A frozen checkpoint has one trial a replicate, and no loss here; fine-tuned, one a level and a loss each."""
    (tmp_path / "mine.py").write_text(
        "class Checkpoint:\n  def __init__(self, frozen): self.frozen = frozen\n"
        "  trains = has_loss = property(lambda self: not self.frozen)\n"
        "  def fit(self, train, valid, *, seed): ...\n"
    )
    words = WORDS | {"scores": ["gaussian", "heldout-loss"], "levels": {"n_cells": [100, 200]}, "replicates": 1}

    def found(frozen: bool) -> list[grid.Run]:
        return grid.runs(words | {"models": {"use": "mine.py:Checkpoint", "frozen": frozen}}, tmp_path)

    frozen, tuned = found(True), found(False)
    assert [(run.trial.levels, run.score.use) for run in frozen] == [((), "gaussian")]
    assert sorted((run.trial.levels[0].level, run.score.use) for run in tuned) == [
        (100, "gaussian"), (100, "heldout-loss"), (200, "gaussian"), (200, "heldout-loss"),
    ]  # fmt: skip
    with pytest.raises(StudyError, match="no 'load', so its weights would be kept in vain"):
        check.loadable(tuned)
    check.loadable(frozen)
