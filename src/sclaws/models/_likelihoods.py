"""What a masked value is predicted to be: three likelihoods, and the gene-mean baseline under each of them.

A model's outputs are corrections to the baseline: where all are zero, the prediction *is* the gene's mean (and its
variance, or dispersion). So loss and baseline are one formula, and the gain between them is of one likelihood.

``mse``: log(1 + 10,000·count/total) is normal with one variance for all genes: training minimises the squared error,
and bits are of the density whose variance is the error on validation cells (the model's and the baseline's own).
``gaussian``: the same value, normal with a mean and a variance predicted for every masked gene.
``nb``: the count is negative binomial, mean total·share, with a share and a dispersion predicted for every masked gene.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sclaws import bits
from sclaws.counts import log_normalised
from sclaws.models import _streams
from sclaws.models._normalise import placed
from sclaws.models._streams import Counts

Likelihood = Literal["nb", "gaussian", "mse"]
OUTPUTS: Mapping[str, int] = {"nb": 2, "gaussian": 2, "mse": 1}
MEASURE: Mapping[str, str] = {
    "nb": "bits of a count per masked gene, given the cell's total over {genes}",
    "gaussian": "bits of the density of log(1 + 10,000 count/total over {genes}) a masked gene, "
    "mean and variance predicted",
    "mse": "bits of the density of log(1 + 10,000 count/total over {genes}) a masked gene, one variance for all genes",
}
FLOOR = 0.01  # of a variance: without one the density of a gene that is always zero has no bound
_WIDEST = 15.0  # of a logarithm: no correction is larger than a factor of three million

Constants = Mapping[str, Any]


def constants(likelihood: Likelihood, counts: Counts, library: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return what the baseline knows, (genes,) each, from (n, genes) training counts and (n,) totals."""
    if likelihood == "nb":
        means = bits.gene_means_of_blocks(lambda: _streams.blocks(counts), counts.shape[1], library)
        return {"share": means.share, "dispersion": means.dispersion}
    sums, squares = np.zeros(counts.shape[1]), np.zeros(counts.shape[1])
    for at, block in placed(_streams.blocks(counts)):
        values = log_normalised(block, library[at])
        sums += np.asarray(values.sum(axis=0)).ravel()
        squares += np.asarray(values.multiply(values).sum(axis=0)).ravel()
    mean = sums / counts.shape[0]
    return {"mean": mean, "variance": np.maximum(squares / counts.shape[0] - mean**2, 0.0)}


def nats(likelihood: Likelihood, out: Any, count: Any, value: Any, library: Any, known: Constants) -> Any:
    """Return -log of the probability (density) of each masked entry, float64; for ``mse`` the squared error.

    ``out`` (..., outputs); ``count``, ``value``, ``library`` and the constants of its gene all broadcast to (...).
    """
    out = out.double()
    if likelihood == "mse":
        return (value - known["mean"] - out[..., 0]).square()
    if likelihood == "gaussian":
        variance = FLOOR + known["variance"] * out[..., 1].clamp(-_WIDEST, _WIDEST).exp()
        return 0.5 * ((2 * math.pi * variance).log() + (value - known["mean"] - out[..., 0]).square() / variance)
    return _negative_binomial(out, count.double(), library.double(), known)


def _negative_binomial(out: Any, x: Any, library: Any, known: Constants) -> Any:
    factor = out.clamp(-_WIDEST, _WIDEST).exp()
    mu = (library * known["share"] * factor[..., 0]).clamp(min=1e-12)
    r = 1 / (known["dispersion"] * factor[..., 1])
    odds = x * (mu.log() - (r + mu).log()) - r * (mu / r).log1p()
    return -((x + r).lgamma() - r.lgamma() - (x + 1).lgamma() + odds)


def as_bits(likelihood: Likelihood, found: Any, variance: float) -> Any:
    """Return bits of what ``nats`` returned; ``variance`` of the error, for ``mse`` alone."""
    if likelihood == "mse":
        found = 0.5 * (math.log(2 * math.pi * variance) + found / variance)
    return found / math.log(2)
