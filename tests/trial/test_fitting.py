"""Several trials of one model are trained together: each as if alone, one failing without the others."""

from pathlib import Path

import numpy as np
import pytest

from sclaws import grid, trial
from sclaws.store import Store
from sclaws.testing import counts
from sclaws.trial import data, fitting, scoring, training

MODEL = """
from pathlib import Path
import numpy as np
KILL = Path(__file__).parent / "kill"
from sclaws.errors import ModelError
class Together:
    calls = []
    def __init__(self, size=1): self.size = size
    def untrained(self, train, *, seed): return Fitted(0.0)
    def fit(self, train, valid, *, seed):
        if train.n_obs == 41:
            raise ModelError("41 cells are not to my liking")
        return Fitted(self.size * train.totals.mean())
    def fit_many(self, jobs, *, context):
        type(self).calls.append([job.train.n_obs for job in jobs])
        context.progress("half way")
        (context.folder / "checkpoint").write_text("1")
        if KILL.exists():
            type(self).calls.append((context.folder.name, [job.train.n_obs for job in jobs]))
            raise KeyboardInterrupt
        if any(job.train.n_obs == 42 for job in jobs):
            raise MemoryError("too many")
        found = []
        for job in jobs:
            try: found.append(self.fit(job.train, job.valid, seed=job.seed))
            except ModelError as error: found.append(error)
        return found[:-1] if any(job.train.n_obs == 43 for job in jobs) else found
class Fitted:
    n_params = 1
    def __init__(self, scale): self.scale = scale
    def embed(self, view): return view.totals[:, None] * self.scale + np.arange(2)
class Alone(Together):
    fit_many = property()
"""
WORDS = {
    "dataset": "simulated-tissue",
    "split": {"test": 0.4, "valid": 0.1},
    "models": "together.py:Together",
    "signals": [{"use": "obsm", "key": "protein"}],
    "scores": "gaussian",
}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "together.py").write_text(MODEL)
    data.forget()
    monkeypatch.setattr(data, "whole", lambda spec: counts(400))
    yield Store.open(tmp_path / "out")
    data.forget()


def runs(store: Store, **more: object) -> list[grid.Run]:
    return grid.runs(WORDS | more, store.folder.parent)


def work(store: Store, of: list[grid.Run]) -> tuple[trial.Done, list[list[int]]]:
    """Do the runs as one item; return what became of it and the sizes of the jobs that were trained together."""
    calls = of[0].trial.model.type.calls
    calls.clear()
    done = work_in(store, of)
    return done, [sorted(call) for call in calls]


def work_in(store: Store, of: list[grid.Run]) -> trial.Done:
    """Do the runs as one item, in this order."""
    return trial.work(trial.Item("a", tuple((run.trial, (run,)) for run in of), str(store.folder)))


def level(run: grid.Run) -> float:
    return run.trial.levels[0].level


def test_trials_of_one_model_are_trained_at_once_and_stored_one_by_one(store) -> None:
    of = runs(store, levels={"n_cells": [40, 80, 120]})
    done, calls = work(store, of)
    assert calls == [[40, 80, 120]]
    assert (len(done.trained), len(done.scored), done.failed) == (3, 3, [])
    for run in of:
        scale = trial.cells(run.trial).train.totals.mean()
        expected = trial.tested(run).view.totals[:, None] * scale + np.arange(2)
        np.testing.assert_allclose(store.array(run.trial.key, f"embedding-{run.view_key}"), expected, rtol=1e-6)
        assert store.trial(run.trial.key)["provenance"]["together"] == 3
    assert not list((store.folder / "training").iterdir())
    assert work(store, of)[1] == []  # all is there


def test_one_that_cannot_be_trained_fails_alone(store) -> None:
    of = runs(store, levels={"n_cells": [40, 41, 80, 1e6]})
    done, calls = work(store, of)
    assert calls == [[40, 41, 80]]  # there are not so many cells as the fourth wants
    assert sorted(level(run) for run in of if store.run(run.key)) == [40, 80]
    told = {level(run): store.failures()[run.trial.key]["message"] for run in of if run.trial.key in done.failed}
    assert told[41] == "41 cells are not to my liking"
    assert told[1e6].startswith("n_cells = 1e+06 is not between")


@pytest.mark.parametrize(("cells", "message"), [(42, "too many"), (43, "fit_many returned 1 models for 2 jobs")])
def test_when_all_fail_all_are_told(store, cells: int, message: str) -> None:
    of = runs(store, levels={"n_cells": [40, cells]})
    done, _ = work(store, of)
    assert sorted(done.failed) == sorted(run.trial.key for run in of)
    assert all(message in store.failures()[run.trial.key]["message"] for run in of)


def test_what_another_process_works_on_is_left_out(store) -> None:
    of = runs(store, levels={"n_cells": [40, 80, 120]})
    busy = next(run for run in of if level(run) == 80)
    with store.lease(busy.trial.key) as mine:
        assert mine
        done, calls = work(store, of)
    assert (calls, done.busy, len(done.trained)) == ([[40, 120]], [busy.trial.key], 2)


def test_only_trained_trials_of_one_model_share(store) -> None:
    """Another size is another model; an untrained one, a model without fit_many and a single trial are not joined."""
    use = {"use": "together.py:Together"}
    models = [use, use | {"size": 2}, use | {"untrained": True}, "together.py:Alone"]
    one = runs(store, models=models)
    done, calls = work(store, one)
    assert (len(done.trained), calls) == (4, [])
    two = runs(store, models=models, levels={"n_cells": [40, 80]})
    done, calls = work(store, two)
    assert (len(done.trained), calls) == (8, [[40, 80], [40, 80]])
    assert {store.trial(run.trial.key)["provenance"]["together"] for run in one} == {1}


def test_after_a_kill_the_same_jobs_come_in_the_same_order_to_the_same_scratch(store) -> None:
    of = runs(store, levels={"n_cells": [40, 80, 120]})
    (store.folder.parent / "kill").touch()
    calls = of[0].trial.model.type.calls
    calls.clear()
    for order in (of, of[::-1]):
        with pytest.raises(KeyboardInterrupt):
            work_in(store, order)
    _, first, _, second = calls
    assert first == second
    assert (store.folder / "training" / first[0] / "checkpoint").exists()


def test_a_kill_in_the_first_score_costs_none_of_them_its_training(store, monkeypatch: pytest.MonkeyPatch) -> None:
    of = runs(store, levels={"n_cells": [40, 41, 80]})

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(scoring, "estimates", killed)
        with pytest.raises(KeyboardInterrupt):
            work(store, of)
    done, calls = work(store, [run for run in of if level(run) != 41])
    assert (calls, done.trained, len(done.scored), done.failed) == ([], [], 2, [])


def test_one_that_cannot_be_embedded_fails_alone(store, monkeypatch: pytest.MonkeyPatch) -> None:
    of = runs(store, levels={"n_cells": [40, 80, 120]})
    real, begun = training.embedding, []

    def embedding(*words: object) -> object:
        begun.append(words)
        if len(begun) == 1:
            raise ValueError("not this one")
        return real(*words)

    monkeypatch.setattr(training, "embedding", embedding)
    done, _ = work(store, of)
    assert (done.failed, len(done.trained), len(done.scored)) == ([of[0].trial.key], 2, 2)
    assert store.failures()[of[0].trial.key]["message"] == "not this one"


def test_the_progress_of_a_joint_training_is_that_of_each(store) -> None:
    of = [run.trial for run in runs(store, levels={"n_cells": [40, 80]})]
    with store.lease(of[0].key), store.lease(of[1].key):
        fitting.together(of, store, trial.Settings())
        assert store.said() == {t.key: "half way" for t in of}
