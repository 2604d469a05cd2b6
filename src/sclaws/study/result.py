"""What a study found: its table at once, and what the table says when it is asked for."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from sclaws.decomposition import Decomposition
from sclaws.fit import Fits
from sclaws.saturation import Saturation
from sclaws.study import agreeing, decomposing, saturating, told
from sclaws.table import Table
from sclaws.trial import Done


@dataclass(frozen=True)
class Analysis:
    """What a table says: the fits, what model and measurement lost, where curves saturate, how measures agree.

    ``notes`` what its reader should know of these, in sentences; ``whole``: nothing of it failed.
    """

    fits: Fits
    lost: Decomposition
    ends: Saturation
    agreement: pd.DataFrame
    notes: tuple[str, ...] = ()
    whole: bool = True

    def said(self, truth: Mapping[str, Mapping[str, Any]]) -> str:
        """Return it in lines for the command line."""
        lines = [*decomposing.sentences(self.lost.frame), *saturating.sentences(self.ends)]
        more = "".join(f"{line}\n" for line in [*lines, *agreeing.sentences(self.agreement)])
        return f"{told.fitted(self.fits.frame, truth)}\n\n{more}"


@dataclass(frozen=True, eq=False)
class Result:
    """What a study found: table, report, what happened in this run, what is known of simulated data, all in words.

    ``analyse`` makes the analysis when ``fits``, ``lost``, ``ends`` or ``agreement`` are asked for first: where nothing
    has changed, the folder has all of it already.
    """

    table: Table
    report: Path
    done: Done
    truth: Mapping[str, Mapping[str, Any]]
    said: str
    analyse: Callable[[], Analysis]

    @functools.cached_property
    def analysis(self) -> Analysis:
        """What the table says."""
        return self.analyse()

    @property
    def fits(self) -> Fits:
        """The fits that the study asks for."""
        return self.analysis.fits

    @property
    def lost(self) -> Decomposition:
        """What the model and the measurement lost."""
        return self.analysis.lost

    @property
    def ends(self) -> Saturation:
        """Where curves saturate."""
        return self.analysis.ends

    @property
    def agreement(self) -> pd.DataFrame:
        """How far measures of the same trials agree (:func:`sclaws.agreement.agreement`)."""
        return self.analysis.agreement

    @property
    def failed(self) -> int:
        """Number of trials and runs that are on record as failed."""
        return len(self.table.failures)

    @property
    def missing(self) -> int:
        """Number of runs of the study that are not in the table."""
        return int(self.table.provenance["runs"] - self.table.provenance["runs_done"])

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the reader of the table should know, in sentences."""
        return tuple(self.table.provenance.get("warnings", ()))

    def _repr_html_(self) -> str:
        return f"{self.fits._repr_html_()}{self.table._repr_html_()}<p>Report: {self.report}</p>"

    def __repr__(self) -> str:
        notes = "".join(f"{note}\n" for note in self.warnings)
        return f"{self.said}{notes}report: {self.report}"


__all__ = ["Analysis", "Result"]
