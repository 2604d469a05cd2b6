"""Zero-shot typing: how well plain classifiers name the class of cells from an embedding that never saw the classes.

The task of DenAdel et al. (2025): five nearest neighbours on a random half of the cells name the others. Here the
halves are seeded, stratified and keep donors whole, each half is tested by the other, so that every cell is tested,
and a linear classifier stands beside the neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sclaws.errors import ScoreError
from sclaws.protocols import Estimate, Floats, Ids, Ints, Probe
from sclaws.scores import _estimate, _f1, _linear


@dataclass(frozen=True)
class Classification:
    """F1 of nearest neighbours and of a linear classifier between an embedding and a label, and the latter's bits.

    ``k`` neighbours in Euclidean distance on the embedding as it is, each with one vote; of classes with as many
    votes the first in the order of their names, as in scikit-learn. The linear classifier is a multinomial logistic
    regression with an L2 penalty (C = 1) on standardised columns, and ``information`` its cross-validated lower bound
    in bits, within [0, H(label)], as of score "probe". ``folds`` = 2 is the published half: each fold is tested by
    what learnt from the others, and the values are over all cells, so a fold's own luck does not show. Folds keep
    groups whole when there are groups, and the classes' shares when there are not. ``details["baseline"]`` of F1 is
    what the most frequent class alone would have.

    The intervals are over test cells (or groups); they leave out the spread from training the classifiers, and are
    empty where not one cell is wrong.
    """

    k: int = 5
    folds: int = 2

    version: ClassVar[int] = 1
    metrics: ClassVar[tuple[str, ...]] = (
        "knn_micro_f1", "knn_macro_f1", "linear_micro_f1", "linear_macro_f1", "information",
    )  # fmt: skip
    needs: ClassVar[str] = "signal"

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ScoreError(f"classification: k = {self.k} must be at least 1; 5 is published")
        if not 2 <= self.folds <= 50:
            raise ScoreError(f"classification: folds = {self.folds} must lie in [2, 50]; 2 is the published half")

    def __call__(self, probe: Probe, *, seed: int) -> dict[str, Estimate]:
        """Return the estimates by metric of the probe's pairs."""
        pairs = probe.pairs
        return self.estimates(pairs.x, pairs.y, groups=pairs.groups, ids=pairs.ids, seed=seed)

    def estimates(
        self, x: Floats, y: NDArray[Any], *, groups: Ints | None = None, ids: Ids | None = None, seed: int = 0
    ) -> dict[str, Estimate]:
        """Return the estimates by metric between x (n, d) and label codes y (n,); ``seed`` deals the folds.

        Classes with fewer cells than folds are left out, and the verdict says so. ``ScoreError``: a continuous signal,
        one class, under 50 cells, no more cells to learn from than k. Above 15 columns neighbours are sought by brute
        force: time grows as n² d, and that of the linear part as n d × classes.
        """
        given, seed = _estimate.sample(x, y, groups, ids), _estimate.seeded(seed)
        if not given.is_label:
            raise ScoreError("the signal is continuous, and classification needs a label: use score 'gaussian'")
        given, left_out = given.classes_of(self.folds, "classification")
        fold, note = _estimate.dealt(given, self.folds, seed)
        fewest = len(fold) - int(np.bincount(fold).max())
        if fewest < self.k:
            raise ScoreError(f"classification: {fewest} cells to learn from are fewer than k = {self.k} neighbours")
        seen = _Seen.of(given, fold, self.k)
        details: dict[str, Any] = {"n_classes": int(given.y.max()) + 1, "folds": int(fold.max()) + 1}
        verdicts = (left_out, note, seen.verdict)
        found = {
            f"{name}_{kind}_f1": _f1_estimate(kind, given, predicted, verdicts, details)
            for name, predicted in (("knn", seen.neighbours), ("linear", seen.linear))
            for kind in ("micro", "macro")
        }
        return found | {"information": _bits(given, seen.chance, verdicts, details)}


@dataclass(frozen=True)
class _Seen:
    """Out-of-fold predictions (n,) of both classifiers, and the probability (n,) the linear one gave to the truth."""

    neighbours: Ints
    linear: Ints
    chance: NDArray[np.float64]
    verdict: str = ""

    @classmethod
    def of(cls, given: _estimate.Sample, fold: Ints, k: int) -> _Seen:
        if not _estimate.varying(given.x).any():
            most = _most_frequent(given.y, fold)
            frequency = np.bincount(given.y)[given.y] / len(given.y)
            return cls(most, most, frequency, "the embedding is constant")
        with _estimate.one_thread():
            chance, linear = _linear.out_of_fold(_estimate.standardised(given.x), given.y, fold)
            return cls(_neighbours(given.x, given.y, fold, k), linear, chance)


def _neighbours(x: Floats, y: Ints, fold: Ints, k: int) -> Ints:
    """Return the class that most of a cell's k neighbours in the other folds have, (n,)."""
    from sklearn.neighbors import KNeighborsClassifier

    predicted = np.empty(len(y), dtype=np.int64)
    for part in range(int(fold.max()) + 1):
        test = fold == part
        predicted[test] = KNeighborsClassifier(k).fit(x[~test], y[~test]).predict(x[test])
    return predicted


def _most_frequent(y: Ints, fold: Ints) -> Ints:
    """Return the most frequent class outside each cell's fold, (n,)."""
    most = [np.bincount(y[fold != part]).argmax() for part in range(int(fold.max()) + 1)]
    return np.asarray(most, dtype=np.int64)[fold]


def _f1_estimate(
    kind: str, given: _estimate.Sample, predicted: Ints, verdicts: tuple[str, ...], details: dict[str, Any]
) -> Estimate:
    f1 = {"micro": _f1.micro_f1, "macro": _f1.macro_f1}[kind]
    value, influence = f1(given.y, predicted)
    guessed = f1(given.y, np.full_like(predicted, np.bincount(given.y).argmax()))[0]
    return _estimate.estimate(
        value, influence, given.units, unit="F1", bounds=(0.0, 1.0), verdicts=verdicts,
        details=details | {"baseline": guessed},
    )  # fmt: skip


def _bits(
    given: _estimate.Sample, chance: Floats, verdicts: tuple[str, ...], details: dict[str, Any]
) -> Estimate:  # fmt: skip
    frequency = np.bincount(given.y)[given.y] / len(given.y)
    influence = np.log2(chance) - np.log2(frequency)
    bits, value = _estimate.entropy(given.y), float(influence.mean())
    return _estimate.estimate(
        value, influence, given.units, bounds=(0.0, bits), verdicts=verdicts,
        details=details | {"entropy": bits, "unclipped": value},
    )  # fmt: skip
