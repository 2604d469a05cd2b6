"""A matrix of ``obsm`` as signal: surface proteins, coordinates, the known signal of a simulation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from sclaws.errors import DataError, did_you_mean
from sclaws.protocols import Floats, Pairs, View
from sclaws.signals import _columns


@dataclass(frozen=True)
class Obsm:
    """``obsm[key]``, all columns or those at positions ``columns`` (from 0). Cells with a missing value are left out.

    ``transform`` "none" gives values as they are: right for the score ``gaussian``, which ranks margins and so does not
    see the difference, and for values that are not counts. "log1p" is for counts (of proteins, say) with scores that
    look at distances, such as ``ksg``. ``group`` is as in the signal ``obs``.
    """

    key: str
    columns: tuple[int, ...] | None = None
    transform: Literal["none", "log1p"] = "none"
    group: str | None = None
    version: ClassVar[int] = 1

    @property
    def by(self) -> str | None:
        """The column whose groups a split must not cut."""
        return self.group

    def check(self, adata: Any) -> None:
        """Raise ``DataError`` when the matrix is absent, empty, constant, or cannot be transformed."""
        if self.key not in adata.obsm:
            raise DataError(f"there is no obsm[{self.key!r}]; {did_you_mean(self.key, adata.obsm)}")
        values = self._values(np.asarray(adata.obsm[self.key]))
        known = values[~np.isnan(values).any(axis=1)]
        if not len(known):
            raise DataError(f"obsm[{self.key!r}] has a missing value for every cell; leave out columns by `columns`")
        if (known == known[0]).all():
            raise DataError(f"obsm[{self.key!r}] is the same for every cell: there is nothing to know")
        _columns.check_group(adata.obs, self.group)

    def pairs(self, view: View, embedding: Floats, *, seed: int) -> Pairs:  # noqa: ARG002
        """Return the embedding and the (n, k) float64 values of the cells for which all of them are known."""
        try:
            raw = view.obsm(self.key)
        except KeyError as error:
            raise DataError(f"there is no obsm[{self.key!r}] in these data") from error
        values = self._values(raw)
        known = np.asarray(np.isfinite(values).all(axis=1))
        return _columns.pairs(view, embedding, values, known, self.group)

    def _values(self, raw: NDArray[Any]) -> NDArray[np.float64]:
        try:
            values = np.asarray(raw, dtype=np.float64).reshape(len(raw), -1)
        except (TypeError, ValueError) as error:
            raise DataError(f"obsm[{self.key!r}] cannot be read as numbers: {error}") from error
        values = values if self.columns is None else self._chosen(values)
        if np.isinf(values).any():
            raise DataError(f"obsm[{self.key!r}] has infinite values; make them missing (NaN)")
        if self.transform == "log1p":
            if (values < 0).any():
                raise DataError(
                    f"obsm[{self.key!r}] has negative values, so log1p is not for it; use transform = 'none'"
                )
            values = np.log1p(values)
        return values

    def _chosen(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        assert self.columns is not None
        width = values.shape[1]
        if not self.columns or not all(0 <= c < width for c in self.columns):
            raise DataError(f"obsm[{self.key!r}] has columns 0 to {width - 1}, `columns` = {list(self.columns)}")
        return values[:, list(self.columns)]
