"""The estimator to take when none is known to fit: several measure, a written rule chooses, the interval says how sure.

A continuous signal is measured by the Gaussian closed form, by learnt critics (as ``infonce``) and by nearest
neighbours on columns made normal; a label by a linear probe, by small classifiers and by neighbours. The rule stands in
``_rule``: it looks at held-out bounds, at subsamples, and at Gaussians of known information; never at a truth.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sclaws.protocols import Estimate, Floats, Ids, Ints, Probe
from sclaws.scores import _coordinates, _estimate, _networks, _rule, _witnesses

_BIT = math.log(2)
_FOLDS = 5
_NOTICED = 0.1 * _BIT  # below zero, where information cannot be, by more than estimates of nothing are


@dataclass(frozen=True)
class Auto:
    """Information in bits between an embedding and any signal, by the estimator that held-out evidence speaks for.

    The interval carries two things: sampling, as the other scores' do (``stderr`` and the draws are that alone), and
    the model: what the value takes beyond its best uncorrected witness, and a share of what witnesses disagree on. It
    is wider above than below, as all of them fail low. ``details["witnesses"]`` has each estimator's answer and its
    part without extrapolation, ``details["chosen"]`` the one taken. A label's value, low and high lie in [0, H(label)];
    of a continuous signal, chance or few groups may bring the value below 0, but never the interval's upper end.
    """

    version: ClassVar[int] = 1
    metrics: ClassVar[tuple[str, ...]] = ("information",)
    needs: ClassVar[str] = "signal"

    def __post_init__(self) -> None:
        _networks.needed("auto")

    def __call__(self, probe: Probe, *, seed: int) -> dict[str, Estimate]:
        """Return ``{"information": estimate}`` of the probe's pairs."""
        pairs = probe.pairs
        return {"information": self.estimate(pairs.x, pairs.y, groups=pairs.groups, ids=pairs.ids, seed=seed)}

    def estimate(
        self, x: Floats, y: NDArray[Any], *, groups: Ints | None = None, ids: Ids | None = None, seed: int = 0
    ) -> Estimate:
        """Return the information between x (n, d) and y, (n, k) floats or (n,) label codes, in bits.

        ``seed`` deals the folds and draws weights and batches; the same seed gives the same number. Needs torch.
        ``ScoreError``: under 50 cells, a constant signal, one class. 1 s of one core for a label,
        5 to 20 s for a continuous signal up to 5,000 cells, then growing as neighbours do (see ``ksg``).
        """
        given, seed = _estimate.sample(x, y, groups, ids), _estimate.seeded(seed)
        if not _estimate.varying(given.x).any():
            return _estimate.constant_embedding(given, estimator="auto", chosen="none")
        if given.is_label:
            given, left_out = given.classes_of(_FOLDS, "auto")
            if not _estimate.varying(given.x).any():
                return _estimate.constant_embedding(given, estimator="auto", chosen="none")
            fold, note = _estimate.dealt(given, _FOLDS, seed)
            bits = _estimate.entropy(given.y)
            witnesses = _witnesses.of_label(given, fold, seed, _grouped(given, note))
            choice = _rule.choose(None, witnesses, given.units.ids, _grouped(given, note))
            details = {"entropy": bits, "n_classes": int(given.y.max()) + 1}
            return _told(given, choice, witnesses, (left_out, note), details, (0.0, bits))
        fold, note = _estimate.dealt(given, _FOLDS, seed)
        normal, others, details = _witnesses.of_continuous(given, fold, seed, _grouped(given, note))
        choice = _rule.choose(normal, others, given.units.ids, _grouped(given, note))
        witnesses = ([normal] if normal else []) + others
        cut = [
            _coordinates.cut(_estimate.standardised(v), what)
            for v, what in ((given.x, "embedding"), (given.y, "signal"))
        ]
        cut = [] if choice.witness is normal else cut
        verdicts = (note, _few(given, choice), _estimate.copies(given), *cut)
        return _told(given, choice, witnesses, verdicts, details, (-math.inf, _estimate.most_bits(given)))


def _grouped(given: _estimate.Sample, note: str) -> bool:
    """Return whether folds hold whole groups: they do, when there are groups and nothing had to be noted."""
    return given.groups is not None and not note


def _astray(choice: _rule.Choice) -> str:
    """Return the rule's verdict, or a warning when what was learnt is worse than nothing elsewhere."""
    if choice.witness.value < -max(choice.witness.stderr, _NOTICED):
        return "worse than nothing: what was learnt in some folds or groups misleads in others; more cells, or groups"
    return choice.verdict


def _few(given: _estimate.Sample, choice: _rule.Choice) -> str:
    """Return a warning when the value nears what so many cells can show."""
    ceiling = math.log(len(given.x)) - 2
    if choice.witness.value > ceiling:
        return f"too few cells: {len(given.x)} can show about {ceiling / _BIT:.1f} bits"
    return ""


def _told(
    given: _estimate.Sample, choice: _rule.Choice, witnesses: list[_rule.Witness], verdicts: tuple[str, ...],
    details: dict[str, Any], bounds: tuple[float, float],
) -> Estimate:  # fmt: skip
    """Return the estimate whose stderr and draws are sampling alone, and whose interval holds the model as well."""
    chosen = choice.witness
    plain = _estimate.estimate(
        chosen.value / _BIT, chosen.influence / _BIT, given.units, stderr=chosen.stderr / _BIT, bounds=bounds,
        verdicts=(_astray(choice), *verdicts),
        details={
            "estimator": "auto", "chosen": chosen.name, "unclipped": chosen.value / _BIT, **details,
            "witnesses": {w.name: [round(w.value / _BIT, 4), round(w.honest / _BIT, 4)] for w in witnesses},
        },
    )  # fmt: skip
    half = _estimate.half_width(plain.stderr, given.units)
    low = plain.value - math.hypot(half, choice.below / _BIT)
    high = plain.value + math.hypot(half, choice.above / _BIT)
    return replace(plain, low=float(np.clip(low, *bounds)), high=max(float(np.clip(high, *bounds)), 0.0))
