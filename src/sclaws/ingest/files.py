"""Files of counts, opened: what they hold is told at once, their counts come in blocks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sclaws.datasets import _genes, _rows
from sclaws.errors import DataError, did_you_mean
from sclaws.ingest.recipe import Part
from sclaws.protocols import Ints

_BLOCK = 8192  # cells that are read at once, if they are not too full
_MOST = 2**24  # non-zeros that are read at once


class Source(Protocol):
    """Counts of some cells, one file's."""

    @property
    def n_obs(self) -> int:
        """Cells in the file."""
        ...

    @property
    def var(self) -> pd.DataFrame:
        """(p, ...) genes, by their names in the file."""
        ...

    def obs(self, columns: Sequence[str]) -> pd.DataFrame:
        """Return these columns of all cells; raise ``DataError`` for one that is not there."""
        ...

    def names(self, start: int, stop: int) -> NDArray[Any]:
        """Return the names of some cells."""
        ...

    def non_zeros(self) -> int:
        """Return about how many counts there are."""
        ...

    def blocks(self, size: int) -> Iterator[tuple[int, sparse.csr_matrix]]:
        """Yield (position of the first cell, counts of the next ``size`` cells), in order."""
        ...


@dataclass(frozen=True)
class Opened:
    """A file of the corpus: the cells that are kept (n,), and the names of its genes (p,), some of which may be equal.

    ``columns`` (n, ...) are those of the corpus that it has.
    """

    part: Part
    source: Source
    kept: Ints
    genes: NDArray[Any]
    columns: pd.DataFrame

    @property
    def n_obs(self) -> int:
        """Number of cells that are kept."""
        return len(self.kept)

    def names(self) -> Iterator[list[str]]:
        """Yield the names of the cells that are kept, "file:cell", some at a time."""
        for start in range(0, self.source.n_obs, _BLOCK):
            stop = min(start + _BLOCK, self.source.n_obs)
            first, last = np.searchsorted(self.kept, (start, stop))
            found = self.source.names(start, stop)[self.kept[first:last] - start]
            yield [f"{self.part.name}:{name}" for name in found]

    def blocks(self) -> Iterator[tuple[int, sparse.csr_matrix]]:
        """Yield (number of the first cell, counts (n, p)) of the cells that are kept."""
        each = max(self.source.non_zeros() / max(self.source.n_obs, 1), 1.0)
        size = int(max(min(_BLOCK, _MOST / each), 1))
        for start, values in self.source.blocks(size):
            first, last = np.searchsorted(self.kept, (start, start + values.shape[0]))
            if last > first:
                whole = last - first == values.shape[0]
                yield int(first), values if whole else values[self.kept[first:last] - start]


def opened(part: Part, source: Source) -> Opened:
    """Return what of a file goes into the corpus; raise ``DataError`` for columns and names that it does not have."""
    try:
        conditions = [condition.partition("=")[0].strip() for condition in (*part.keep, *part.drop)]
        obs = source.obs(list(dict.fromkeys((*conditions, *part.columns.values()))))
        mask = _rows.kept(obs, part.keep, part.drop) if conditions else np.ones(source.n_obs, dtype=bool)
        genes = _genes.new_names(source.var, part.genes, part.genes_path)
    except DataError as error:
        raise DataError(f"{part.where}: {error}") from error
    kept = np.flatnonzero(mask)
    columns = {column: obs[of].iloc[kept].reset_index(drop=True) for column, of in part.columns.items()}
    return Opened(part, source, kept, genes, pd.DataFrame(columns, index=pd.RangeIndex(len(kept))))


class AnnDataFile:
    """An AnnData in an h5ad file or a zarr folder. CSR and dense counts are read in blocks, CSC ones in one piece."""

    def __init__(self, part: Part, group: Any) -> None:
        self._part, self._group = part, group
        self._where = "X" if part.layer is None else f"layers[{part.layer!r}]"
        self._values = self._found()
        index = group["obs"].attrs["_index"]
        self._names = group["obs"][index]
        self.n_obs = int(self._names.shape[0])
        self.var: pd.DataFrame = _element(group["var"])
        if self._values.shape != (self.n_obs, len(self.var)) or 0 in self._values.shape:
            raise DataError(
                f"{part.where}, {self._where}: {' x '.join(map(str, self._values.shape))} values of {self.n_obs} cells "
                f"and {len(self.var)} genes; write the file anew"
            )

    def _found(self) -> Any:
        from anndata.io import sparse_dataset

        group, layer = self._group, self._part.layer
        if layer is not None and layer not in group.get("layers", {}):
            there = list(group.get("layers", {}))
            raise DataError(f"{self._part.where} has no layer {layer!r}; {did_you_mean(layer, there)}")
        if layer is None and "X" not in group:
            raise DataError(f"{self._part.where} has no X; point `layer` to the counts ({', '.join(group['layers'])})")
        values = group["X"] if layer is None else group["layers"][layer]
        if "matrix" not in str(values.attrs.get("encoding-type", "")):
            return values
        found = sparse_dataset(values)
        return found if found.format == "csr" else sparse.csr_matrix(found.to_memory())

    def obs(self, columns: Sequence[str]) -> pd.DataFrame:
        """Return these columns of all cells; raise ``DataError`` for one that is not there."""
        there = [name for name in self._group["obs"] if name != self._group["obs"].attrs["_index"]]
        for column in columns:
            if column not in there:
                raise DataError(f"obs has no column {column!r}; {did_you_mean(column, there)}")
        with telling(self._part):
            found = {column: _element(self._group["obs"][column]) for column in columns}
            return pd.DataFrame(found, index=pd.RangeIndex(self.n_obs))

    def names(self, start: int, stop: int) -> NDArray[Any]:
        """Return the names of some cells."""
        with telling(self._part):
            found = self._names[start:stop]
        return np.array([n.decode() if isinstance(n, bytes) else str(n) for n in found], dtype=object)

    def non_zeros(self) -> int:
        """Return about how many counts there are: of dense ones, all."""
        if isinstance(self._values, sparse.csr_matrix):
            return int(self._values.nnz)
        group = getattr(self._values, "group", None)
        return int(group["data"].shape[0]) if group is not None else self.n_obs * len(self.var)

    def blocks(self, size: int) -> Iterator[tuple[int, sparse.csr_matrix]]:
        """Yield (position of the first cell, counts of the next ``size`` cells), in order."""
        for start in range(0, self.n_obs, size):
            with telling(self._part):
                values = sparse.csr_matrix(self._values[start : start + size])
            yield start, values


@contextlib.contextmanager
def anndata_file(part: Part) -> Iterator[AnnDataFile]:
    """Open an h5ad file or a zarr folder; raise ``DataError`` naming the file and the remedy."""
    path = Path(part.path)
    if not path.exists():
        raise DataError(f"{path} does not exist; give the path of an h5ad file or a zarr folder, from the recipe on")
    with contextlib.ExitStack() as stack:
        with telling(part):
            found = AnnDataFile(part, _zarr(path) if path.is_dir() else stack.enter_context(_hdf5(path)))
        yield found


def _zarr(path: Path) -> Any:
    import zarr

    return zarr.open_group(path, mode="r")


def _hdf5(path: Path) -> Any:
    import h5py

    with contextlib.suppress(ImportError):
        import hdf5plugin  # type: ignore[import-not-found]  # noqa: F401  # registers zstd and its like
    return h5py.File(path, "r")


@contextlib.contextmanager
def telling(part: Part) -> Iterator[None]:
    """Turn what libraries raise on a damaged file into one sentence."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except Exception as error:  # each library has its own
        text = " ".join(str(error).split("\n\n")[0].split())
        raise DataError(
            f"{part.where} cannot be read ({type(error).__name__}: {text}): see that it is whole, copy it again, or "
            f"write it anew with anndata"
        ) from error


def _element(group: Any) -> Any:
    from anndata.io import read_elem

    return read_elem(group)
