"""The estimators that ``auto`` hears: each returns its answer in nats, with and without what it extrapolates."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sclaws import multiplier
from sclaws.protocols import Floats, Ints
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
_LATENT = 8
_MOST_DIMENSIONS = 40  # of both sides together, in which neighbours are sought ...
_FEW_DIMENSIONS = 8  # ... and beyond which they are sought in latents, too


def of_continuous(
    given: _estimate.Sample, fold: Ints, seed: int, grouped: bool = False
) -> tuple[_rule.Witness | None, list[_rule.Witness], dict[str, Any]]:
    """Return the Gaussian where it is believed, critics and neighbours, and what to tell of them.

    With groups the rule does not hear neighbours (:func:`sclaws.scores._rule.choose`), so they are not asked.
    """
    found = _critics.contrast(given.x, given.y, fold, seed)
    critics = _critic(given, "critics", found)
    with _estimate.one_thread():
        ranked = [_normal.ranks(_estimate.standardised(v)) for v in (given.x, given.y)]
        sides = [_normal.basis(v) for v in ranked]
        dims = [side.shape[1] for side in sides]
        x, y = (_columns(v) for v in ranked)
        normal, details = (
            None,
            {"dim_x": dims[0], "dim_y": dims[1], "gaussian_held_out": found.gaussian.value / _BIT},
        )
        if len(x) > 2 * sum(dims) + 2:
            normal = _gaussian(given, _normal.fitted(*sides), found, ranked, fold, seed)
        others = [critics]
        if grouped:
            return normal, others, details
        if sum(dims) <= _MOST_DIMENSIONS:
            others.append(_neighbours(given, x, y, normal is not None, seed))
        if sum(dims) > _FEW_DIMENSIONS:
            others.append(_latent_neighbours(given, fold, seed))
        return normal, others, details


def of_label(given: _estimate.Sample, fold: Ints, seed: int, grouped: bool = False) -> list[_rule.Witness]:
    """Return a linear probe, small classifiers, and, in few dimensions and without groups, neighbours."""
    found = [
        _linear_probe(given, fold),
        _critic(given, "classifiers", _classifiers.contrast(given.x, given.y, fold, seed)),
    ]
    if grouped:
        return found
    left = _nearest.spread(_columns(_normal.ranks(_estimate.standardised(given.x))), 1)
    if left.shape[1] > _MOST_DIMENSIONS or np.bincount(given.y).min() <= 2 * (_K + 1):
        return found

    def terms(part: Ints) -> NDArray[np.float64]:
        return _nearest.ross(left, given.y, part, _K)

    return [*found, _counted(given, "neighbours", terms, np.zeros(len(left), dtype=np.int64), seed)]


def _critic(given: _estimate.Sample, name: str, found: Bounds) -> _rule.Witness:
    """Return the held-out bound, plus what the second half of the training cells brought beyond its standard error."""
    error = [multiplier.standard_error(v, given.units.ids) for v in (found.full.influence, found.differences)]
    value = found.full.value
    gain = max(found.gain - error[1], 0.0)
    return _rule.Witness(name, value + gain, value, value, found.full.influence, math.hypot(*error), held_out=True)


def _columns(ranked: Floats) -> NDArray[np.float64]:
    """Return columns (n, d) as they are, or principal components where there are many or they depend on one another."""
    components = _coordinates.components(ranked)
    return np.asarray(ranked) if components.shape[1] == ranked.shape[1] else components


def _gaussian(
    given: _estimate.Sample, fitted: _normal.Fitted, found: Bounds, ranked: list[NDArray[np.float64]], fold: Ints,
    seed: int,
) -> _rule.Witness | None:  # fmt: skip
    """Return the closed form where it is believed; beyond what networks see, it has critics of its own."""
    if max(fitted.dx, fitted.dy) > _coordinates.WIDEST:
        told, _ = _reliability.claims_too_much(
            fitted.value, fitted.influence, ranked[0], ranked[1], fold, given.units.ids, seed
        )
        if told:
            return None
    else:
        error = multiplier.standard_error(fitted.influence - found.gaussian.influence, given.units.ids)
        if not _rule.believed(fitted.value, found.gaussian.value, found.gaussian_gain, error):
            return None
    value = fitted.value
    return _rule.Witness("gaussian", value, value, value, fitted.influence, fitted.stderr(given.units))


def _neighbours(given: _estimate.Sample, x: Floats, y: Floats, believed: bool, seed: int) -> _rule.Witness:
    """Return Kraskov's estimate; where a Gaussian is believed, what is missed of a matched one is given back if that is
    more than a rise from half of the cells adds.
    """
    left, right = _nearest.spread(x, 1), _nearest.spread(y, 2)

    def terms(part: Ints) -> NDArray[np.float64]:
        return _nearest.kraskov(left, right, part, _K)

    whole = np.zeros(len(x), dtype=np.int64)
    found = _counted(given, "neighbours", terms, whole, seed)
    if not believed:
        return found
    seen = found.honest
    value = seen + _reliability.missed(x, y, whole, _K, seed)[0]
    return replace(found, value=max(value, found.value), honest=min(seen, value), evidence=value)


def _latent_neighbours(given: _estimate.Sample, fold: Ints, seed: int) -> _rule.Witness:
    """Return Kraskov's estimate in latents that keep what each side says of the other, as ``lmi`` does."""
    half = fold % 2
    a, b = (_nearest.centred(v, half) for v in _latents.latents([(given.x, given.y)], half, seed, _LATENT)[0])
    left, right = _nearest.spread(a, 1), _nearest.spread(b, 2)

    def terms(part: Ints) -> NDArray[np.float64]:
        return _nearest.kraskov(left, right, part, _K)

    return _counted(given, "neighbours of latents", terms, half, seed)


def _counted(given: _estimate.Sample, name: str, terms: _nearest.Terms, fold: Ints, seed: int) -> _rule.Witness:
    """Return the witness of nearest-neighbour terms within folds (n,).

    Neighbours come nearer with more cells: what the estimate gained over its halves is added once more when it is more
    than noise. A bias that falls as 1/n is then gone, and one that falls more slowly, in many dimensions, is less.
    """
    influence = terms(fold)
    rise = _nearest.rise(terms, influence, fold, seed)
    gained, noise = float(rise.mean()), multiplier.standard_error(rise, given.units.ids)
    seen = float(influence.mean())
    error = _nearest.overlap(terms, len(fold), _K, seed, fold) * multiplier.standard_error(influence, given.units.ids)
    value = seen + (gained if gained > 2 * noise else 0.0)
    return _rule.Witness(name, value, seen, seen, influence, error)


def _linear_probe(given: _estimate.Sample, fold: Ints) -> _rule.Witness:
    with _estimate.one_thread():
        truth, _ = _linear.out_of_fold(_estimate.standardised(given.x), given.y, fold)
    influence = np.log(truth) - np.log(np.bincount(given.y)[given.y] / len(given.y))
    value, error = float(influence.mean()), multiplier.standard_error(influence, given.units.ids)
    return _rule.Witness("linear probe", value, value, value, influence, error, held_out=True)
