"""Plans: what is missing, in bundles of the right size, largest first, completed as they were recorded."""

import itertools

from sclaws import grid, sweep
from sclaws.engines.serial import Serial
from sclaws.protocols import Failure
from sclaws.store import Store, leases
from sclaws.trial import Done, Settings

WORDS = {
    "dataset": {"use": "simulated-tissue", "n_cells": 300, "n_genes": 60},
    "split": {"test": 0.4, "valid": 0.1},
    "models": ["random-projection", {"use": "pca", "dim": 4}],
    "signals": [{"use": "obsm", "key": "protein"}],
    "scores": ["gaussian"],
    "levels": {"umis_per_cell": [60, 200]},
    "replicates": 2,
}
SIZES = {"simulated-tissue(n_cells=300,n_genes=60)": (300, 60)}


def planned(store: Store) -> sweep.Plan:
    return sweep.plan(grid.runs(WORDS), store, Settings(), SIZES)


def test_a_plan_counts_and_running_it_leaves_nothing(tmp_path) -> None:
    store = Store.open(tmp_path / "out")
    todo = planned(store)
    assert (todo.n_trials, todo.n_runs, todo.to_train, todo.runs_done) == (8, 8, 8, 0)
    assert list(todo.costs) == sorted(todo.costs, reverse=True)
    assert sorted(t.key for item in todo.items for t, _ in item.work) == sorted({r.trial.key for r in grid.runs(WORDS)})
    left: list[float] = []
    done = sweep.run(todo, Serial(), store, lambda seconds, done: left.append(seconds))
    assert (len(done.trained), len(done.scored), done.failed) == (8, 8, [])
    assert len(left) == len(todo.items)
    assert left[-1] == 0
    assert {*done.spent} == {*done.trained, *done.scored}
    assert done.seconds > sum(done.spent.values()) > 0
    after = planned(store)
    assert (after.items, after.to_train, after.runs_done) == ((), 0, 8)


def test_recorded_bundles_are_completed_as_they_were(tmp_path) -> None:
    store = Store.open(tmp_path / "out")
    keys = sorted({r.trial.key for r in grid.runs(WORDS)})
    store.put_bundle("recorded", keys[3:6])
    items = {item.bundle: [t.key for t, _ in item.work] for item in planned(store).items}
    assert items["recorded"] == keys[3:6]
    assert sorted(itertools.chain.from_iterable(items.values())) == keys


def test_trials_on_the_same_cells_go_together(tmp_path) -> None:
    for item in planned(Store.open(tmp_path / "out")).items:
        cells = [(t.data_seed, t.levels) for t, _ in item.work]
        assert cells == sorted(cells, key=cells.index)  # equal ones are neighbours


class Lossy:
    """An engine whose workers die at every item."""

    def map(self, work, items):
        for item in items:
            yield item, Failure("WorkerLost", "the worker was killed (signal 9)")


def test_a_lost_worker_fails_its_trials_and_running_again_mends_them(tmp_path) -> None:
    store = Store.open(tmp_path / "out")
    done = sweep.run(planned(store), Lossy(), store, lambda left, done: None)
    assert len(done.failed) == len(store.failures()) == 8
    assert sweep.run(planned(store), Serial(), store, lambda left, done: None) != Done()
    assert store.failures() == {}


def test_what_a_lost_machine_held_is_done_once_it_is_given_up(tmp_path, monkeypatch) -> None:
    """Its lease is there and silent: the first pass leaves the trial alone, the second does it and nothing else."""
    monkeypatch.setattr(leases, "STALE", 1.0)
    store = Store.open(tmp_path / "out")
    todo = planned(store)
    held = todo.items[0].work[-1][0].key
    (store.folder / "leases" / f"{held}.lease").write_text("00000000-1-2-abcdef01")
    spent: list[tuple[float, Done]] = []
    done = sweep.run(todo, Serial(), store, lambda cost, done: spent.append((cost, done)))
    assert (len(done.trained), len(set(done.trained)), done.busy) == (8, 8, [])
    assert [d.trained for _, d in spent if d.busy or held in d.trained][-1] == [held]
    assert planned(store).items == ()


def test_what_others_work_on_is_left_to_them(tmp_path) -> None:
    store = Store.open(tmp_path / "out")
    todo = planned(store)
    with store.lease(held := todo.items[0].work[-1][0].key):
        done = sweep.run(todo, Serial(), store, lambda cost, done: None)
    assert (len(done.trained), done.busy) == (7, [held])


def test_runs_that_a_lost_worker_left_are_on_record(tmp_path) -> None:
    """Trials that were stored before keep their embeddings; it is the new score that is told as lost."""
    store = Store.open(tmp_path / "out")
    sweep.run(planned(store), Serial(), store, lambda left, done: None)
    both = grid.runs(WORDS | {"scores": ["gaussian", "ksg"]})
    todo = sweep.plan(both, store, Settings(), SIZES)
    assert (todo.to_train, sum(todo.lacking.values())) == (0, 8)
    done = sweep.run(todo, Lossy(), store, lambda left, done: None)
    missing = {run.key for run in both if run.score.use == "ksg"}
    assert set(done.failed) == set(store.failures()) == missing


def test_trials_that_can_be_trained_at_once_share_a_bundle(tmp_path) -> None:
    """Cheap trials of a model that ``stacks`` are joined with each other, not with what has the same cells."""
    (tmp_path / "many.py").write_text(
        "class Many:\n  stacks = True\n  def __init__(self, size): pass\n"
        "  def cost(self, cells, features): return 1.0\n"
        "  def fit(self, train, valid, *, seed): ...\n  def fit_many(self, jobs, *, context): ...\n"
    )
    models = [{"use": "many.py:Many", "size": size} for size in (1, 2, 3)]
    words = WORDS | {"models": models, "levels": {"n_cells": [20, 30, 40, 50]}, "replicates": 1}
    todo = sweep.plan(grid.runs(words, tmp_path), Store.open(tmp_path / "out"), Settings(), SIZES)
    assert [len(item.work) for item in todo.items] == [4, 4, 4]  # of 1.2 s each, and a bundle takes 5
    on_gpu = sweep.plan(grid.runs(words, tmp_path), Store.open(tmp_path / "out"), Settings(device="cuda"), SIZES)
    assert [len(item.work) for item in on_gpu.items] == [12]  # 14 CPU seconds are next to nothing there
    assert all(len({t.model for t, _ in item.work}) == 1 for item in todo.items)
