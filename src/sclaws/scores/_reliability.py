"""Whether an estimate can be believed here: checks that need no truth.

For a Gaussian, *unseen cells*: there its critic must reach what it claims. For nearest neighbours, *a Gaussian of the
same canonical correlations*, as many cells: its information is known, so what neighbours miss of it is what the number
of dimensions costs; *half of the cells*: an estimate that is still rising has too few; *shuffled partners*: what is
seen where nothing is. Each gives a sentence, or nothing; the rules stand in docs/scores.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sclaws import multiplier
from sclaws.protocols import Floats, Ids, Ints
from sclaws.scores import _baselines, _bounds, _coordinates, _nearest, _normal, _rule

_BIT = math.log(2)
_BITS = 0.1  # a shortfall, or rise, below this many bits is not worth a warning ...
_WIDEST = 512  # components in which a Gaussian is checked
_SHARE = 0.1  # ... nor is one below this share of the estimate


def matched_normal(
    x: Floats, y: Floats, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Draw (n, d) and (n, k) jointly normal, with the covariances of x and y; return them and their nats.

    Sample canonical correlations are too high, in proportion to the dimensions; they are lowered together until the
    information is the unbiased one.
    """
    sides = [_normal.basis(v) for v in (x, y)]
    left, _, right = np.linalg.svd(sides[0].T @ sides[1])
    found = _normal.fitted(*sides)
    rho = _lowered(found.rho, max(found.value, 0.0))
    a, b = (rng.normal(size=side.shape) for side in sides)
    m = len(rho)
    b[:, :m] = rho * a[:, :m] + np.sqrt(1 - rho**2) * b[:, :m]
    turned = [(sides[0] @ left, x), (sides[1] @ right.T, y)]
    back = [side.T @ (v - v.mean(axis=0)) / math.sqrt(len(v)) for side, v in turned]
    return a @ back[0], b @ back[1], -0.5 * float(np.log1p(-(rho**2)).sum())


def _lowered(rho: Floats, information: float) -> NDArray[np.float64]:
    """Return correlations (m,), all squares lowered by one factor, whose Gaussian information in nats is the given."""
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        if -0.5 * np.log1p(-middle * rho**2).sum() < information:
            low = middle
        else:
            high = middle
    return np.asarray(np.sqrt(low) * rho)


def missed(x: Floats, y: Floats, part: Ints, k: int, seed: int) -> tuple[float, float]:
    """Return what neighbours miss of a matched Gaussian, and the Gaussian's information, in nats: mean of two draws.

    ``part`` (n,) cuts the cells into sets that share no space; the Gaussian is matched to each.
    """
    rng = np.random.default_rng(seed)
    short, whole = [], []
    for p in range(int(part.max()) + 1):
        rows = part == p
        for _ in range(2):
            a, b, information = matched_normal(x[rows], y[rows], rng)
            inside = np.zeros(len(a), dtype=np.int64)
            seen = _nearest.kraskov(_nearest.spread(a, 1), _nearest.spread(b, 2), inside, k).mean()
            short.append(information - float(seen))
            whole.append(information)
    return float(np.mean(short)), float(np.mean(whole))


def claims_too_much(
    claimed: float, influence: Floats, x: Floats, y: Floats, fold: Ints, ids: Ids, seed: int
) -> tuple[str, float]:
    """Return a warning when a Gaussian claims more nats than its critic reaches on cells that it did not see, and the
    nats reached. ``x`` (n, d) and ``y`` (n, k) are the columns that it was fitted to, ``influence`` (n,) each cell's.
    """
    x, y = (_coordinates.components(v, min(_WIDEST, max(len(v) // 3, 2))) for v in (x, y))
    tasks = _bounds.tasks_of(fold, seed)
    critics = [_baselines.channels(x, y, task.train, task.valid) for task in tasks]

    def table(number: int, rows: Ints) -> NDArray[np.float64]:
        return critics[number].table(x[rows], y[rows])

    full, half = (_bounds.judged(table, tasks, size, len(x)) for size in (False, True))
    error = multiplier.standard_error(influence - full.influence, ids)
    if _rule.believed(claimed, full.value, full.value - half.value, error):
        return "", full.value
    return f"not jointly normal: on unseen cells this Gaussian reaches {full.value / _BIT:.2f} bits", full.value


def too_many_dimensions(seen: float, short: float, whole: float) -> str:
    """Return a warning when neighbours miss much of a matched Gaussian; all in nats, ``seen`` is the estimate.

    Where the Gaussian claims much more than was seen and it cannot be put down to what neighbours miss of it, it is no
    match (latents that are functions of one another), and says nothing.
    """
    if seen < 0.8 * (whole - short) or short / _BIT <= max(_BITS, _SHARE * whole / _BIT):
        return ""
    return (
        f"biased low: effective dimension too high "
        f"(of a Gaussian like this one, neighbours miss {short / _BIT:.2f} of {whole / _BIT:.2f} bits)"
    )


def full(bits: float, n: int, k: int) -> str:
    """Return a warning when an estimate is near the most that the neighbours of n cells can show."""
    most = math.log2(n / k)
    return (
        f"at least this: {n} cells and {k} neighbours show no more than about {most:.1f} bits"
        if bits > most - 1
        else ""
    )


def too_few_cells(terms: _nearest.Terms, fold: Ints, seed: int) -> tuple[str, float]:
    """Return a warning when half of the cells see much less, and by how many bits."""
    found = terms(fold)
    gained = _nearest.rise(terms, found, fold, seed) / _BIT
    rise, seen = float(gained.mean()), float(np.nanmean(found)) / _BIT
    error = float(gained.std()) / math.sqrt(len(fold))
    if rise > max(_BITS, _SHARE * seen, 2 * error):
        return f"too few cells: half of them see {rise:.2f} bits less", rise
    return "", rise


def sees_what_is_not_there(x: Floats, y: Floats, fold: Ints, k: int, seed: int) -> tuple[str, float]:
    """Return a warning when shuffled partners (within folds) share information, and how many bits they do."""
    rng = np.random.default_rng(seed)
    order = np.arange(len(fold))
    for f in range(int(fold.max()) + 1):
        rows = np.flatnonzero(fold == f)
        order[rows] = rng.permutation(rows)
    terms = _nearest.kraskov(_nearest.spread(x, 1), _nearest.spread(y[order], 2), fold, k) / _BIT
    null = float(terms.mean())
    if null > max(0.05, 4 * float(terms.std()) / math.sqrt(len(terms))):
        return f"not to be trusted: {null:.2f} bits are seen between shuffled partners", null
    return "", null


@dataclass(frozen=True)
class Scan:
    """Canonical pairs of two sides, found in each fold: ``left`` and ``right`` (n, m), the strongest first; ``bits``
    seen in the 1, 2, 4 ... leading of them.
    """

    left: NDArray[np.float64]
    right: NDArray[np.float64]
    bits: dict[int, float]

    @property
    def effective(self) -> int:
        """The fewest leading pairs in which nine tenths of the most bits are seen."""
        most = max(self.bits.values())
        return min(m for m, seen in self.bits.items() if seen >= most - 0.1 * abs(most))

    @property
    def seen(self) -> float:
        """Nats seen in those."""
        return self.bits[self.effective] * _BIT


def scan(x: Floats, y: Floats, fold: Ints, k: int) -> Scan:
    """Return what neighbours see in the leading canonical pairs of x (n, d) and y (n, e): where that levels off is the
    effective dimension; if it does not, there are more dimensions than were given.
    """
    most = min(x.shape[1], y.shape[1])
    left, right = np.zeros((len(x), most)), np.zeros((len(x), most))
    for f in range(int(fold.max()) + 1):
        rows = fold == f
        sides = [_normal.basis(v[rows]) for v in (x, y)]
        u, rho, v = np.linalg.svd(sides[0].T @ sides[1], full_matrices=False)
        most = min(most, len(rho))
        left[np.ix_(rows, range(len(rho)))] = sides[0] @ u
        right[np.ix_(rows, range(len(rho)))] = sides[1] @ v.T
    bits = {}
    for m in sorted({1, 2, 4, 8, 16, most} & set(range(1, most + 1))):
        terms = _nearest.kraskov(_nearest.spread(left[:, :m], 1), _nearest.spread(right[:, :m], 2), fold, k)
        bits[m] = round(float(terms.mean()) / _BIT, 4)
    return Scan(left[:, :most], right[:, :most], bits)
