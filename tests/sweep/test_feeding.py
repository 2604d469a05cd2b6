"""What is handed out next, how long the rest takes, and what a budget covers: on a clock that is simulated."""

import heapq
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from sclaws import grid, sweep
from sclaws.errors import StudyError
from sclaws.store import Store
from sclaws.sweep import Budget
from sclaws.trial import Done, Settings

MODELS = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Slow:
    first: float = 1.0
    each: float = 0.0

    def cost(self, cells, features):
        return self.first + self.each * cells

    def fit(self, train, valid, *, seed): ...
"""
SIZES = {"simulated-tissue": (20_000, 500)}


def planned(folder: Path, models: list[dict], **more: object) -> sweep.Plan:
    """Plan 6 numbers of cells x 4 depths x 3 replicates of each model, on an empty store."""
    (folder / "slow.py").write_text(MODELS)
    words = {
        "dataset": "simulated-tissue",
        "models": [{"use": "slow.py:Slow", **model} for model in models],
        "signals": [{"use": "obsm", "key": "protein"}],
        "scores": ["gaussian"],
        "levels": {"n_cells": {"log": [100, 10_000, 6]}, "umis_per_cell": {"log": [50, 1000, 4]}},
        "replicates": 3,
    }
    store = Store.open(folder / "out")
    return sweep.plan(grid.runs(words | more, folder), store, Settings(), SIZES)


@dataclass
class Simulated:
    """An engine of workers whose trials take what ``truth`` says of the seconds that a model states."""

    todo: sweep.Plan
    workers: int
    truth: dict[str, tuple[float, float]]  # model: factor, power of size
    spread: float = 0.0  # of the logarithm of a trial's seconds
    start: float = 0.0  # seconds that a model's first trial takes longer in each process
    score: float = 0.2
    seed: int = 0
    now: float = 1e9
    handed: list[str] = field(default_factory=list)
    begun: list[float] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def map(self, work: object, items: object) -> Iterator[tuple]:
        queue, rng, warm = iter(items), np.random.default_rng(self.seed), set()
        free, busy, count = list(range(self.workers)), [], itertools.count()
        ready = []
        while True:
            while free and (item := next(queue, None)) is not None:
                done = self._done(item, rng, warm, worker := free.pop())
                self.handed.append(item.bundle)
                heapq.heappush(busy, (self.now + done.seconds, next(count), worker, item, done))
            yield from ready  # as the engine of processes does: only when the workers have their next items
            if not busy:
                return
            self.now, _, worker, item, done = heapq.heappop(busy)
            free.append(worker)
            ready = [(item, done)]

    def _done(self, item, rng: np.random.Generator, warm: set, worker: int) -> Done:
        done = Done()
        for trial, runs in item.work:
            if self.now + done.seconds >= item.until:
                done.left.append(trial.key)
                continue
            self.begun.append(self.now + done.seconds)
            factor, power = self.truth[trial.label]
            took = factor * self.todo.pace.stated(trial) ** (1 + power) * math.exp(self.spread * rng.normal())
            if (worker, trial.label) not in warm:
                warm.add((worker, trial.label))
                took += self.start
                done.cold.append(trial.key)
            done.spent |= {trial.key: took} | {run.key: self.score for run in runs}
            done.trained.append(trial.key)
            done.scored += [run.key for run in runs]
            done.seconds += took + self.score * len(runs) + 0.01
        return done


def ran(engine: Simulated, folder: Path, budget: Budget | None = None) -> tuple[list[tuple[float, ...]], Done]:
    """Return (passed, predicted left, work) at every item's end, in seconds, and what became of it all."""
    began, said = engine.now, []

    def tell(left: float, done: Done) -> None:
        said.append((engine.now - began, left, (said[-1][2] if said else 0.0) + done.seconds))

    done = sweep.run(engine.todo, engine, Store.open(folder / "out"), tell, budget, engine.clock)
    return said, done


def errors(said: list[tuple[float, ...]]) -> dict[float, float]:
    """Return predicted over actual time left when 10, 25 and 50 % of the work have come back."""
    whole, work = said[-1][0], said[-1][2]
    at = {share: next(each for each in said if each[2] >= share * work) for share in (0.1, 0.25, 0.5)}
    return {share: left / (whole - passed) for share, (passed, left, _) in at.items()}


THREE = [{"first": 0.3, "each": 1e-4}, {"first": 10, "each": 0.01}, {"first": 2, "each": 0.004}]
LABELS = [f"Slow({','.join(f'{k}={v}' for k, v in sorted(model.items()))})" for model in THREE]


WRONG = [
    [(1, 0), (1, 0), (1, 0)],
    [(0.1, 0), (4, 0), (0.5, 0)],  # each model is wrong by a factor of its own
    [(20, 0), (0.1, 0), (3, 0)],
    [(1, 0.3), (0.5, -0.4), (2, 0.2)],  # and by a power of its size
    [(30, -0.2), (0.2, 0.4), (0.3, 0)],
]


def test_time_left_is_right_within_half_after_a_tenth(tmp_path, monkeypatch) -> None:
    """For models whose costs are wrong in ways of their own, with spread, a slow first trial, and 1, 2 or 8 workers."""
    monkeypatch.setattr(Store, "put_bundle", lambda *_: None)  # nothing is to be resumed here
    todo, found = planned(tmp_path, THREE), []
    for wrong, workers, seed in itertools.product(WRONG, (1, 2, 8), range(3)):
        fresh = replace(todo, pace=sweep.Pace(SIZES))
        truth = dict(zip(LABELS, wrong, strict=True))
        engine = Simulated(fresh, workers, truth, spread=0.2, start=5.0, seed=seed)
        said, done = ran(engine, tmp_path)
        assert len(done.trained) == 216
        found += errors(said).values()
    off = np.abs(np.log(found))
    assert (off < np.log(1.5)).mean() > 0.95, found
    assert off.max() < np.log(2), found


@dataclass
class Queueing(Simulated):
    """As Ray does it: takes ``waiting`` items more than there are workers, and does not say how many those are."""

    waiting: int = 2
    queued: int = 3

    def __post_init__(self) -> None:
        self.places, self.workers = self.workers, None

    def map(self, work: object, items: object) -> Iterator[tuple]:
        queue, rng, warm = iter(items), np.random.default_rng(self.seed), set()
        free, waiting, busy, count = list(range(self.places)), [], [], itertools.count()
        ready = []
        while True:
            waiting += itertools.islice(queue, self.places + self.waiting - len(busy) - len(waiting))
            while free and waiting:
                done = self._done(item := waiting.pop(0), rng, warm, worker := free.pop())
                heapq.heappush(busy, (self.now + done.seconds, next(count), worker, item, done))
            yield from ready
            if not busy:
                return
            self.now, _, worker, item, done = heapq.heappop(busy)
            free.append(worker)
            ready = [(item, done)]


@pytest.mark.parametrize("places", [1, 2, 8])
def test_items_that_wait_with_the_engine_are_no_workers(tmp_path, places: int) -> None:
    """Models take what they say, so the time left is known; were those that wait counted, it were a quarter at one."""
    engine = Queueing(planned(tmp_path, THREE), places, dict.fromkeys(LABELS, (1, 0)))
    said, done = ran(engine, tmp_path)
    assert len(done.trained) == 216
    for off in errors(said).values():
        assert abs(off - 1) < 0.08


def test_small_trials_of_each_model_come_first_and_then_the_largest(tmp_path) -> None:
    todo = planned(tmp_path, THREE)
    engine = Simulated(todo, 1, dict.fromkeys(LABELS, (1, 0)))
    ran(engine, tmp_path)
    costs = dict(zip((item.bundle for item in todo.items), todo.costs, strict=True))
    first, *rest = (costs[bundle] for bundle in engine.handed)
    assert first < 0.02 * todo.seconds
    np.testing.assert_allclose(rest, sorted(rest, reverse=True), rtol=0.05)


# ── budgets ──────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("workers", [1, 3])
def test_a_budget_begins_what_fits_and_is_used_up(tmp_path, workers: int) -> None:
    """Each model takes what it says: so nothing ends late, and no more than a small item is left of the time."""
    todo = planned(tmp_path, THREE)
    budget = Budget(hours=0.4 * todo.seconds / workers / 3600)
    engine = Simulated(todo, workers, dict.fromkeys(LABELS, (1, 0)), spread=0.0)
    said, done = ran(engine, tmp_path, budget)
    assert 0.97 * budget.seconds < said[-1][0] < 1.01 * budget.seconds
    assert sorted([*done.trained, *done.left]) == sorted(t.key for item in todo.items for t, _ in item.work)
    assert 0.5 * budget.seconds < said[0][0] + said[0][1] < 1.01 * budget.seconds  # what is left is what is budgeted
    assert max(engine.begun) < 1e9 + budget.seconds


def test_what_fits_goes_ahead_of_what_does_not(tmp_path) -> None:
    todo = planned(tmp_path, [{"first": 0.0, "each": 1.0}], levels={"n_cells": [10, 1000]})
    engine = Simulated(todo, 1, {"Slow(each=1.0,first=0.0)": (1, 0)})
    _, done = ran(engine, tmp_path, Budget(hours=0.2))
    small = {trial.key for item in todo.items for trial, _ in item.work if trial.levels[0].level == 10}
    assert set(done.trained) == small
    assert len(done.left) == len(small) == 3


def test_a_bundle_stops_between_two_trials_when_the_time_is_up(tmp_path) -> None:
    """Estimates that are far too low: what was begun is finished, and nothing else is begun."""
    todo = planned(tmp_path, [{"first": 1.0}])
    assert max(len(item.work) for item in todo.items) > 1
    engine = Simulated(todo, 1, {"Slow(first=1.0)": (60, 0)})
    _, done = ran(engine, tmp_path, Budget(hours=90 / 3600))
    assert (len(done.trained), len(done.left)) == (2, 70)


def test_money_is_hours_at_a_price() -> None:
    assert Budget(money=50, price=2.5).seconds == 20 * 3600
    assert Budget(hours=3, money=50, price=2.5).seconds == 3 * 3600
    assert Budget().seconds == math.inf
    assert Budget(price=2.5).cost(7200) == 5


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ({"hours": 0}, "hours = 0 must be a number above 0"),
        ({"hours": "two"}, "hours = 'two' must be a number above 0"),
        ({"money": math.nan}, "budget = nan must be a number above 0"),
        ({"money": 5, "price": -1}, "price = -1 must be a number, 0 or above"),
        ({"money": 5}, "needs a price: say what an hour costs"),
    ],
)
def test_budgets_that_mean_nothing(words: dict, match: str) -> None:
    with pytest.raises(StudyError, match=match):
        Budget(**words)
