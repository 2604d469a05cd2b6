"""The other cell of a clone as signal: what an embedding of one cell says of where its sister is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sclaws.errors import DataError, did_you_mean
from sclaws.hashing import name_ids, ranked
from sclaws.protocols import Floats, Ints, Pairs, View
from sclaws.signals import _columns

_FEWEST = 50  # pairs that a score asks for: with fewer clones in the whole data no test part can ever be scored


@dataclass(frozen=True)
class Clone:
    """Two different cells of each clone in ``obs[column]``: ``x`` is the embedding of one, ``y`` of the other.

    One pair a clone, because clones are what is independent; which two cells, a hash of their names says. With
    ``time``, ``x`` is a cell whose ``obs[time]`` is among ``early`` and ``y`` one among ``late`` (Gowri et al., LARRY:
    day 2 or 4, and day 6). Clones without two such cells, and cells of no clone, are left out. A split must keep clones
    whole (``by``).
    """

    column: str
    time: str | None = None
    early: tuple[str | int | float, ...] = ()
    late: tuple[str | int | float, ...] = ()
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        where = f"signal clone, column {self.column!r}"
        if self.time is None and (self.early or self.late):
            raise DataError(f"{where}: `early` and `late` are values of a column; name it by `time`")
        if self.time is not None and not (self.early and self.late):
            raise DataError(f"{where}: time = {self.time!r} needs `early` and `late`, lists of its values")
        if both := set(map(str, self.early)) & set(map(str, self.late)):
            raise DataError(f"{where}: {min(both)!r} is in `early` and in `late`; a time is one or the other")

    @property
    def by(self) -> str:
        """The column whose groups a split must not cut."""
        return self.column

    def check(self, adata: Any) -> str:
        """Return how many clones can be paired; raise ``DataError`` for fewer than 50, or an absent column or time."""
        clones = _columns.codes(_columns.column(adata.obs, self.column))[1]
        self._check_times(adata.obs)
        paired = len(self._partners(adata.obs, np.arange(adata.n_obs))[0])
        two = "two cells" if self.time is None else "an early and a late cell"
        said = f"{paired} of {len(clones)} clones in obs[{self.column!r}] have {two}"
        if paired < _FEWEST:
            raise DataError(
                f"{said}, and a score asks for {_FEWEST} pairs of test cells alone: bring more clones of several cells"
                + ("" if self.time is None else ", or widen `early` and `late`")
            )
        return said

    def pairs(self, view: View, embedding: Floats, *, seed: int) -> Pairs:
        """Return one pair a clone: the embeddings of two of its cells in the view."""
        one, other = self._partners(view.obs, ranked(view.cell_ids, seed))
        if not len(one):
            raise DataError(f"no clone of obs[{self.column!r}] has a pair among the {view.n_obs} cells of the view")
        clone, names = _columns.codes(view.obs[self.column])
        groups = clone[one]
        return Pairs(embedding[one], embedding[other], one, name_ids(names)[groups], groups)

    def _partners(self, obs: pd.DataFrame, order: Ints) -> tuple[Ints, Ints]:
        """Return the positions of both cells of each pair: the first of the clone, in this order, that may be it."""
        clone, _ = _columns.codes(_columns.column(obs, self.column))
        if self.time is None:
            one = _first(clone, order, np.ones(len(clone), dtype=bool))
            rest = np.ones(len(clone), dtype=bool)
            rest[one[one >= 0]] = False
            other = _first(clone, order, rest)
        else:
            one, other = (_first(clone, order, self._at(obs, times)) for times in (self.early, self.late))
        both = (one >= 0) & (other >= 0)
        return one[both], other[both]

    def _at(self, obs: pd.DataFrame, times: tuple[Any, ...]) -> NDArray[np.bool_]:
        found, names = _columns.codes(_columns.column(obs, str(self.time)))
        wanted = np.isin(np.array([*names, ""]), [str(time) for time in times])  # the last is for -1, missing
        return np.asarray(wanted[found])

    def _check_times(self, obs: pd.DataFrame) -> None:
        if self.time is None:
            return
        names = _columns.codes(_columns.column(obs, self.time))[1]
        for time in map(str, (*self.early, *self.late)):
            if time not in names:
                raise DataError(f"obs[{self.time!r}] has no value {time!r}; {did_you_mean(time, names)}")


def _first(clone: Ints, order: Ints, allowed: NDArray[np.bool_]) -> Ints:
    """Return, for each clone, the position of its first allowed cell in this order, or -1."""
    rows = order[(allowed & (clone >= 0))[order]]
    found, at = np.unique(clone[rows], return_index=True)
    out = np.full(int(clone.max(initial=-1)) + 1, -1, dtype=np.int64)
    out[found] = rows[at]
    return out
