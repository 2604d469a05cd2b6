"""What is missing of a list of runs, in bundles of the right size, with what they are expected to take."""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sclaws import keys
from sclaws.grid import Run, Trial
from sclaws.store import Store
from sclaws.sweep.pace import Pace
from sclaws.trial import Item, Settings, must_train

BUNDLE_SECONDS = 5.0  # of a CPU: small trials share a bundle until they are worth handing over
GPU_SECONDS = 500.0  # of a CPU, when a GPU does the work: it needs many small models at once to be kept busy
_TIMED = 8  # stored runs of a model and score that are read to know how long the score takes
_TELLING = 0.02  # of a model's work is what calibration aims at: enough to tell, little enough to wait for


@dataclass(frozen=True)
class Plan:
    """What a sweep would do: bundles still to run, counts, and estimates of CPU seconds and bytes.

    ``train`` holds the keys of trials to be trained, ``missing`` the runs that each unfinished trial lacks, ``pace``
    what is known of times; ``megabytes`` are those of embeddings and runs, without weights.
    """

    items: tuple[Item, ...]
    costs: tuple[float, ...]
    n_trials: int
    n_runs: int
    train: frozenset[str]
    missing: Mapping[str, tuple[Run, ...]]
    megabytes: float
    pace: Pace

    @functools.cached_property
    def lacking(self) -> dict[str, int]:
        """How many runs of each unfinished trial are missing."""
        return {key: len(runs) for key, runs in self.missing.items()}

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

    def cost(self, item: Item, pace: Pace) -> float:
        """Return the seconds that an item takes at a pace."""
        return sum(_cost(trial, trial.key in self.train, self.missing[trial.key], pace) for trial, _ in item.work)


def plan(runs: Sequence[Run], store: Store, settings: Settings, sizes: Mapping[str, tuple[int, int]]) -> Plan:
    """Return what is missing. ``sizes`` maps a dataset's label to its (cells, features), for the estimates.

    Time grows with the number of runs; no data are read.
    """
    wanted = by_trial(runs)
    present = store.runs()
    made = {key: record["provenance"] for key in wanted if (record := store.trial(key)) is not None}
    missing = {key: tuple(run for run in of if run.key not in present) for key, (_, of) in wanted.items()}
    pending = [key for key in wanted if missing[key] or key not in made]
    retrain = {key for key in pending if key not in made or must_train(wanted[key][0], missing[key], store)}
    pace = _measured(wanted, made, present if pending else set(), store, Pace(sizes))
    costs = {key: _cost(wanted[key][0], key in retrain, missing[key], pace) for key in pending}
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
        missing={key: missing[key] for key in pending},
        megabytes=sum(_megabytes(wanted[key], sizes) for key in retrain),
        pace=pace,
    )


def calibration(todo: Plan) -> Plan:
    """Return the part of a plan that tells how long the rest takes: of each model not timed yet its cheapest trial, and
    one that takes about a fiftieth of its work.
    """
    of: dict[str, list[tuple[float, Trial, tuple[Run, ...], Item]]] = defaultdict(list)
    for item in todo.items:
        for trial, runs in item.work:
            if trial.key in todo.train and not todo.pace.knows(trial):
                of[trial.label].append((todo.pace.training(trial), trial, runs, item))
    chosen: dict[str, tuple[float, Trial, tuple[Run, ...], Item]] = {}
    for each in of.values():
        aim = _TELLING * sum(cost for cost, *_ in each)
        for one in (min(each, key=lambda e: e[0]), min(each, key=lambda e: abs(math.log(e[0] / aim)))):
            chosen[one[1].key] = one
    items = [replace(item, bundle=keys.key([key]), work=((t, runs),)) for key, (_, t, runs, item) in chosen.items()]
    items.sort(key=lambda item: -todo.cost(item, todo.pace))
    return replace(todo, items=tuple(items), costs=tuple(todo.cost(item, todo.pace) for item in items))


def by_trial(runs: Iterable[Run]) -> dict[str, tuple[Trial, tuple[Run, ...]]]:
    """Return {trial key: (trial, its runs)}, in the order of the keys; runs on the same test cells are neighbours."""
    found: dict[str, list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: (run.view_key, run.key)):
        found[run.trial.key].append(run)
    return {key: (found[key][0].trial, tuple(found[key])) for key in sorted(found)}


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
    many = getattr(trial.model.type, "stacks", False) and not trial.untrained
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


def _cost(trial: Trial, trained: bool, missing: Iterable[Run], pace: Pace) -> float:
    """Return seconds of one worker for a trial: its training, if it has to be trained, and the scores that it lacks."""
    return (pace.training(trial) if trained else 0.0) + sum(map(pace.scoring, missing)) + pace.rest


def _measured(
    wanted: Mapping[str, tuple[Trial, tuple[Run, ...]]], made: Mapping[str, Mapping[str, Any]], present: set[str],
    store: Store, pace: Pace,
) -> Pace:  # fmt: skip
    """Return the pace of what is stored: of every trial, and of a few runs for each model and score."""
    for key, how in made.items():
        pace.trained(wanted[key][0], how["seconds"], cold=how.get("cold", False))
    timed: Counter[tuple[str, str]] = Counter()
    for run in (run for _, runs in wanted.values() for run in runs if run.key in present):
        kind = run.trial.label, run.score.label
        if timed[kind] < _TIMED and (record := store.run(run.key)) and "seconds" in record["provenance"]:
            timed[kind] += 1
            pace.scored(run, record["provenance"]["seconds"], cold=record["provenance"].get("cold", False))
    return pace


def _megabytes(of: tuple[Trial, tuple[Run, ...]], sizes: Mapping[str, tuple[int, int]]) -> float:
    trial, runs = of
    model = trial.model.build()
    dim = next((getattr(model, name) for name in ("dim", "n_latent") if hasattr(model, name)), 16)
    there = sizes.get(trial.dataset.label, (1000, 1000))[0]
    cells = there * trial.split.shares(there)[0]
    return float(len({run.view_key for run in runs}) * cells * dim * 4 + 6000 * len(runs)) / 1e6
