"""Rows x features x corruptions of a source, as a recipe: nothing is copied until somebody asks for values."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sclaws.errors import DataError
from sclaws.hashing import name_ids
from sclaws.protocols import Block, Corruption, Ids, Ints, Values
from sclaws.stored import Stored

if TYPE_CHECKING:  # a second to import, which those who only fit laws need not wait for
    import anndata


@dataclass(frozen=True, eq=False)
class Source:
    """An AnnData, or a corpus on disk, and the 64-bit ids of its cells and features, hashed once from their names.

    ``known`` (n,) is what each cell has in all, where ``adata`` holds only some of the features; NaN where that is
    lost.
    """

    adata: anndata.AnnData | Stored
    known: NDArray[np.float64] | None = None

    @functools.cached_property
    def cell_ids(self) -> Ids:
        """(n,) ids of the cells."""
        return self.adata.cell_ids if isinstance(self.adata, Stored) else name_ids(self.adata.obs_names)

    @functools.cached_property
    def feature_ids(self) -> Ids:
        """(p,) ids of the features."""
        return name_ids(self.adata.var_names)

    @functools.cached_property
    def library(self) -> NDArray[np.float64]:
        """(n,) sum of each cell's values over all features, one walk over the source unless it is known."""
        if isinstance(self.adata, Stored):
            return self.adata.totals
        return View(self, np.arange(self.adata.n_obs)).totals if self.known is None else self.known


@dataclass(frozen=True, eq=False)
class View:
    """Some rows and features of a source, seen through corruptions. Immutable; every method returns a new view.

    A corruption is a pure function of (seed, cell id, feature id, molecule), so the values are the same whether read
    in one piece, in batches of any size, in any order or in another process. Making a view costs nothing; reading
    one costs time in proportion to its non-zeros, and memory for one batch. Of a corpus on disk the next batch is read
    while the last is worked on; its cells are best asked for in the order of the disk (:meth:`in_memory`).
    """

    source: Source
    rows: Ints
    features: Ints | None = None
    corruptions: tuple[Corruption, ...] = ()
    done: tuple[Corruption, ...] = ()

    @classmethod
    def of(cls, adata: anndata.AnnData | Stored) -> View:
        """Return the view of everything in ``adata``; names must be unique, because they are what is hashed."""
        if isinstance(adata, Stored):  # whoever wrote it has seen to that
            return cls(Source(adata), np.arange(adata.n_obs))
        for axis, names in (("obs", adata.obs_names), ("var", adata.var_names)):
            if not names.is_unique:
                twice = names[names.duplicated()][0]
                raise DataError(f"{axis}_names: {twice!r} occurs more than once; call adata.{axis}_names_make_unique()")
        return cls(Source(adata), np.arange(adata.n_obs))

    def __len__(self) -> int:
        return len(self.rows)

    def __repr__(self) -> str:
        return f"View({self.n_obs} cells x {self.n_vars} features, {len(self.corruptions)} corruptions)"

    @property
    def n_obs(self) -> int:
        """Number of cells."""
        return len(self.rows)

    @property
    def n_vars(self) -> int:
        """Number of features."""
        return self.source.adata.n_vars if self.features is None else len(self.features)

    @property
    def cell_ids(self) -> Ids:
        """(n,) 64-bit ids of the cells."""
        return self.source.cell_ids[self.rows]

    @property
    def feature_ids(self) -> Ids:
        """(p,) 64-bit ids of the features."""
        ids = self.source.feature_ids
        return ids if self.features is None else ids[self.features]

    @property
    def feature_names(self) -> pd.Index:
        """(p,) names of the features."""
        names = self.source.adata.var_names
        return names if self.features is None else names[self.features]

    @property
    def obs(self) -> pd.DataFrame:
        """(n, ...) annotations of the cells."""
        return self.source.adata.obs.iloc[self.rows]

    @property
    def var(self) -> pd.DataFrame:
        """(p, ...) annotations of the features."""
        var = self.source.adata.var
        return var if self.features is None else var.iloc[self.features]

    @property
    def counts(self) -> bool:
        """Whether the values are counts (sparse), and not images, sequences or measurements (dense)."""
        return self.on_disk or bool(sparse.issparse(self.source.adata.X))

    @property
    def on_disk(self) -> bool:
        """Whether every walk over the values reads them from disk."""
        return isinstance(self.source.adata, Stored)

    def obsm(self, key: str) -> NDArray[Any]:
        """(n, k) array that belongs to the cells."""
        return np.asarray(self.source.adata.obsm[key])[self.rows]

    def take(self, rows: Any) -> View:
        """Return the view of these rows: positions in this view, in the order given, or a mask over it."""
        rows = np.asarray(rows)
        made = dataclasses.replace(self, rows=self.rows[rows])
        for sums in ("totals", "library"):  # what was walked for once is not walked for again
            if sums in self.__dict__:
                made.__dict__[sums] = self.__dict__[sums][rows]
        return made

    def choose(self, features: Any) -> View:
        """Return the view of these features: positions in this view, or a mask over it."""
        mine = np.arange(self.source.adata.n_vars) if self.features is None else self.features
        made = dataclasses.replace(self, features=mine[np.asarray(features)])
        library = "library" if self.features is not None or self.source.known is not None else "totals"
        if library in self.__dict__:
            made.__dict__["library"] = self.__dict__[library]
        return made

    def corrupt(self, corruption: Corruption) -> View:
        """Return the view with one more corruption, applied after those before it."""
        return dataclasses.replace(self, corruptions=(*self.corruptions, corruption))

    def batches(self, size: int = 4096) -> Iterator[Block]:
        """Yield the cells in order, ``size`` at a time, corrupted. Memory: one batch, of a corpus on disk three."""
        pieces = [self.rows[start : start + size] for start in range(0, self.n_obs, size)]
        read = _ahead(self.read, pieces) if self.on_disk else map(self.read, pieces)
        for rows, values in zip(pieces, read, strict=True):
            yield self.block(rows, values)

    def read(self, rows: Ints) -> Values:
        """Return the values of these rows of the source, as they are there: safe in any thread."""
        return self.source.adata.X[_sliced(rows)]  # type: ignore[index]

    def block(self, rows: Ints, values: Values) -> Block:
        """Return what was read of these rows as the view sees it; the work of a single thread, or of all cores."""
        if self.features is not None:
            values = values[:, self.features]
        if sparse.issparse(values):
            values = sparse.csr_matrix(values)
        block = Block(self.source.cell_ids[rows], self.feature_ids, values)
        for corruption in self.corruptions:
            block = dataclasses.replace(block, values=corruption.apply(block))
        return block

    def to_adata(self) -> anndata.AnnData:
        """Return everything in memory: corrupted ``X``, the rows' ``obs`` and ``obsm``, the features' ``var``."""
        import anndata

        adata = self.source.adata
        obsm = {k: np.asarray(v)[self.rows] for k, v in adata.obsm.items()}
        obs = self.obs.copy()
        if isinstance(adata, Stored):
            obs.index = pd.Index(adata.names(self.rows))
        return anndata.AnnData(
            self.block(self.rows, self.read(self.rows)).values, obs=obs, var=self.var.copy(), obsm=obsm
        )

    def materialise(self) -> View:
        """Return an equal view whose corruptions have been carried out: values in memory, read again for free."""
        whole = self.features is None and self.source.known is None
        source = Source(self.to_adata(), None if whole else self._library())
        # the ids are the old ones, not hashed again
        source.__dict__.update(cell_ids=self.cell_ids, feature_ids=self.feature_ids)
        return View(source, np.arange(self.n_obs), done=self.applied)

    def in_memory(self) -> View:
        """Return an equal view that has been carried out in memory, if there is room for it.

        There always is for what was loaded in one piece. Of a corpus on disk, counts that take more than its
        ``in_memory_gb`` stay where they are, and the cells of the view are then in the order of the disk.
        """
        adata = self.source.adata
        if isinstance(adata, Stored) and not adata.fits(self.rows):
            return self.take(np.argsort(self.rows))
        return self.materialise()

    @property
    def applied(self) -> tuple[Corruption, ...]:
        """Every corruption the values went through, carried out or still to be."""
        return self.done + self.corruptions

    @functools.cached_property
    def totals(self) -> NDArray[np.float64]:
        """(n,) sum of each cell's values: its depth in UMI, for counts. One walk over the view, then remembered."""
        if self.on_disk and self.features is None and not self.corruptions:
            return self.source.library[self.rows]
        sums = [np.asarray(block.values.sum(axis=1)).ravel() for block in self.batches()]
        return np.concatenate(sums).astype(np.float64) if sums else np.zeros(0)

    @functools.cached_property
    def feature_totals(self) -> NDArray[np.float64]:
        """(p,) sum of each feature's values. One walk over the view, then remembered."""
        sums = np.zeros(self.n_vars)
        for block in self.batches():
            sums += np.asarray(block.values.sum(axis=0)).ravel()
        return sums

    @functools.cached_property
    def library(self) -> NDArray[np.float64]:
        """(n,) sum of each cell's values over every feature of the source, whatever was chosen; then remembered.

        Raises ``DataError`` when a corruption came after features were chosen and the view was materialised.
        """
        found = self._library()
        if np.isnan(found).any():
            raise DataError(
                "what these cells have over every gene is lost: the other genes were let go before the cells were "
                "corrupted; thin before choosing genes"
            )
        return found

    def _library(self) -> NDArray[np.float64]:
        if not self.corruptions:
            return self.source.library[self.rows]
        if self.source.known is None:
            return dataclasses.replace(self, features=None).totals
        return np.full(self.n_obs, np.nan)


def _ahead(read: Callable[[Ints], Values], pieces: Sequence[Ints]) -> Iterator[Values]:
    """Yield the values of each piece; one thread reads the next one meanwhile."""
    with ThreadPoolExecutor(1) as thread:
        waiting = [thread.submit(read, piece) for piece in pieces[:1]]
        for piece in pieces[1:]:
            found = waiting.pop().result()
            waiting.append(thread.submit(read, piece))
            yield found
        yield from (each.result() for each in waiting)


def _sliced(rows: Ints) -> Ints | slice:
    """Return neighbouring rows as a slice, which is read without looking rows up one by one."""
    if len(rows) and rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all():
        return slice(int(rows[0]), int(rows[-1]) + 1)
    return rows
