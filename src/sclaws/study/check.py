"""Everything that can be found wrong before any work is lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from sclaws import trial as trials
from sclaws.alignment import contents
from sclaws.errors import DataError, SclawsError, StudyError
from sclaws.grid import Run, Setting, Trial
from sclaws.plugins import SINGULAR, Spec
from sclaws.split import refuse_cut_groups
from sclaws.view import View

FEWEST = 50  # cells that a score can do with
LEAK = 0.01  # share of tested cells whose counts may be those of a cell learned from, by chance


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
    for data in dict.fromkeys(run.evaluated for run in runs):  # None: the cells that the split keeps
        yield from _tests(data or dataset, [run for run in runs if run.evaluated == data])
    for trial in dict.fromkeys(_bare(run.trial) for run in runs):
        mine = [run for run in runs if _bare(run.trial) == trial]
        own = [run for run in mine if run.evaluated is None]
        for spec in dict.fromkeys(spec for run in own for spec in (run.signal, run.score) if spec):
            if by := getattr(spec.build(), "by", None):
                refuse_cut_groups(trials.parts(trial), by, f"{SINGULAR[spec.family]} {spec.label}")
        for setting in dict.fromkeys(_settings(mine)):
            trials.recipe(trial, setting, trials.parts(trial).train)
        sizes = [part.n_obs for part in trials.parts(trial)]
        yield f"replicate {trial.replicate}: {sizes[0]:,} cells train, {sizes[1]:,} validate, {sizes[2]:,} test"
        _refuse_few(sizes[2] if own else FEWEST, "raise split.test")


def _tests(dataset: Spec, runs: Sequence[Run]) -> Iterator[str]:
    """Check signals and scores on the data that they are tested on, and data of their own against those learned from.

    ``DataError`` when cells are tested that may have been learned from: a hash of their counts is the same.
    """
    adata = trials.whole(dataset).source.adata
    if runs[0].evaluated:
        view, share = trials.evaluated(runs[0])
        yield f"evaluated on {dataset.label}: {view.n_obs:,} cells, {share:.0%} of the features learned from"
        _refuse_few(view.n_obs, "give data with more")
        _refuse_leak(dataset, runs[0].trial.dataset, view)
    for spec in dict.fromkeys(spec for run in runs for spec in (run.signal, run.score) if spec):
        checks = getattr(spec.build(), "check", None)
        said = checks(adata) if checks else None
        if spec.family == "signals":
            yield f"signal {spec.label}: {said or 'found'}"


def _refuse_few(cells: int, remedy: str) -> None:
    if cells < FEWEST:
        raise DataError(f"{cells} test cells are too few to score; {remedy} or bring more cells")


def _refuse_leak(tested: Spec, learned: Spec, view: View) -> None:
    corpus = trials.whole(learned)
    if not (view.counts and corpus.counts):
        return
    there = trials.whole(tested).feature_names
    common = np.flatnonzero(corpus.feature_names.isin(there))
    found, known = contents(view.choose(common)), contents(corpus.choose(common))
    if len(found) and (leaked := np.isin(found, known).mean()) > LEAK:
        raise DataError(
            f"{leaked:.0%} of the cells have the very counts of cells in {learned.label}, which is learned from: the "
            'test leaks; leave those cells out of one of the two (keep or drop = ["column=value"] of h5ad)'
        )


def _bare(trial: Trial) -> Trial:
    """Return the trial without levels and model: what identifies a split of a data set."""
    return Trial(trial.dataset, trial.split, trial.replicate, (), Spec("models", ""))


def _settings(runs: Iterable[Run]) -> Iterator[Setting]:
    for run in runs:
        yield from run.trial.levels
        yield from run.test_levels
