"""Second half of a shuffle on disk: buckets, one after another, -> an AnnData in sharded zarr."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numba import njit
from numpy.typing import NDArray

from sclaws.ingest import scattering
from sclaws.protocols import Ids
from sclaws.stored import FORMAT, OURS

_CHUNK, _SHARD = 2**16, 2**23  # numbers that are compressed together, and that are one file
_LEVEL = 3  # of zstd


class _Appended:
    """A one-dimensional array in zarr that is written from front to back, a shard at a time; text goes unsharded."""

    def __init__(self, group: Any, name: str, length: int, dtype: Any) -> None:
        from zarr.codecs import BloscCodec, ZstdCodec

        if dtype is str:
            shard, kind = _CHUNK, "string-array"
            how: dict[str, Any] = {"compressors": [ZstdCodec(level=_LEVEL)]}
        else:
            shard, kind = min(_SHARD, -(-max(length, 1) // _CHUNK) * _CHUNK), "array"
            width = np.dtype(dtype).itemsize
            packed = BloscCodec(cname="zstd", clevel=_LEVEL, shuffle="bitshuffle", typesize=width)
            how = {"shards": (shard,), "compressors": [packed], "config": {"write_empty_chunks": True}}
        self._array = group.create_array(name, shape=(length,), dtype=dtype, chunks=(_CHUNK,), **how)
        self._array.attrs.update({"encoding-type": kind, "encoding-version": "0.2.0"})
        self._kind = object if dtype is str else dtype
        self._shard, self._at, self._waiting, self._held = shard, 0, [np.empty(0, self._kind)], 0

    def add(self, values: NDArray[Any]) -> None:
        self._waiting.append(values)
        self._held += len(values)
        if self._held >= self._shard:
            joined = np.concatenate(self._waiting)
            whole = len(joined) // self._shard * self._shard
            self._write(joined[:whole])
            self._waiting, self._held = [joined[whole:]], len(joined) - whole

    def close(self) -> None:
        self._write(np.concatenate(self._waiting))

    def _write(self, values: NDArray[Any]) -> None:
        if len(values):
            self._array[self._at : self._at + len(values)] = values.astype(self._kind)
            self._at += len(values)


def gather(
    folder: Path,
    scattered: Sequence[Path],
    found: Sequence[scattering.Scattered],
    *,
    per_bucket: int,
    ids: Ids,
    genes: pd.Index,
    obs: pd.DataFrame,
    progress: Callable[[int], None],
) -> None:
    """Write the corpus to ``folder``: ``ids`` (n,) and ``obs`` (n, ...) are in its order.

    The matrix is that of anndata's ``csr_matrix``; counts and genes take two bytes each where they can. Memory: one
    bucket, a shard, and some numbers a cell.
    """
    import zarr

    n, non_zeros = len(ids), sum(each.non_zeros for each in found)
    root = zarr.open_group(folder, mode="w", zarr_format=3)
    root.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    matrix = root.create_group("X")
    matrix.attrs.update({"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [n, len(genes)]})
    of_counts, of_genes = _narrow(max((each.largest for each in found), default=0)), _narrow(len(genes))
    data, indices = _Appended(matrix, "data", non_zeros, of_counts), _Appended(matrix, "indices", non_zeros, of_genes)
    names = _Appended(root.create_group("obs"), "_index", n, str)
    sizes, totals, seen = np.zeros(n, np.int64), np.zeros(n), hashlib.blake2b(ids.tobytes(), digest_size=16)
    for bucket, first in enumerate(range(0, n, per_bucket)):
        last = min(first + per_bucket, n)
        made = _bucket([part / str(bucket) for part in scattered], first, last - first, of_counts, of_genes)
        names.add(made.names)
        sizes[first:last], totals[first:last] = made.sizes, made.totals
        for array, values in ((data, made.counts), (indices, made.genes)):
            array.add(values)
            seen.update(values.astype(np.uint32).data)
        progress(last - first)
    for array in (data, indices, names):
        array.close()
    _whole(matrix, "indptr", np.concatenate([[0], np.cumsum(sizes)]))
    seen.update(sizes.tobytes() + "\n".join(genes).encode())
    _annotations(root["obs"], obs, seen)
    _write(root, "var", pd.DataFrame(index=genes))
    ours = root.require_group("uns").require_group("sclaws")
    for group in (root["uns"], ours):
        group.attrs.update({"encoding-type": "dict", "encoding-version": "0.1.0"})
    assert ours.path == OURS
    _whole(ours, "cell_ids", ids)
    _whole(ours, "totals", totals)
    ours.attrs.update({"format": FORMAT, "digest": f"blake2b:{seen.hexdigest()}"})


def _whole(group: Any, name: str, values: NDArray[Any]) -> None:
    array = _Appended(group, name, len(values), values.dtype)
    array.add(values)
    array.close()


def _narrow(largest: int) -> Any:
    return np.uint16 if largest < 2**16 else np.uint32


class _Bucket(NamedTuple):
    """The cells of a bucket in their order: names, how many counts each has, their sum; counts and genes of all."""

    names: NDArray[Any]
    sizes: NDArray[np.int64]
    totals: NDArray[np.float64]
    counts: NDArray[Any]
    genes: NDArray[Any]


def _bucket(files: Sequence[Path], first: int, n: int, of_counts: Any, of_genes: Any) -> _Bucket:
    """Return the ``n`` cells of a bucket, the first of which is the corpus's number ``first``."""
    parts = [record for file in files for record in scattering.records(file)]
    names, sizes, totals = np.empty(n, dtype=object), np.zeros(n, dtype=np.int64), np.zeros(n)
    for record in parts:
        names[record.places - first] = record.names
        sizes[record.places - first] = record.sizes
    starts = np.cumsum(sizes) - sizes
    counts, genes = np.empty(sizes.sum(), of_counts), np.empty(sizes.sum(), of_genes)
    for record in parts:
        _place(record.places - first, record.sizes, record.counts, record.genes, starts, counts, genes, totals)
    return _Bucket(names, sizes, totals, counts, genes)


@njit(cache=True, nogil=True)
def _place(
    places: Any, sizes: Any, from_counts: Any, from_genes: Any, starts: Any, counts: Any, genes: Any, totals: Any
) -> None:
    entry = 0
    for cell in range(len(places)):
        into = starts[places[cell]]
        for _ in range(sizes[cell]):
            counts[into] = from_counts[entry]
            genes[into] = from_genes[entry]
            totals[places[cell]] += from_counts[entry]
            into += 1
            entry += 1


def _annotations(group: Any, obs: pd.DataFrame, seen: Any) -> None:
    about = {"encoding-type": "dataframe", "encoding-version": "0.2.0", "_index": "_index"}
    group.attrs.update({**about, "column-order": list(obs.columns)})
    for column in obs:
        values = obs[column]
        plain = values.array if isinstance(values.dtype, pd.CategoricalDtype) else values.to_numpy()
        _write(group, str(column), plain)
        seen.update(f"{column}\n".encode() + pd.util.hash_pandas_object(values, index=False).to_numpy().tobytes())


def _write(group: Any, name: str, values: Any) -> None:
    from anndata.io import write_elem

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="zarr v3 autosharding")  # these are small
        write_elem(group, name, values)
