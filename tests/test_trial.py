"""One trial: what trains never sees what is tested, sides share what they should, failures are told."""

import numpy as np
import pytest
from scipy import sparse

from sclaws import grid, trial
from sclaws.errors import DataError, ScoreError
from sclaws.plugins import Spec
from sclaws.store import Store
from sclaws.study import check
from sclaws.testing import counts
from sclaws.trial import data, fitting, scoring
from sclaws.view import View

WORDS = {
    "dataset": "simulated-tissue",
    "split": {"test": 0.4, "valid": 0.1},
    "models": ["random-projection", {"use": "pca", "dim": 4}, {"use": "scvi", "n_latent": 4, "max_updates": 20}],
    "signals": [{"use": "obsm", "key": "protein"}],
    "scores": ["gaussian"],
    "levels": {"umis_per_cell": [60], "n_cells": [80], "n_genes": [30]},
    "axes": {"n_genes": {"use": "n_genes", "by": "expressed"}},
}


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch):
    """Replace the data set by a view; returns a function that does so again."""

    def use(view: View) -> None:
        data.forget()
        monkeypatch.setattr(data, "whole", lambda spec: view)

    use(counts(400))
    yield use
    data.forget()


def changed(view: View, rows: np.ndarray) -> View:
    """Return a view whose counts, label and proteins differ completely in these rows."""
    adata = view.to_adata()
    dense = adata.X.toarray()
    dense[rows] = np.random.default_rng(9).poisson(40, (len(rows), dense.shape[1]))
    adata.X = sparse.csr_matrix(dense)
    adata.obs.loc[adata.obs_names[rows], "label"] = "low"
    adata.obsm["protein"][rows] = 7
    return View.of(adata)


@pytest.mark.parametrize("model", ["random-projection", "pca", "scvi"])
def test_no_statistic_of_a_test_cell_reaches_a_model(cells, tmp_path, model: str) -> None:
    run = next(r for r in grid.runs(WORDS) if r.trial.model.use == model)
    view = counts(400)
    side = trial.cells(run.trial)
    before = fitting.fit(run.trial, side, Store.open(tmp_path), trial.Settings()).embed(side.valid)
    tested = np.flatnonzero(np.isin(view.cell_ids, trial.parts(run.trial).test.cell_ids))
    assert len(tested) == 160
    cells(changed(view, tested))
    other = trial.cells(run.trial)
    assert (other.train.to_adata().X != side.train.to_adata().X).nnz == 0
    assert other.measured == side.measured
    assert (fitting.fit(run.trial, other, Store.open(tmp_path), trial.Settings()).embed(side.valid) == before).all()


def test_the_leak_test_can_fail(cells, tmp_path) -> None:
    """The same, with a training cell changed: the model must notice."""
    words = WORDS | {"models": "pca", "levels": {"n_cells": [80]}}
    run = grid.runs(words)[0]
    view = counts(400)
    side = trial.cells(run.trial)
    before = fitting.fit(run.trial, side, Store.open(tmp_path), trial.Settings()).embed(side.valid)
    cells(changed(view, np.flatnonzero(np.isin(view.cell_ids, side.train.cell_ids))[:20]))
    other = trial.cells(run.trial)
    assert not np.allclose(
        fitting.fit(run.trial, other, Store.open(tmp_path), trial.Settings()).embed(side.valid), before
    )


def test_depth_is_measured_before_genes_are_chosen(cells) -> None:
    run = grid.runs(WORDS)[0]
    side, tested = trial.cells(run.trial), trial.tested(run)
    assert side.measured["n_genes"] == 30
    assert side.measured["n_cells"] == 80
    for found in (side.measured["umis_per_cell"], tested.measured["umis_per_cell"]):
        assert found == pytest.approx(60, rel=0.15)
    assert tested.view.n_vars == 30
    assert list(tested.view.feature_names) == list(side.train.feature_names)


def test_diversity_is_measured_of_all_cells_too_and_changes_no_key(cells) -> None:
    axis = {"use": "n_cells", "types": "label", "vendi": True}
    words = WORDS | {"levels": {"n_cells": [80, "all"]}, "models": "pca"}
    asked, plain = (grid.runs(words | {"axes": axes}) for axes in ({"n_cells": axis}, {}))
    whole = next(run.trial for run in asked if not run.trial.levels)
    assert whole.key in {run.trial.key for run in plain}
    for trial_of_all, there in ((whole, True), (next(r.trial for r in plain if not r.trial.levels), False)):
        side = trial.cells(trial_of_all)
        assert side.measured["n_cells"] == side.train.n_obs == 200
        assert ("vendi" in side.measured) is ("shannon" in side.measured) is there
        share = np.mean(side.train.obs["label"] == "low")
        entropy = -share * np.log2(share) - (1 - share) * np.log2(1 - share)
        assert side.measured.get("shannon", entropy) == pytest.approx(entropy)


def test_levels_of_one_replicate_share_test_cells_and_are_nested(cells) -> None:
    words = WORDS | {"levels": {"umis_per_cell": [20, 120]}, "models": "pca"}
    low, high = sorted(grid.runs(words), key=lambda r: r.trial.levels[0].level)
    few, many = trial.tested(low).view, trial.tested(high).view
    assert (few.cell_ids == many.cell_ids).all()
    assert (few.to_adata().X > many.to_adata().X).nnz == 0


def test_cells_without_a_molecule_leave_training_and_stay_in_test(cells) -> None:
    words = WORDS | {"levels": {"umis_per_cell": [0.7]}, "models": {"use": "random-projection"}}
    run = grid.runs(words)[0]
    side, tested = trial.cells(run.trial), trial.tested(run)
    assert side.measured["n_emptied"] > 0
    assert side.train.n_obs + side.measured["n_emptied"] == side.measured["n_cells"] == 200
    assert (side.train.totals > 0).all()
    assert tested.view.n_obs == 160
    assert (tested.view.totals == 0).any()


BAD = """
import numpy as np
class Diverges:
    def fit(self, train, valid, *, seed): return self
    def embed(self, view): return np.full((view.n_obs, 2), np.nan)
class Flat:
    def fit(self, train, valid, *, seed): return self
    def embed(self, view): return np.zeros(view.n_obs)
class Breaks:
    def fit(self, train, valid, *, seed): raise RuntimeError("no memory for layer 3")
    def embed(self, view): ...
"""


def test_failures_are_told_and_the_rest_goes_on(cells, tmp_path) -> None:
    (tmp_path / "bad.py").write_text(BAD)
    models = ["bad.py:Diverges", "bad.py:Flat", "bad.py:Breaks", {"use": "pca", "dim": 4}]
    runs = grid.runs(WORDS | {"models": models}, tmp_path)
    store = Store.open(tmp_path / "out")
    work = tuple((run.trial, (run,)) for run in runs)
    done = trial.work(trial.Item("b", work, str(store.folder)))
    assert len(done.trained) == len(done.scored) == 1
    told = {r.trial.model.use.partition(":")[2]: store.failures().get(r.trial.key, {}) for r in runs}
    assert "embedding of 160 of 160 cells is not finite" in told["Diverges"]["message"]
    assert "embed returned shape (160,) for 160 cells" in told["Flat"]["message"]
    assert told["Breaks"]["message"] == "no memory for layer 3"
    assert "RuntimeError" in told["Breaks"]["traceback"]


def test_a_new_score_does_not_train_again(cells, tmp_path) -> None:
    store = Store.open(tmp_path / "out")
    first = grid.runs(WORDS | {"models": "pca"})
    both = grid.runs(WORDS | {"models": "pca", "scores": ["gaussian", "ksg"]})
    assert len(trial.work(trial.Item("a", ((first[0].trial, tuple(first)),), str(store.folder))).trained) == 1
    again = trial.work(trial.Item("b", ((both[0].trial, tuple(both)),), str(store.folder)))
    assert (len(again.trained), len(again.scored)) == (0, 1)


def test_an_item_that_somebody_holds_is_left_alone(cells, tmp_path) -> None:
    store = Store.open(tmp_path / "out")
    runs = grid.runs(WORDS | {"models": "pca"})
    item = trial.Item("a", ((runs[0].trial, tuple(runs)),), str(store.folder))
    with store.lease(runs[0].trial.key) as mine:
        assert mine
        assert trial.work(item).busy == [runs[0].trial.key]
    assert not trial.work(item).busy


def test_default_axes_are_installed() -> None:
    for name in trial.DEFAULT_AXES:
        assert Spec.of("axes", name).build().measure(counts(60))


def test_kept_weights_answer_a_new_question_without_training(cells, tmp_path) -> None:
    """Test cells at another depth, asked later: loaded weights embed them exactly as the model would have at once."""
    words = WORDS | {"models": {"use": "scvi", "n_latent": 4, "max_updates": 20}}
    later = words | {"test_levels": {"umis_per_cell": "all"}}
    stores = [Store.open(tmp_path / name) for name in ("kept", "lost", "at-once")]
    settings = [trial.Settings(keep=("embeddings", "weights")), trial.Settings(), trial.Settings()]
    for store, setting, asked in zip(stores, settings, (words, words, later), strict=True):
        runs = grid.runs(asked)
        trial.work(trial.Item("a", ((runs[0].trial, tuple(runs)),), str(store.folder), setting))
    (run,) = grid.runs(later)
    found = []
    for store, setting, trained in zip(stores[:2], settings[:2], (0, 1), strict=True):
        assert trial.must_train(run.trial, [run], store) == bool(trained)
        done = trial.work(trial.Item("b", ((run.trial, (run,)),), str(store.folder), setting))
        assert (len(done.trained), len(done.scored)) == (trained, 1)
        found.append(store.run(run.key)["estimates"])
    assert found[0] == found[1] == stores[2].run(run.key)["estimates"]


COUNTS_CALLS = """
import json, numpy as np
class Counted:
    def fit(self, train, valid, *, seed): return Trained()
    def load(self, folder): return Trained()
class Trained:
    calls = []
    def embed(self, view):
        self.calls.append(view.n_obs)
        return view.totals[:, None]
    def save(self, folder): (folder / "w.json").write_text(json.dumps([1]))
"""


def test_a_model_embeds_each_view_once(cells, tmp_path) -> None:
    """Two signals and two test views are four runs and two embeddings; kept weights give a third without training."""
    (tmp_path / "counted.py").write_text(COUNTS_CALLS)
    words = {k: v for k, v in WORDS.items() if k != "axes"} | {
        "models": "counted.py:Counted",
        "signals": [{"use": "obsm", "key": "protein"}, {"use": "obsm", "key": "state"}],
        "levels": {"umis_per_cell": "all"},
        "test_levels": {"umis_per_cell": [20, 60]},
    }
    store = Store.open(tmp_path / "out")
    settings = trial.Settings(keep=("embeddings", "weights"))

    def work(asked: dict) -> tuple[trial.Done, int]:
        runs = grid.runs(asked, tmp_path)
        calls = runs[0].trial.model.type.fit(None, None, None, seed=0).calls
        calls.clear()
        return trial.work(trial.Item("a", ((runs[0].trial, tuple(runs)),), str(store.folder), settings)), len(calls)

    done, calls = work(words)
    assert (len(done.trained), len(done.scored), calls) == (1, 4, 2)
    done, calls = work(words | {"test_levels": {"umis_per_cell": [20, 60, 100]}})
    assert (len(done.trained), len(done.scored), calls) == (0, 2, 1)


def test_weights_that_are_kept_later_are_used(cells, tmp_path) -> None:
    """First without weights, then trained again for a new test view with them: a third question trains nothing."""
    words = WORDS | {"models": {"use": "pca", "dim": 4}}
    store = Store.open(tmp_path / "out")
    trained = []
    for level, keep in ((60, ()), (30, ("weights",)), (20, ("weights",))):
        runs = grid.runs(words | {"test_levels": {"umis_per_cell": level}})
        settings = trial.Settings(keep=("embeddings", *keep))
        done = trial.work(trial.Item("a", ((runs[0].trial, tuple(runs)),), str(store.folder), settings))
        trained.append(len(done.trained))
    assert trained == [1, 1, 0]


def test_a_loss_that_fails_is_told_once(cells, tmp_path) -> None:
    (tmp_path / "bad.py").write_text(
        "class Bad:\n  has_loss = True\n  def fit(self, train, valid, *, seed): return self\n"
        "  def embed(self, view): return view.totals[:, None]\n"
        "  def losses(self, view, *, seed): raise ValueError('no loss today')\n"
    )
    runs = grid.runs(WORDS | {"models": "bad.py:Bad", "scores": ["heldout-loss", "gaussian"]}, tmp_path)
    store = Store.open(tmp_path / "out")
    done = trial.work(trial.Item("a", ((runs[0].trial, tuple(runs)),), str(store.folder)))
    assert (len(done.trained), len(done.scored), len(done.failed)) == (1, 1, 1)
    assert [f["message"] for f in store.failures().values()] == ["no loss today"]


def test_a_vocabulary_is_the_same_genes_at_every_number_of_cells_and_depth(cells) -> None:
    """The 20 genes with the most molecules in the whole training part, counted here anew; test cells have them, too."""
    words = WORDS | {"levels": {"n_cells": [30, 180], "umis_per_cell": [20, 100], "n_genes": [20]}, "models": "pca"}
    runs = grid.runs(words)
    assert len(runs) == 4
    full = trial.parts(runs[0].trial).train
    totals = np.asarray(full.to_adata().X.sum(axis=0)).ravel()
    top = set(full.feature_names[np.argsort(-totals)[:20]])
    fewest = min((trial.cells(run.trial).train for run in runs), key=lambda train: train.totals.sum())
    assert len(np.unique(totals)) > 50  # few ties
    for run in runs:
        assert set(trial.cells(run.trial).train.feature_names) == top
        assert list(trial.tested(run).view.feature_names) == list(fewest.feature_names)


def test_the_training_part_is_walked_over_once_for_a_vocabulary(cells, monkeypatch) -> None:
    words = WORDS | {"levels": {"n_genes": [5, 10, 20, 30]}, "models": "pca"}
    walks = []
    batches = View.batches
    monkeypatch.setattr(View, "batches", lambda self, size=4096: walks.append(self) or batches(self, size))
    runs = grid.runs(words)
    full = trial.parts(runs[0].trial).train
    for run in runs:
        trial.cells(run.trial)
        trial.tested(run)
    assert sum(view is full for view in walks) == 1


def test_other_genes_are_other_test_cells(cells) -> None:
    words = WORDS | {"levels": {"n_genes": [20, 30]}, "models": "pca"}
    for run in grid.runs(words):
        assert list(trial.tested(run).view.feature_names) == list(trial.cells(run.trial).train.feature_names)
        assert trial.tested(run).view.n_vars == run.trial.levels[0].level


def test_the_library_of_a_cell_does_not_depend_on_the_vocabulary(cells) -> None:
    """Whatever the genes, a cell's whole depth is that of the thinned cell with all of them."""
    some, every = (
        grid.runs(WORDS | {"models": "pca", "levels": {"umis_per_cell": [60]} | genes})[0]
        for genes in ({"n_genes": [30]}, {})
    )
    assert trial.tested(some).view.n_vars == 30
    for of in (lambda run: trial.tested(run).view, lambda run: trial.cells(run.trial).train):
        np.testing.assert_array_equal(of(some).library, of(every).totals)
        assert (of(some).totals < of(every).totals).any()


def losses(levels: dict, score: object = "heldout-loss", **more: object) -> list[grid.Run]:
    words = {k: v for k, v in WORDS.items() if k not in ("levels", "signals", "models")}
    return grid.runs(words | {"models": "gene-mean", "scores": score, "levels": levels} | more)


def test_vocabularies_are_scored_on_the_genes_they_have_in_common(cells, tmp_path) -> None:
    """The probe's genes are those of the smaller vocabulary's own trial, in every trial of the replicate."""
    store = Store.open(tmp_path / "out")
    small, large = sorted(
        losses({"n_genes": [20, 60]}, {"use": "heldout-loss", "n_genes": 20}), key=lambda run: run.trial.levels[0].level
    )
    own = list(trial.cells(small.trial).train.feature_names)
    for run in (small, large):
        assert list(scoring.TestCells(run, store, None).genes(20)) == own
        trial.work(trial.Item("a", ((run.trial, (run,)),), str(store.folder)))
        assert store.run(run.key)["estimates"]["loss"]["details"]["n_genes"] == 20
    plain = losses({"n_genes": [20]})[0]
    trial.work(trial.Item("b", ((plain.trial, (plain,)),), str(store.folder)))
    same = [store.run(run.key)["estimates"]["loss"]["value"] for run in (small, plain)]
    assert same[0] == pytest.approx(same[1], rel=1e-12)  # its own genes are all it has
    assert store.run(large.key)["estimates"]["loss"]["value"] != same[0]  # given another total


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ({"n_cells": [80]}, "n_genes = 20 of a score are genes of the axis n_genes.*number of genes instead of 'all'"),
        ({"n_genes": [40, "all"]}, "write the number of genes instead of 'all'"),
        ({"n_genes": [10, 40]}, "n_genes = 20 of a score are more than the 10 genes of a trial"),
    ],
)
def test_genes_that_a_trial_does_not_have_are_refused_before_any_work(levels, message, monkeypatch) -> None:
    runs = losses(levels, {"use": "heldout-loss", "n_genes": 20})
    monkeypatch.setattr(data, "whole", lambda spec: pytest.fail("data were read"))
    with pytest.raises(ScoreError, match=message):
        check.check(runs)


def test_groups_of_a_loss_that_the_split_cuts_are_refused(cells, tmp_path) -> None:
    score = {"use": "heldout-loss", "group": "donor"}
    cut = losses({"n_cells": [80]}, score)
    with pytest.raises(
        DataError, match=r"score heldout-loss\(group=donor\): 8 groups of obs\['donor'\].*by = \"donor\""
    ):
        check.check(cut)
    store = Store.open(tmp_path / "out")
    trial.work(trial.Item("a", ((cut[0].trial, (cut[0],)),), str(store.folder)))
    assert "have cells in training and in test" in store.failures()[cut[0].key]["message"]
    whole = losses({"n_cells": [80]}, score, split={"test": 0.4, "valid": 0.1, "by": "donor"})
    check.check(whole)
