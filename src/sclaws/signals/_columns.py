"""What signals share: finding a column, coding names, and dropping the cells for which the signal is not known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sclaws.errors import DataError, did_you_mean
from sclaws.protocols import Floats, Ints, Pairs, View

_CELLS_PER_CLASS = 10  # a label with fewer cells a class, on average, is rather a quantity or a name of each cell
_WHOLE_NUMBERS = 50  # more distinct whole numbers than this may be minutes, and the user has to say


def column(obs: pd.DataFrame, name: str) -> pd.Series[Any]:
    """Return a column of ``obs``; raise ``DataError`` with the nearest name when there is none."""
    if name not in obs:
        raise DataError(f"obs has no column {name!r}; {did_you_mean(name, obs.columns)}")
    return obs[name]


def codes(values: pd.Series[Any]) -> tuple[Ints, list[str]]:
    """Return (n,) codes from 0 in the order of the sorted names, -1 where missing, and the names themselves.

    The texts "nan", "NaN" and "" are missing too: they are what a missing value becomes in many a file.
    """
    text = values.astype(str).to_numpy(dtype=np.str_)
    known = values.notna().to_numpy() & ~np.isin(text, ("nan", "NaN", ""))
    names, found = np.unique(text[known], return_inverse=True)
    out = np.full(len(values), -1, dtype=np.int64)
    out[known] = found
    return out, names.tolist()


def pairs(view: View, embedding: Floats, y: NDArray[Any], known: NDArray[np.bool_], group: str | None) -> Pairs:
    """Return embedding and signal of the cells whose signal (and group, if there is one) is known."""
    if group is not None:
        groups, _ = codes(column(view.obs, group))
        known = known & (groups >= 0)
    rows = np.flatnonzero(known)
    if not len(rows):
        raise DataError(f"the signal is missing for all {view.n_obs} cells of the view")
    return Pairs(
        embedding[rows], y[rows], rows, view.cell_ids[rows], None if group is None else groups[rows]
    )  # fmt: skip


def check_group(obs: pd.DataFrame, group: str | None) -> None:
    """Raise ``DataError`` when the column of groups is absent, empty, or the same for all cells."""
    if group is not None and len(names := codes(column(obs, group))[1]) < 2:
        raise DataError(f"obs[{group!r}] has {len(names)} groups; at least 2 are needed to keep groups apart")


def check_label(what: str, found: Ints, names: list[str], quantity: str) -> None:
    """Raise ``DataError`` for a label (n,), -1 where missing, of one class or of hardly any cells a class.

    ``quantity`` is what to do if it is none: 'use kind = "continuous"'.
    """
    classes, known = np.unique(found[found >= 0]), int((found >= 0).sum())
    if len(classes) == 0:
        raise DataError(f"{what} is missing for all {len(found)} cells")
    if len(classes) == 1:
        raise DataError(f"{what} is {names[classes[0]]!r} for every cell: a label needs at least two classes")
    if known < _CELLS_PER_CLASS * len(classes):
        raise DataError(
            f"{what} has {len(classes)} classes for {known} cells, too few cells a class; "
            f"if it is a quantity {quantity}, otherwise merge its classes"
        )


def check_decided(what: str, values: pd.Series[Any], remedy: str) -> None:
    """Raise ``DataError`` for so many whole numbers that they may be classes or a quantity."""
    if pd.api.types.is_integer_dtype(values.dtype) and (n := values.nunique()) > _WHOLE_NUMBERS:
        raise DataError(f"{what} has {n} whole numbers, which may be classes or a quantity; {remedy}")
