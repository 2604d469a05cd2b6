"""The words of a study -> its runs. Reads no data but for checksums."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sclaws import keys
from sclaws.errors import PluginError, StudyError, did_you_mean
from sclaws.grid.levels import levels, listed, table, unknown_words
from sclaws.grid.trials import Run, Setting, Trial
from sclaws.plugins import Spec, names
from sclaws.split import Split

BLOCK = (
    "dataset", "split", "models", "axes", "levels", "test_levels", "replicates", "design", "evaluate", "signals",
    "scores",
)  # fmt: skip
EVALUATE = ("dataset", "found", "signals", "scores")
FOUND = 0.5  # of the features that were learned from: with fewer another model is tested than the one that was trained
PARTS = ("rows", "values", "features")


def runs(words: Mapping[str, Any], folder: Path | str = "") -> list[Run]:
    """Return the runs of a study, the union of its ``[[grid]]`` blocks, without duplicates, sorted by key.

    A block inherits what the top level of the study says. ``folder`` is where relative paths start.
    """
    blocks = words.get("grid", [{}])
    if not isinstance(blocks, Sequence) or not all(isinstance(b, Mapping) for b in blocks):
        raise StudyError("grid: write one [[grid]] table for each block")
    shared = {k: words[k] for k in BLOCK if k in words}
    found: dict[str, Run] = {}
    for number, block in enumerate(blocks, start=1):
        where = f"[[grid]] number {number}" if "grid" in words else "study"
        unknown_words(block, BLOCK, where)
        found.update((run.key, run) for run in _block(shared | dict(block), folder, where))
    used = {name for block in blocks for name in (shared | dict(block)).get("levels", {})}
    for block in blocks:
        unknown_words((shared | dict(block)).get("axes", {}), sorted({*used, *names("axes")}), "axes")
    if not found:
        raise StudyError("nothing would run: give at least one model, and a score that the models allow")
    _refuse_twins(found.values())
    return [found[key] for key in sorted(found)]


def _refuse_twins(runs: Iterable[Run]) -> None:
    """Raise ``StudyError`` when tables would call two different things by one name."""
    called: dict[tuple[str, str], str] = {}
    runs = list(runs)
    parts = {spec for run in runs for spec in (run.dataset, run.trial.dataset, run.score, run.signal) if spec}
    models = {(run.trial.model, run.trial.untrained): run.trial.label for run in runs}
    named = [(spec.family, spec.label, keys.key(spec.describe())) for spec in parts]
    named += [("models", label, keys.key([model.describe(), raw])) for (model, raw), label in models.items()]
    for family, label, key in sorted(named):
        if called.setdefault((family, label), key) != key:
            raise StudyError(
                f"two different {family} are called {label!r}: give one of them a name of its own, "
                f'as in {{ use = "…", name = "…" }}'
            )


def _block(block: Mapping[str, Any], folder: Path | str, where: str) -> Iterator[Run]:
    for word in ("dataset", "models"):
        if word not in block:
            raise StudyError(f"{where}: {word!r} is missing")
    dataset = Spec.of("datasets", block["dataset"], folder)
    split = _split(block.get("split", {}), where)
    models = [m for value in listed(block["models"]) for m in _models(value, folder)]
    tests = [test for words, place in _evaluate(block, where) for test in _tests(words, folder, place)]
    axes = table(block.get("axes", {}), "axes", where)
    settings = {name: _axis(name, axes, folder) for name in table(block.get("levels", {}), "levels", where)}
    choosing = tuple(each for each in settings.items() if each[1].type.on == "rows")  # type: ignore[attr-defined]
    designs = list(_design(block, settings, where))
    built = {model: model.build() for model, _ in models}  # what a model says of itself may depend on its fields
    for replicate, design, (model, untrained) in itertools.product(_replicates(block, where), designs, models):
        mine = design if getattr(built[model], "trains", True) else ()
        trial = Trial(dataset, split, replicate, mine, model, untrained, choosing)
        for scarce, test in itertools.product(list(_test_levels(block, design, settings, where)), tests):
            if test.fits(built[model]):
                yield Run(trial, scarce, test.signal, test.score, test.evaluated, test.found)


@dataclass(frozen=True)
class _Test:
    """What is scored, with which signal, on which data; ``needs`` says what the score is given."""

    score: Spec
    needs: str
    signal: Spec | None
    evaluated: Spec | None
    found: float

    def fits(self, model: Any) -> bool:
        """Return whether the model can be asked: for losses it must have some, and to learn a label be adaptable."""
        asked = {"model": "has_loss", "model and signal": "adapts"}.get(self.needs)
        return asked is None or bool(getattr(model, asked, False))


def _evaluate(block: Mapping[str, Any], where: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Yield what is said of each data set that is tested, with the block's signals and scores where it has none."""
    said = {word: block[word] for word in ("signals", "scores") if word in block}
    if "evaluate" not in block:
        yield said, where
        return
    for number, words in enumerate(listed(block["evaluate"]), start=1):
        place = f"{where}, [[evaluate]] number {number}"
        unknown_words(table(words, "evaluate", where), EVALUATE, place)
        yield said | dict(words), place


def _tests(words: Mapping[str, Any], folder: Path | str, where: str) -> Iterator[_Test]:
    if "scores" not in words:
        raise StudyError(f"{where}: 'scores' is missing")
    evaluated = Spec.of("datasets", words["dataset"], folder) if "dataset" in words else None
    found = words.get("found", FOUND)
    if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 < found <= 1:
        raise StudyError(f"{where}: found = {found!r} must be a share of the features, above 0 and at most 1")
    signals = [Spec.of("signals", value, folder) for value in listed(words.get("signals", []))]
    for score in (Spec.of("scores", value, folder) for value in listed(words["scores"])):
        needs = str(getattr(score.build(), "needs", "signal"))
        if "signal" not in needs:
            yield _Test(score, needs, None, evaluated, found)
            continue
        if not signals:
            raise StudyError(f"{where}: score {score.use!r} compares with a signal, and 'signals' is missing")
        for signal in signals:
            yield _Test(score, needs, signal, evaluated, found)


def _models(value: Any, folder: Path | str) -> Iterator[tuple[Spec, bool]]:
    words: dict[str, Any] = dict(value) if isinstance(value, Mapping) else {"use": value}
    where = f"model {words.get('use')!r}"
    untrained = words.pop("untrained", False)
    if not isinstance(untrained, bool):
        raise StudyError(f"{where}: untrained = {untrained!r} must be true or false")
    sweep = table(words.pop("sweep", {}), "sweep", where)
    for name, choices in sweep.items():
        if not isinstance(choices, list) or not choices:
            raise StudyError(f"{where}: sweep.{name} = {choices!r} must be a list of values")
    for choice in itertools.product(*sweep.values()):
        spec = Spec.of("models", words | dict(zip(sweep, choice, strict=True)), folder)
        if untrained and not hasattr(spec.type, "untrained"):
            raise StudyError(f"{where} has no untrained form: remove 'untrained = true'")
        yield spec, untrained


def _axis(name: str, axes: Mapping[str, Any], folder: Path | str) -> Spec:
    spec = Spec.of("axes", axes.get(name, name), folder)
    if (on := getattr(spec.type, "on", None)) not in PARTS:
        raise PluginError(f"axis {spec.use!r}: its class says on = {on!r}; one of {', '.join(PARTS)} is needed")
    return spec


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
    asked = table(block.get("test_levels", {}), "test_levels", where)
    for name in asked:
        if name not in axes:
            raise StudyError(
                f'{where}: test_levels.{name} has no levels.{name}, which is training\'s: add levels.{name} = "all"; '
                f"or {did_you_mean(name, axes)}"
            )
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
