"""A plan is carried out: items to the engine, what they say of their pace back into what is expected."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace

from sclaws.protocols import Engine, Failure
from sclaws.store import DiskError, Store
from sclaws.sweep.budget import Budget
from sclaws.sweep.feeding import Feed
from sclaws.sweep.planning import Plan
from sclaws.trial import Done, Item, work

Progress = Callable[[float, Done], None]


def run(
    todo: Plan, engine: Engine, store: Store, progress: Progress, budget: Budget | None = None,
    clock: Callable[[], float] = time.time,
) -> Done:  # fmt: skip
    """Carry out a plan within a budget; return what became of it all, with the trials that the budget left undone.

    ``progress(left, done)`` is called as items finish, with the seconds of the clock that are still expected (those of
    the budget at most). A lost worker fails no trial but its own; results that cannot be written end the sweep with a
    ``DiskError``, for nothing that is begun then can be kept.
    """
    for item in todo.items:
        store.put_bundle(item.bundle, [trial.key for trial, _ in item.work])
    workers, queued = getattr(engine, "workers", None), getattr(engine, "queued", 0)
    feed = Feed(todo, todo.pace, budget or Budget(), workers, clock, queued)

    def tell(item: Item, done: Done, lost: bool) -> None:
        feed.finished(item.bundle, None if lost else done)
        progress(feed.left(), done)

    total = carry_out(todo.items, engine, store, tell, feed)
    total.left += feed.undone
    return total


def carry_out(
    items: Sequence[Item], engine: Engine, store: Store, tell: Callable[[Item, Done, bool], None] = lambda *_: None,
    feed: Iterable[Item] | None = None,
) -> Done:  # fmt: skip
    """Do these items, as ``feed`` hands them out; return what became of them.

    ``tell(item, done, lost)`` is called as they finish. What others are working on is left to them, if they live: a
    worker that is lost with its machine leaves trials leased, and nobody elsewhere can tell at once that it is dead.
    What it was working on is done when it has given no sign of life for some time. Of a bundle whose worker was lost,
    what it left undone is begun once more, each trial as an item of its own; but those that were being trained together
    first go on together, once, from where they were.
    """
    total, given, losses = Done(), items if feed is None else feed, _Losses()
    until: dict[str, float] = {}
    while True:
        with contextlib.closing(_results(given, engine)) as results:  # workers stop with the loop, always
            for item, result in results:
                lost = isinstance(result, Failure)
                done = losses.of(item, result, store) if isinstance(result, Failure) else result
                until[item.bundle] = item.until
                total.add(done)
                tell(item, done, lost)
        again, alone = losses.taken()
        if again:
            given = [replace(item, until=until[item.bundle]) for item in _parts(items, again, alone)]
            continue
        free = store.freed(total.busy)
        total.busy = [key for key in total.busy if key not in free]
        given = [replace(item, until=until[item.bundle]) for item in _parts(items, free, losses.before)]
        if not given:
            return total


def _parts(items: Iterable[Item], keys: Iterable[str], alone: Iterable[str]) -> Generator[Item, None, None]:
    """Return what of the items is of these keys, and those trials that shall be alone as items of their own."""
    for item in items:
        work = [each for each in item.work if each[0].key in keys]
        single = [each for each in work if each[0].key in alone]
        bundles = [[each for each in work if each not in single], *([each] for each in single)]
        yield from (replace(item, work=tuple(each)) for each in bundles if each)


def _results(items: Iterable[Item], engine: Engine) -> Generator[tuple[Item, Done | Failure], None, None]:
    results = engine.map(work, items)
    with contextlib.ExitStack() as stack:
        if hasattr(results, "close"):
            stack.callback(results.close)
        for item, result in results:
            if isinstance(result, Failure) and result.error == DiskError.__name__:
                raise DiskError(result.message)
            yield item, result


@dataclass
class _Losses:
    """Trials that were in items whose worker was lost, and of those that are to be ``again`` whether alone.

    ``joint``: those that have had their chance to go on together.
    """

    before: set[str] = field(default_factory=set)
    again: dict[str, bool] = field(default_factory=dict)
    joint: set[str] = field(default_factory=set)

    def of(self, item: Item, failure: Failure, store: Store) -> Done:
        """Return what becomes of an item whose worker was lost.

        Of several trials nobody knows which was the end of it: each is begun again. One that was alone has failed, and
        so has one that is lost again, or its runs if it was stored before. What somebody else holds is left to them.
        Those that were being trained together, and left a checkpoint, go on together first, which counts for no loss.
        """
        done, held = Done(), store.said()
        joint = _halfway(item, store) - self.joint
        for trial, runs in item.work:
            there = store.has_trial(trial.key)
            undone = [run.key for run in runs if store.run(run.key) is None] if there else [trial.key]
            first = trial.key not in self.before
            if undone and first and trial.key in held:
                done.busy.append(trial.key)
            elif undone and first and len(item.work) > 1:
                self.again[trial.key] = trial.key not in joint
            else:
                for key in undone:
                    store.put_failure(key, asdict(failure))
                done.failed += undone
        self.joint |= joint
        self.before |= {trial.key for trial, _ in item.work} - joint
        return done

    def taken(self) -> tuple[set[str], set[str]]:
        """Return those that are to be begun again, once, and those of them that are to be alone."""
        again, self.again = self.again, {}
        return {*again}, {key for key, alone in again.items() if alone}


def _halfway(item: Item, store: Store) -> set[str]:
    """Return those trials of an item whose training together has left its scratch, of none of them being there."""
    keys = {trial.key for trial, _ in item.work if not store.has_trial(trial.key)}
    return {key for members in store.halfway() if len(members) > 1 and keys.issuperset(members) for key in members}
