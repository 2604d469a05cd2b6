"""Held-out lower bounds on information: who is trained on what, and what a table of scores T(x_i, y_j) is worth."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sclaws.protocols import Floats, Ints

_MOST_VALID = 600  # cells on which training is stopped
_SHOWN = 2.0  # nats below the logarithm of the number of chance meetings: more they cannot show
_BLOCK = 2000  # cells that meet one another when a bound is evaluated


@dataclass(frozen=True)
class Bound:
    """A held-out lower bound in nats, and each cell's influence on it, (n,)."""

    value: float
    influence: NDArray[np.float64]


@dataclass(frozen=True)
class Bounds:
    """Bounds of the critics trained on every cell outside the fold (``full``), on half of them (``half``), and of the
    plain critic alone: Gaussian channels of all cells (``gaussian``) and what they gained over those of half.
    """

    full: Bound
    half: Bound
    gaussian: Bound
    gaussian_gain: float

    @property
    def gain(self) -> float:
        """What the second half of the training cells brought, in nats."""
        return self.full.value - self.half.value

    @property
    def differences(self) -> NDArray[np.float64]:
        """Each cell's influence on the gain, (n,)."""
        return self.full.influence - self.half.influence


@dataclass(frozen=True)
class Task:
    """One critic: the rows it learns from, those it stops on, those it is judged on."""

    train: Ints
    valid: Ints
    test: Ints
    half: bool


def tasks_of(fold: Ints, seed: int) -> list[Task]:
    """Return two tasks a fold (n,): one with every cell outside it but a sixth to stop on, one with half of them."""
    out = []
    for f in range(int(fold.max()) + 1):
        rest = np.random.default_rng([seed, f]).permutation(np.flatnonzero(fold != f))
        stop = min(len(rest) // 6, _MOST_VALID)
        train, valid, test = rest[stop:], rest[:stop], np.flatnonzero(fold == f)
        out += [Task(train, valid, test, False), Task(train[: len(train) // 2], valid, test, True)]
    return out


def judged(table: Callable[[int, Ints], Floats], tasks: Sequence[Task], half: bool, n: int) -> Bound:
    """Return the bound over all n cells of the critics of one size; ``table(task, rows)`` is one's (b, b) table."""
    influence = np.empty(n)
    for number, task in enumerate(tasks):
        if task.half != half:
            continue
        for rows in np.array_split(task.test, math.ceil(len(task.test) / _BLOCK)):
            found = bound(table(number, rows))
            influence[rows] = found.influence - found.influence.mean() + found.value
    return Bound(float(influence.mean()), influence)


def bound(table: Floats) -> Bound:
    """Return the better of two bounds of a (b, b) table in nats: contrastive, and Donsker-Varadhan's.

    The first (van den Oord et al. 2018, arXiv 1807.03748; here the mean of both directions) never fails and cannot
    exceed log b. The second has no such ceiling: over all b² chance meetings the error of its mean is of second order
    for a critic near the truth. But meetings that are rarer than one in b² are not among them; its mean is then too
    low, and the bound too high. As so many cannot show more than about 2 log b (McAllester & Stratos 2020, AISTATS), it
    is cut 2 nats below that.
    """
    b, own = len(table), np.diag(table)
    right, to_right = _softmax(table, 1)
    left, to_left = _softmax(table, 0)
    terms = own - 0.5 * (right + left) + math.log(b)
    shared = to_right.sum(axis=0) + to_left.sum(axis=1)
    contrastive = Bound(float(terms.mean()), terms - 0.5 * (shared - 2))
    whole, weight = _softmax(np.where(np.eye(b, dtype=bool), -np.inf, table), None)
    value = float(own.mean()) - float(whole) + math.log(b * (b - 1))
    value = min(value, 2 * math.log(b) - _SHOWN)
    donsker = Bound(value, own - b * (weight.sum(axis=0) + weight.sum(axis=1)))
    return donsker if donsker.value > contrastive.value else contrastive


def _softmax(table: Floats, axis: int | None) -> tuple[Floats, Floats]:
    """Return log Σ exp along the axis, and each entry's share of that sum: one exponential for both."""
    top = table.max(axis=axis, keepdims=True)
    shares = np.exp(table - top)
    total = shares.sum(axis=axis, keepdims=True)
    shares /= total
    return np.squeeze(np.log(total) + top, axis=axis), shares
