"""Which cells train, which stop the training, which are only ever tested: decided first, by a hash of names alone."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from types import NoneType
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sclaws.errors import DataError, did_you_mean
from sclaws.hashing import name_ids, ranked
from sclaws.protocols import Ids
from sclaws.view import View


class Parts(NamedTuple):
    """Three disjoint views of one source."""

    train: View
    valid: View
    test: View


@dataclass(frozen=True)
class Split:
    """Shares of the cells for testing and for early stopping, or their numbers, from 2 up; the rest trains.

    Of an atlas a share is more cells than a score needs: ``test = 20000``.
    With ``by`` (an ``obs`` column: donor, clone, block) groups stay whole: groups are taken in a hashed order until a
    part has its share, so the shares are then approximate. Replicates differ in their seed, everything else on a grid
    shares the same test cells.
    """

    test: float = 0.2
    valid: float = 0.1
    by: str | None = None

    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        for name in ("test", "valid"):
            if isinstance(value := getattr(self, name), bool) or not isinstance(value, (int, float)):
                raise DataError(f"split: {name} = {value!r} must be a share of the cells, such as 0.2")
        if not isinstance(self.by, (str, NoneType)):
            raise DataError(f"split: by = {self.by!r} must be the name of a column of obs")
        shares = [value for value in (self.test, self.valid) if value < 1]
        if min(self.test, self.valid) <= 0 or sum(shares) >= 1 or any(1 <= v < 2 for v in (self.test, self.valid)):
            raise DataError(
                f"split: test = {self.test} and valid = {self.valid} must be shares above 0 that leave cells to train, "
                "or numbers of cells from 2 up"
            )

    def describe(self) -> dict[str, Any]:
        """Return what changes which cells are where, in the words of the study file."""
        return {"version": self.version, **asdict(self)}

    @property
    def label(self) -> str:
        """A short name for tables."""
        return f"test={self.test:g},valid={self.valid:g}" + (f",by={self.by}" if self.by else "")

    def shares(self, n: int) -> tuple[float, float]:
        """Return the shares of ``n`` cells that test and that validate; with numbers that leave none, they sum to 1."""
        test, valid = (value if value < 1 else min(value / max(n, 1), 0.5) for value in (self.test, self.valid))
        return test, valid

    def parts(self, view: View, *, seed: int) -> Parts:
        """Return the three parts; raise ``DataError`` when there are too few cells or groups for them."""
        units = view.cell_ids if self.by is None else self._groups(view)
        test = _first(units, _number(self.test, view.n_obs), seed, cells=self.by is None)
        rest = ~test
        valid = np.zeros_like(test)
        valid[rest] = _first(units[rest], _number(self.valid, view.n_obs), seed, cells=self.by is None)
        train = rest & ~valid
        for name, part in (("test", test), ("valid", valid), ("train", train)):
            if part.sum() < 2:
                what = f"{len(np.unique(units))} groups in obs[{self.by!r}]" if self.by else f"{view.n_obs} cells"
                raise DataError(f"split: {what} leave {int(part.sum())} cells for {name}; three parts of 2 are needed")
        return Parts(*(view.take(np.flatnonzero(part)) for part in (train, valid, test)))

    def _groups(self, view: View) -> Ids:
        if self.by not in view.obs:
            raise DataError(f"split: by = {self.by!r} is not a column of obs; {did_you_mean(str(self.by), view.obs)}")
        column = view.obs[self.by]
        if column.isna().any():
            raise DataError(
                f"split: obs[{self.by!r}] is missing for {int(column.isna().sum())} cells; fill or drop them"
            )
        names, codes = np.unique(column.astype(str).to_numpy(), return_inverse=True)
        return name_ids(names)[codes]


def _number(part: float, n: int) -> float:
    return part * n if part < 1 else part


def _first(units: Ids, wanted: float, seed: int, *, cells: bool) -> NDArray[np.bool_]:
    """Return the mask of whole units, in hashed order, until ``wanted`` cells are reached (at least one unit).

    ``cells``: every unit is one cell.
    """
    if cells:
        chosen = np.zeros(len(units), dtype=bool)
        chosen[ranked(units, seed)[: max(round(wanted), 1)]] = True
        return chosen
    ids, codes, sizes = np.unique(units, return_inverse=True, return_counts=True)
    order = ranked(ids, seed)
    before = np.concatenate([[0], np.cumsum(sizes[order])[:-1]])
    chosen = np.zeros(len(ids), dtype=bool)
    chosen[order[before < max(round(wanted), 1)]] = True
    mask: Any = chosen[codes]
    return mask  # type: ignore[no-any-return]


def refuse_cut_groups(parts: Parts, by: str, who: str) -> None:
    """Raise ``DataError`` when a group of ``obs[by]`` has cells both in training and in test; ``who`` must not."""
    if by not in parts.test.obs:
        raise DataError(f"{who}: {by!r} is not a column of obs; {did_you_mean(by, parts.test.obs)}")
    shared = set(parts.test.obs[by].dropna()) & (set(parts.train.obs[by].dropna()) | set(parts.valid.obs[by].dropna()))
    if shared:
        raise DataError(
            f"{who}: {len(shared)} groups of obs[{by!r}] (such as {min(map(str, shared))!r}) have cells "
            f'in training and in test, so the test leaks; set split = {{ by = "{by}" }}'
        )
