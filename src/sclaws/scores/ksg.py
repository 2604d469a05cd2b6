"""Information from nearest neighbours, with no assumption on shape: Kraskov et al. (2004), and Ross (2014) for labels.

Estimator 1 of Kraskov, Stögbauer & Grassberger (Phys Rev E 69:066138) for a continuous signal: maximum norm, strict
counts, I = ψ(k) + ψ(n) - <ψ(n_x + 1) + ψ(n_y + 1)>. For a label, Ross (PLoS One 9:e87357): neighbours inside the class
against neighbours among all. Nearly unbiased in one or two dimensions a side; increasingly *low* beyond, because the
k nearest cells are no longer near: with 16 + 14 dimensions and 1,000 cells, 2.9 bits are seen as .6. Also low above
about log2(n / k) bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sclaws import multiplier, neighbours
from sclaws.errors import ScoreError
from sclaws.hashing import GOLDEN, mix
from sclaws.protocols import Estimate, Floats, Ids, Ints, Probe
from sclaws.scores import _estimate

_BIT = math.log(2)
_JITTER = 1e-10  # of a standard deviation: breaks ties, moves nothing else
_APART = 1e9  # standard deviations between blocks that must not see one another

Terms: TypeAlias = Callable[[Ints], NDArray[np.float64]]  # (n,) part of each cell -> (n,) its term in nats


@dataclass(frozen=True)
class KSG:
    """Nearest-neighbour information in bits between an embedding and a continuous or discrete signal.

    ``k`` neighbours: 3 has little bias; more has less spread and more bias. Columns are standardised, and ties broken
    by a fixed jitter. A label's value, low and high lie in [0, H(label)] (``details["unclipped"]`` is the raw value); a
    continuous signal's are not clipped at zero. The interval's standard error is the spread of the cells' terms,
    times what their overlapping neighbourhoods add, measured on disjoint parts of the cells; it knows nothing of bias.
    """

    k: int = 3

    version: ClassVar[int] = 1
    metrics: ClassVar[tuple[str, ...]] = ("information",)
    needs: ClassVar[str] = "signal"

    def __post_init__(self) -> None:
        if not 1 <= self.k <= 50:
            raise ScoreError(f"ksg: k = {self.k} must lie in [1, 50]; 3 is usual")

    def __call__(self, probe: Probe, *, seed: int) -> dict[str, Estimate]:
        """Return ``{"information": estimate}`` of the probe's pairs."""
        pairs = probe.pairs
        return {"information": self.estimate(pairs.x, pairs.y, groups=pairs.groups, ids=pairs.ids, seed=seed)}

    def estimate(
        self, x: Floats, y: NDArray[Any], *, groups: Ints | None = None, ids: Ids | None = None, seed: int = 0
    ) -> Estimate:
        """Return the information between x (n, d) and y, (n, k) floats or (n,) label codes, in bits.

        ``seed`` chooses the parts that calibrate the interval. A class with no more than k cells is left out, and said
        so. Time: n² in many dimensions (.6 s on two cores for 10,000 cells and 16 + 14), nearly n log n in few.
        """
        given = _estimate.sample(x, y, groups, ids)
        if self.k >= len(given.x) // 4:
            raise ScoreError(f"ksg: k = {self.k} is too many for {len(given.x)} cells; give at most a quarter of them")
        if not _estimate.varying(given.x).any():
            return _estimate.constant_embedding(given, estimator="ksg", k=self.k)
        return self._label(given, seed) if given.is_label else self._continuous(given, seed)

    def _continuous(self, given: _estimate.Sample, seed: int) -> Estimate:
        left, right = _spread(given.x, 1), _spread(given.y, 2)

        def terms(part: Ints) -> NDArray[np.float64]:
            return _kraskov(left, right, part, self.k)

        return self._finish(given, terms, seed, {}, (-math.inf, math.inf), (_deep(left, right), _tied(given.y)))

    def _label(self, given: _estimate.Sample, seed: int) -> Estimate:
        given, verdict = given.classes_of(self.k + 1, "ksg")
        if not _estimate.varying(given.x).any():
            return _estimate.constant_embedding(given, estimator="ksg", k=self.k)
        left, codes = _spread(given.x, 1), given.y
        bits = _estimate.entropy(codes)

        def terms(part: Ints) -> NDArray[np.float64]:
            return _ross(left, codes, part, self.k)

        details = {"entropy": bits, "n_classes": int(codes.max()) + 1}
        return self._finish(given, terms, seed, details, (0.0, bits), (_deep(left), verdict))

    def _finish(
        self, given: _estimate.Sample, terms: Terms, seed: int, details: dict[str, Any], bounds: tuple[float, float],
        verdicts: tuple[str, ...],
    ) -> Estimate:  # fmt: skip
        influence = terms(np.zeros(len(given.x), dtype=np.int64)) / _BIT
        value = float(influence.mean())
        overlap = _overlap(terms, len(given.x), self.k, seed)
        stderr = overlap * multiplier.standard_error(influence, given.units.ids)
        details = {"estimator": "ksg", "k": self.k, **details, "unclipped": value, "overlap": round(overlap, 4)}
        return _estimate.estimate(
            value, influence, given.units, stderr=stderr, bounds=bounds, verdicts=verdicts, details=details
        )


def _spread(values: NDArray[np.float64], salt: int) -> NDArray[np.float64]:
    """Return standardised columns with ties broken by a hash of (row, column)."""
    out = _estimate.standardised(values)
    cells = np.arange(out.size, dtype=np.uint64).reshape(out.shape)
    with np.errstate(over="ignore"):
        hashed = mix(cells + np.uint64(salt) * GOLDEN)
    return np.asarray(out + _JITTER * (hashed / 2.0**64 - 0.5))


def _tied(values: NDArray[np.float64]) -> str:
    """Return a warning when the most frequent row of a continuous signal takes more than a tenth of the cells."""
    share = np.unique(values, axis=0, return_counts=True)[1].max() / len(values)
    return f"biased: {share:.0%} of the cells share one value of the signal" if share > 0.1 else ""


def _deep(*sides: NDArray[np.float64]) -> str:
    """Return a warning when a side has more than two dimensions."""
    dims = [side.shape[1] for side in sides]
    return f"likely low: neighbours in {' + '.join(map(str, dims))} dimensions" if max(dims) > 2 else ""


def _kraskov(x: Floats, y: Floats, part: Ints, k: int) -> NDArray[np.float64]:
    """Return the (n,) terms in nats of estimator 1; cells of different parts (n,) do not see one another."""
    from scipy.special import digamma

    x, y = _separate(x, part), _separate(y, part)
    radius = neighbours.kth_distance(np.hstack([x, y]), k)
    inside = digamma(neighbours.count_within(x, radius) + 1) + digamma(neighbours.count_within(y, radius) + 1)
    return np.asarray(digamma(k) + digamma(np.bincount(part)[part]) - inside)


def _ross(x: Floats, codes: Ints, part: Ints, k: int) -> NDArray[np.float64]:
    """Return the (n,) terms in nats of Ross's estimator; NaN where a class has no more than k cells in the part."""
    from scipy.special import digamma

    both = part * (int(codes.max()) + 1) + codes
    size = np.bincount(both)[both]
    radius = neighbours.kth_distance(_separate(x, both), k)
    # the k-th neighbour itself counts here, and it lies exactly on the radius
    found = neighbours.count_within(_separate(x, part), np.nextafter(radius, np.inf))
    with np.errstate(invalid="ignore"):
        terms = digamma(k) + digamma(np.bincount(part)[part]) - digamma(size) - digamma(found)
    return np.where(size > k, terms, np.nan)


def _separate(points: Floats, part: Ints) -> Floats:
    """Return the points with one more coordinate, which puts the parts too far apart to be neighbours."""
    return np.column_stack([points, _APART * part]) if part.any() else points


def _overlap(terms: Terms, n: int, k: int, seed: int) -> float:
    """Return how many times larger the standard error is than that of independent terms, at least 1.

    Neighbourhoods overlap, so terms are correlated: measured by cutting the cells into disjoint parts, whose estimates
    *are* independent (Holmes & Nemenman 2019, Phys Rev E 100:022404), and comparing their spread with what their
    terms promise. About fifty parts over a few partitions know it to a tenth; one partition costs 1/16 of the whole.
    """
    parts = max(2, min(16, n // (6 * (k + 1))))
    rng = np.random.default_rng(seed)
    seen, promised = [], []
    for _ in range(math.ceil(48 / parts)):
        part = rng.permutation(n) % parts
        values = terms(part)
        each = [v[np.isfinite(v)] for v in (values[part == p] for p in range(parts))]
        each = [v for v in each if len(v) > 1]
        if len(each) > 1:
            seen.append(np.var([v.mean() for v in each], ddof=1))
            promised.append(np.mean([v.var(ddof=1) / len(v) for v in each]))
    return max(1.0, math.sqrt(sum(seen) / sum(promised))) if sum(promised) > 0 else 1.0
