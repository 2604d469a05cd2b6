"""Signals that break one promise each, and are told so."""

import dataclasses

import numpy as np
import pytest

from sclaws import testing
from sclaws.signals.obsm import Obsm


class Wrapped:
    """A good signal, whose pairs are changed by what follows."""

    def pairs(self, view, embedding, *, seed):
        found = Obsm("protein").pairs(view, embedding, seed=seed)
        return dataclasses.replace(found, **self.changed(found, view))

    def changed(self, found, view):
        return {}


class Positional(Wrapped):
    def changed(self, found, view):
        return {"y": found.rows % 3}


class Shuffled(Wrapped):
    def changed(self, found, view):
        return {"x": found.x[::-1]}


class Short(Wrapped):
    def changed(self, found, view):
        return {"ids": found.ids[1:]}


class Nowhere(Wrapped):
    def changed(self, found, view):
        return {"rows": found.rows + 1}


class Nobody(Wrapped):
    def changed(self, found, view):
        return {name: getattr(found, name)[:0] for name in ("x", "y", "rows", "ids")}


class Words(Wrapped):
    def changed(self, found, view):
        return {"y": view.obs["label"].astype(str).to_numpy()}


class Gaps(Wrapped):
    def changed(self, found, view):
        return {"y": np.where(found.rows[:, None] == 5, np.nan, found.y)}


class Constant(Wrapped):
    def changed(self, found, view):
        return {"y": np.ones_like(found.y)}


class Renumbered(Wrapped):
    def changed(self, found, view):
        return {"ids": found.rows}


class Grouped(Wrapped):
    """Has groups, and no ``by``: a split would cut them."""

    def changed(self, found, view):
        return {"groups": view.obs["donor"].cat.codes.to_numpy()}


class Ungrouped(Wrapped):
    by = "donor"


class Astray(Grouped):
    by = "patient"


class GroupedBy(Grouped):
    by = "donor"


@pytest.mark.parametrize("signal", [Wrapped(), GroupedBy()], ids=lambda signal: type(signal).__name__)
def test_promises_that_are_kept(signal):
    testing.conforms("signals", signal)


@pytest.mark.parametrize(
    ("signal", "told"),
    [
        (Positional(), "what the signal says of a cell depends on the order of the cells"),
        (Shuffled(), "x is not the embedding of the cells in rows"),
        (Short(), "x, y, ids, groups and rows differ in length"),
        (Nowhere(), "rows point outside the view"),
        (Nobody(), "no pairs"),
        (Words(), "y must be integer codes or floats"),
        (Gaps(), "y is not finite"),
        (Constant(), "the signal is the same for every cell"),
        (Renumbered(), "ids are int64; uint64 is needed"),
        (Grouped(), "there are groups, and no `by`"),
        (Ungrouped(), "by = 'donor', and pairs has no groups"),
        (Astray(), "by = 'patient' is no column of obs"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_broken_promises_are_told(signal, told):
    with pytest.raises(AssertionError, match=told):
        testing.conforms("signals", signal)
