"""What becomes of items whose worker is lost: nothing but the trial that was the end of it fails."""

from pathlib import Path

import pytest

from sclaws import grid, sweep
from sclaws.engines.processes import Processes
from sclaws.protocols import Failure
from sclaws.store import Store, leases
from sclaws.trial import Item, work

DEADLY = """
import os, signal
import numpy as np
class Deadly:
    def __init__(self, size=1): self.size = size
    def fit(self, train, valid, *, seed):
        if self.size == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        return self
    def embed(self, view): return view.totals[:, None] + np.arange(2)
class Fatal:
    together = 4
    def __call__(self, probe, *, seed):
        from sclaws.protocols import Estimate
        return {"mean": Estimate(float(probe.pairs.x.mean()), 0.0, 1e9, 0.0, "count", 1)}
    def many(self, probes, *, seed):
        os.kill(os.getpid(), signal.SIGKILL)
"""
# Four steps, the last one deadly as many times as a file says; what is begun, and where, is written down.
JOINT = """
import json, os, signal
import numpy as np
class Joint:
    stacks = True
    def fit(self, train, valid, *, seed, context): return self._steps([train], context)[0]
    def fit_many(self, jobs, *, context): return self._steps([job.train for job in jobs], context)
    def _steps(self, trains, context):
        at, times = context.folder / "step.json", HERE / "times.json"
        for step in range(json.loads(at.read_text()) if at.exists() else 0, 4):
            with (HERE / "log.txt").open("a") as lines:
                lines.write(f"{len(trains)} {step}\\n")
            left = json.loads(times.read_text())
            if step == 3 and left:
                times.write_text(json.dumps(left - 1))
                os.kill(os.getpid(), signal.SIGKILL)
            at.write_text(json.dumps(step + 1))
        return [Fitted() for _ in trains]
class Fitted:
    def embed(self, view): return view.totals[:, None] + np.arange(2)
"""
WORDS = {
    "dataset": {"use": "simulated-tissue", "n_cells": 300, "n_genes": 60},
    "split": {"test": 0.4, "valid": 0.1},
    "models": [{"use": "deadly.py:Deadly", "size": size} for size in (1, 2, 3, 4)],
    "signals": [{"use": "obsm", "key": "protein"}],
    "scores": ["gaussian"],
}
LOST = Failure("WorkerLost", "the worker was killed (signal 9)")


class Losing:
    """An engine that loses its first ``times`` workers before they have begun, and does what comes after."""

    def __init__(self, times: int) -> None:
        self.times, self.seen = times, []

    def map(self, _, items):
        for item in items:
            self.seen.append([trial.key for trial, _ in item.work])
            self.times -= 1
            yield item, LOST if self.times >= 0 else work(item)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "deadly.py").write_text(DEADLY)
    return Store.open(tmp_path / "out")


def bundle(store: Store, sizes: tuple[int, ...] = (1, 2, 3, 4)) -> Item:
    """Return one item of the models of these sizes, in this order."""
    of = {int(run.trial.model.build().size): run for run in grid.runs(WORDS, store.folder.parent)}
    return Item("a", tuple((of[size].trial, (of[size],)) for size in sizes), str(store.folder))


def test_of_a_bundle_only_the_trial_that_killed_its_worker_fails(store) -> None:
    item = bundle(store)
    done = sweep.carry_out([item], Processes(workers=1, threads=1), store)
    one, two, *others = (trial.key for trial, _ in item.work)
    assert done.failed == [two] == list(store.failures())
    assert "SIGKILL" in store.failures()[two]["message"]
    assert sorted(store.trials()) == sorted([one, *others])
    assert done.trained == others  # the first was stored before its worker died, which could not say so any more


def test_a_batch_of_scores_that_killed_its_worker_is_scored_in_single_trials(store) -> None:
    words = WORDS | {"models": [WORDS["models"][i] for i in (0, 2, 3)], "scores": "deadly.py:Fatal"}
    item = Item("a", tuple((run.trial, (run,)) for run in grid.runs(words, store.folder.parent)), str(store.folder))
    done = sweep.carry_out([item], Processes(workers=1, threads=1), store)
    assert (done.failed, done.busy, store.failures()) == ([], [], {})
    assert done.trained == []  # all were stored before the worker died
    assert sorted(done.scored) == sorted(run.key for _, (run,) in item.work)


def test_a_lost_bundle_is_begun_once_more_in_single_trials(store) -> None:
    item, told = bundle(store, (1, 3, 4)), []
    engine = Losing(2)
    done = sweep.carry_out([item], engine, store, lambda _, done, lost: told.append((lost, list(done.failed))))
    one, three, four = (trial.key for trial, _ in item.work)
    assert engine.seen == [[one, three, four], [one], [three], [four]]
    assert (done.failed, done.trained, done.busy) == ([one], [three, four], [])
    assert told == [(True, []), (True, [one]), (False, []), (False, [])]


def test_a_trial_alone_fails_at_once(store) -> None:
    item, engine = bundle(store, (3,)), Losing(1)
    assert sweep.carry_out([item], engine, store).failed == [item.work[0][0].key]
    assert len(engine.seen) == 1


@pytest.mark.parametrize("sizes", [(3,), (1, 3)])
def test_what_another_process_works_on_does_not_fail_with_the_worker(store, sizes: tuple[int, ...]) -> None:
    item = bundle(store, sizes)
    held = item.work[-1][0].key
    with store.lease(held):
        done = sweep.carry_out([item], Losing(1), store)
    assert (done.failed, done.busy, store.failures()) == ([], [held], {})
    assert len(done.trained) == len(sizes) - 1


def test_what_a_lost_machine_held_is_begun_once_more_and_no_oftener(store, monkeypatch) -> None:
    """Its lease is silent: nobody knows at once that it is dead."""
    monkeypatch.setattr(leases, "STALE", 0.5)
    item, engine = bundle(store, (1, 3)), Losing(99)
    held = item.work[-1][0].key
    (store.folder / "leases" / f"{held}.lease").write_text("00000000-1-2-abcdef01")
    done = sweep.carry_out([item], engine, store)
    assert sorted(done.failed) == sorted(trial.key for trial, _ in item.work)
    assert [len(keys) for keys in engine.seen] == [2, 1, 1]
    assert done.busy == []


def test_a_lost_trial_keeps_its_time(store) -> None:
    """What is begun again knows when the budget is spent."""
    seen = []

    class Once(Losing):
        def map(self, _, items):
            for item in items:
                seen.append(item.until)
                yield item, LOST

    sweep.carry_out(
        [item := bundle(store, (1, 3))], Once(9), store, feed=[Item("a", item.work, item.folder, until=5.0)]
    )
    assert seen == [5.0] * 3


@pytest.mark.parametrize(
    ("deaths", "steps", "failed"),
    [
        (1, ["2 0", "2 1", "2 2", "2 3", "2 3"], 0),
        (2, ["2 0", "2 1", "2 2", "2 3", "2 3", *(f"1 {step}" for step in (0, 1, 2, 3) * 2)], 0),
        (9, ["2 0", "2 1", "2 2", "2 3", "2 3", *(f"1 {step}" for step in (0, 1, 2, 3) * 2)], 2),
    ],
)
def test_what_was_trained_together_goes_on_together_once_then_alone(store, deaths, steps, failed) -> None:
    """Its own worker is killed ``deaths`` times, always in the last step; a neighbour in the bundle is done alone."""
    folder = store.folder.parent
    (folder / "joint.py").write_text(f"from pathlib import Path\nHERE = Path({str(folder)!r})\n{JOINT}")
    (folder / "times.json").write_text(str(deaths))
    words = WORDS | {"models": ["joint.py:Joint"], "levels": {"n_cells": [40, 80]}}
    joint, other = grid.runs(words, folder), bundle(store, (1,)).work
    item = Item("a", (*((run.trial, (run,)) for run in joint), *other), str(store.folder))
    told = []
    done = sweep.carry_out(
        [item], Processes(workers=1, threads=1), store, lambda item, done, lost: told.append((len(item.work), lost))
    )
    assert (folder / "log.txt").read_text().splitlines() == steps
    assert sorted(done.failed) == sorted(run.trial.key for run in joint)[:failed]
    assert told[0] == (3, True)
    assert sorted(told[1:3]) == [(1, False), (2, deaths > 1)]
    assert [each for each, _ in told[3:]] == ([1, 1] if deaths > 1 else [])
    assert store.has_trial(other[0][0].key)
