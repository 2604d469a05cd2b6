"""Numbers -> one sentence. The rules, in the order in which they are tried:

1. *flat: no scaling seen*: the 95 % interval of the gain (slope of a line in log x, times the range) lies within ±.05,
   in the unit of y (with the criterion "log": ±5 %). Equivalence, not the absence of significance.
2. *underpowered*: that interval holds zero, and the law is not better than a constant by 2 units of AICc; or there
   are too few points for the law to have an AICc at all, or no more levels than it has parameters.
3. *no law: not monotone*: between the means of the thirds of the range (in log x) there is a step up and a step down
   that both differ from zero, and a parabola in log x beats the law by 2 units of AICc.
4. *no law*: a constant beats the law by 4 units of AICc; or a parabola that does not turn does, and the law leaves more
   than a tenth of the variance (R² < .9): a small systematic departure does not make a law useless. Or the law leaves
   as much, and the levels depart from it further than their repeats scatter (F test of lack of fit, p < .001).
5. *not identifiable*: some parameter's 95 % profile interval does not close within the bounds of the search (an end at
   0 closes where 0 is the parameter's declared limit), or only just: not at 99 %, as one in forty does by chance. The
   sentence gives the limit that there is, the share of the law's transition (from 5 % to 95 % of its change, on a log
   scale) that the points cover, and the fewest further levels that would settle it (:mod:`sclaws.fit.settling`).
6. *saturated*: at the largest input, at most .05 (in the unit of y) and a tenth of the law's whole change are left, in
   97.5 % of the draws. It follows the law, too.
7. *follows the law*.

An interval that runs into a known ceiling (``ceiling`` of :func:`sclaws.fit.fit`) closes there; 6 and 7 say so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

FLAT = 0.05
BETTER = 2.0
MUCH_BETTER = 4.0
CLOSE = 0.9
REACHED = 0.9
MISFIT = 0.001
OPEN = "not identifiable"


@dataclass(frozen=True)
class Facts:
    """What a verdict on one curve and law rests on.

    ``gain`` the interval of the line's gain; ``turns`` the intervals of the two steps between thirds of the range; AICc
    of the law and its rivals; ``r2`` of the law; ``limits`` (low, high) of each parameter, infinite where open, whether
    it is ``sure`` (closes at 99 %, too), and its ``units``; ``covered`` the share of the transition that the points
    cover; ``levels`` their number; ``misfit`` the p value of the test of lack of fit (1 where no level is repeated);
    ``settled`` what would close open limits, in words; ``left`` the upper limit of what the law has to give
    beyond the largest input and ``reached`` the lower limit of the share of its change that is reached: NaN when the
    law does not say; ``ceiling`` which parameter is at its known ceiling, in words.
    """

    gain: tuple[float, float]
    turns: tuple[tuple[float, float], tuple[float, float]]
    law: float
    constant: float
    parabola: float
    r2: float
    limits: dict[str, tuple[float, float]] = field(default_factory=dict)
    sure: dict[str, bool] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    covered: float = math.nan
    settled: str = ""
    left: float = math.nan
    reached: float = math.nan
    is_constant: bool = False
    levels: int = 1000
    misfit: float = 1.0
    ceiling: str = ""


def sentence(facts: Facts) -> str:
    """Return the verdict in words; the rules stand at the top of this module."""
    low, high = facts.gain
    if -FLAT < low and high < FLAT:
        return f"flat: no scaling seen (gain {low:+.2g} to {high:+.2g})"
    if facts.is_constant:
        return f"no law: not constant (gain {low:+.2g} to {high:+.2g})" if _differs(facts.gain) else _weak(facts)
    if facts.levels <= len(facts.limits):
        return f"underpowered: {facts.levels} levels cannot test a law of {len(facts.limits)} parameters"
    if not (_differs(facts.gain) or facts.law < facts.constant - BETTER):
        return _weak(facts)
    if not math.isfinite(facts.law):
        return "underpowered: too few points to tell the law from a constant"
    return _shape(facts) or _open(facts) or _limited(_reach(facts) or "follows the law", facts)


def _limited(found: str, facts: Facts) -> str:
    joint = "; " if ":" in found else ": "
    return f"{found}{joint}{facts.ceiling}" if facts.ceiling else found


def _weak(facts: Facts) -> str:
    low, high = facts.gain
    return f"underpowered: the gain is {low:+.2g} to {high:+.2g}, which may be none"


def _differs(interval: tuple[float, float]) -> bool:
    return interval[0] > 0 or interval[1] < 0


def _shape(facts: Facts) -> str:
    first, last = facts.turns
    opposite = (first[0] > 0 and last[1] < 0) or (first[1] < 0 and last[0] > 0)
    if opposite and facts.parabola < facts.law - BETTER:
        return f"no law: not monotone (the points first {'rise' if first[0] > 0 else 'fall'}, then turn)"
    if facts.parabola < facts.law - MUCH_BETTER and not facts.r2 >= CLOSE:
        return f"no law: a parabola in log x fits better (AICc by {facts.law - facts.parabola:.1f})"
    if facts.misfit < MISFIT and not facts.r2 >= CLOSE:
        return f"no law: levels depart from it further than their repeats scatter (R² {facts.r2:.2f})"
    if facts.constant < facts.law - MUCH_BETTER:
        return f"no law: a constant fits better (AICc by {facts.law - facts.constant:.1f})"
    return ""


def _open(facts: Facts) -> str:
    said = [_limit(name, *ends, facts.units.get(name, "")) for name, ends in facts.limits.items()]
    weak = [f"{name} closes at 95 % and not at 99 %" for name in facts.limits if not facts.sure.get(name, True)]
    said = [text for text in said if text] or weak
    if not said:
        return ""
    share = "" if math.isnan(facts.covered) else f"the points cover {100 * facts.covered:.0f} % of the transition; "
    return f"{OPEN}: {share}{', '.join(said)}{f'; {facts.settled}' if facts.settled else ''}"


def _limit(name: str, low: float, high: float, unit: str) -> str:
    unit = f" {unit}" if unit else ""
    if math.isfinite(low) and math.isfinite(high):
        return ""
    if math.isfinite(low):
        return f"{name} > {low:.3g}{unit} (95 %)"
    return f"{name} < {high:.3g}{unit} (95 %)" if math.isfinite(high) else f"{name} is free"


def _reach(facts: Facts) -> str:
    if not (facts.reached >= REACHED and facts.left <= FLAT):  # NaN is no
        return ""
    return f"saturated: follows the law, and at most {facts.left:.2g} is left beyond the largest input"
