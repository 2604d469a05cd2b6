"""Orders of cells whose every prefix is balanced: over the labels of a column, or between two kinds of cells."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pandas as pd

from sclaws.errors import DataError, did_you_mean
from sclaws.hashing import name_ids, ranked
from sclaws.protocols import Ids, Ints, View
from sclaws.sketching import in_rounds


def column(view: View, name: str, field: str) -> pd.Series:
    """Return a column of ``obs``; raise ``DataError`` naming the ``field`` that asked for one that is not there."""
    if name not in view.obs:
        raise DataError(f"n_cells: {field} = {name!r} is not a column of obs; {did_you_mean(name, view.obs)}")
    return view.obs[name]


def labels(view: View, by: str) -> pd.Series:
    """Return the text of a column in which no label is missing; raise ``DataError`` otherwise."""
    found = column(view, by, "by")
    if found.isna().any():
        raise DataError(f"n_cells: obs[{by!r}] is missing for {int(found.isna().sum())} cells; fill or drop them")
    return found.astype(str)


def reweighted(view: View, by: str, seed: int) -> Ints:
    """Return the order that takes equally from all labels of ``by``, and all that there is from the rare ones."""
    names, codes = np.unique(labels(view, by).to_numpy(), return_inverse=True)
    return in_rounds(name_ids(names)[codes], view.cell_ids, seed)


def spiked(view: View, by: str, spike: str, share: float, n: int, seed: int) -> Ints:
    """Return the first ``n`` of an order of which cells labelled ``spike`` are ``share`` of every prefix, to half one.

    Raises ``DataError`` when no cell has that label, or there are too few cells of a kind.
    """
    found = labels(view, by)
    there = (found == spike).to_numpy()
    if not there.any():
        raise DataError(f"n_cells: spike = {spike!r} is no value of obs[{by!r}]; {did_you_mean(spike, found.unique())}")
    wanted = _rounded(share, n)
    for what, needed, mask in (("", wanted[-1], there), ("not ", n - wanted[-1], ~there)):
        if needed > mask.sum():
            raise DataError(
                f"n_cells = {n} with share = {share:g} needs {needed} training cells whose {by!r} is {what}{spike!r}, "
                f"and there are {mask.sum()}; lower the level or change the share"
            )
    out = np.empty(n, dtype=np.int64)
    turn = np.diff(wanted, prepend=0) == 1
    out[turn] = _hashed(there, view.cell_ids, seed)[: wanted[-1]]
    out[~turn] = _hashed(~there, view.cell_ids, seed)[: n - wanted[-1]]
    return out


def _rounded(share: float, n: int) -> Ints:
    """Return share · i for i = 1 to n, rounded half up, in whole numbers: from one to the next at most one is added."""
    exact = Fraction(str(share)).limit_denominator(10**6)
    i = np.arange(1, n + 1, dtype=np.int64)
    return (2 * i * exact.numerator + exact.denominator) // (2 * exact.denominator)


def _hashed(mask: np.typing.NDArray[np.bool_], ids: Ids, seed: int) -> Ints:
    positions = np.flatnonzero(mask)
    return positions[ranked(ids[positions], seed)]
