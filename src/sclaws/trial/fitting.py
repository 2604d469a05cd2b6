"""From training cells to a trained model: one trial alone, or several trials of one model at once."""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sclaws.errors import ModelError
from sclaws.grid import Trial
from sclaws.protocols import Context, Job, Trained
from sclaws.store import Store
from sclaws.trial import data


@dataclass(frozen=True)
class Settings:
    """How to run, which changes no number that matters: device, threads, and what to keep of a trial."""

    device: str = "cpu"
    threads: int = 1
    keep: tuple[str, ...] = ("embeddings",)


@dataclass(frozen=True)
class Fitted:
    """A trained model and its cells; ``seconds`` it took, its share where ``together`` trials were trained at once."""

    side: data.Scarce
    trained: Trained
    seconds: float
    together: int = 1


def alone(trial: Trial, store: Store, settings: Settings) -> Fitted:
    """Train one trial; its lease is held."""
    started = time.perf_counter()
    side = data.cells(trial)
    trained = fit(trial, side, store, settings)
    return Fitted(side, trained, time.perf_counter() - started)


def fit(trial: Trial, side: data.Scarce, store: Store, settings: Settings) -> Trained:
    """Return what the trial's model learns from these cells."""
    model: Any = trial.model.build()
    start: Callable[..., Trained] = model.untrained if trial.untrained else model.fit
    views = (side.train,) if trial.untrained else (side.train, side.valid)
    asks = "context" in inspect.signature(start).parameters
    with store.scratch(trial.key) if asks else nullcontext() as folder:
        said = {} if folder is None else {"context": _context(folder, [trial], store, settings)}
        return start(*views, seed=trial.seed("model"), **said)


def loaded(trial: Trial, folder: Path, settings: Settings) -> Trained:
    """Return what the trial's model saved of itself in ``folder``, to work as if it had been trained just now."""
    model: Any = trial.model.build()
    asks = "context" in inspect.signature(model.load).parameters
    said = {"context": Context(Path(), settings.device, settings.threads)} if asks else {}
    try:
        found: Trained = model.load(folder, **said)
    except Exception as error:
        raise ModelError(
            f"{trial.label}: the weights in {folder} cannot be loaded ({error}); mend the model's load, or remove this "
            f"folder, to train again"
        ) from error
    return found


def together(trials: Sequence[Trial], store: Store, settings: Settings) -> dict[str, Fitted | Exception]:
    """Train trials of one model with its ``fit_many``; return {trial: what came of it}. Their leases are held.

    The cells of all of them are in memory at once. A trial whose cells cannot be had fails without the others.
    """
    started = time.perf_counter()
    found: dict[str, Fitted | Exception] = {}
    sides: dict[str, data.Scarce] = {}
    for trial in trials:
        try:
            sides[trial.key] = data.cells(trial)
        except Exception as error:
            found[trial.key] = error
    try:
        made = _fit_many([trial for trial in trials if trial.key in sides], sides, store, settings)
    except Exception as error:  # of all of them, then: a model puts what concerns one in that one's place
        return found | dict.fromkeys(sides, error)
    seconds = (time.perf_counter() - started) / len(trials)
    for key, trained in made.items():
        found[key] = trained if isinstance(trained, Exception) else Fitted(sides[key], trained, seconds, len(made))
    return found


def _fit_many(
    trials: Sequence[Trial], sides: Mapping[str, data.Scarce], store: Store, settings: Settings
) -> dict[str, Trained | Exception]:
    if not trials:
        return {}
    trials = sorted(trials, key=lambda trial: trial.key)  # a checkpoint may know its jobs by their places
    model: Any = trials[0].model.build()
    jobs = [Job(sides[trial.key].train, sides[trial.key].valid, trial.seed("model")) for trial in trials]
    with store.scratch(*(trial.key for trial in trials)) as folder:
        made = list(model.fit_many(jobs, context=_context(folder, trials, store, settings)))
    if len(made) != len(jobs):
        raise ModelError(f"{trials[0].label}: fit_many returned {len(made)} models for {len(jobs)} jobs")
    return {trial.key: trained for trial, trained in zip(trials, made, strict=True)}


def _context(folder: Any, trials: Sequence[Trial], store: Store, settings: Settings) -> Context:
    def progress(message: str) -> None:
        for trial in trials:
            store.say(trial.key, message)

    return Context(folder, settings.device, settings.threads, progress)
