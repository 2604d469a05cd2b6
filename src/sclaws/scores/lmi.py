"""Latent information: two encoders find few dimensions that say the most, and nearest neighbours measure there.

The papers' estimator (Gowri, Sadalski & Klein 2024, NeurIPS, arXiv 2409.02732), built anew: every cell is estimated by
encoders that never saw it, the best weights are kept, dropout is off in validation, all folds train as one batch. It
sees what a low-dimensional latent can hold: on signals of low rank it comes close to neighbours in the true latent
space; it misses what lies beyond ``latent`` dimensions, and what neighbours miss in that many.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sclaws import multiplier
from sclaws.errors import ScoreError
from sclaws.protocols import Estimate, Floats, Ids, Ints, Probe
from sclaws.scores import _coordinates, _estimate, _latents, _nearest, _networks, _reliability

_BIT = math.log(2)


@dataclass(frozen=True)
class LMI:
    """Latent information in bits between an embedding and a continuous or discrete signal.

    ``latent`` dimensions on each side (8 in the papers), ``k`` neighbours, ``folds``: two leave as many cells for the
    neighbours as for the encoders. Not clipped at zero for a continuous signal; a label's value, low and high lie in
    [0, H(label)]. The interval is that of nearest neighbours: it knows nothing of bias, of which the verdict speaks.
    """

    latent: int = 8
    k: int = 3
    folds: int = 2

    version: ClassVar[int] = 1
    metrics: ClassVar[tuple[str, ...]] = ("information",)
    needs: ClassVar[str] = "signal"

    def __post_init__(self) -> None:
        _networks.needed("lmi")
        for name, low, high in (("latent", 1, 32), ("k", 1, 50), ("folds", 2, 20)):
            if not low <= getattr(self, name) <= high:
                raise ScoreError(f"lmi: {name} = {getattr(self, name)} must lie in [{low}, {high}]")

    def __call__(self, probe: Probe, *, seed: int) -> dict[str, Estimate]:
        """Return ``{"information": estimate}`` of the probe's pairs."""
        pairs = probe.pairs
        return {"information": self.estimate(pairs.x, pairs.y, groups=pairs.groups, ids=pairs.ids, seed=seed)}

    def estimate(
        self, x: Floats, y: NDArray[Any], *, groups: Ints | None = None, ids: Ids | None = None, seed: int = 0
    ) -> Estimate:
        """Return the information between x (n, d) and y, (n, k) floats or (n,) label codes, in bits.

        ``seed`` deals the folds and draws weights and batches; the same seed gives the same number. Needs torch.
        ``ScoreError``: under 50 cells, a constant signal, one class. 3 to 10 s of one core up to 5,000 cells, then
        growing as neighbours do (see ``ksg``).
        """
        return self.estimate_many([(x, y)], groups=groups, ids=ids, seed=seed)[0]

    def estimate_many(
        self, pairs: Sequence[tuple[Floats, NDArray[Any]]], *, groups: Ints | None = None, ids: Ids | None = None,
        seed: int = 0,
    ) -> list[Estimate]:  # fmt: skip
        """Return what ``estimate`` returns for each pair (x, y) of the same cells, trained as one batch.

        For the embeddings of a sweep. Pairs of one shape share every step, which is what keeps a GPU busy; on a CPU the
        time is that of one after the other. The numbers are the same to rounding.
        """
        seed = _estimate.seeded(seed)
        given = [_estimate.sample(x, y, groups, ids) for x, y in pairs]
        left_out = [""] * len(given)
        for i, each in enumerate(given):
            if each.is_label and _estimate.varying(each.x).any():
                given[i], left_out[i] = each.classes_of(2 * self.folds * (self.k + 1), "lmi")
        found: dict[int, Estimate] = {
            i: _estimate.constant_embedding(each, **self._settings())
            for i, each in enumerate(given)
            if not _estimate.varying(each.x).any()
        }
        for alike in _same_folds([i for i in range(len(given)) if i not in found], given):
            fold, note = _estimate.dealt(given[alike[0]], self.folds, seed)
            learnt = _latents.latents([(given[i].x, given[i].y) for i in alike], fold, seed, self.latent)
            for i, (a, b) in zip(alike, learnt, strict=True):
                sides = _nearest.centred(a, fold), _nearest.centred(b, fold)
                measure = self._label if given[i].is_label else self._continuous
                found[i] = measure(given[i], *sides, fold, (left_out[i], note), seed)
        return [found[i] for i in range(len(given))]

    def _settings(self) -> dict[str, Any]:
        return {"estimator": "lmi", "latent": self.latent, "k": self.k, "folds": self.folds}

    def _continuous(
        self, given: _estimate.Sample, a: Floats, b: Floats, fold: Ints, notes: tuple[str, ...], seed: int
    ) -> Estimate:
        for f in range(self.folds):
            if not (_estimate.varying(a[fold == f]).any() and _estimate.varying(b[fold == f]).any()):
                raise ScoreError("lmi: all cells of a fold have the same latent: too few of them differ; use 'ksg'")
        left, right = _nearest.spread(a, 1), _nearest.spread(b, 2)

        def terms(part: Ints) -> NDArray[np.float64]:
            return _nearest.kraskov(left, right, part, self.k)

        scan = _reliability.scan(a, b, fold, self.k)
        m = scan.effective
        short, whole = _reliability.missed(scan.left[:, :m], scan.right[:, :m], fold, self.k, seed)
        few, rise = _reliability.too_few_cells(terms, fold, seed)
        nothing, null = _reliability.sees_what_is_not_there(a, b, fold, self.k, seed)
        details = {
            "missed_of_gaussian": [round(short / _BIT, 4), round(whole / _BIT, 4)], "rise_from_half": round(rise, 4),
            "shuffled": round(null, 4), "scan": {str(size): bits for size, bits in scan.bits.items()},
        }  # fmt: skip
        cut = [
            _coordinates.cut(_estimate.standardised(v), what)
            for v, what in ((given.x, "embedding"), (given.y, "signal"))
        ]
        many = _reliability.too_many_dimensions(scan.seen, short, whole)
        verdicts = (*notes, many, few, nothing, *cut, _estimate.copies(given))
        return self._finish(given, terms, fold, seed, details, (-math.inf, _estimate.most_bits(given)), verdicts)

    def _label(
        self, given: _estimate.Sample, a: Floats, _: Floats, fold: Ints, notes: tuple[str, ...], seed: int
    ) -> Estimate:
        bits = _estimate.entropy(given.y)
        left, codes = _nearest.spread(a, 1), given.y

        def terms(part: Ints) -> NDArray[np.float64]:
            return _nearest.ross(left, codes, part, self.k)

        few, rise = _reliability.too_few_cells(terms, fold, seed)
        details = {"entropy": bits, "n_classes": int(codes.max()) + 1, "rise_from_half": round(rise, 4)}
        return self._finish(given, terms, fold, seed, details, (0.0, bits), (*notes, few))

    def _finish(
        self, given: _estimate.Sample, terms: _nearest.Terms, fold: Ints, seed: int, details: dict[str, Any],
        bounds: tuple[float, float], verdicts: tuple[str, ...],
    ) -> Estimate:  # fmt: skip
        found = terms(fold) / _BIT
        influence = np.where(np.isfinite(found), found, np.nanmean(found))
        value = float(influence.mean())
        overlap = _nearest.overlap(terms, len(given.x), self.k, seed, fold)
        stderr = overlap * multiplier.standard_error(influence, given.units.ids)
        details = self._settings() | details | {"unclipped": value, "overlap": round(overlap, 4)}
        return _estimate.estimate(
            value, influence, given.units, stderr=stderr, bounds=bounds, verdicts=verdicts, details=details
        )


def _same_folds(places: list[int], given: list[_estimate.Sample]) -> list[list[int]]:
    """Return the places in sets whose folds are the same: continuous signals, and each label."""
    sets: dict[bytes, list[int]] = {}
    for i in places:
        sets.setdefault(given[i].y.tobytes() if given[i].is_label else b"", []).append(i)
    return list(sets.values())
