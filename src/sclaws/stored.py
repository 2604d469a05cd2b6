"""A corpus on disk: what is asked of an AnnData, with the counts left where they are and read in blocks.

The folder is an AnnData in zarr (version 3), as ``sclaws ingest`` writes it: ``X`` is CSR in shards, its rows in the
order of a hash of the cells' names, and ``uns["sclaws"]`` holds what is then not walked for: ids and totals.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray
from scipy import sparse

from sclaws import addresses
from sclaws.errors import DataError
from sclaws.protocols import Ids, Ints

OURS = "uns/sclaws"  # the group of what is ours
FORMAT = 1  # raised when an older reader would misread the folder
NONZERO_BYTES = 8  # of a count in memory: float32, and int32 for its gene
_BLOCK = 2**16  # cells that are looked at together
_MOST = 2**23  # non-zeros that are read at once
_GAP = 2**16  # non-zeros between two cells up to which they are read in one piece: a chunk


class Rows:
    """The counts of a corpus: ``rows[3:9]`` or ``rows[[7, 2, 5]]`` reads these cells as (n, p) float32 CSR.

    Neighbours on disk are read in one piece, and a piece is never larger than 8 million non-zeros (48 MB), so memory
    is that of what is returned. Cells that lie apart cost a chunk each: 2¹⁶ non-zeros. Raises ``DataError`` naming the
    folder when a chunk is damaged.
    """

    def __init__(self, group: Any, path: Path | str) -> None:
        self._path, self._data, self._indices = path, group["X/data"], group["X/indices"]
        self.indptr: NDArray[np.int64] = group["X/indptr"][:]
        self.shape = tuple(int(n) for n in group["X"].attrs["shape"])

    @property
    def non_zeros(self) -> int:
        """How many genes a cell has on average, rounded up."""
        return -(-int(self.indptr[-1]) // max(self.shape[0], 1))

    def __getitem__(self, rows: Any) -> sparse.csr_matrix:
        if isinstance(rows, slice):
            wanted = np.arange(*rows.indices(self.shape[0]))
        else:
            wanted = np.asarray(rows)
        rising = len(wanted) < 2 or bool((np.diff(wanted) > 0).all())
        found = self._rising(wanted if rising else (unique := np.unique(wanted)))
        return found if rising else found[np.searchsorted(unique, wanted)]

    def _rising(self, rows: Ints) -> sparse.csr_matrix:
        sizes = self.indptr[rows + 1] - self.indptr[rows]
        ends = np.concatenate([[0], np.cumsum(sizes)])
        data, indices = np.empty(ends[-1], np.float32), np.empty(ends[-1], np.int32)
        for first, last in _pieces(self.indptr[rows], self.indptr[rows + 1]):
            low, high = self.indptr[rows[first]], self.indptr[rows[last - 1] + 1]
            counts, genes = self._read(int(low), int(high))
            _copy(self.indptr[rows[first:last]] - low, ends[first : last + 1], counts, genes, data, indices)
        made = sparse.csr_matrix((data, indices, ends), shape=(len(rows), self.shape[1]), copy=False)
        made.has_canonical_format = True  # as it was written; to look costs a walk
        return made

    def _read(self, low: int, high: int) -> tuple[Any, Any]:
        try:
            return self._data[low:high], self._indices[low:high]
        except Exception as error:  # each codec has its own
            raise DataError(
                f"{self._path}: counts {low:,} to {high:,} cannot be read ({type(error).__name__}: {error}): the "
                "corpus is damaged; copy it again, or run sclaws ingest again"
            ) from error


def _pieces(low: NDArray[np.int64], high: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of rows that are read at once: close together, and not too many."""
    first = 0
    for far in np.append(np.flatnonzero(low[1:] - high[:-1] > _GAP) + 1, len(low)):
        while first < far:
            last = max(int(np.searchsorted(high[:far], low[first] + _MOST, side="right")), first + 1)
            yield first, last
            first = last


@njit(cache=True, nogil=True)
def _copy(begin: Any, ends: Any, counts: Any, genes: Any, data: Any, indices: Any) -> None:
    for row in range(len(begin)):
        source = begin[row]
        for at in range(ends[row], ends[row + 1]):
            data[at] = counts[source]
            indices[at] = genes[source]
            source += 1


class Stored:
    """An opened corpus, with what of an AnnData the rest asks for: ``n_obs``, ``obs``, ``var``, ``X`` and their like.

    ``obs`` is numbered from 0 on; ``names(rows)`` has the cells' own names. In memory: the columns of ``obs``, and
    24 bytes a cell for ids, totals and where its counts begin. ``in_memory_gb`` is what the counts of a view may take
    there. Raises ``DataError`` for what is no corpus.
    ``path`` may be an address (:mod:`sclaws.addresses`), read over the network: the blocks that are asked for alone.
    """

    def __init__(self, path: Path | str, in_memory_gb: float = 2.0) -> None:
        self.path, self.in_memory_gb = path, in_memory_gb
        self._group = group = _opened(path)
        self._refuse_holes()
        self.X = Rows(group, path)
        self.n_obs, self.n_vars = self.X.shape
        self.obsm: dict[str, Any] = {}
        self.uns: dict[str, Any] = {}
        self.cell_ids: Ids = group[f"{OURS}/cell_ids"][:]
        self.totals: NDArray[np.float64] = group[f"{OURS}/totals"][:]

    def _refuse_holes(self) -> None:
        """Raise ``DataError`` when a file is missing: zarr reads zeros where one is."""
        for name in ("X/data", "X/indices", "X/indptr", f"{OURS}/cell_ids", f"{OURS}/totals"):
            array = self._group[name]
            wanted = math.prod(-(-n // shard) for n, shard in zip(array.shape, array.shards, strict=True))
            if (there := _files(self.path, f"{name}/c")) < wanted:
                raise DataError(
                    f"{self.path}: {wanted - there} of the {wanted} files of {name} are missing: the corpus is "
                    "damaged; copy it again, or run sclaws ingest again"
                )

    @functools.cached_property
    def obs(self) -> pd.DataFrame:
        """(n, ...) columns of the cells."""
        group = self._group["obs"]
        columns = {name: _element(group[name]) for name in group.attrs["column-order"]}
        return pd.DataFrame(columns, index=pd.RangeIndex(self.n_obs))

    @functools.cached_property
    def var(self) -> pd.DataFrame:
        """(p, ...) genes."""
        return _element(self._group["var"])  # type: ignore[no-any-return]

    @property
    def var_names(self) -> pd.Index:
        """(p,) names of the genes."""
        return self.var.index

    @property
    def obs_names(self) -> pd.Index:
        """(n,) numbers in place of names."""
        return self.obs.index

    def names(self, rows: Ints) -> NDArray[Any]:
        """Return the (len(rows),) names of these cells."""
        return np.asarray(self._group["obs/_index"].get_orthogonal_selection(np.asarray(rows)), dtype=object)

    def fits(self, rows: Ints) -> bool:
        """Return whether the counts of these cells may be brought into memory."""
        blocks = (rows[start : start + _BLOCK] for start in range(0, len(rows), _BLOCK))
        non_zeros = sum(int((self.X.indptr[some + 1] - self.X.indptr[some]).sum()) for some in blocks)
        return non_zeros * NONZERO_BYTES <= self.in_memory_gb * 1e9


def _element(group: Any) -> Any:
    from anndata.io import read_elem

    return read_elem(group)


def _files(path: Path | str, folder: str) -> int:
    """Return how many files are in a folder of the corpus."""
    if isinstance(path, str):
        return addresses.count(f"{path}/{folder}")
    return sum(1 for file in (path / folder).rglob("*") if file.is_file())


def _opened(path: Path | str) -> Any:
    import zarr

    if isinstance(path, Path) and not path.is_dir():
        what = "is a file" if path.is_file() else "does not exist"
        raise DataError(f"{path} {what}; give the folder that sclaws ingest wrote")
    try:
        with contextlib.nullcontext() if isinstance(path, str) else _fast():  # zarrs reads local files alone
            store = addresses.store(path) if isinstance(path, str) else path
            group = zarr.open_group(store, mode="r", zarr_format=3)
            found = group[OURS].attrs["format"]
    except (FileNotFoundError, KeyError, ValueError, OSError) as error:
        raise DataError(
            f"{path} is no corpus ({type(error).__name__}: {error}): write one with sclaws ingest recipe.toml, which "
            "takes h5ad files, zarr folders and SOMA experiments"
        ) from error
    if found != FORMAT:
        raise DataError(f"{path} has format {found}, and this version of sclaws reads {FORMAT}: ingest it anew")
    return group


@contextlib.contextmanager
def _fast() -> Iterator[None]:
    """Open arrays so that they are read by zarrs, two to three times as fast, where it is installed."""
    import zarr

    there = importlib.util.find_spec("zarrs") is not None
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"} if there else {}):
        if there:
            import zarrs  # noqa: F401  # registers itself
        yield
