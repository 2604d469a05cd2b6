"""How ``auto`` chooses among estimators without seeing the truth: the rule, and the interval that goes with it.

Every number here is in nats. Three kinds of evidence, each with a known way of failing:

- the *Gaussian* closed form: exact when it holds; it is believed when its own critic, judged on cells that it did not
  see, reaches what it claims. Where cells form clusters it claims more, and is dropped;
- *learnt critics*: a held-out bound, hence low; the second half of the training cells brought ``gain``, and errors that
  fall as 1/n leave as much again, which is added;
- *neighbours*: nearly unbiased in few dimensions, low in many; what they miss of a matched Gaussian is given back, as
  long as the Gaussian is believed.

Where the Gaussian is believed and none of the others finds more, it is the answer; otherwise the largest of the others
is, because they fail low. The interval adds to the sampling error what was not measured: the part of the value
beyond its best uncorrected witness, and a share of what the witnesses disagree on.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sclaws import multiplier
from sclaws.protocols import Ids

# How far the interval reaches beyond sampling: set on one set of problems, judged on another (docs/scores.md).
_DISAGREEMENT = 0.25  # share of the distance between critics and neighbours
_RELATIVE = 0.04  # share of the value, when it is not the Gaussian's
_FLAT = 0.01  # nats that any model may be off


@dataclass(frozen=True)
class Witness:
    """One estimator's answer in nats.

    ``value`` is its best guess; ``honest`` that without extrapolation or correction; ``evidence`` what may speak
    against a Gaussian; ``influence`` (n,) of each cell, and ``stderr``, the standard error over cells.
    """

    name: str
    value: float
    honest: float
    evidence: float
    influence: NDArray[np.float64]
    stderr: float
    held_out: bool = False


@dataclass(frozen=True)
class Choice:
    """The chosen witness and how far the model, not the sample, may be off below and above; ``verdict`` in words."""

    witness: Witness
    below: float
    above: float
    verdict: str


def believed(claimed: float, held_out: float, gain: float, error: float) -> bool:
    """Return whether a closed form is believed: on unseen cells its critic reaches it, but for what more cells bring.

    ``gain`` is what the second half of the training cells brought that critic, ``error`` the standard error of the
    difference.
    """
    return claimed - held_out <= 0.03 + 0.05 * max(claimed, 0.0) + 2 * max(gain, 0.0) + 2 * error


def choose(normal: Witness | None, others: list[Witness], ids: Ids, grouped: bool = False) -> Choice:
    """Return the answer from the believed Gaussian, if any, and the other witnesses (at least one).

    The Gaussian stands unless another finds more by three standard errors of their difference and .02 nats. With groups
    (``grouped``) only witnesses that were judged on groups they had not seen are heard, since neighbours of one group
    say more of each other than of another's.
    """
    if grouped:
        others = [each for each in others if each.held_out]
        normal = None if normal and normal.value > 1.5 * max(each.value for each in others) + 0.1 else normal
    best = max(others, key=lambda each: each.value)
    if normal is not None and not any(_finds_more(each, normal, ids) for each in others):
        off = 0.5 * abs(best.value - normal.value) if best.value > normal.value else 0.0
        off = max(off, _FLAT + 0.01 * abs(normal.value))
        return Choice(normal, off, off, "")
    honest = max(each.honest for each in others)
    gap = max(best.value - honest, 0.0)
    apart = best.value - min(each.value for each in others)
    above = gap + _DISAGREEMENT * min(apart, max(best.value, 0.0)) + _RELATIVE * abs(best.value) + _FLAT
    return Choice(best, gap + _FLAT, above, _verdict(best, gap, above))


def _finds_more(each: Witness, normal: Witness, ids: Ids) -> bool:
    """Return whether a witness finds more; its standard error says by how much more than its cells' it scatters."""
    more = max(1.0, each.stderr / max(multiplier.standard_error(each.influence, ids), 1e-12))
    error = more * multiplier.standard_error(each.influence - normal.influence, ids)
    return each.evidence - normal.value > max(3 * error, 0.02)


def _verdict(best: Witness, gap: float, above: float) -> str:
    bits = math.log(2)
    if above > 0.05 * bits and above > 0.25 * best.value:
        return f"likely low: estimators disagree, the truth may be {above / bits:.2f} bits more"
    if gap > 0.05 * bits and gap > 0.1 * best.value:
        return f"extrapolated: {gap / bits:.2f} of the bits are beyond what was seen; more cells would show them"
    return ""
