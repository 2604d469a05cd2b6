"""F1 of foretold classes, and each cell's influence on it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sclaws.protocols import Ints


def micro_f1(truth: Ints, predicted: Ints) -> tuple[float, NDArray[np.float64]]:
    """Return micro-F1 of one class a cell, which is the accuracy, and (n,) influences: whether each cell is right."""
    right = np.asarray(truth == predicted, dtype=np.float64)
    return float(right.mean()), right


def macro_f1(truth: Ints, predicted: Ints) -> tuple[float, NDArray[np.float64]]:
    """Return the mean F1 of the classes that are true or foretold of any cell, and (n,) influences, of that mean.

    F1 of a class is 2 TP / (T + P): of the cells that have it (T) and those of which it is foretold (P), TP are both.
    With a weight w for each cell, dF1/dw = (2 [both] - F1 ([true] + [foretold])) / (T + P), so a cell's influence is n
    times the mean of that over classes, here with F1 itself added, so that the influences have it as their mean.
    """
    classes = np.unique(np.concatenate([truth, predicted]))[:, None]
    true, foretold = truth == classes, predicted == classes
    both, size = (true & foretold).sum(axis=1), true.sum(axis=1) + foretold.sum(axis=1)
    f1 = 2 * both / size
    change = (2.0 * (true & foretold) - f1[:, None] * (1.0 * true + foretold)) / size[:, None]
    value = float(f1.mean())
    return value, np.asarray(value + len(truth) * change.mean(axis=0))
