"""F1 of predicted classes, and what each cell contributes to it, for intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sclaws.errors import ScoreError
from sclaws.protocols import Ints


def micro_f1(truth: Ints, predicted: Ints) -> tuple[float, NDArray[np.float64]]:
    """Return micro-F1 of codes (n,), and each cell's influence (n,) on it, of mean zero.

    Where every cell has one class and is given one, each mistake is a false positive and a false negative, so micro-F1
    is the share of cells that are right. ``ScoreError``: no cells, or codes that are not (n,) whole numbers from 0.
    """
    right = np.equal(*_checked(truth, predicted)).astype(np.float64)
    return float(right.mean()), right - right.mean()


def macro_f1(truth: Ints, predicted: Ints) -> tuple[float, NDArray[np.float64]]:
    """Return macro-F1 of codes (n,), and each cell's influence (n,) on it, of mean zero.

    F1 of a class is 2 × right / (cells that have it + cells that are given it), and macro-F1 its plain mean over the
    classes that occur on either side: one that is never predicted, or predicted and never true, counts as 0, and codes
    that no cell has on either side do not count (as in scikit-learn). The influence is the derivative to a cell's
    weight. ``ScoreError`` as of ``micro_f1``.
    """
    truth, predicted = _checked(truth, predicted)
    n, classes = len(truth), int(max(truth.max(), predicted.max())) + 1
    met = np.bincount(truth, minlength=classes) + np.bincount(predicted, minlength=classes)
    right = np.bincount(truth[truth == predicted], minlength=classes)
    occurs = met > 0
    f1 = 2 * right[occurs] / met[occurs]
    of_class = np.zeros(classes)
    of_class[occurs] = f1
    share = np.zeros(classes)
    share[occurs] = n / met[occurs] / occurs.sum()  # d macro-F1 / d(2 × right - F1 × met) of a class
    given = 2.0 * share[truth] * (truth == predicted)
    return float(f1.mean()), given - (of_class * share)[truth] - (of_class * share)[predicted]


def _checked(truth: Ints, predicted: Ints) -> tuple[Ints, Ints]:
    truth, predicted = np.asarray(truth), np.asarray(predicted)
    if truth.ndim != 1 or truth.shape != predicted.shape or not len(truth):
        raise ScoreError(f"F1 compares two equally long lists of codes; got shapes {truth.shape} and {predicted.shape}")
    for codes in (truth, predicted):
        if codes.dtype.kind not in "iu" or codes.min() < 0:
            raise ScoreError("F1 compares codes of classes: whole numbers from 0")
    return truth, predicted
