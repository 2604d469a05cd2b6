"""A noisier measurement of values that are not counts: additive normal noise of variance 1 / u."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from sclaws.additive_noise import AdditiveNoise
from sclaws.errors import DataError
from sclaws.protocols import Recipe, View


@dataclass(frozen=True)
class Noisy:
    """Add the noise of one level to any view."""

    sigma: float
    seed: int

    def __call__(self, view: View) -> View:
        """Return the noisy view."""
        return view.corrupt(AdditiveNoise(self.sigma, self.seed))


@dataclass(frozen=True)
class Snr:
    """u = 1 / sigma², the squared gain of the channel Z = sqrt(u) X + N(0, 1) of paper B, Box 1, in units of X⁻²."""

    version: ClassVar[int] = 1
    on: ClassVar[Literal["rows", "values", "features"]] = "values"

    def prepare(self, train: View, level: float, *, seed: int) -> Recipe:
        """Return the recipe for noise of variance ``1 / level``."""
        if train.counts:
            raise DataError("snr adds normal noise, and these values are counts; use the axis umis_per_cell")
        if any(block.values.dtype.kind in "iu" for block in train.take(np.arange(min(train.n_obs, 1))).batches()):
            raise DataError(
                "snr adds normal noise, and dense whole numbers are codes; use the axis intact_odds for residues, and "
                "give measurements as floats"
            )
        if not level > 0:
            raise DataError(f'snr = {level:g} must be above 0 (u = 1 / variance of the noise); write "all" for none')
        return Noisy(1.0 / math.sqrt(level), seed)

    def measure(self, view: View) -> dict[str, float]:
        """Return ``snr``, from the noise that was added; nothing when there is none (u is infinite)."""
        variance = sum(c.sigma**2 for c in view.applied if isinstance(c, AdditiveNoise))
        return {"snr": 1.0 / variance} if variance else {}
