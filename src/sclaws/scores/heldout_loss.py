"""The model's own loss on cells it never saw, and how much better that is than guessing each gene's mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sclaws.errors import ScoreError
from sclaws.protocols import Estimate, Probe
from sclaws.scores import _estimate


@dataclass(frozen=True)
class HeldoutLoss:
    """Held-out loss in bits per gene, averaged over the test cells, and the gain over the gene-mean baseline.

    Losses of different likelihoods are not comparable (a density's bits depend on the unit of x, a count's do not), so
    ``details["measure"]`` names the reference measure; compare models by ``gain``, baseline less loss on the same
    cells, positive when the model is better. ``details["baseline"]`` is what the baseline itself has: its loss, and 0.
    """

    version: ClassVar[int] = 1
    metrics: ClassVar[tuple[str, ...]] = ("loss", "gain")
    needs: ClassVar[str] = "model"

    def __call__(self, probe: Probe, *, seed: int) -> dict[str, Estimate]:
        """Return ``{"loss": estimate}``, and ``"gain"`` for a model that has ``baseline_losses``.

        The model's ``losses(view, seed=seed)`` are (n,) bits per gene of each cell. ``ScoreError``: a model without
        losses, fewer than two cells, losses of the wrong length or not finite.
        """
        trained: Any = probe.trained
        name = type(trained).__name__
        if not callable(getattr(trained, "losses", None)):
            raise ScoreError(f"{name} has no losses(view, seed=...): 'heldout-loss' needs a model that has them")
        view = probe.view
        loss = _checked(trained.losses(view, seed=seed), view.n_obs, f"{name}.losses")
        units = _estimate.Units.of(len(loss), view.cell_ids, None)
        details = {"measure": str(getattr(trained, "loss_measure", "not stated by the model"))}
        if not callable(getattr(trained, "baseline_losses", None)):
            return {"loss": _mean(loss, units, details)}
        baseline = _checked(trained.baseline_losses(view), view.n_obs, f"{name}.baseline_losses")
        return {
            "loss": _mean(loss, units, details | {"baseline": float(baseline.mean())}),
            "gain": _mean(baseline - loss, units, details | {"baseline": 0.0}),
        }


def _checked(losses: Any, n: int, what: str) -> NDArray[np.float64]:
    values = np.asarray(losses, dtype=np.float64)
    if values.shape != (n,) or n < 2:
        raise ScoreError(f"{what} returned shape {values.shape} for {n} cells: one loss each, and two cells, needed")
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise ScoreError(f"{what}: {len(bad)} losses are not finite, first {values[bad[0]]} in row {bad[0]}")
    return values


def _mean(values: NDArray[np.float64], units: _estimate.Units, details: dict[str, Any]) -> Estimate:
    return _estimate.estimate(float(values.mean()), values, units, unit="bits/gene", details=details)
