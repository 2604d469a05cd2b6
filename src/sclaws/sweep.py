"""A list of runs x an engine -> a store. Running again does only what is missing."""

from __future__ import annotations

import contextlib
import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sclaws import keys
from sclaws.grid import Run, Trial
from sclaws.protocols import Engine, Failure
from sclaws.store import Store
from sclaws.trial import Done, Item, Settings, must_train, work

SCORE_SECONDS = 0.2  # what scoring costs, roughly
BUNDLE_SECONDS = 5.0  # of a CPU: small trials share a bundle until they are worth handing over
GPU_SECONDS = 500.0  # of a CPU, when a GPU does the work: it needs many small models at once to be kept busy
Progress = Callable[[float, Done], None]


@dataclass(frozen=True)
class Plan:
    """What a sweep would do: bundles still to run, counts, and estimates of CPU seconds and bytes.

    ``train`` holds the keys of trials to be trained, ``lacking`` how many runs of each unfinished trial are missing.
    """

    items: tuple[Item, ...]
    costs: tuple[float, ...]
    n_trials: int
    n_runs: int
    train: frozenset[str]
    lacking: Mapping[str, int]
    megabytes: float

    @property
    def to_train(self) -> int:
        """Number of trials to be trained."""
        return len(self.train)

    @property
    def trials_done(self) -> int:
        """Number of trials that need no training."""
        return self.n_trials - len(self.train)

    @property
    def runs_done(self) -> int:
        """Number of runs that are stored."""
        return self.n_runs - sum(self.lacking.values())

    @property
    def seconds(self) -> float:
        """CPU seconds of all items together; divide by the workers for the wall clock."""
        return sum(self.costs)


def plan(runs: Sequence[Run], store: Store, settings: Settings, sizes: Mapping[str, tuple[int, int]]) -> Plan:
    """Return what is missing. ``sizes`` maps a dataset's label to its (cells, features), for the estimates.

    Time grows with the number of runs; no data are read.
    """
    wanted = by_trial(runs)
    present = store.runs()
    missing = {key: [run for run in of if run.key not in present] for key, (_, of) in wanted.items()}
    pending = [key for key in wanted if missing[key] or not store.has_trial(key)]
    retrain = {key for key in pending if must_train(wanted[key][0], missing[key], store)}
    pace = _pace(wanted, store, sizes)
    costs = {key: _cost(wanted[key][0], sizes, pace) if key in retrain else 0.0 for key in pending}
    costs = {key: cost + SCORE_SECONDS * len(missing[key]) for key, cost in costs.items()}
    enough = GPU_SECONDS if settings.device.startswith("cuda") else BUNDLE_SECONDS
    bundles = _bundles([wanted[key][0] for key in pending], costs, store, enough)
    items = [Item(name, tuple(wanted[k] for k in of), str(store.folder), settings) for name, of in bundles.items()]
    items.sort(key=lambda item: -sum(costs[t.key] for t, _ in item.work))  # largest first: no long tail at the end
    return Plan(
        items=tuple(items),
        costs=tuple(sum(costs[t.key] for t, _ in item.work) for item in items),
        n_trials=len(wanted),
        n_runs=len(runs),
        train=frozenset(retrain),
        lacking={key: len(missing[key]) for key in pending},
        megabytes=sum(_megabytes(wanted[key], sizes) for key in retrain),
    )


def by_trial(runs: Iterable[Run]) -> dict[str, tuple[Trial, tuple[Run, ...]]]:
    """Return {trial key: (trial, its runs)}, in the order of the keys; runs on the same test cells are neighbours."""
    found: dict[str, list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: (run.view_key, run.key)):
        found[run.trial.key].append(run)
    return {key: (found[key][0].trial, tuple(found[key])) for key in sorted(found)}


def run(todo: Plan, engine: Engine, store: Store, progress: Progress) -> Done:
    """Carry out a plan. ``progress(cost, done)`` is called as items finish; a lost worker fails its item only."""
    costs = dict(zip((item.bundle for item in todo.items), todo.costs, strict=True))
    total = Done()
    for item in todo.items:
        store.put_bundle(item.bundle, [trial.key for trial, _ in item.work])
    results = engine.map(work, todo.items)
    with contextlib.ExitStack() as stack:
        if hasattr(results, "close"):
            stack.callback(results.close)  # whatever happens here, workers stop with the loop
        for item, result in results:
            done = _lost(item, result, store) if isinstance(result, Failure) else result
            total.add(done)
            progress(costs[item.bundle], done)
    return total


def _lost(item: Item, failure: Failure, store: Store) -> Done:
    """Record as failed what a lost worker left undone: trials, and runs of trials that were stored before."""
    undone = []
    for trial, runs in item.work:
        there = store.has_trial(trial.key)
        undone += [run.key for run in runs if store.run(run.key) is None] if there else [trial.key]
    for key in undone:
        store.put_failure(key, asdict(failure))
    return Done(failed=undone)


def _bundles(pending: list[Trial], costs: Mapping[str, float], store: Store, enough: float) -> dict[str, list[str]]:
    """Return {bundle: trial keys}: recorded bundles as they were, the rest grouped by the cells they train on."""
    left = {trial.key: trial for trial in pending}
    bundles: dict[str, list[str]] = {}
    for name, members in store.bundles().items():
        if mine := [key for key in members if key in left]:
            bundles[name] = mine
            for key in mine:
                del left[key]
    units = defaultdict(list)
    for trial in left.values():
        units[(trial.data_seed, _trained_together(trial), trial.cells_key)].append(trial.key)
    of_data = itertools.groupby(sorted(units.items()), key=lambda unit: unit[0][0])
    for _, group in of_data:
        bundles |= {keys.key(members): members for members in _chunks([unit for _, unit in group], costs, enough)}
    return bundles


def _trained_together(trial: Trial) -> str:
    """Return what trials must have in common to be trained at once, so that they are neighbours; "" for most."""
    many = hasattr(trial.model.type, "fit_many") and not trial.untrained
    return keys.key(trial.model.describe()) if many else ""


def _chunks(units: list[list[str]], costs: Mapping[str, float], enough: float) -> list[list[str]]:
    """Join small units, in order, until each chunk is worth handing to a worker: ``enough`` CPU seconds."""
    chunks: list[list[str]] = []
    filled = enough
    for unit in units:
        cost = sum(costs[key] for key in unit)
        if filled + cost > enough:
            chunks.append([])
            filled = 0.0
        chunks[-1].extend(unit)
        filled += cost
    return chunks


def _size(trial: Trial, sizes: Mapping[str, tuple[int, int]]) -> tuple[float, float]:
    cells, features = sizes.get(trial.dataset.label, (1000, 1000))
    levels = {s.name: s.level for s in trial.levels}
    share = 1 - trial.split.test - trial.split.valid
    return levels.get("n_cells", cells * share), levels.get("n_genes", features)


def _cost(trial: Trial, sizes: Mapping[str, tuple[int, int]], pace: Mapping[str, float]) -> float:
    """Return CPU seconds: the model's own estimate, corrected by what its finished trials took."""
    model = trial.model.build()
    stated = model.cost(*_size(trial, sizes)) if hasattr(model, "cost") and not trial.untrained else 1.0
    return max(float(stated) * pace.get(trial.label, 1.0), 0.05)


def _pace(
    wanted: Mapping[str, tuple[Trial, Any]], store: Store, sizes: Mapping[str, tuple[int, int]]
) -> dict[str, float]:
    """Return, by model, how much longer finished trials took than the model said."""
    took: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for key, (trial, _) in wanted.items():
        if record := store.trial(key):
            took[trial.label][0] += record["provenance"]["seconds"]
            took[trial.label][1] += _cost(trial, sizes, {})
    return {label: actual / stated for label, (actual, stated) in took.items()}


def _megabytes(of: tuple[Trial, tuple[Run, ...]], sizes: Mapping[str, tuple[int, int]]) -> float:
    trial, runs = of
    model = trial.model.build()
    dim = next((getattr(model, name) for name in ("dim", "n_latent") if hasattr(model, name)), 16)
    cells = sizes.get(trial.dataset.label, (1000, 1000))[0] * trial.split.test
    return float(len({run.view_key for run in runs}) * cells * dim * 4 + 6000 * len(runs)) / 1e6
