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

from sclaws import multiplier
from sclaws.protocols import Estimate, Floats, Ids, Ints, Probe
from sclaws.scores import (
    _classifiers,
    _coordinates,
    _critics,
    _estimate,
    _latents,
    _linear,
    _nearest,
    _normal,
    _reliability,
    _rule,
)
from sclaws.scores._bounds import Bounds

_BIT = math.log(2)
_K = 3
_FOLDS = 5
_LATENT = 8
_MOST_DIMENSIONS = 40  # of both sides together, in which neighbours are sought; beyond, they are in latents


@dataclass(frozen=True)
class Auto:
    """Information in bits between an embedding and any signal, by the estimator that held-out evidence speaks for.

    The interval carries two things: sampling, as the other scores' do (``stderr`` and the draws are that alone), and
    the model: what the value takes beyond its best uncorrected witness, and a share of what witnesses disagree on. It
    is wider above than below, as all of them fail low. ``details["witnesses"]`` has each estimator's answer and its
    part without extrapolation, ``details["chosen"]`` the one taken. A label's value, low and high lie in [0, H(label)].
    """

    version: ClassVar[int] = 1
    metrics: ClassVar[tuple[str, ...]] = ("information",)
    needs: ClassVar[str] = "signal"

    def __call__(self, probe: Probe, *, seed: int) -> dict[str, Estimate]:
        """Return ``{"information": estimate}`` of the probe's pairs."""
        pairs = probe.pairs
        return {"information": self.estimate(pairs.x, pairs.y, groups=pairs.groups, ids=pairs.ids, seed=seed)}

    def estimate(
        self, x: Floats, y: NDArray[Any], *, groups: Ints | None = None, ids: Ids | None = None, seed: int = 0
    ) -> Estimate:
        """Return the information between x (n, d) and y, (n, k) floats or (n,) label codes, in bits.

        ``seed`` deals the folds and draws weights and batches; the same seed gives the same number. Needs torch.
        ``ScoreError``: under 50 cells, a constant signal, one class. 5 to 20 s of one core, for any number of cells.
        """
        given = _estimate.sample(x, y, groups, ids)
        if not _estimate.varying(given.x).any():
            return _estimate.constant_embedding(given, estimator="auto", chosen="none")
        if given.is_label:
            given, left_out = given.classes_of(_FOLDS, "auto")
            fold, note = _estimate.dealt(given, _FOLDS, seed)
            bits = _estimate.entropy(given.y)
            witnesses = _of_label(given, fold, seed)
            choice = _rule.choose(None, witnesses, given.units.ids)
            details = {"entropy": bits, "n_classes": int(given.y.max()) + 1}
            return _told(given, choice, witnesses, (left_out, note), details, (0.0, bits))
        fold, note = _estimate.dealt(given, _FOLDS, seed)
        normal, others, details = _of_continuous(given, fold, seed)
        choice = _rule.choose(normal, others, given.units.ids)
        witnesses = ([normal] if normal else []) + others
        return _told(given, choice, witnesses, (note, _few(given, choice)), details, (-math.inf, math.inf))


def _of_continuous(
    given: _estimate.Sample, fold: Ints, seed: int
) -> tuple[_rule.Witness | None, list[_rule.Witness], dict[str, Any]]:
    """Return the Gaussian where it is believed, critics and neighbours, and what to tell of them."""
    found = _critics.contrast(given.x, given.y, fold, seed)
    critics = _critic(given, "critics", found)
    with _estimate.one_thread():
        x, y = (_columns(v) for v in (given.x, given.y))
        sides = [_normal.basis(v) for v in (x, y)]
        dims = [side.shape[1] for side in sides]
        normal, details = None, {"dim_x": dims[0], "dim_y": dims[1], "gaussian_held_out": found.gaussian.value / _BIT}
        if len(x) > 2 * sum(dims) + 2:
            normal = _gaussian(given, _normal.fitted(*sides), found)
        if sum(dims) > _MOST_DIMENSIONS:
            return normal, [critics, _latent_neighbours(given, fold, seed)], details
        return normal, [critics, _neighbours(given, x, y, normal is not None, seed)], details


def _critic(given: _estimate.Sample, name: str, found: Bounds) -> _rule.Witness:
    error = [multiplier.standard_error(v, given.units.ids) for v in (found.full.influence, found.differences)]
    value = found.full.value
    return _rule.Witness(name, value + max(found.gain, 0.0), value, value, found.full.influence, math.hypot(*error))


def _columns(values: Floats) -> NDArray[np.float64]:
    """Return the columns made normal by their ranks, or principal components where columns depend on one another."""
    ranked = _normal.ranks(_estimate.standardised(values))
    components = _coordinates.components(ranked)
    return ranked if components.shape[1] == ranked.shape[1] else components


def _gaussian(given: _estimate.Sample, fitted: _normal.Fitted, found: Bounds) -> _rule.Witness | None:
    error = multiplier.standard_error(fitted.influence - found.gaussian.influence, given.units.ids)
    if not _rule.believed(fitted.value, found.gaussian.value, found.gaussian_gain, error):
        return None
    value = fitted.value
    return _rule.Witness("gaussian", value, value, value, fitted.influence, fitted.stderr(given.units))


def _neighbours(given: _estimate.Sample, x: Floats, y: Floats, believed: bool, seed: int) -> _rule.Witness:
    """Return Kraskov's estimate, with what it misses of a matched Gaussian given back where a Gaussian is believed."""
    left, right = _nearest.spread(x, 1), _nearest.spread(y, 2)

    def terms(part: Ints) -> NDArray[np.float64]:
        return _nearest.kraskov(left, right, part, _K)

    whole = np.zeros(len(x), dtype=np.int64)
    influence = terms(whole)
    seen = float(influence.mean())
    value = seen + (_reliability.missed(x, y, whole, _K, seed)[0] if believed else 0.0)
    error = _nearest.overlap(terms, len(x), _K, seed) * multiplier.standard_error(influence, given.units.ids)
    return _rule.Witness("neighbours", value, min(seen, value), value, influence, error)


def _latent_neighbours(given: _estimate.Sample, fold: Ints, seed: int) -> _rule.Witness:
    """Return Kraskov's estimate in latents that keep what each side says of the other, as ``lmi`` does."""
    half = fold % 2
    a, b = (_nearest.centred(v, half) for v in _latents.latents(given.x, given.y, half, seed, _LATENT))
    left, right = _nearest.spread(a, 1), _nearest.spread(b, 2)

    def terms(part: Ints) -> NDArray[np.float64]:
        return _nearest.kraskov(left, right, part, _K)

    influence = terms(half)
    value = float(influence.mean())
    error = _nearest.overlap(terms, len(half), _K, seed, half) * multiplier.standard_error(influence, given.units.ids)
    return _rule.Witness("neighbours of latents", value, value, value, influence, error)


def _of_label(given: _estimate.Sample, fold: Ints, seed: int) -> list[_rule.Witness]:
    """Return a linear probe, small classifiers, and, in few dimensions, neighbours."""
    with _estimate.one_thread():
        truth, _ = _linear.out_of_fold(_estimate.standardised(given.x), given.y, fold)
    influence = np.log(truth) - np.log(np.bincount(given.y)[given.y] / len(given.y))
    value, error = float(influence.mean()), multiplier.standard_error(influence, given.units.ids)
    found = [_rule.Witness("linear probe", value, value, value, influence, error)]
    found.append(_critic(given, "classifiers", _classifiers.contrast(given.x, given.y, fold, seed)))
    left = _nearest.spread(_columns(given.x), 1)
    if left.shape[1] > _MOST_DIMENSIONS or np.bincount(given.y).min() <= _K:
        return found

    def terms(part: Ints) -> NDArray[np.float64]:
        return _nearest.ross(left, given.y, part, _K)

    influence = terms(np.zeros(len(left), dtype=np.int64))
    value = float(influence.mean())
    error = _nearest.overlap(terms, len(left), _K, seed) * multiplier.standard_error(influence, given.units.ids)
    return [*found, _rule.Witness("neighbours", value, value, value, influence, error)]


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
        verdicts=(choice.verdict, *verdicts),
        details={
            "estimator": "auto", "chosen": chosen.name, "unclipped": chosen.value / _BIT, **details,
            "witnesses": {w.name: [round(w.value / _BIT, 4), round(w.honest / _BIT, 4)] for w in witnesses},
        },
    )  # fmt: skip
    half = _estimate.half_width(plain.stderr, given.units)
    low = plain.value - math.hypot(half, choice.below / _BIT)
    high = plain.value + math.hypot(half, choice.above / _BIT)
    return replace(plain, low=float(np.clip(low, *bounds)), high=float(np.clip(high, *bounds)))
