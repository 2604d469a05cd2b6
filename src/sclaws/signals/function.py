"""Whatever a function of yours says of each cell, as signal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sclaws import plugins
from sclaws.errors import DataError
from sclaws.protocols import Floats, Pairs, View
from sclaws.signals import _columns
from sclaws.view import View as Whole


@dataclass(frozen=True)
class Function:
    """What the function ``call`` of the Python file at ``path`` returns for a view: one value, or one row, a cell.

    Text, yes/no, categories and whole numbers are labels, floats (n,) or anything with columns (n, k) quantities;
    ``None`` and NaN mean unknown, and such cells are left out. ``group`` is as in the signal ``obs``.

    What it says of a cell may not depend on the order or company of cells: it is called with the test cells alone, and
    before a study starts with all of them. Their values (counts) are those of the run, thinned where its test cells
    are, so what should not change with depth has to come from ``view.obs`` or ``view.obsm(key)``.
    """

    path: str
    call: str
    group: str | None = None
    version: ClassVar[int] = 1

    @property
    def by(self) -> str | None:
        """The column whose groups a split must not cut."""
        return self.group

    def check(self, adata: Any) -> None:
        """Call it once on all cells and once on the same in reverse; raise ``DataError`` for what is no signal."""
        view = Whole.of(adata)
        y, known, names = self._said(view)
        if not known.any():
            raise DataError(f"{self._what} is missing for all {view.n_obs} cells")
        if names is not None:
            _columns.check_label(self._what, y, names, "return floats")
        elif (y[known] == y[known][0]).all():
            raise DataError(f"{self._what} is the same for every cell: there is nothing to know")
        again, still, _ = self._said(view.take(np.arange(view.n_obs)[::-1]))
        same = np.array_equal(still[::-1], known) and np.allclose(again[::-1][known], y[known], rtol=1e-6, atol=1e-9)
        if not same:
            raise DataError(
                f"{self._what} changes with the order of cells; let it say of each cell what it is by itself"
            )
        _columns.check_group(adata.obs, self.group)

    def pairs(self, view: View, embedding: Floats, *, seed: int) -> Pairs:  # noqa: ARG002
        """Return the embedding and what the function says of the cells for which it says anything."""
        y, known, _ = self._said(view)
        return _columns.pairs(view, embedding, y, known, self.group)

    @property
    def _what(self) -> str:
        return f"{Path(self.path).name}, {self.call}(view)"

    def _said(self, view: View) -> tuple[NDArray[Any], NDArray[np.bool_], list[str] | None]:
        """Return codes (n,) or floats (n, k), where they are known, and the names of the classes of a label."""
        values = self._called(view)
        if isinstance(values, pd.Series) and not pd.api.types.is_float_dtype(values.dtype):
            _columns.check_decided(self._what, values, "return floats for a quantity, text for a label")
            found, names = _columns.codes(values)
            return found, found >= 0, names
        try:
            floats = np.array(values, dtype=np.float64).reshape(view.n_obs, -1)
        except (TypeError, ValueError) as error:
            raise DataError(f"{self._what} returned columns that cannot be read as numbers: {error}") from error
        if np.isinf(floats).any():
            raise DataError(f"{self._what} has infinite values; make them missing (NaN)")
        return floats, np.asarray(~np.isnan(floats).any(axis=1)), None

    def _called(self, view: View) -> Any:
        """Return a series for one value a cell, or an array of rows."""
        function = plugins.function(Path(self.path), self.call)
        try:
            said = function(view)
        except Exception as error:
            raise DataError(f"{self._what} raised {type(error).__name__}: {error}") from error
        if not hasattr(said, "__len__") or isinstance(said, (str, bytes, dict)):
            raise DataError(f"{self._what} returned {type(said).__name__}; a value for each cell is needed, in order")
        if len(said) != view.n_obs:
            raise DataError(
                f"{self._what} returned {len(said)} values for {view.n_obs} cells; one for each is needed, in order"
            )
        try:
            return pd.Series(said).reset_index(drop=True) if np.ndim(said) == 1 else said
        except ValueError as error:
            raise DataError(f"{self._what} returned rows of unequal length: {error}") from error
