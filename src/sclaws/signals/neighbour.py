"""A neighbour in the tissue as signal: what an embedding of one cell says of the cells around it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from sclaws.errors import DataError, did_you_mean
from sclaws.hashing import mix, ranked
from sclaws.protocols import Floats, Ids, Ints, Pairs, View
from sclaws.signals import _columns


@dataclass(frozen=True)
class Neighbour:
    """The embedding of one of the ``k`` cells that are nearest in ``obsm[key]`` (Gowri et al.: one of 4, at random).

    Coordinates have two or three columns, distances are Euclidean. Which of the k, a hash of both cells' names says;
    cells as near as the k-th count, too, so that on a lattice nothing depends on the order of cells. ``k = 1`` is the
    nearest. Cells without a place or a block are left out.

    A neighbour is looked for inside the cell's own block of ``obs[by]``, and a split must keep blocks whole. Pairs of
    one block overlap and depend on each other, so blocks are also what scores resample: twenty or more in the test part
    make for intervals that are both honest and narrow. ``n`` cells at most are asked (any may be the neighbour): pairs
    repeat each other, so thousands more hardly add to what blocks can tell, and cost time.
    """

    key: str = "spatial"
    k: int = 4
    by: str = "block"
    n: int | None = None
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if self.k < 1:
            raise DataError(f"signal neighbour: k = {self.k} must be 1 or more")
        if self.n is not None and self.n < 1:
            raise DataError(f"signal neighbour: n = {self.n} must be 1 or more")

    def check(self, adata: Any) -> str:
        """Return how many cells and blocks there are; raise ``DataError`` for places or blocks that cannot be used."""
        if self.key not in adata.obsm:
            raise DataError(f"there is no obsm[{self.key!r}]; {did_you_mean(self.key, adata.obsm)}")
        if self.by not in adata.obs:
            raise DataError(
                f"obs has no column {self.by!r} of blocks; {did_you_mean(self.by, adata.obs)}; "
                f"the data set h5ad makes one of obsm['spatial'] by `blocks = 8`"
            )
        places = self._places(np.asarray(adata.obsm[self.key]))
        blocks = self._blocks(places, adata.obs)
        _columns.check_group(adata.obs, self.by)
        return f"{sum(map(len, blocks)):,} cells with a place in {len(blocks)} blocks of obs[{self.by!r}]"

    def pairs(self, view: View, embedding: Floats, *, seed: int) -> Pairs:
        """Return each cell of the view and a neighbour of it, as embeddings; groups are blocks."""
        try:
            places = self._places(view.obsm(self.key))
        except KeyError as error:
            raise DataError(f"there is no obsm[{self.key!r}] in these data") from error
        blocks, ids = self._blocks(places, view.obs), view.cell_ids
        rows = np.concatenate(blocks)
        others = np.concatenate([block[_neighbours(places[block], ids[block], self.k, seed)] for block in blocks])
        if self.n is not None:
            asked = ranked(ids[rows], seed)[: self.n]
            rows, others = rows[asked], others[asked]
        groups = _columns.codes(view.obs[self.by])[0]
        return Pairs(embedding[rows], embedding[others], rows, ids[rows], groups[rows])

    def _places(self, raw: NDArray[Any]) -> NDArray[np.float64]:
        """Return coordinates (n, 2) or (n, 3), NaN where missing."""
        try:
            places = np.asarray(raw, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise DataError(f"obsm[{self.key!r}] cannot be read as numbers: {error}") from error
        if places.ndim != 2 or places.shape[1] not in (2, 3):
            raise DataError(f"obsm[{self.key!r}] has shape {places.shape}; places have two or three columns")
        if (infinite := np.isinf(places).any(axis=1)).any():
            raise DataError(f"obsm[{self.key!r}] is infinite for {int(infinite.sum())} cells; make it missing (NaN)")
        return places

    def _blocks(self, places: NDArray[np.float64], obs: pd.DataFrame) -> list[Ints]:
        """Return the positions of the cells of each block; raise ``DataError`` where one has too few, or no extent."""
        found, names = _columns.codes(_columns.column(obs, self.by))
        known = np.flatnonzero((found >= 0) & ~np.isnan(places).any(axis=1))
        if not len(known):
            raise DataError(
                f"none of {len(places)} cells has both a place in obsm[{self.key!r}] and a block in obs[{self.by!r}]"
            )
        order = known[np.argsort(found[known], kind="stable")]
        blocks: list[Ints] = np.split(order, np.flatnonzero(np.diff(found[order])) + 1)
        for block in blocks:
            where = f"block {names[found[block[0]]]!r} of obs[{self.by!r}] has {len(block)} cells with a place"
            if len(block) <= self.k:
                raise DataError(f"{where}, and k = {self.k} asks for {self.k + 1}: lower k, or make larger blocks")
            if not np.ptp(places[block], axis=0).any():
                raise DataError(f"{where}, all at the same one: obsm[{self.key!r}] tells no neighbours there")
        return blocks


def _neighbours(places: NDArray[np.float64], ids: Ids, k: int, seed: int) -> Ints:
    """Return the (n,) position of a neighbour of each of n > k places: by hash, of those not beyond the k-th nearest.

    Time n log n. More are looked at, twice as many each time, where the k-th is as far as the last that was seen.
    """
    tree = cKDTree(places)
    out = np.empty(len(places), dtype=np.int64)
    todo, width = np.arange(len(places)), k + 2
    while len(todo):
        width = min(width, len(places))
        far, near = tree.query(places[todo], k=width)
        reach = far[:, k]  # the cell itself is one of those at no distance, so the k-th other one stands here
        seen = (far[:, -1] > reach) | (width == len(places))
        lots = mix(ids[near] ^ mix(ids[todo] ^ mix(np.uint64(seed)))[:, None])
        lots[(far > reach[:, None]) | (near == todo[:, None])] = np.iinfo(np.uint64).max
        chosen = near[np.arange(len(todo)), lots.argmin(axis=1)]
        out[todo[seen]] = chosen[seen]
        todo, width = todo[~seen], 2 * width
    return out
