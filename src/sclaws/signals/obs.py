"""A column of ``obs`` as signal: a label (cell type) or a quantity (developmental time)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import pandas as pd

from sclaws.errors import DataError
from sclaws.protocols import Floats, Pairs, View
from sclaws.signals import _columns

_CELLS_PER_CLASS = 10  # a label with fewer cells a class, on average, is rather a quantity or a name of each cell
_WHOLE_NUMBERS = 50  # more distinct whole numbers than this may be minutes, and the user has to say


@dataclass(frozen=True)
class Obs:
    """``obs[column]``. With ``kind`` "auto", text, categories, yes/no and whole numbers are labels (more than
    50 different whole numbers: say which), floats quantities.

    A label gives integer codes (n,), a quantity floats (n, 1). Cells for which it is missing are left out. ``group``
    names a column (donor, batch) whose groups scores resample whole; a split must then keep them whole too (``by``).
    """

    column: str
    kind: Literal["auto", "label", "continuous"] = "auto"
    group: str | None = None
    version: ClassVar[int] = 1

    @property
    def by(self) -> str | None:
        """The column whose groups a split must not cut."""
        return self.group

    def check(self, adata: Any) -> None:
        """Raise ``DataError`` when the column is absent, empty, constant, or not of its kind."""
        values = _columns.column(adata.obs, self.column)
        if not (_columns.codes(values)[0] >= 0).any():
            raise DataError(f"obs[{self.column!r}] is missing for all {len(values)} cells; choose another column")
        if self._is_label(values):
            self._check_label(values)
        elif len(np.unique(known := self._numbers(values).dropna())) < 2:
            raise DataError(f"obs[{self.column!r}] is {known.iloc[0]:g} for every cell: there is nothing to know")
        _columns.check_group(adata.obs, self.group)

    def pairs(self, view: View, embedding: Floats, *, seed: int) -> Pairs:  # noqa: ARG002
        """Return the embedding and the label or quantity of the cells for which it is known."""
        values = _columns.column(view.obs, self.column)
        if self._is_label(values):
            y = _columns.codes(values)[0]
            return _columns.pairs(view, embedding, y, y >= 0, self.group)
        numbers = self._numbers(values).to_numpy(dtype=np.float64)
        return _columns.pairs(view, embedding, numbers[:, None], ~np.isnan(numbers), self.group)

    def _is_label(self, values: pd.Series[Any]) -> bool:
        return self.kind == "label" or (self.kind == "auto" and not pd.api.types.is_float_dtype(values.dtype))

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

    def _check_label(self, values: pd.Series[Any]) -> None:
        found, names = _columns.codes(values)
        known = int((found >= 0).sum())
        if len(names) < 2:
            raise DataError(f"obs[{self.column!r}] is {names[0]!r} for every cell: a label needs at least two classes")
        undecided = self.kind == "auto" and pd.api.types.is_integer_dtype(values.dtype) and len(names) > _WHOLE_NUMBERS
        if undecided:
            raise DataError(
                f"obs[{self.column!r}] has {len(names)} whole numbers, which may be classes or a quantity; "
                f'say kind = "label" or kind = "continuous"'
            )
        if known < _CELLS_PER_CLASS * len(names):
            raise DataError(
                f"obs[{self.column!r}] has {len(names)} classes for {known} cells, too few cells a class; "
                f'if it is a quantity use kind = "continuous", otherwise merge its classes'
            )
