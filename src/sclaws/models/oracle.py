"""The embedding that a simulated data set calls the truth: what a perfect model of noiseless cells would give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sclaws.errors import ModelError
from sclaws.protocols import Floats, View


@dataclass(frozen=True)
class Oracle:
    """Embeds the cells' true state, ``obsm[key]``; nothing is trained, and no noise on the values reaches it."""

    key: str = "state"
    version: ClassVar[int] = 1
    trains: ClassVar[bool] = False

    def fit(self, train: View, valid: View, *, seed: int) -> KnownState:  # noqa: ARG002
        """Return the state by name; raise ``ModelError`` when the training cells have none."""
        known = KnownState(self.key)
        known.embed(train.take(np.arange(min(train.n_obs, 1))))
        return known

    def cost(self, cells: float, features: float) -> float:  # noqa: ARG002
        """Return CPU seconds, roughly."""
        return 0.01


@dataclass(frozen=True)
class KnownState:
    """Reads ``obsm[key]``."""

    key: str

    def embed(self, view: View) -> Floats:
        """Return (n, d) float32 true states of the cells."""
        try:
            return np.asarray(view.obsm(self.key), dtype=np.float32)
        except KeyError as error:
            raise ModelError(f"oracle: there is no obsm[{self.key!r}]; only simulated data know the truth") from error
