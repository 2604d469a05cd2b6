"""A column of ``obs`` as signal: a label (cell type), a quantity (developmental time), or a quantity cut into bins."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from sclaws.errors import DataError, did_you_mean
from sclaws.protocols import Floats, Ints, Pairs, View
from sclaws.signals import _columns


@dataclass(frozen=True)
class Obs:
    """``obs[column]``. With ``kind`` "auto", text, categories, yes/no and whole numbers are labels (more than
    50 different whole numbers: say which), floats quantities.

    A label gives integer codes (n,), a quantity floats (n, 1). Cells for which it is missing are left out. ``group``
    names a column (donor, batch) whose groups scores resample whole; a split must then keep them whole too (``by``).

    ``bins`` cuts a quantity into classes at these increasing edges: below the first, from each to the next, and from
    the last. A number of bins is refused, with the edges to write instead: cut at the quantiles of the cells at hand, a
    cell would change its class with its company. ``positive`` makes a label one class against all others.
    """

    column: str
    kind: Literal["auto", "label", "continuous"] = "auto"
    group: str | None = None
    bins: int | tuple[float, ...] | None = None
    positive: str | None = None
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        where = f"signal obs, column {self.column!r}"
        if self.bins is not None and self.positive is not None:
            raise DataError(f"{where}: give `bins` of a quantity or the `positive` class of a label, not both")
        if self.kind == "continuous" and self.positive is not None:
            raise DataError(f'{where}: positive = {self.positive!r} is a class, so kind = "continuous" cannot be')
        if self.bins is None:
            return
        if isinstance(self.bins, int):
            if self.bins < 2:
                raise DataError(f"{where}: bins = {self.bins} cuts nothing; two or more are needed")
        elif not self.bins or not np.isfinite(self.bins).all() or (np.diff(self.bins) <= 0).any():
            raise DataError(f"{where}: bins = {list(self.bins)} must be finite edges, each above the one before")

    @property
    def by(self) -> str | None:
        """The column whose groups a split must not cut."""
        return self.group

    def check(self, adata: Any) -> None:
        """Raise ``DataError`` when the column is absent, empty, constant, or not of its kind."""
        values = _columns.column(adata.obs, self.column)
        what = f"obs[{self.column!r}]"
        if not (_columns.codes(values)[0] >= 0).any():
            raise DataError(f"{what} is missing for all {len(values)} cells; choose another column")
        if self._is_label(values):
            if self.kind == "auto" and self.bins is None and self.positive is None:
                _columns.check_decided(what, values, 'say kind = "label" or kind = "continuous"')
            found, names = self._label(values)
            if self.positive is not None and self.positive not in (all_names := _columns.codes(values)[1]):
                raise DataError(f"{what} has no class {self.positive!r}; {did_you_mean(self.positive, all_names)}")
            _columns.check_label(what, found, names, 'use kind = "continuous"')
        elif len(np.unique(known := self._numbers(values).dropna())) < 2:
            raise DataError(f"{what} is {known.iloc[0]:g} for every cell: there is nothing to know")
        _columns.check_group(adata.obs, self.group)

    def pairs(self, view: View, embedding: Floats, *, seed: int) -> Pairs:  # noqa: ARG002
        """Return the embedding and the label or quantity of the cells for which it is known."""
        values = _columns.column(view.obs, self.column)
        if self._is_label(values):
            y = self._label(values)[0]
            return _columns.pairs(view, embedding, y, y >= 0, self.group)
        numbers = self._numbers(values).to_numpy(dtype=np.float64)
        return _columns.pairs(view, embedding, numbers[:, None], ~np.isnan(numbers), self.group)

    def _is_label(self, values: pd.Series[Any]) -> bool:
        said = self.kind == "label" or self.bins is not None or self.positive is not None
        return said or (self.kind == "auto" and not pd.api.types.is_float_dtype(values.dtype))

    def _label(self, values: pd.Series[Any]) -> tuple[Ints, list[str]]:
        """Return (n,) codes, -1 where missing, and the names of the classes."""
        if self.bins is not None:
            return self._binned(self._numbers(values).to_numpy(dtype=np.float64))
        found, names = _columns.codes(values)
        if self.positive is None:
            return found, names
        one = names.index(self.positive) if self.positive in names else len(names)  # a view may have none of them
        return np.where(found < 0, -1, (found == one).astype(np.int64)), [f"not {self.positive}", self.positive]

    def _binned(self, numbers: Floats) -> tuple[Ints, list[str]]:
        if isinstance(self.bins, int):
            edges = _edges(numbers[~np.isnan(numbers)], self.bins)
            raise DataError(
                f"obs[{self.column!r}]: bins = {self.bins} would move with the cells at hand; write edges, those of "
                f"equal numbers of cells here are bins = [{', '.join(f'{edge:g}' for edge in edges)}]"
            )
        edges = np.asarray(self.bins, dtype=np.float64)
        found = np.where(np.isnan(numbers), -1, np.digitize(numbers, edges))
        between = [f"{low:g} to {high:g}" for low, high in itertools.pairwise(edges)]
        return found, [f"below {edges[0]:g}", *between, f"{edges[-1]:g} and above"]

    def _numbers(self, values: pd.Series[Any]) -> pd.Series[Any]:
        plain = values.astype(object) if isinstance(values.dtype, pd.CategoricalDtype) else values
        numbers = pd.to_numeric(plain, errors="coerce").astype(np.float64)
        if (bad := (numbers.isna() & values.notna()) | np.isinf(numbers)).any():
            cell, value = values.index[bad][0], values[bad].iloc[0]
            raise DataError(
                f"obs[{self.column!r}] is {value!r} for cell {cell!r}, which is no finite number; "
                f'use kind = "label", or make it missing'
            )
        return numbers


def _edges(known: Floats, bins: int) -> Floats:
    """Return the inner quantiles of values (n,), without those that would cut nothing off."""
    inner = np.unique(np.quantile(known, np.arange(1, bins) / bins))
    return inner[inner > known.min()]
