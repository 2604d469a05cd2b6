"""The boxes of a geometric sketch: a grid on principal components of training cells, found once for all levels."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import IO, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray
from scipy import sparse

from sclaws.counts import TARGET, as_csr, log_of
from sclaws.errors import DataError
from sclaws.gram import Gram, leading
from sclaws.protocols import Floats, Ids, Ints, View
from sclaws.sketching import boxes_of_blocks

GENES = 2000  # most variable, whose covariance is decomposed
_CLIP = 10.0  # standard deviations, as published
_READ = 2**22  # bytes of the scratch file that are in memory at once

_found: WeakKeyDictionary[View, dict[tuple[int, float], Ids]] = WeakKeyDictionary()


def codes(train: View, dims: int, share: float) -> Ids:
    """Return the (n,) box of each cell: ``share`` times as many boxes as cells, on ``dims`` principal components.

    Remembered as long as the view exists, so levels of one replicate share it. Components lie in a scratch file while
    they are needed, 200 bytes a cell; memory is that of the codes. Raises ``DataError`` for values that are no counts,
    and where no gene varies.
    """
    mine = _found.setdefault(train, {})
    if (dims, share) not in mine:
        with tempfile.TemporaryFile(prefix="sclaws-sketch-") as scratch:
            width = 1
            for block in component_blocks(train, dims):
                scratch.write(np.ascontiguousarray(block).data)
                width = block.shape[1]
            k = max(int(share * train.n_obs), 1)
            mine[dims, share] = boxes_of_blocks(lambda: _read(scratch, width), k)
    return mine[dims, share]


def _read(scratch: IO[bytes], width: int) -> Iterator[NDArray[np.float32]]:
    scratch.seek(0, os.SEEK_SET)
    size = max(_READ // (4 * width), 1) * 4 * width
    while found := scratch.read(size):
        yield np.frombuffer(found, dtype=np.float32).reshape(-1, width)


def components(train: View, dims: int) -> Floats:
    """Return all of :func:`component_blocks`, (n, dims) float32, in memory."""
    return np.concatenate(list(component_blocks(train, dims)))


def component_blocks(train: View, dims: int) -> Iterator[NDArray[np.float32]]:
    """Yield float32 principal components of the log-normalised variable genes, ``dims`` or as many as there are genes.

    Scaled to 10,000 a cell, log1p, the 2,000 genes of the highest normalised dispersion, each to unit variance with
    values clipped at ±10: what DenAdel et al. 2024 sketch, but for a number of genes in place of their thresholds.
    Three walks over the cells, of which one batch is in memory, beside the genes' covariance (32 MB). Linear in the
    cells, but for a decomposition of 2,000 genes that takes seconds.
    """
    if not train.counts:
        raise DataError("n_cells: a sketch normalises counts, and these values are none; choose the cells otherwise")
    moments = _moments(train)
    genes = _variable(moments, GENES)
    if not len(genes):
        raise DataError(f"n_cells: no gene varies in the {train.n_obs} training cells, so they cannot be sketched")
    mean, deviation = moments.mean_log[genes], np.sqrt(moments.variance_log[genes])
    gram = Gram(len(genes))
    for above in _scaled(train, genes, mean, deviation):
        gram.add(above)
    axes = leading(gram.covariance(), min(dims, len(genes)))
    centre = gram.mean @ axes
    for above in _scaled(train, genes, mean, deviation):
        yield (above @ axes - centre).astype(np.float32)


class _Moments(NamedTuple):
    """Of each gene (p,), over cells: of the normalised values, and of their log1p."""

    mean: NDArray[np.float64]
    variance: NDArray[np.float64]
    mean_log: NDArray[np.float64]
    variance_log: NDArray[np.float64]


def _moments(train: View) -> _Moments:
    sums = np.zeros((4, train.n_vars))
    for block in train.batches():
        counts = as_csr(block.values)
        scale = TARGET / np.maximum(np.asarray(counts.sum(axis=1), dtype=np.float64).ravel(), 1.0)
        _add_moments(counts.data, counts.indices, counts.indptr, scale, sums)
    n = train.n_obs
    first, second, log_first, log_second = sums / n
    bessel = n / max(n - 1, 1)
    return _Moments(first, bessel * (second - first**2), log_first, bessel * (log_second - log_first**2))


def _variable(moments: _Moments, n: int) -> Ints:
    """Return the sorted positions of the ``n`` genes of the highest normalised dispersion, or of all that vary.

    Log of variance over mean, standardised among the genes of similar mean, in 20 bins of log1p mean (Satija et al.
    2015; scanpy's flavour "seurat"). A gene alone in its bin counts as one deviation above the mean.
    """
    varies = np.flatnonzero((moments.variance > 1e-12) & (moments.variance_log > 1e-12))
    if len(varies) <= n:
        return varies
    dispersion = pd.Series(np.log(moments.variance[varies] / moments.mean[varies]))
    among = dispersion.groupby(pd.cut(np.log1p(moments.mean[varies]), 20, labels=False))
    deviation, centre = among.transform("std"), among.transform("mean")
    alone = deviation.isna()
    score = ((dispersion - centre) / deviation).mask(alone, 1.0).to_numpy()
    return np.sort(varies[np.argsort(-score, kind="stable")[:n]])


def _scaled(train: View, genes: Ints, mean: Any, deviation: Any) -> Iterator[sparse.csr_matrix]:
    """Yield (cells, g) float32 values of the batches, clipped deviations from the mean, less that of an absent gene.

    So a gene that is absent stays zero, and what is subtracted from all cells alike changes no component.
    """
    absent = np.maximum(-mean / deviation, -_CLIP)
    for block in train.batches():
        x = log_of(as_csr(block.values), genes)
        z = (x.data - mean[x.indices]) / deviation[x.indices]
        x.data = (np.clip(z, -_CLIP, _CLIP) - absent[x.indices]).astype(np.float32)
        yield x


@njit(cache=True, nogil=True)
def _add_moments(data: Any, indices: Any, indptr: Any, scale: Any, sums: Any) -> None:
    for row in range(len(indptr) - 1):
        for entry in range(indptr[row], indptr[row + 1]):
            gene, value = indices[entry], data[entry] * scale[row]
            log = np.log1p(value)
            sums[0, gene] += value
            sums[1, gene] += value * value
            sums[2, gene] += log
            sums[3, gene] += log * log
