"""The model's own loss on cells it never saw, and how much better that is than guessing each gene's mean."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sclaws.errors import ScoreError, did_you_mean
from sclaws.protocols import Estimate, Probe, View
from sclaws.scores import _estimate


@dataclass(frozen=True)
class HeldoutLoss:
    """Held-out loss in bits per gene, averaged over the test cells, and the gain over the gene-mean baseline.

    Losses of different likelihoods are not comparable (a density's bits depend on the unit of x, a count's do not), so
    ``details["measure"]`` names the reference measure; compare models by ``gain``, baseline less loss on the same
    cells, positive when the model is better. ``details["baseline"]`` is what the baseline itself has: its loss, and 0.

    ``n_genes`` scores these genes alone: those that the study's axis ``n_genes`` gives at this level, which are common
    to all its higher levels, so that vocabularies are compared on the same genes. ``group`` names an ``obs`` column
    (the donor, say): the interval is then over groups and not over cells, cells of no group are left out, and a split
    must not cut them.
    """

    n_genes: int | Literal["all"] = "all"
    group: str = ""
    version: ClassVar[int] = 1
    metrics: ClassVar[tuple[str, ...]] = ("loss", "gain")
    needs: ClassVar[str] = "model"

    def __post_init__(self) -> None:
        if self.n_genes != "all" and self.n_genes < 1:
            raise ScoreError(f"heldout-loss: n_genes = {self.n_genes} must be at least 1, or 'all'")

    @property
    def by(self) -> str | None:
        """The column whose groups a split must not cut."""
        return self.group or None

    def __call__(self, probe: Probe, *, seed: int) -> dict[str, Estimate]:
        """Return ``{"loss": estimate}``, and ``"gain"`` for a model that has ``baseline_losses``.

        The model's ``losses(view, seed=seed)`` are (n,) bits per gene of each cell, and so are its
        ``baseline_losses``. ``ScoreError``: a model without
        losses, or that cannot restrict them to some genes; fewer than two cells; losses of the wrong length or not
        finite.
        """
        trained: Any = probe.trained
        name = type(trained).__name__
        if not callable(getattr(trained, "losses", None)):
            raise ScoreError(f"{name} has no losses(view, seed=...): 'heldout-loss' needs a model that has them")
        view, units = _units(probe.view, self.group)
        genes = None if self.n_genes == "all" else probe.genes(self.n_genes)
        loss = _asked(trained.losses, view, genes, f"{name}.losses", seed=seed)
        details = {"measure": str(getattr(trained, "loss_measure", "not stated by the model")), "n_genes": self.n_genes}
        if not callable(getattr(trained, "baseline_losses", None)):
            return {"loss": _mean(loss, units, details)}
        baseline = _asked(trained.baseline_losses, view, genes, f"{name}.baseline_losses", seed=seed)
        return {
            "loss": _mean(loss, units, details | {"baseline": float(baseline.mean())}),
            "gain": _mean(baseline - loss, units, details | {"baseline": 0.0}),
        }


def _units(view: View, group: str) -> tuple[View, _estimate.Units]:
    """Return the cells to score, and what is resampled: cells, or the groups of those that have one."""
    if not group:
        return view, _estimate.Units.of(view.n_obs, view.cell_ids, None)
    if group not in view.obs:
        raise ScoreError(f"obs has no column {group!r}; {did_you_mean(group, view.obs.columns)}")
    values = view.obs[group]
    names = values.astype(str).to_numpy(dtype=np.str_)
    rows = np.flatnonzero(values.notna().to_numpy() & ~np.isin(names, ("nan", "NaN", "")))
    codes = np.unique(names[rows], return_inverse=True)[1].reshape(-1)
    some = view.take(rows)
    return some, _estimate.Units.of(some.n_obs, some.cell_ids, codes)


def _asked(
    losses: Callable[..., Any], view: View, genes: pd.Index | None, what: str, **more: Any
) -> NDArray[np.float64]:
    """Return the checked losses of a model, over ``genes`` alone if there are any."""
    if genes is not None:
        if "genes" not in inspect.signature(losses).parameters:
            raise ScoreError(
                f"{what} takes no genes=..., so it cannot be scored on {len(genes)} genes: n_genes = 'all'"
            )
        more["genes"] = genes
    return _checked(losses(view, **more), view.n_obs, what)


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
