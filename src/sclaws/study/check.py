"""Everything that can be found wrong before any work is lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sclaws import trial as trials
from sclaws.errors import DataError, SclawsError, StudyError
from sclaws.grid import Run, Setting, Trial
from sclaws.plugins import SINGULAR, Spec
from sclaws.split import refuse_cut_groups


def check(runs: Sequence[Run]) -> list[str]:
    """Build every component, load every data set, split it, try every level; return what was found, in sentences.

    Raises the first error. Costs one load of each data set and one walk over the training cells of each replicate.
    """
    for spec in _components(runs):
        spec.build()
    _vocabularies(runs)
    said = []
    for dataset in dict.fromkeys(run.trial.dataset for run in runs):
        mine = [run for run in runs if run.trial.dataset == dataset]
        try:
            said += list(_data(dataset, mine))
        except SclawsError as error:
            raise type(error)(f"data set {dataset.label}: {error}") from error
    return said


def loadable(runs: Iterable[Run]) -> None:
    """Raise ``StudyError`` for a model whose weights would be kept in vain; one that is not trained has none."""
    for model in {run.trial.model for run in runs}:
        if getattr(model.build(), "trains", True) and not hasattr(model.type, "load"):
            raise StudyError(f"keep: model {model.use!r} has no 'load', so its weights would be kept in vain")


def columns(runs: Sequence[Run]) -> set[str]:
    """Return the names of the columns that the axes of a study measure on its data."""
    pairs = {(run.trial.dataset, s.axis) for run in runs for s in (*run.trial.levels, *run.test_levels)}
    ordered = sorted(pairs, key=lambda pair: pair[0].label)  # each data set is loaded once
    return {name for dataset, axis in ordered for name in axis.build().measure(trials.whole(dataset))}


def _components(runs: Iterable[Run]) -> list[Spec]:
    found: dict[Spec, None] = {}
    for run in runs:
        axes = [s.axis for s in (*run.trial.levels, *run.test_levels)]
        found |= dict.fromkeys([run.trial.model, run.score, *axes, *([run.signal] if run.signal else [])])
    return list(found)


def _vocabularies(runs: Iterable[Run]) -> None:
    """Raise ``ScoreError`` for a score of so many genes that a trial does not have."""
    scores = {run.score: run.score.build() for run in runs}
    for run in runs:
        if isinstance(wanted := getattr(scores[run.score], "n_genes", "all"), int):
            trials.vocabulary(run.trial, wanted)


def _data(dataset: Spec, runs: Sequence[Run]) -> Iterator[str]:
    view = trials.whole(dataset)
    depth = f", {view.totals.mean():,.0f} per cell in the mean" if view.counts else ""
    yield f"{dataset.label}: {view.n_obs:,} cells x {view.n_vars:,} features{depth}"
    for signal in dict.fromkeys(run.signal for run in runs if run.signal):
        found = built.check(view.source.adata) if hasattr(built := signal.build(), "check") else None
        yield f"signal {signal.label}: {found or 'found'}"
    for trial in dict.fromkeys(_bare(run.trial) for run in runs):
        for spec in dict.fromkeys(spec for run in runs for spec in (run.signal, run.score) if spec):
            if by := getattr(spec.build(), "by", None):
                refuse_cut_groups(trials.parts(trial), by, f"{SINGULAR[spec.family]} {spec.label}")
        for setting in dict.fromkeys(_settings(run for run in runs if _bare(run.trial) == trial)):
            trials.recipe(trial, setting, trials.parts(trial).train)
        sizes = [part.n_obs for part in trials.parts(trial)]
        yield f"replicate {trial.replicate}: {sizes[0]:,} cells train, {sizes[1]:,} validate, {sizes[2]:,} test"
        if sizes[2] < 50:
            raise DataError(f"{sizes[2]} test cells are too few to score; raise split.test or bring more cells")


def _bare(trial: Trial) -> Trial:
    """Return the trial without levels and model: what identifies a split of a data set."""
    return Trial(trial.dataset, trial.split, trial.replicate, (), Spec("models", ""))


def _settings(runs: Iterable[Run]) -> Iterator[Setting]:
    for run in runs:
        yield from run.trial.levels
        yield from run.test_levels
