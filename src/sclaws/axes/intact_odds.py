"""Sequences read with errors: residues substituted at a rate p, as the odds (1 - p) / p that one is intact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from sclaws.errors import DataError
from sclaws.protocols import Recipe, View
from sclaws.residues import refusal
from sclaws.substitution import Substitute, total_rate

_INSTEAD = {"counts": "umis_per_cell", "measurements": "snr"}


@dataclass(frozen=True)
class Substituted:
    """Substitute residues of any view at one level."""

    rate: float
    seed: int

    def __call__(self, view: View) -> View:
        """Return the view whose residues are read with errors."""
        return view.corrupt(Substitute(self.rate, self.seed))


@dataclass(frozen=True)
class IntactOdds:
    """u = (1 - p) / p, with p the rate at which an amino acid becomes one of the other 19 (paper B: sequences).

    No unit. p = 1 / (1 + u): u = 19 is one residue in 20; at u = 1/19 nothing of the sequence is left.
    """

    version: ClassVar[int] = 1
    on: ClassVar[Literal["rows", "values", "features"]] = "values"

    def prepare(self, train: View, level: float, *, seed: int) -> Recipe:
        """Return the recipe for a rate of ``1 / (1 + level)``."""
        for block in train.take(np.arange(min(train.n_obs, 1))).batches():
            if what := refusal(block.values):
                instead = _INSTEAD.get(what.split()[0])
                remedy = f"use the axis {instead}" if instead else "give codes, as the data set sequences does"
                raise DataError(f"intact_odds substitutes residues, and these values are {what}; {remedy}")
        if not level > 0:
            raise DataError(
                f'intact_odds = {level:g} must be above 0 (u = (1 - p) / p, p the rate); write "all" for none'
            )
        return Substituted(1.0 / (1.0 + level), seed)

    def measure(self, view: View) -> dict[str, float]:
        """Return ``intact_odds`` of the rate that was applied; nothing when there is none (u is infinite)."""
        rates = [c.rate for c in view.applied if isinstance(c, Substitute)]
        rate = total_rate(rates) if rates else 0.0
        return {"intact_odds": (1.0 - rate) / rate} if rate else {}
