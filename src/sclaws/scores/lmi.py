"""Latent information: two encoders find few dimensions that say the most, and nearest neighbours measure there.

The papers' estimator (Gowri, Sadalski & Klein 2024, NeurIPS, arXiv 2409.02732), built anew: every cell is estimated by
encoders that never saw it, the best weights are kept, dropout is off in validation, all folds train as one batch. It
sees what a low-dimensional latent can hold: on signals of low rank it comes close to neighbours in the true latent
space; it misses what lies beyond ``latent`` dimensions, and what neighbours miss in that many.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from sclaws import multiplier
from sclaws.errors import ScoreError
from sclaws.protocols import Estimate, Floats, Ids, Ints, Probe
from sclaws.scores import _coordinates, _estimate, _latents, _nearest, _networks, _reliability

T = TypeVar("T")
_BIT = math.log(2)
_STACKED = 2**26  # numbers in the embeddings and signals of estimates trained at once: half a gigabyte of float64


_Given: TypeAlias = "tuple[Floats, NDArray[Any], Ints | None, Ids | None]"  # x, y, groups, ids


class _Dealt(NamedTuple):
    """Checked cells, the fold of each (n,), and what there is to say of both."""

    given: _estimate.Sample
    fold: Ints
    notes: tuple[str, ...]


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

        Pairs of one shape share every step. The numbers are the same to rounding. Raises what one of them raises.
        """
        seed = _estimate.seeded(seed)
        found = []
        for one in self._all([self._dealt((x, y, groups, ids), seed) for x, y in pairs], seed):
            if isinstance(one, Exception):
                raise one
            found.append(one)
        return found

    @property
    def together(self) -> int:
        """How many estimates a sweep is to hand to ``many``: 16 where torch sees a GPU, else 1, which is not at all.

        Training is over nine tenths of an estimate. On a CPU a stack does the arithmetic of its members, and took 1.0
        to 1.4 times less (``benchmarks/lmi.py stacked``), for which nothing is stored until all 16 are done: not worth
        it. What a GPU waits for is the number of operations: 16 in a stack take a twelfth of them an estimate.
        """
        return _networks.together()

    def many(self, probes: Iterable[Probe], *, seed: int) -> list[dict[str, Estimate] | Exception]:
        """Return what each probe alone gives (to rounding), or the error that it alone raises, in order.

        Those with as many cells and columns, and cells in the same folds, are trained as one batch. Memory of a batch:
        4 n (d + k) bytes each on the device, d and k being 128 at most, and about 25 MB (reckoned) of networks and
        gradients. Before that, 8 n (d + k) bytes of all columns, in pieces of half a gigabyte or a single estimate.
        """
        seed = _estimate.seeded(seed)
        found: list[dict[str, Estimate] | Exception] = []
        for some in _pieces(probes):
            dealt = [one if isinstance(one, Exception) else _attempt(self._dealt, one, seed) for one in some]
            made = self._all(dealt, seed)
            found += [one if isinstance(one, Exception) else {"information": one} for one in made]
        return found

    def _dealt(self, pairs: _Given, seed: int) -> _Dealt | Estimate:
        """Return cells ready to be learnt from, or 0 bits if their embedding is constant."""
        given, left_out = _estimate.sample(*pairs), ""
        if given.is_label and _estimate.varying(given.x).any():
            given, left_out = given.classes_of(2 * self.folds * (self.k + 1), "lmi")
        if not _estimate.varying(given.x).any():
            return _estimate.constant_embedding(given, **self._settings())
        fold, note = _estimate.dealt(given, self.folds, seed)
        return _Dealt(given, fold, (left_out, note))

    def _all(self, made: Sequence[_Dealt | Estimate | Exception], seed: int) -> list[Estimate | Exception]:
        """Return what is made already, and of the rest an estimate or its error; those of the same folds as one."""
        found: dict[int, Estimate | Exception] = {}
        stacks: dict[bytes, dict[int, _Dealt]] = {}
        for i, one in enumerate(made):
            if isinstance(one, _Dealt):
                stacks.setdefault(one.fold.tobytes(), {})[i] = one
            else:
                found[i] = one
        for stack in stacks.values():
            for (i, dealt), learnt in zip(stack.items(), self._learnt([*stack.values()], seed), strict=True):
                found[i] = learnt if isinstance(learnt, Exception) else _attempt(self._measured, dealt, learnt, seed)
        return [found[i] for i in range(len(made))]

    def _learnt(self, stack: list[_Dealt], seed: int) -> list[tuple[Floats, Floats] | Exception]:
        """Return the latents of each; where all together fail, each is tried by itself: memory may do for one."""
        try:
            return [*_latents.latents([(one.given.x, one.given.y) for one in stack], stack[0].fold, seed, self.latent)]
        except Exception as error:
            if len(stack) == 1:
                return [error]
        return [self._learnt([one], seed)[0] for one in stack]  # not above: there the error still holds its memory

    def _measured(self, dealt: _Dealt, learnt: tuple[Floats, Floats], seed: int) -> Estimate:
        given, fold, notes = dealt
        a, b = (_nearest.centred(side, fold) for side in learnt)
        return (self._label if given.is_label else self._continuous)(given, a, b, fold, notes, seed)

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


def _attempt(call: Callable[..., T], *given: Any) -> T | Exception:
    """Return what a call returns, or the error that it raises: of one estimate among many."""
    try:
        return call(*given)
    except Exception as error:
        return error


def _pieces(probes: Iterable[Probe]) -> Iterator[list[_Given | Exception]]:
    """Yield the pairs of probes, as many at a time as may be in memory together or one; or the error of a probe."""
    piece: list[_Given | Exception] = []
    filled = 0
    for probe in probes:
        one = _attempt(_given, probe)
        numbers = 0 if isinstance(one, Exception) else one[0].size + one[1].size
        if piece and filled + numbers > _STACKED:
            yield piece
            piece, filled = [], 0
        piece.append(one)
        filled += numbers
    if piece:
        yield piece


def _given(probe: Probe) -> _Given:
    pairs = probe.pairs
    return pairs.x, pairs.y, pairs.groups, pairs.ids
