"""A training that has finished is never lost: its weights stay until all scores that read the model are stored."""

from pathlib import Path

import pytest

from sclaws import grid, trial
from sclaws.store import Store
from sclaws.study import Study
from sclaws.testing import counts
from sclaws.trial import data, scoring, training

# A model whose losses depend on what it learned; it dies in them if a file says so. Every training leaves a line.
MODEL = """
import json, os, signal
from pathlib import Path
import numpy as np
from sclaws.protocols import Estimate
class Lasting:
    has_loss = True
    def __init__(self, size=1): self.size = size
    def fit(self, train, valid, *, seed):
        with (HERE / "log.txt").open("a") as lines:
            lines.write(f"{train.n_obs}\\n")
        return Fitted(self.size * train.totals.mean())
    def untrained(self, train, *, seed): return Fitted(1.0)
    def load(self, folder):
        if (HERE / "refuse.txt").exists():
            raise ValueError("an older format")
        return Fitted(json.loads((folder / "scale.json").read_text()))
class Fitted:
    def __init__(self, scale): self.scale = scale
    def embed(self, view): return view.totals[:, None] * self.scale + np.arange(2)
    def losses(self, view, *, seed):
        if (HERE / "kill.txt").exists():
            (HERE / "kill.txt").unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return view.totals / self.scale
    def save(self, folder): (folder / "scale.json").write_text(json.dumps(self.scale))
class Together(Lasting):
    def fit_many(self, jobs, *, context): return [self.fit(job.train, job.valid, seed=job.seed) for job in jobs]
class Frozen(Lasting):
    trains = False
class Passing(Lasting):
    load = property()
class Scale:
    needs, metrics = "model", ("scale",)
    def __call__(self, probe, *, seed):
        scale = probe.trained.scale
        return {"scale": Estimate(scale, scale, scale, 0.0, "UMI", 1, "told by the model")}
"""
WORDS = {
    "dataset": {"use": "simulated-tissue", "n_cells": 300, "n_genes": 60},
    "split": {"test": 0.5, "valid": 0.1},
    "models": "lasting.py:Lasting",
    "signals": {"use": "obsm", "key": "protein"},
    "scores": ["heldout-loss", "gaussian"],
    "levels": {"n_cells": [40, 80]},
    "engine": {"use": "processes", "workers": 1},
}
BOTH = ("embeddings", "weights")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "lasting.py").write_text(f"from pathlib import Path\nHERE = Path({str(tmp_path)!r})\n{MODEL}")
    data.forget()
    monkeypatch.setattr(data, "whole", lambda spec: counts(400))
    yield Store.open(tmp_path / "out")
    data.forget()


def runs(store: Store, model: str = "Lasting", **more: object) -> list[grid.Run]:
    found = grid.runs({k: v for k, v in WORDS.items() if k != "engine"} | more, store.folder.parent)
    return found if model == "Lasting" else runs(store, models=f"lasting.py:{model}", **more)


def trainings(folder: Path) -> int:
    """How many times something was trained."""
    return len((folder / "log.txt").read_text().splitlines()) if (folder / "log.txt").exists() else 0


def work(store: Store, of: list[grid.Run], keep: tuple[str, ...] = ("embeddings",), threads: int = 1) -> trial.Done:
    bundle = {run.trial.key: (run.trial, tuple(r for r in of if r.trial == run.trial)) for run in of}
    return trial.work(trial.Item("a", tuple(bundle.values()), str(store.folder), trial.Settings("cpu", threads, keep)))


def interrupted(store: Store, of: list[grid.Run], score: str = "heldout-loss", **settings: object) -> None:
    """Do the runs, and stop in the first of a score: as with a kill, no result of it is stored."""
    real = training.measuring.score

    def killed(run: grid.Run, *rest: object) -> None:
        if run.score.use == score:
            raise KeyboardInterrupt
        real(run, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training.measuring, "score", killed)
        with pytest.raises(KeyboardInterrupt):
            work(store, of, **settings)


def losses(store: Store, of: list[grid.Run]) -> dict[str, object]:
    return {run.key: store.run(run.key)["estimates"] for run in of}


def held(store: Store) -> list[str]:
    return sorted(path.parent.name for path in (store.folder / "trials").glob("*/held"))


@pytest.mark.parametrize("model", ["Lasting", "Together"])
def test_a_worker_killed_in_a_loss_costs_no_training(store, model: str) -> None:
    """A real kill, of a worker that has two trials; the table is that of a study that nobody has disturbed."""
    folder = store.folder.parent
    words = WORDS | {"models": f"lasting.py:{model}"}
    alone, killed = (Study.of(words | {"out": name}, folder) for name in ("alone", "killed"))
    expected = alone.run(progress=False).table.frame
    before = trainings(folder)
    (folder / "kill.txt").touch()
    result = killed.run(progress=False)
    assert not (folder / "kill.txt").exists()
    assert (trainings(folder) - before, result.done.failed, held(killed.store)) == (2, [], [])
    assert result.table.frame.equals(expected)


def test_after_a_kill_the_loss_is_that_of_the_model_in_memory(store) -> None:
    of = runs(store)
    other = Store.open(store.folder.parent / "other")
    work(other, of)
    interrupted(store, of)
    first = of[0].trial.key
    assert store.has_trial(first) and store.has_weights(first) and held(store) == [first]
    assert not trial.must_train(of[0].trial, [run for run in of if run.trial == of[0].trial], store)
    done = work(store, of)
    assert (len(done.trained), trainings(store.folder.parent)) == (1, 4)  # two of them in the other store
    assert losses(store, of) == losses(other, of)
    assert (held(store), store.has_weights(first), store.check()) == ([], False, [])


def test_weights_are_held_no_longer_than_they_are_asked_for(store) -> None:
    of = runs(store)
    work(store, of)
    assert held(store) == [] == [key for key in store.trials() if store.has_weights(key)]
    quiet = runs(store, scores="gaussian", levels={"n_cells": [50]})
    interrupted(store, quiet, score="gaussian")
    assert held(store) == []  # nothing of it reads the model


def test_a_score_that_fails_is_tried_again_without_training(store, monkeypatch: pytest.MonkeyPatch) -> None:
    of, real = runs(store, levels={"n_cells": [40]}), scoring.estimates

    def fails(run: grid.Run, *rest: object) -> object:
        if run.score.use == "heldout-loss":
            raise MemoryError("no room")
        return real(run, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(scoring, "estimates", fails)
        assert len(work(store, of).failed) == 1
    store.sweep_weights()
    assert held(store) == [of[0].trial.key]
    assert (work(store, of).trained, held(store), store.failures()) == ([], [], {})


@pytest.mark.parametrize(("first", "then"), [(BOTH, BOTH), (("embeddings",), BOTH)])
def test_weights_that_the_study_keeps_stay(store, first, then) -> None:
    """Also when it says so only after the kill."""
    of = runs(store, levels={"n_cells": [40]})
    interrupted(store, of, keep=first)
    work(store, of, keep=then)
    folder = store.weights(of[0].trial.key)
    assert (held(store), folder.parent.name, folder.name) == ([], of[0].trial.key, "weights")
    more = runs(store, levels={"n_cells": [40], "umis_per_cell": "all"}, test_levels={"umis_per_cell": 20})
    assert (work(store, more).trained, trainings(store.folder.parent)) == ([], 1)


def test_a_dry_run_tells_what_its_megabytes_leave_out(store) -> None:
    folder, what = store.folder.parent, "MB without"
    for words, expected in (
        ({}, f"{what} weights, which stay until the scores that read a model are stored"),
        ({"keep": "weights"}, f"{what} the weights of 2 models, which are kept"),
    ):
        assert expected in Study.of(WORDS | words, folder).listing()
    assert what not in Study.of(WORDS | {"scores": "gaussian"}, folder).listing()


@pytest.mark.parametrize("model", ["Frozen", "Passing"])
def test_what_cannot_be_stored_or_costs_nothing_is_made_anew(store, model: str) -> None:
    of = runs(store, model, levels={"n_cells": [40]})
    interrupted(store, of)
    assert (store.trials(), held(store)) == (set(), [])
    assert (len(work(store, of).trained), trainings(store.folder.parent)) == (1, 2)


def test_weights_wait_for_every_study_that_asked_for_them(store) -> None:
    """One study is killed in its loss; another has none, a third is killed in another score that reads the model."""
    level = {"levels": {"n_cells": [40]}}
    mine, others = runs(store, **level), runs(store, scores="gaussian", **level)
    third = runs(store, scores="lasting.py:Scale", **level)
    interrupted(store, mine)
    work(store, others)
    interrupted(store, third, score="lasting.py:Scale")
    store.sweep_weights()
    work(store, mine)
    assert held(store) == [mine[0].trial.key]
    work(store, third)
    assert (held(store), trainings(store.folder.parent)) == ([], 1)


def test_what_a_kill_left_after_the_last_run_is_swept(store, monkeypatch: pytest.MonkeyPatch) -> None:
    of = runs(store, levels={"n_cells": [40]})
    with monkeypatch.context() as patch:
        patch.setattr(Store, "drop_weights", lambda *_: None)
        work(store, of)
    (key,) = held(store)
    with store.lease(key):
        store.sweep_weights()
        assert held(store) == [key]  # somebody is at work on it
    store.sweep_weights()
    assert (held(store), store.check(), store.has_trial(key)) == ([], [], True)


def test_damaged_weights_are_trained_again(store) -> None:
    of = runs(store, levels={"n_cells": [40]})
    interrupted(store, of)
    file = store.weights(of[0].trial.key) / "scale.json"
    file.write_bytes(bytes(len(file.read_bytes())))
    done = work(store, of)
    assert (len(done.trained), len(losses(store, of)), held(store), store.check()) == (1, 2, [], [])


def test_weights_that_cannot_be_loaded_are_told_with_a_remedy(store) -> None:
    of = runs(store, levels={"n_cells": [40]})
    interrupted(store, of)
    (store.folder.parent / "refuse.txt").touch()
    assert work(store, of).failed == [of[0].trial.key]
    told = store.failures()[of[0].trial.key]["message"]
    folder = store.weights(of[0].trial.key)
    assert told.startswith(f"{of[0].trial.label}: the weights in {folder} cannot be loaded (an older format)")
    (folder / "scale.json").unlink()  # the remedy
    folder.rmdir()
    assert (len(work(store, of).trained), held(store), store.failures()) == (1, [], {})


def test_a_loaded_model_works_as_the_one_that_was_trained(store) -> None:
    """On as many threads, and to the byte."""
    words = {"models": {"use": "scvi", "n_latent": 4, "max_updates": 20}, "levels": {"n_cells": [80]}}
    of = runs(store, scores="heldout-loss", **words)
    seen, found, real = [], [], scoring.estimates

    def looks(run: grid.Run, where: Store, trained: object) -> object:
        seen.append(trained.context)
        return real(run, where, trained)

    for name, kill in (("at-once", False), ("later", True)):
        other = Store.open(store.folder.parent / name)
        if kill:
            interrupted(other, of, threads=2)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(scoring, "estimates", looks)
            assert len(work(other, of, threads=2).trained) == (not kill)
        found.append(losses(other, of))
    assert [(context.device, context.threads) for context in seen] == [("cpu", 2)] * 2
    assert found[0] == found[1]
