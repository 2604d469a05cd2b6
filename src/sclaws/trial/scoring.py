"""What a score may look at, and the record of what it found."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from sclaws.errors import ScoreError
from sclaws.grid import Run
from sclaws.protocols import Estimate, Floats, Pairs, Trained, View
from sclaws.split import refuse_cut_groups
from sclaws.store import DiskError, Store
from sclaws.trial import data


class TestCells:
    """What a score may look at, made on demand; satisfies ``protocols.Probe``."""

    def __init__(self, run: Run, store: Store, trained: Trained | None) -> None:
        self._run, self._store, self._trained = run, store, trained

    @functools.cached_property
    def view(self) -> View:
        """The test cells as the model saw them."""
        return data.tested(self._run).view

    @functools.cached_property
    def cells(self) -> View:
        """The test cells as they were measured, with every feature of their own."""
        return data.whole(self._run.evaluated) if self._run.evaluated else data.parts(self._run.trial).test

    @functools.cached_property
    def embedding(self) -> Floats:
        """(n, d), from the store: so a number does not depend on whether its model was trained just now."""
        return self._store.array(self._run.trial.key, f"embedding-{self._run.view_key}")

    @functools.cached_property
    def pairs(self) -> Pairs:
        """Embedding and signal side by side; the signal comes from the cells as they were before corruption."""
        signal = self._run.signal
        assert signal is not None
        signal.refuse_change()  # of a file of functions, say, since the study was read
        built = signal.build()
        _refuse_cut_groups(self._run, built, f"signal {signal.label}")
        made: Pairs = built.pairs(self.view, self.embedding, seed=self._run.trial.seed("signal"))
        return made

    @property
    def trained(self) -> Trained:
        """The trained model, if it is still there."""
        if self._trained is None:
            raise ScoreError("this score reads the model, which was not kept; add keep = ['weights'] or run anew")
        return self._trained

    def genes(self, n: int) -> pd.Index:
        """The names of the first ``n`` genes of the trial's axis ``n_genes``, the same in all trials of a replicate."""
        return data.genes(self._run.trial, n)


def estimates(run: Run, store: Store, trained: Trained | None) -> Mapping[str, Estimate]:
    """Return what the score of a run gives; raise what it raises, and ``DataError`` for groups that the split cuts."""
    score = run.score.build()
    _refuse_cut_groups(run, score, f"score {run.score.label}")
    found: Mapping[str, Estimate] = score(TestCells(run, store, trained), seed=run.trial.seed("score"))
    return found


def estimates_together(runs: Sequence[Run], store: Store) -> list[Mapping[str, Estimate] | Exception]:
    """Return what the ``many`` of the score of all these runs, which have one seed, gives for each, in order."""
    score: Any = runs[0].score.build()
    for run in runs:
        _refuse_cut_groups(run, score, f"score {run.score.label}")
    probes = (TestCells(run, store, None) for run in runs)  # one by one: what is read of each goes when it is done with
    found: list[Mapping[str, Estimate] | Exception] = list(score.many(probes, seed=runs[0].trial.seed("score")))
    if len(found) != len(runs):
        raise ScoreError(f"{runs[0].score.label}: many returned {len(found)} answers for {len(runs)} probes")
    if (full := next((one for one in found if isinstance(one, DiskError)), None)) is not None:
        raise full
    return found


def _refuse_cut_groups(run: Run, built: Any, who: str) -> None:
    """Raise ``DataError`` for groups that the split cuts; data of their own are tested whole."""
    if run.evaluated is None and (by := getattr(built, "by", None)):
        refuse_cut_groups(data.parts(run.trial), by, who)


def record(run: Run, estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    """Return what is stored of a run: description, measured columns of both sides, estimates."""
    for metric, estimate in estimates.items():
        if not np.isfinite(estimate.value):
            raise ScoreError(
                f"{run.score.label}: {metric} is {estimate.value} for {run.trial.label}: {estimate.verdict}"
            )
    return {
        "description": run.describe(),
        "measured_test": data.tested(run).measured,
        "estimates": {metric: asdict(estimate) for metric, estimate in estimates.items()},
    }
