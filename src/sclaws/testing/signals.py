"""What a signal must do: say of every cell the same, in whatever order and company it is asked."""

from __future__ import annotations

from typing import Any

import numpy as np

from sclaws.protocols import Pairs
from sclaws.testing import cells
from sclaws.view import View


def check(signal: Any) -> None:
    """Raise ``AssertionError`` unless this is a signal of the cells of :mod:`sclaws.testing.cells`."""
    view = cells.counts()
    embedding = np.random.default_rng(0).normal(size=(view.n_obs, 4))
    if hasattr(signal, "check"):
        signal.check(view.source.adata)
    pairs = signal.pairs(view, embedding, seed=0)
    _complete(pairs, view)
    assert np.array_equal(pairs.x, embedding[pairs.rows]), "x is not the embedding of the cells in rows"
    if by := getattr(signal, "by", None):
        assert by in view.obs, f"by = {by!r} is no column of obs"
        assert pairs.groups is not None, f"by = {by!r}, and pairs has no groups"
    else:
        assert pairs.groups is None, "there are groups, and no `by` that keeps a split from cutting them"
    order = np.random.default_rng(1).permutation(view.n_obs)
    moved = signal.pairs(view.take(order), embedding[order], seed=0)
    same = _by_cell(pairs, np.arange(view.n_obs)) == _by_cell(moved, order)
    assert same, "what the signal says of a cell depends on the order of the cells"


def _complete(pairs: Pairs, view: View) -> None:
    n = len(pairs.rows)
    assert n > 0, "no pairs"
    lengths = {len(part) for part in (pairs.x, pairs.y, pairs.ids, pairs.groups) if part is not None}
    assert lengths == {n}, "x, y, ids, groups and rows differ in length"
    assert 0 <= np.min(pairs.rows) <= np.max(pairs.rows) < view.n_obs, "rows point outside the view"
    y = np.asarray(pairs.y)
    assert y.dtype.kind in "iuf", "y must be integer codes or floats"
    assert np.isfinite(y.astype(float)).all(), "y is not finite"
    assert (y != y[0]).any(), "the signal is the same for every cell"
    assert np.asarray(pairs.ids).dtype == np.uint64, f"ids are {np.asarray(pairs.ids).dtype}; uint64 is needed"


def _by_cell(pairs: Pairs, names: Any) -> dict[int, tuple[Any, ...]]:
    """Return {position of the cell at first: its signal, unit and group}."""
    groups = np.zeros(len(pairs.rows)) if pairs.groups is None else pairs.groups
    y = np.asarray(pairs.y).reshape(len(pairs.rows), -1)
    return {
        int(names[row]): (tuple(of), int(unit), int(group))
        for row, of, unit, group in zip(pairs.rows, y, pairs.ids, groups, strict=True)
    }
