"""Batch integration as scIB measures it: do cells of one type lie together, and do batches mix among them?

Luecken et al. 2022, Nature Methods 19:41. AvgBIO is what papers on pre-trained models report.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sclaws import multiplier
from sclaws.errors import ScoreError, did_you_mean
from sclaws.hashing import ranked
from sclaws.protocols import Estimate, Ints, Probe
from sclaws.scores import _estimate, _knn_graph
from sclaws.scores._clustered import Clustering, Measured, per_class
from sclaws.scores._mixing import Mixing
from sclaws.scores._silhouette import Silhouette

_LISI_NEIGHBOURS = 90  # the cell itself among them; a perplexity of thirty, as published
_LARGEST = 1e150  # beyond this squared distances are infinite
_BIO, _BATCH = ("nmi", "ari", "asw_label"), ("asw_batch", "ilisi", "graph_connectivity")
_BOUNDS = {"ari": (-0.5, 1.0), "avg_bio": (-1 / 6, 1.0)}  # of the others (0, 1)


@dataclass(frozen=True)
class Integration:
    """Eight scIB metrics of a signal that is a label (the cell type) and of batches, ``obs[batch]``; 1 is best in each.

    - ``nmi``, ``ari``: agreement of the types with Leiden clusters of the graph of ``k`` nearest neighbours (each cell
      is the first of its own, as in scanpy) at that of the ``resolutions`` which has the best NMI.
    - ``asw_label``: mean silhouette s of the types, (s + 1) / 2. ``avg_bio``: mean of these three, as published.
    - ``asw_batch``: 1 - |s| of the batches among the cells of a type, mean over cells, then over types. Types in one
      batch only, or with as many batches as cells, are left out, as in scIB, and the verdict says so.
    - ``ilisi``: median over cells of the local inverse Simpson index of batches among 90 neighbours at perplexity 30;
      0 is one batch around each cell, 1 all in equal parts.
    - ``graph_connectivity``: share of a type's cells in its largest connected part of that graph, mean over types.
    - ``batch_removal``: mean of these three: scIB's batch correction without kBET, whose time and memory grow too fast,
      and without PC regression, which needs the data before integration.

    Of more cells than ``n_cells`` a uniform sample is scored, by a hash of their ids; it is not stratified, so that
    types weigh as they do in the data. Time grows as cells² x dimensions (15 s for 10,000 x 50 on one core),
    memory as cells (under 200 MB; n x n distances are never held).

    Intervals hold what each cell does, directly and as a neighbour of others, to first order, and, of what stands on
    the graph, what halves of the cells differ by beyond that. Measured coverage is in docs/scores.md: 87 to 99 %, but
    83 % of ``ari`` where clusters hardly find the types, 82 % of ``graph_connectivity`` near 1.
    """

    batch: str
    n_cells: int = 10_000
    k: int = 15
    resolutions: tuple[float, ...] = tuple(tenths / 10 for tenths in range(1, 21))
    version: ClassVar[int] = 1
    metrics: ClassVar[tuple[str, ...]] = (*_BIO, "avg_bio", *_BATCH, "batch_removal")
    needs: ClassVar[str] = "signal"

    def __post_init__(self) -> None:
        if self.n_cells < _estimate.FEWEST:
            raise ScoreError(f"integration: n_cells = {self.n_cells} must be at least {_estimate.FEWEST}")
        if not 3 <= self.k <= _estimate.FEWEST:
            raise ScoreError(f"integration: k = {self.k} must lie in [3, {_estimate.FEWEST}]; 15 is usual")
        if not self.resolutions or not all(0 < r < math.inf for r in self.resolutions):
            raise ScoreError(f"integration: resolutions = {list(self.resolutions)} must be some numbers above zero")

    def check(self, adata: Any) -> None:
        """Raise ``ScoreError`` when the column of batches is absent, missing for some cells, or the same for all."""
        _batches(adata.obs, self.batch)

    def __call__(self, probe: Probe, *, seed: int) -> dict[str, Estimate]:
        """Return an estimate for each metric; ``seed`` is that of Leiden.

        ``ScoreError``: a continuous signal, one class, one batch, no class in two batches, under 50 cells, values that
        are not finite. Of an embedding that is the same for all cells each is as near as any other: nmi, ari 0,
        asw_label .5, asw_batch and graph_connectivity 1, ilisi that of all cells; the verdict says so.
        """
        cells = _chosen(probe, self.batch, self.n_cells)
        types = _comparable(cells)
        about: Mapping[str, float] = {}
        with _estimate.one_thread():
            if _estimate.varying(cells.given.x).any():
                found, about = self._measured(cells, types, _estimate.seeded(seed))
                verdict = _estimate.copies(cells.given)
            else:
                found, verdict = _at_one_place(cells.batch), "the embedding is constant"
        for name, parts in (("avg_bio", _BIO), ("batch_removal", _BATCH)):
            found[name] = Measured.mean([found[part] for part in parts])
        return {name: _estimated(name, found[name], cells, len(types), verdict, about) for name in self.metrics}

    def _measured(self, cells: _Cells, types: Ints, seed: int) -> tuple[dict[str, Measured], Mapping[str, float]]:
        given = cells.given
        near = _knn_graph.neighbours(given.x, min(len(given.x), max(_LISI_NEIGHBOURS, self.k)))
        clustering = Clustering(self.k, self.resolutions, seed)
        found, about = clustering.measured(given.x, near, given.y, given.units.ids)
        lisi = near[0][:, :_LISI_NEIGHBOURS], near[1][:, :_LISI_NEIGHBOURS]
        more = {
            "asw_label": _asw_label(given.x, given.y),
            "asw_batch": _asw_batch(cells, types),
            "ilisi": _ilisi(Mixing.of(*lisi, cells.batch, lisi[0].shape[1] // 3)),
        }
        return found | more, about


# ── what is scored ───────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class _Cells:
    """What is scored, in hashed order: embedding and types, ``batch`` (n,) codes 0..B-1, how many were left out."""

    given: _estimate.Sample
    batch: Ints
    left_out: int


def _chosen(probe: Probe, column: str, most: int) -> _Cells:
    pairs = probe.pairs
    given = _estimate.sample(pairs.x, pairs.y, pairs.groups, pairs.ids)
    if not given.is_label:
        raise ScoreError("the signal is continuous, and 'integration' needs a label, such as the cell type")
    if np.abs(given.x).max(initial=0.0) > _LARGEST:
        raise ScoreError(f"the embedding has values beyond {_LARGEST:g}: a diverged model")
    order = ranked(_estimate.distinct(np.asarray(pairs.ids, dtype=np.uint64)), 0)  # that of the sample
    batch = _batches(probe.view.obs.iloc[pairs.rows], column)[order]
    if len(order) <= most:
        return _Cells(given, batch, 0)
    some = replace(
        given,
        x=given.x[:most],
        y=_recoded(given.y[:most], "class"),
        ids=given.ids[:most],
        groups=None if given.groups is None else given.groups[:most],
    )
    return _Cells(some, _recoded(batch[:most], "batch"), len(order) - most)


def _recoded(codes: Ints, what: str) -> Ints:
    found = np.unique(codes, return_inverse=True)[1].reshape(-1)
    if found.max() == 0:
        raise ScoreError(f"integration: there is only one {what} among the {len(codes)} chosen cells; raise n_cells")
    return np.asarray(found)


def _batches(obs: pd.DataFrame, name: str) -> Ints:
    """Return (n,) codes of the batches; "nan" and the empty text are missing, as they are for signals."""
    if name not in obs:
        raise ScoreError(f"integration: obs has no column {name!r}; {did_you_mean(name, obs.columns)}")
    text = obs[name].astype(str).to_numpy(dtype=np.str_)
    missing = obs[name].isna().to_numpy() | np.isin(text, ("nan", "NaN", ""))
    if missing.any():
        raise ScoreError(
            f"integration: obs[{name!r}] is missing for {missing.sum()} cells, first {obs.index[missing][0]!r}: "
            f"leave those cells out"
        )
    names, codes = np.unique(text, return_inverse=True)
    if len(names) < 2:
        raise ScoreError(
            f"integration: obs[{name!r}] is {', '.join(map(repr, names.tolist()))} for every cell: there is no batch "
            f"to remove; choose another column, or a split with two batches among its test cells"
        )
    return np.asarray(codes.reshape(-1))


def _comparable(cells: _Cells) -> Ints:
    """Return the types in which batches can be compared; ``ScoreError`` when there are none."""
    size = np.bincount(cells.given.y)
    batches = np.bincount(np.unique(np.column_stack([cells.given.y, cells.batch]), axis=0)[:, 0])
    kept = np.flatnonzero((batches > 1) & (batches < size))
    if not len(kept):
        raise ScoreError(
            "integration: every class of the label is in one batch only, so removing batches cannot be told from "
            "mixing classes: choose another batch column or label"
        )
    return kept


# ── metrics that stand on no graph of clusters ───────────────────────────────────────────────────────────────────────
def _asw_label(x: NDArray[np.float64], label: Ints) -> Measured:
    found = Silhouette.of(x, label)
    mean = float(found.widths.mean())
    return Measured.smooth((mean + 1) / 2, (found.widths - mean + found.influence(np.ones(len(x)))) / 2)


def _asw_batch(cells: _Cells, types: Ints) -> Measured:
    label = cells.given.y
    mixed, moved = np.zeros(len(label)), np.zeros(len(label))
    for kind in types:
        rows = np.flatnonzero(label == kind)
        batch = np.unique(cells.batch[rows], return_inverse=True)[1].reshape(-1)
        found = Silhouette.of(cells.given.x[rows], batch)
        mixed[rows] = 1 - np.abs(found.widths)
        moved[rows] = found.influence(-np.sign(found.widths)) * len(label) / (len(rows) * len(types))
    kept = np.flatnonzero(np.isin(label, types))
    value, influence = per_class(mixed[kept], np.searchsorted(types, label[kept]))
    moved[kept] += influence * len(label) / len(kept)
    return Measured.smooth(value, moved)


def _ilisi(found: Mixing) -> Measured:
    """Return the scaled median; its influence takes the density there from the middle ranks (Hall & Sheather 1988)."""
    lisi, most = found.lisi, int(found.codes.max())
    n, middle = len(lisi), float(np.median(lisi))
    half = 0.648 * n**-0.2
    low, high = np.quantile(lisi, [0.5 - half, 0.5 + half])
    about = (lisi >= low) & (lisi <= high)
    own = np.sign(lisi - middle) / 2 * (high - low) / (2 * half)
    return Measured.smooth((middle - 1) / most, (own + n * found.influence(about / about.sum())) / most)


def _at_one_place(batch: Ints) -> dict[str, Measured]:
    """Return what cells at one place score: each is as near to one as to any other."""
    none, share = np.zeros(len(batch)), np.bincount(batch) / len(batch)
    lisi, most = 1 / float(share @ share), len(share) - 1
    values = {"nmi": 0.0, "ari": 0.0, "asw_label": 0.5, "asw_batch": 1.0, "graph_connectivity": 1.0}
    found = {name: Measured.smooth(value, none) for name, value in values.items()}
    return found | {"ilisi": Measured.smooth((lisi - 1) / most, -2 * lisi**2 * (share[batch] - 1 / lisi) / most)}


def _estimated(
    name: str, found: Measured, cells: _Cells, comparable: int, verdict: str, about: Mapping[str, float]
) -> Estimate:
    units, n_types = cells.given.units, int(cells.given.y.max()) + 1
    details: dict[str, Any] = {"n_types": n_types, "n_batches": int(cells.batch.max()) + 1}
    details |= {"cells_left_out": cells.left_out}
    if name in ("nmi", "ari", "avg_bio"):
        details |= about
    said = ""
    if name in ("asw_batch", "batch_removal") and comparable < n_types:
        said = f"{n_types - comparable} of {n_types} classes left out of asw_batch: in one batch only"
    own = multiplier.standard_error(found.influence, units.ids)
    alike = own < 1e-12  # a perfect agreement, say: all that is left of the influence is rounding
    made = _estimate.estimate(
        found.value,
        np.zeros_like(found.influence) if alike else found.influence,
        units,
        unit="score",
        stderr=math.hypot(own, float(np.sqrt(np.mean(found.missed**2)))),
        bounds=_BOUNDS.get(name, (0.0, 1.0)),
        verdicts=(verdict, said),
        details=details,
    )
    return replace(made, draws=()) if alike and made.stderr > 0 else made  # which cells would move it is not known
