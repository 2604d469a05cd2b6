"""Fewer genes: a smaller vocabulary, chosen on training cells only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from sclaws.errors import DataError
from sclaws.hashing import ranked
from sclaws.protocols import Ids, Ints, Recipe, View


@dataclass(frozen=True, eq=False)
class Genes:
    """Keep the features with these ids, in this order."""

    feature_ids: Ids

    def __call__(self, view: View) -> View:
        """Return the view of those features."""
        order = np.argsort(view.feature_ids)
        return view.choose(order[np.searchsorted(view.feature_ids, self.feature_ids, sorter=order)])


@dataclass(frozen=True)
class NGenes:
    """Number of genes: ``by`` "random" (uniform) or "expressed" (most molecules in the training part); nested."""

    by: Literal["random", "expressed"] = "random"
    version: ClassVar[int] = 2
    on: ClassVar[Literal["rows", "values", "features"]] = "features"
    whole: ClassVar[bool] = True

    def prepare(self, train: View, level: float, *, seed: int) -> Recipe:
        """Return the recipe for ``level`` genes. "expressed" walks over the training part once."""
        if not 1 <= level <= train.n_vars:
            raise DataError(
                f'n_genes = {level:g} is not between 1 and the {train.n_vars:,} genes of the data; write "all" for all'
            )
        order = ranked(train.feature_ids, seed) if self.by == "random" else _expressed(train)
        return Genes(train.feature_ids[np.sort(order[: round(level)])])

    def measure(self, view: View) -> dict[str, float]:
        """Return ``n_genes``."""
        return {"n_genes": float(view.n_vars)}


def _expressed(train: View) -> Ints:
    return np.lexsort((train.feature_ids, -train.feature_totals))
