"""Which training cells are among which others: then one walk over the most of them serves all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sclaws.hashing import mix
from sclaws.protocols import Ids, Ints, Values, View

_COMPARED = 32  # cells whose values are looked at, to see that ids mean the same cells


class Family:
    """Views of which each has all cells of the next; ``members`` are their positions among those that were given.

    ``levels`` (n,) is, for each cell of the first, the last member (0, 1, ...) that has it.
    """

    def __init__(self, member: int, view: View) -> None:
        self.members, self.levels = [member], np.zeros(view.n_obs, dtype=np.int16)
        self._view, self._ids = view, view.cell_ids
        self._order = np.argsort(self._ids)

    def takes(self, member: int, view: View) -> bool:
        """Whether a view is some cells of the last member; if so, it is a member from now on."""
        if not _alike(view, self._view):
            return False
        ids = view.cell_ids
        at = self._order[np.minimum(np.searchsorted(self._ids, ids, sorter=self._order), len(self._order) - 1)]
        among = (self._ids[at] == ids) & (self.levels[at] == len(self.members) - 1)
        if not among.all() or not _same_values(view, self._view, ids, at):
            return False
        self.levels[at] = len(self.members)
        self.members.append(member)
        return True


def families(views: Sequence[View]) -> list[Family]:
    """Return views in families: in each the first has all cells of the second, that of the third, ...

    Cells are known by their ids, in any order. Views are of one family if they also have the same features, went
    through equal corruptions, and 32 of the cells they share, by a hash of their ids, have the same values. Memory:
    18 bytes for each cell of a first member.
    """
    found: list[Family] = []
    for at in sorted(range(len(views)), key=lambda i: -views[i].n_obs):
        if not any(family.takes(at, views[at]) for family in found):
            found.append(Family(at, views[at]))
    return found


def _alike(one: View, other: View) -> bool:
    if one.counts != other.counts or not np.array_equal(one.feature_ids, other.feature_ids):
        return False
    return len(one.applied) == len(other.applied) and all(map(_equal, one.applied, other.applied))


def _same_values(few: View, many: View, ids: Ids, there: Ints) -> bool:
    first = min(_COMPARED, len(ids) - 1)
    some = np.argpartition(mix(ids), first)[:_COMPARED]
    pairs = zip(few.take(some).batches(), many.take(there[some]).batches(), strict=True)
    return all(np.array_equal(_dense(one.values), _dense(other.values)) for one, other in pairs)


def _dense(values: Values) -> NDArray[Any]:
    return np.asarray(values.toarray() if isinstance(values, sparse.csr_matrix) else values)


def _equal(one: Any, other: Any) -> bool:
    """Whether two corruptions are the same, field by field; what has no fields equals itself alone."""
    if one is other:
        return True
    if type(one) is not type(other) or not dataclasses.is_dataclass(one):
        return False
    return all(
        np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(one)
    )
