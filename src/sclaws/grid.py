"""The words of a study -> trials (trained once) and runs (scored once). Pure: reads no data but for checksums."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sclaws import keys
from sclaws.errors import StudyError, did_you_mean
from sclaws.plugins import Spec
from sclaws.protocols import Level
from sclaws.split import Split

BLOCK = (
    "dataset", "split", "models", "signals", "scores", "levels", "test_levels", "replicates", "design", "precision",
)  # fmt: skip
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Setting:
    """One axis at one level that is not "all"."""

    name: str
    axis: Spec
    level: float

    def describe(self) -> dict[str, Any]:
        """Return the axis's description with its level."""
        return self.axis.describe() | {"level": self.level}


@dataclass(frozen=True)
class Trial:
    """One training: data, split, training-side levels, model, replicate. Its key is the hash of ``describe()``."""

    dataset: Spec
    split: Split
    replicate: int
    levels: tuple[Setting, ...]
    model: Spec
    untrained: bool = False
    precision: str = "float32"

    @functools.cached_property
    def key(self) -> str:
        """16 hexadecimal digits."""
        return keys.key(self.describe())

    @functools.cached_property
    def data_seed(self) -> int:
        """Root of every seed that concerns cells: the same for all levels and models of a replicate."""
        return keys.seed(self.dataset.describe(), asdict(self.split), self.replicate)

    def describe(self) -> dict[str, Any]:
        """Return everything that changes what is learned, in the words of the study file."""
        return self._described

    @functools.cached_property
    def _described(self) -> dict[str, Any]:
        out = {
            "dataset": self.dataset.describe(),
            "split": asdict(self.split),
            "replicate": self.replicate,
            "levels": {s.name: s.describe() for s in self.levels},
            "model": self.model.describe(),
            "precision": self.precision,
        }
        return out | ({"untrained": True} if self.untrained else {})

    def seed(self, purpose: str) -> int:
        """Return the seed for a purpose ("split", "axis n_cells", "model", "score"), whatever level and model."""
        return keys.seed(self.data_seed, purpose)

    def on(self, part: str) -> tuple[Setting, ...]:
        """Return the settings that act on "rows", "values" or "features"."""
        return tuple(s for s in self.levels if s.axis.type.on == part)  # type: ignore[attr-defined]

    @property
    def label(self) -> str:
        """The model's name in tables."""
        return self.model.label + (" untrained" if self.untrained else "")


@dataclass(frozen=True)
class Run:
    """One score of one trial: adds the test-side levels, the signal (none for a loss) and the score."""

    trial: Trial
    test_levels: tuple[Setting, ...]
    signal: Spec | None
    score: Spec

    @functools.cached_property
    def key(self) -> str:
        """16 hexadecimal digits."""
        return keys.key(self.describe())

    @functools.cached_property
    def view_key(self) -> str:
        """Names the test cells as they are corrupted: runs that share it share an embedding."""
        return keys.key({s.name: s.describe() for s in self.test_levels})

    def describe(self) -> dict[str, Any]:
        """Return the description whose hash is the key."""
        return {
            "trial": self.trial.describe(),
            "test_levels": {s.name: s.describe() for s in self.test_levels},
            "signal": self.signal.describe() if self.signal else None,
            "score": self.score.describe(),
        }


def runs(words: Mapping[str, Any], folder: Path | str = "") -> list[Run]:
    """Return the runs of a study, the union of its ``[[grid]]`` blocks, without duplicates, sorted by key.

    A block inherits what the top level of the study says. ``folder`` is where relative paths start.
    """
    blocks = words.get("grid", [{}])
    if not isinstance(blocks, Sequence) or not all(isinstance(b, Mapping) for b in blocks):
        raise StudyError("grid: write one [[grid]] table for each block")
    shared = {k: words[k] for k in BLOCK if k in words}
    axes = words.get("axes", {})
    found: dict[str, Run] = {}
    for number, block in enumerate(blocks, start=1):
        where = f"[[grid]] number {number}"
        unknown_words(block, BLOCK, where)
        found.update((run.key, run) for run in _block(shared | dict(block), axes, folder, where))
    return [found[key] for key in sorted(found)]


def unknown_words(table: Mapping[str, Any], valid: Sequence[str], where: str) -> None:
    """Raise ``StudyError`` for the first key of a table that means nothing there."""
    for word in table:
        if word not in valid:
            raise StudyError(f"{where}: unknown key {word!r}; {did_you_mean(word, valid)}")


def _block(block: Mapping[str, Any], axes: Mapping[str, Any], folder: Path | str, where: str) -> Iterator[Run]:
    for word in ("dataset", "models", "scores"):
        if word not in block:
            raise StudyError(f"{where}: {word!r} is missing")
    dataset = Spec.of("datasets", block["dataset"], folder)
    split = _split(block.get("split", {}), where)
    models = [m for value in _list(block["models"]) for m in _models(value, folder)]
    signals = [Spec.of("signals", value, folder) for value in _list(block.get("signals", []))]
    scores = [Spec.of("scores", value, folder) for value in _list(block["scores"])]
    settings = {name: _axis(name, axes, folder) for name in block.get("levels", {})}
    designs = list(_design(block, settings, where))
    if (precision := block.get("precision", "float32")) not in PRECISIONS:
        raise StudyError(f"{where}: precision = {precision!r}; {did_you_mean(str(precision), PRECISIONS)}")
    for replicate, design, (model, untrained) in itertools.product(_replicates(block, where), designs, models):
        trains = getattr(model.type, "trains", True)
        trial = Trial(dataset, split, replicate, design if trains else (), model, untrained, precision)
        for test in _test_levels(block, design, settings, where):
            yield from _scored(trial, test, signals, scores, where)


def _scored(
    trial: Trial, test: tuple[Setting, ...], signals: list[Spec], scores: list[Spec], where: str
) -> Iterator[Run]:
    for score in scores:
        if getattr(score.type, "needs", "signal") == "model":
            if trains_loss(trial.model):
                yield Run(trial, test, None, score)
            continue
        if not signals:
            raise StudyError(f"{where}: score {score.use!r} compares with a signal, and 'signals' is missing")
        for signal in signals:
            yield Run(trial, test, signal, score)


def trains_loss(model: Spec) -> bool:
    """Return whether a model has a held-out loss; a class says so with ``has_loss = True``."""
    return bool(getattr(model.type, "has_loss", False))


def _models(value: Any, folder: Path | str) -> Iterator[tuple[Spec, bool]]:
    table: dict[str, Any] = {"use": value} if isinstance(value, str) else dict(value)
    untrained = bool(table.pop("untrained", False))
    sweep = table.pop("sweep", {})
    for name, choices in sweep.items():
        if not isinstance(choices, list) or not choices:
            raise StudyError(f"model {table.get('use')!r}: sweep.{name} = {choices!r} must be a list of values")
    for choice in itertools.product(*sweep.values()):
        spec = Spec.of("models", table | dict(zip(sweep, choice, strict=True)), folder)
        if untrained and not hasattr(spec.type, "untrained"):
            raise StudyError(f"model {spec.use!r} has no untrained form: remove 'untrained = true'")
        yield spec, untrained


def _axis(name: str, axes: Mapping[str, Any], folder: Path | str) -> Spec:
    return Spec.of("axes", axes.get(name, name), folder)


def _split(value: Any, where: str) -> Split:
    if not isinstance(value, Mapping):
        raise StudyError(f"{where}: split = {value!r} must be a table such as {{ test = 0.2, valid = 0.1 }}")
    unknown_words(value, ("test", "valid", "by"), f"{where}, split")
    return Split(**value)


def _replicates(block: Mapping[str, Any], where: str) -> range:
    count = block.get("replicates", 1)
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise StudyError(f"{where}: replicates = {count!r} must be a whole number of at least 1")
    return range(count)


def _design(block: Mapping[str, Any], axes: Mapping[str, Spec], where: str) -> Iterator[tuple[Setting, ...]]:
    """Yield the combinations of training-side levels; "all" is left out of them."""
    lists = {name: levels(value, name, _whole(axes[name])) for name, value in block.get("levels", {}).items()}
    design = block.get("design", "cartesian")
    if design not in ("cartesian", "zip"):
        raise StudyError(f"{where}: design = {design!r}; {did_you_mean(design, ('cartesian', 'zip'))}")
    if design == "zip" and len({len(v) for v in lists.values()}) > 1:
        raise StudyError(
            f"{where}: design = 'zip' pairs levels, but their numbers differ: { {k: len(v) for k, v in lists.items()} }"
        )
    combine = zip if design == "zip" else itertools.product
    for combination in combine(*lists.values()):
        yield tuple(Setting(n, axes[n], lv) for n, lv in zip(lists, combination, strict=True) if lv != "all")


def _test_levels(
    block: Mapping[str, Any], design: tuple[Setting, ...], axes: Mapping[str, Spec], where: str
) -> Iterator[tuple[Setting, ...]]:
    """Yield the test-side settings: "same" (as in training, the default), "all", or levels of their own."""
    asked = block.get("test_levels", {})
    unknown_words(asked, list(axes), f"{where}, test_levels")
    lists: list[list[Setting | None]] = []
    for name, axis in axes.items():
        if axis.type.on != "values":  # type: ignore[attr-defined]
            if name in asked:
                raise StudyError(f"{where}: test_levels.{name}: only axes that corrupt values act on test cells")
            continue
        same: list[Setting | None] = [s for s in design if s.name == name] or [None]
        value = asked.get(name, "same")
        parsed = [] if value == "same" else levels(value, name, _whole(axis))
        lists.append(same if value == "same" else [None if v == "all" else Setting(name, axis, v) for v in parsed])
    for combination in itertools.product(*lists):
        yield tuple(s for s in combination if s is not None)


def _whole(axis: Spec) -> bool:
    return bool(getattr(axis.type, "whole", False))


def levels(value: Any, name: str, whole: bool = False) -> list[Any]:
    """Return the levels that a study asks for: a list, one value, ``{log = [low, high, n]}``, or ``"all"``."""
    if isinstance(value, Mapping):
        return [_level(v, name, whole) for v in _log(value, name)]
    found = [_level(v, name, whole) for v in _list(value)]
    if not found:
        raise StudyError(f'levels.{name} is empty: give a list, {{ log = [low, high, n] }} or "all"')
    return list(dict.fromkeys(found))


def _log(value: Mapping[str, Any], name: str) -> list[float]:
    unknown_words(value, ("log",), f"levels.{name}")
    try:
        low, high, n = value["log"]
        good = 0 < low < high and isinstance(n, int) and n >= 2
    except (KeyError, TypeError, ValueError):
        good = False
    if not good:
        raise StudyError(
            f"levels.{name} = {dict(value)!r} must be {{ log = [low, high, n] }} with 0 < low < high, n >= 2"
        )
    return [float(v) for v in np.geomspace(low, high, n)]


def _level(value: Any, name: str, whole: bool) -> Level:
    if value == "all":
        return "all"
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value <= 0:
        raise StudyError(f'levels.{name}: {value!r} is neither a number above 0 nor "all"')
    return float(round(value)) if whole else float(f"{value:.12g}")


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
