"""What an axis must do: reach its levels, nest them, look at no cell but the one at hand, refuse what cannot be."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sclaws.errors import DataError
from sclaws.testing import cells
from sclaws.view import View

_LOW, _HIGH = 20.0, 40.0


def check(axis: Any) -> None:
    """Raise ``AssertionError`` unless this is an axis with levels 20 and 40 on counts, values, images or sequences."""
    assert axis.on in ("rows", "values", "features"), f"on = {axis.on!r}"
    view = _accepted(axis)
    train, other = view.take(np.arange(160)), view.take(np.arange(160, 240))
    recipe = axis.prepare(train, _LOW, seed=3)
    some, more = recipe(train), axis.prepare(train, _HIGH, seed=3)(train)
    again = axis.prepare(train, _LOW, seed=3)(train)
    assert np.array_equal(cells.values(some), cells.values(again)), "a recipe made twice differs"
    found = axis.measure(some)
    assert all(math.isfinite(value) for value in found.values()), f"measure gave {found}"
    reached = any(abs(value / _LOW - 1) <= 0.1 for value in found.values())
    assert reached, f"level {_LOW:g} was asked for, and measure says {found}"
    {"rows": _rows, "values": _values, "features": _features}[axis.on](recipe, train, other, some, more)
    for impossible in (0.0, -1.0, 1e12) if axis.measure(train) else (0.0, -1.0):
        _refused(axis, train, impossible)


def _accepted(axis: Any) -> View:
    """Return counts, or the first of the other kinds of values that the axis is for."""
    refusals = []
    for view in (cells.counts(), cells.measured(), cells.images(), cells.sequences()):
        try:
            axis.prepare(view, _LOW, seed=3)
            return view
        except DataError as error:
            refusals.append(str(error))
    raise AssertionError(
        f"level {_LOW:g} was refused, on counts, other values, images and sequences: {'; '.join(refusals)}"
    )


def _rows(recipe: Any, train: View, other: View, some: View, more: View) -> None:
    del recipe, other
    assert set(some.cell_ids) <= set(more.cell_ids), "rows of a lower level are not among those of a higher one"
    assert set(more.cell_ids) <= set(train.cell_ids), "rows are not all among the training cells"


def _features(recipe: Any, train: View, other: View, some: View, more: View) -> None:
    del train
    assert set(some.feature_ids) <= set(more.feature_ids), "features of a lower level are not among a higher one's"
    there = recipe(other).feature_ids
    assert np.array_equal(there, some.feature_ids), "features were not chosen once: other cells get other ones"


def _values(recipe: Any, train: View, other: View, some: View, more: View) -> None:
    del other
    rng = np.random.default_rng(0)
    rows, features = rng.permutation(train.n_obs)[:100], rng.permutation(train.n_vars)[:20]
    whole = cells.values(some)
    moved = cells.values(recipe(train.take(rows)))
    assert np.array_equal(moved, whole[rows]), "corruption of a cell depends on the other cells, or on their order"
    fewer = _of_some(some, features)
    assert fewer is not None or "channel" in train.var, "a feature is not corrupted without the others"
    same = fewer is None or np.array_equal(fewer, whole[:, features])
    assert same, "corruption of a feature depends on the other features"
    pieces = [cells.values(some.take(block)) for block in np.array_split(np.arange(train.n_obs), 7)]
    assert np.array_equal(np.concatenate(pieces), whole), "corruption depends on how many cells are read at once"
    if train.counts:
        nested = (whole <= cells.values(more)).all()
        assert nested, "levels are not nested: a lower one keeps molecules that a higher one does not"
    elif np.issubdtype(whole.dtype, np.integer):
        changed = cells.values(more) != cells.values(train)
        nested = np.array_equal(whole[changed], cells.values(more)[changed])
        assert nested, "levels are not nested: what a higher one changes, a lower one does not change in the same way"


def _of_some(view: View, features: Any) -> Any:
    """Return the values of some features, or None where that is refused: of images a part is not enough for all."""
    try:
        return cells.values(view.choose(features))
    except DataError:
        return None


def _refused(axis: Any, train: View, level: float) -> None:
    try:
        axis.prepare(train, level, seed=3)
    except DataError:
        return
    raise AssertionError(f"level {level:g} is impossible, and was not refused with a DataError")
