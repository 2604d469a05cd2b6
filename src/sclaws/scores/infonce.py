"""A lower bound on information from a learnt critic, cross-fitted: contrastive, or Donsker-Varadhan's where higher.

A continuous signal's critic is a Gaussian and clusters bent by small networks (see ``_critics``), so that what is
jointly normal, or falls into types, costs nothing to learn; a label's is a classifier. No cell is judged by a critic
that saw it, so the number is a lower bound but for the sampling of test cells, at any number of dimensions; it is cut
where so few cells can show no more. How far below the truth it is, the gain from the second half of the training cells
tells: ``details["gain"]``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from sclaws import multiplier
from sclaws.errors import ScoreError
from sclaws.protocols import Estimate, Floats, Ids, Ints, Probe
from sclaws.scores import _classifiers, _coordinates, _critics, _estimate, _networks

_BIT = math.log(2)


@dataclass(frozen=True)
class InfoNCE:
    """Held-out lower bound in bits between an embedding and a continuous or discrete signal.

    ``folds`` keep groups whole when there are groups. A label's value, low and high lie in [0, H(label)]; a continuous
    signal's are not clipped at zero. The interval is over test cells; the bound it surrounds is below the truth.
    """

    folds: int = 5

    version: ClassVar[int] = 1
    metrics: ClassVar[tuple[str, ...]] = ("information",)
    needs: ClassVar[str] = "signal"

    def __post_init__(self) -> None:
        _networks.needed("infonce")
        if not 2 <= self.folds <= 20:
            raise ScoreError(f"infonce: folds = {self.folds} must lie in [2, 20]; 5 is usual")

    def __call__(self, probe: Probe, *, seed: int) -> dict[str, Estimate]:
        """Return ``{"information": estimate}`` of the probe's pairs."""
        pairs = probe.pairs
        return {"information": self.estimate(pairs.x, pairs.y, groups=pairs.groups, ids=pairs.ids, seed=seed)}

    def estimate(
        self, x: Floats, y: NDArray[Any], *, groups: Ints | None = None, ids: Ids | None = None, seed: int = 0
    ) -> Estimate:
        """Return the bound between x (n, d) and y, (n, k) floats or (n,) label codes, in bits.

        ``seed`` deals the folds and draws weights and batches; the same seed gives the same number. Needs torch.
        ``ScoreError``: under 50 cells, a constant signal, one class. 5 to 20 s of one core up to 5,000 cells, then in
        proportion.
        """
        given, seed = _estimate.sample(x, y, groups, ids), _estimate.seeded(seed)
        details: dict[str, Any] = {"estimator": "infonce", "folds": self.folds}
        if not _estimate.varying(given.x).any():
            return _estimate.constant_embedding(given, **details)
        bounds, left_out = (-math.inf, _estimate.most_bits(given)), ""
        if given.is_label:
            given, left_out = given.classes_of(self.folds, "infonce")
            if not _estimate.varying(given.x).any():
                return _estimate.constant_embedding(given, **details)
            bounds = (0.0, _estimate.entropy(given.y))
            details |= {"entropy": bounds[1], "n_classes": int(given.y.max()) + 1}
        fold, note = _estimate.dealt(given, self.folds, seed)
        learnt = _classifiers.contrast if given.is_label else _critics.contrast
        found = learnt(given.x, given.y, fold, seed)
        influence = found.full.influence / _BIT
        error = multiplier.standard_error(found.differences, given.units.ids) / _BIT
        gain = found.gain / _BIT
        rising = f"a bound still rising: the second half of the cells brought {gain:.2f} bits"
        details |= {"bound": "lower", "gain": round(gain, 4), "unclipped": found.full.value / _BIT}
        cut = "" if given.is_label else _coordinates.cut(_estimate.standardised(given.y), "signal")
        cut = _coordinates.cut(_estimate.standardised(given.x), "embedding") or cut
        rising = rising if gain > max(0.05, 2 * error) else ""
        verdicts = (left_out, note, rising, cut, _estimate.copies(given))
        return _estimate.estimate(
            found.full.value / _BIT, influence, given.units, bounds=bounds, verdicts=verdicts, details=details
        )
