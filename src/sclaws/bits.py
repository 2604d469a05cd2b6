"""Counts in bits: the negative binomial, and the baseline that every model must beat, each gene's mean.

The reference measure is the count itself: a loss is -log2 of the probability of a whole number, so it is never
negative and needs no unit. Everything is *given the cell's total* over the genes at hand, on both sides of any gain.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import gammaln

from sclaws.errors import DataError
from sclaws.tallies import Entries, Tally

MEASURE = "bits of a count per gene, given the cell's total over the model's {n} genes"
_UNSEEN = 0.5  # molecules added to every gene, so that a gene without any in training has a finite loss
_DISPERSIONS = (1e-4, 1e3)  # from next to Poisson to a gene that is almost always silent
_PRIOR_SD = 2.0  # of log-dispersion
_BINS, _STEPS = 64, 30
_BLOCK = 2**22  # entries of a dense block


def negative_binomial(counts: Any, mean: Any, dispersion: Any) -> NDArray[np.float64]:
    """Return -log2 P(count) in bits, variance mean + dispersion·mean²; all broadcast; mean 0 allows 0 alone."""
    x, mu = np.asarray(counts, dtype=np.float64), np.asarray(mean, dtype=np.float64)
    r = 1 / np.asarray(dispersion, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = np.where(x > 0, x * (np.log(mu) - np.log(r + mu)), 0.0)
    nats = gammaln(x + r) - gammaln(r) - gammaln(x + 1) - r * np.log1p(mu / r) + odds
    return np.asarray(-nats / math.log(2))


@dataclass(frozen=True)
class GeneMeans:
    """What is known of genes without knowing anything of the cell but its total.

    ``share`` (p,) of each gene in the molecules (sums to 1, or to less where totals count other genes, too),
    ``dispersion`` (p,): the count of gene g in a cell of total L is negative binomial with mean L·share and variance
    mean + dispersion·mean².
    """

    share: NDArray[np.float64]
    dispersion: NDArray[np.float64]

    def losses(self, counts: sparse.csr_matrix, totals: NDArray[Any] | None = None) -> NDArray[np.float64]:
        """Return (n,) mean bits per gene of (n, p) counts. Time and memory: dense, in blocks of 32 MB.

        ``totals`` (n,) of the cells, in the sense that the means were fitted in; default: over these genes.
        """
        totals = _totals(counts, totals)
        out = np.empty(counts.shape[0])
        rows = max(_BLOCK // len(self.share), 1)
        for start in range(0, len(out), rows):
            some = slice(start, start + rows)
            out[some] = self._bits(counts[some], totals[some]) / len(self.share)
        return out

    def of(self, genes: NDArray[Any]) -> GeneMeans:
        """Return what is known of the genes at these positions; their losses need the cells' ``totals``."""
        return GeneMeans(self.share[genes], self.dispersion[genes])

    def _bits(self, counts: sparse.csr_matrix, totals: NDArray[np.float64]) -> NDArray[np.float64]:
        """Sum over genes: every gene as if it were zero, then the difference for those that are not."""
        r = 1 / self.dispersion
        nothing = np.log1p(totals[:, None] * (self.share * self.dispersion)) @ r / math.log(2)
        entries = counts.tocoo()
        mean, dispersion = totals[entries.row] * self.share[entries.col], self.dispersion[entries.col]
        more = negative_binomial(entries.data, mean, dispersion) - negative_binomial(0, mean, dispersion)
        return np.asarray(nothing + np.bincount(entries.row, weights=more, minlength=len(totals)))


def gene_means(counts: sparse.csr_matrix, totals: NDArray[Any] | None = None) -> GeneMeans:
    """Fit the baseline to training cells (n, p). ``totals`` (n,): of more genes than these, if that is what a cell's
    total is to mean (``View.library``); default: over these genes, so that shares sum to 1.

    Shares are a gene's molecules over all molecules, half a molecule added to each gene. Dispersions maximise the
    likelihood of the gene's counts times a weak prior: log-normal around the dispersion of all genes together (by
    moments), a factor e² wide, which decides only for genes of which hardly anything was seen. Cells of nearly equal
    total are taken together for this (64 quantiles), so time grows with the non-zeros and with 64 p.
    """
    totals = _totals(counts, totals)
    return gene_means_of_blocks(lambda: [counts], counts.shape[1], totals)


def gene_means_of_blocks(
    blocks: Callable[[], Iterable[sparse.csr_matrix]], genes: int, totals: NDArray[Any] | None = None
) -> GeneMeans:
    """Return what :func:`gene_means` does of cells that come in blocks (n_b, genes), two walks over them.

    ``totals`` (n,) of the cells, in the order of the blocks, are what is held of every cell; default: their sums.
    """
    tally, own = Tally(genes), [np.empty(0)]
    for block in blocks():
        tally.add(block)
        own.append(np.asarray(block.sum(axis=1), dtype=np.float64).ravel())
    totals = np.concatenate(own) if totals is None else np.asarray(totals, dtype=np.float64)
    entries = tally.entries()
    found = entries.sums(entries.counts, genes)
    if not found.sum() > 0:
        raise DataError(f"{tally.cells} training cells have no molecule on these {genes} genes")
    groups = _groups(blocks(), genes, totals)
    seen = found + _UNSEEN
    share = seen / (seen.sum() + (totals.sum() - found.sum()))  # what is of no gene here stays a share of the total
    typical = _pooled_dispersion(entries, groups, totals, share)
    return GeneMeans(share, _dispersions(entries, groups, share, typical))


def _totals(counts: sparse.csr_matrix, totals: NDArray[Any] | None) -> NDArray[np.float64]:
    """Return (n,) totals, those of the genes at hand unless others are given; ``DataError`` for impossible ones."""
    mine = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    if totals is None:
        return mine
    given = np.asarray(totals, dtype=np.float64)
    if given.shape != mine.shape or not (given >= mine - 0.5).all():
        raise DataError(
            f"totals have shape {given.shape} for {len(mine)} cells, or are less than a cell has on these genes alone"
        )
    return given


class _Groups(NamedTuple):
    """Groups of cells of nearly equal total: how many (b,), their mean total (b,), molecules per gene (b, p).

    ``weighed`` (p,) is each gene's molecules, each times the total of its cell.
    """

    sizes: NDArray[np.float64]
    means: NDArray[np.float64]
    molecules: NDArray[np.float64]
    weighed: NDArray[np.float64]


def _groups(blocks: Iterable[sparse.csr_matrix], genes: int, totals: NDArray[np.float64]) -> _Groups:
    n, start = len(totals), 0
    number = min(_BINS, n)
    group = np.empty(n, dtype=np.int8)
    for b, some in enumerate(np.array_split(np.argsort(totals, kind="stable"), number)):
        group[some] = b
    molecules, weighed = np.zeros((number, genes)), np.zeros(genes)
    for block in blocks:
        own = slice(start, start := start + block.shape[0])
        ends = np.arange(block.shape[0] + 1)
        member = sparse.csc_matrix((np.ones(block.shape[0]), group[own], ends), shape=(number, block.shape[0]))
        molecules += (member @ block).toarray()
        weighed += block.T @ totals[own]
    sizes = np.bincount(group, minlength=number).astype(np.float64)
    return _Groups(sizes, np.bincount(group, totals, minlength=number) / sizes, molecules, weighed)


def _pooled_dispersion(entries: Entries, groups: _Groups, totals: NDArray[Any], share: NDArray[Any]) -> float:
    """Return Σ[(x - μ)² - μ] / Σμ² over cells and genes; Σμ is the number of molecules."""
    squares, molecules = float(entries.times @ entries.counts**2), float(entries.times @ entries.counts)
    fitted = float((share**2).sum() * (totals**2).sum())
    return float(np.clip((squares - 2 * (groups.weighed @ share) + fitted - molecules) / fitted, *_DISPERSIONS))


def _dispersions(entries: Entries, groups: _Groups, share: NDArray[Any], typical: float) -> NDArray[np.float64]:
    """Maximise, for all genes at once, Σ log[Γ(x+r)/(Γ(r) r^x)] - Σ(x+r) log(1+μ/r) + prior over φ = 1/r."""
    genes, values, times = entries

    def objective(log_dispersion: Any) -> Any:
        phi = np.exp(log_dispersion)
        r = 1 / phi
        rising = gammaln(values + r[genes]) - gammaln(r)[genes] + values * log_dispersion[genes]
        rates = np.log1p(groups.means[:, None] * (share * phi))
        bulk = np.einsum("bg,bg->g", groups.molecules + groups.sizes[:, None] * r, rates)
        prior = ((log_dispersion - math.log(typical)) / _PRIOR_SD) ** 2 / 2
        return np.bincount(genes, weights=times * rising, minlength=len(share)) - bulk - prior

    return np.asarray(np.exp(_golden_section(objective, *(np.full(len(share), math.log(b)) for b in _DISPERSIONS))))


def _golden_section(function: Callable[[Any], Any], low: Any, high: Any) -> NDArray[Any]:
    """Return where each of many one-dimensional functions is largest, between ``low`` and ``high`` (arrays)."""
    ratio = (math.sqrt(5) - 1) / 2
    for _ in range(_STEPS):
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        rises = function(left) < function(right)
        low, high = np.where(rises, left, low), np.where(rises, high, right)
    return np.asarray((low + high) / 2)
