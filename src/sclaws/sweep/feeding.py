"""What is handed out next, and how long the rest takes: largest first, under a budget, as far as is known by now."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from sclaws.sweep.budget import Budget
from sclaws.sweep.pace import Pace
from sclaws.sweep.planning import Plan
from sclaws.trial import Done, Item

_FRESH = 0.5  # seconds for which an estimate of all items holds
_PROBES = 0.03  # of the work may be done first to learn how long each model takes


class Feed:
    """The items of a plan, handed out one by one as an engine asks for them.

    First an item of each model that was never timed, small beside the whole, so that no estimate rests on what a model
    says of itself; then the largest. Under a budget the first that fits; when none does, that is the end.

    Without ``workers`` their number is learned: as many as there are items out, less those ``queued`` that an engine
    takes before there is room for them.
    """

    def __init__(
        self, todo: Plan, pace: Pace, budget: Budget, workers: int | None, clock: Callable[[], float], queued: int = 0
    ) -> None:
        self._todo, self._pace, self._clock = todo, pace, clock
        self._queued = queued
        self._workers = workers or 1  # or the most that worked at once
        self._learns = not workers
        self._pending = {item.bundle: item for item in todo.items}
        self._started: dict[str, float] = {}
        self._items = dict(self._pending)
        self._costs = dict(zip(self._pending, todo.costs, strict=True))
        self._asked = clock()
        self.until = clock() + budget.seconds
        self._looked, self._last = -math.inf, math.inf
        self._probes = set(_probes(todo, pace))
        self._queue = list(self._pending)  # what is next stands last
        self._sort()

    def __iter__(self) -> Iterator[Item]:
        """Yield items; each knows until when its trials may be begun."""
        while (bundle := self._next(self._clock())) is not None:
            self._started[bundle] = self._clock()
            if self._learns:
                self._workers = max(self._workers, len(self._started) - self._queued)
            yield replace(self._pending.pop(bundle), until=self.until)

    def finished(self, bundle: str, done: Done | None) -> None:
        """Take note that an item has come back, and of what was measured; ``None`` when it was lost."""
        if self._started.pop(bundle, None) is not None:
            for begun in [*self._started][self._workers - 1 : self._workers]:  # its worker takes the first that waits
                self._started[begun] = self._clock()
        if done is not None:
            self._pace.learn(self._items[bundle].work, done)

    def left(self) -> float:
        """Return the seconds of the clock until everything is done that will be: what is budgeted, by what is known."""
        now = self._clock()
        if now - self._looked >= _FRESH or not self._queue:
            self._looked = now
            self._estimate(now)  # anew: an engine may have asked for its next item before this one's times were known
            self._last = self._simulated(now, [*self._started])[0]
        return max(0.0, self._last - now)

    def covered(self) -> tuple[float, list[str]]:
        """Return the seconds of the clock that the budgeted work takes from now on, and its bundles."""
        now = self._clock()
        last, bundles = self._simulated(now, [])
        return last - now, bundles

    @property
    def undone(self) -> list[str]:
        """Keys of the trials that were not handed out."""
        return [trial.key for item in self._pending.values() for trial, _ in item.work]

    # ── parts ────────────────────────────────────────────────────────────────────────────────────────────────────────
    def _next(self, now: float) -> str | None:
        if not 0 <= now - self._asked < _FRESH:
            self._estimate(now)
        place = _fitting(self._queue, self._costs, self.until - now)
        return None if place is None else self._queue.pop(place)

    def _estimate(self, now: float) -> None:
        """Estimate all items anew, and sort those that wait."""
        self._asked = now
        for bundle in (*self._started, *self._pending):
            self._costs[bundle] = self._todo.cost(self._items[bundle], self._pace)
        self._sort()

    def _sort(self) -> None:
        self._queue.sort(key=lambda bundle: (bundle in self._probes, self._costs[bundle]))

    def _free(self, bundle: str, now: float) -> float:
        """Return when a worker is free again; one that is late already will be later by a tenth."""
        started = self._started[bundle]
        return max(now + 0.1 * (now - started), started + self._costs[bundle])

    def _simulated(self, now: float, out: Sequence[str]) -> tuple[float, list[str]]:
        """Return when the last item ends, if each goes to the worker that is free first, and the items in turn.

        Of those that are ``out`` as many as there are workers are worked on, and the others wait.
        """
        free = [self._free(bundle, now) for bundle in out[: self._workers]]
        heapq.heapify(free := [*free, *[now] * (self._workers - len(free))])
        for bundle in out[self._workers :]:
            heapq.heappush(free, heapq.heappop(free) + self._costs[bundle])
        last, queue, bundles = max(free), list(self._queue), []
        while queue:
            start = heapq.heappop(free)
            if (place := _fitting(queue, self._costs, self.until - start)) is None:
                break
            bundles.append(bundle := queue.pop(place))
            heapq.heappush(free, end := start + self._costs[bundle])
            last = max(last, end)
        return last, bundles


def _fitting(queue: Sequence[str], costs: Mapping[str, float], seconds: float) -> int | None:
    """Return the place, nearest to the end of the queue, of what fits into the seconds, or ``None``."""
    places = range(len(queue) - 1, -1, -1)
    return next((place for place in places if costs[queue[place]] <= seconds), None)


def _probes(todo: Plan, pace: Pace) -> list[str]:
    """Return bundles that hold a trial of each model not timed yet, each near a small share of the whole work."""
    new = {t.label for item in todo.items for t, _ in item.work if t.key in todo.train and not pace.knows(t)}
    if len(todo.items) <= 2 * len(new):  # too few for an order of any kind
        return []
    aim, found = _PROBES * todo.seconds / max(len(new), 1), []
    near = sorted(
        zip(todo.items, todo.costs, strict=True), key=lambda each: abs(math.log(max(each[1], 1e-9) / max(aim, 1e-9)))
    )
    for item, _ in near:
        if mine := {trial.label for trial, _ in item.work if trial.key in todo.train} & new:
            found.append(item.bundle)
            new -= mine
    return found
