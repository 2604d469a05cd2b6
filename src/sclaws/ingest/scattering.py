"""First half of a shuffle on disk: cells in the order of their files -> buckets, neighbours in the order to be.

A bucket is a file of records, each the cells of a block that belong there. What is scattered of a file of the corpus
stands in a folder of its own, which gets its name when it is whole: who runs again goes on with the next file.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sclaws.protocols import Ints

_HEAD = struct.Struct("<7q")  # cells, non-zeros, bytes of a gene and of a count, bytes of genes, counts and names


class Record(NamedTuple):
    """Some cells of a bucket: where they go (n,), counts that each has (n,), names, and genes and counts of all."""

    places: Ints
    sizes: Ints
    names: list[str]
    genes: NDArray[Any]
    counts: NDArray[Any]


class Block(NamedTuple):
    """Cells of a file: the number of the first, their names, counts on the corpus's genes, and the sum on all genes."""

    first: int
    names: list[str]
    counts: sparse.csr_matrix
    before: float


@dataclass
class Scattered:
    """What a file of the corpus came to: non-zeros, the largest count, all counts before genes were chosen, after."""

    non_zeros: int = 0
    largest: int = 0
    before: float = 0.0
    after: float = 0.0


def scatter(
    blocks: Iterator[Block],
    places: Ints,
    per_bucket: int,
    folder: Path,
    progress: Callable[[int], None],
) -> Scattered:
    """Write the cells of one file to ``folder``, if they are not there yet, and return what they came to.

    ``places`` (n,) is where each cell of the file goes. Memory: one block.
    """
    done = folder / "scattered.json"
    if done.is_file():
        progress(len(places))
        return Scattered(**json.loads(done.read_text()))
    half = folder.with_suffix(".half")
    _emptied(half)
    found = Scattered()
    for block in blocks:
        counts = block.counts
        _block(block, places[block.first : block.first + counts.shape[0]], per_bucket, half)
        found.non_zeros += int(counts.nnz)
        found.largest = max(found.largest, int(counts.data.max(initial=0)))
        found.before, found.after = found.before + block.before, found.after + float(counts.data.sum(dtype=np.float64))
        progress(counts.shape[0])
    (half / done.name).write_text(json.dumps(asdict(found)))
    half.rename(folder)
    return found


def _emptied(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.iterdir():
        file.unlink()


def _block(block: Block, places: Ints, per_bucket: int, folder: Path) -> None:
    order = np.argsort(places)
    buckets = places[order] // per_bucket
    ends = np.append(np.flatnonzero(np.diff(buckets)) + 1, len(buckets))
    counts, first = block.counts[order], 0
    for last in ends:
        part = slice(counts.indptr[first], counts.indptr[last])
        sizes = np.diff(counts.indptr[first : last + 1]).astype(np.int32)
        names = [block.names[at] for at in order[first:last]]
        record = Record(places[order[first:last]], sizes, names, counts.indices[part], counts.data[part])
        with open(folder / f"{buckets[first]}", "ab") as file:
            file.write(_packed(record))
        first = last


def _packed(record: Record) -> bytes:
    genes = record.genes.astype(np.uint16 if record.genes.max(initial=0) < 2**16 else np.uint32)
    counts = record.counts.astype(np.uint16 if record.counts.max(initial=0) < 2**16 else np.uint32)
    parts = [_shorter(array) for array in (genes, counts, np.frombuffer("\0".join(record.names).encode(), np.uint8))]
    sizes = record.sizes.astype(np.int32).tobytes()
    head = _HEAD.pack(len(record.places), len(genes), genes.itemsize, counts.itemsize, *map(len, parts))
    return head + record.places.astype(np.int64).tobytes() + sizes + b"".join(parts)


def _shorter(array: NDArray[Any]) -> bytes:
    return bytes(_codec(array.itemsize).encode(np.ascontiguousarray(array))) if array.size else b""


def _codec(itemsize: int) -> Any:
    from numcodecs import Blosc

    return Blosc(cname="lz4", clevel=1, shuffle=Blosc.SHUFFLE if itemsize > 1 else Blosc.NOSHUFFLE)


def records(file: Path) -> Iterator[Record]:
    """Yield what was written to a bucket; nothing if nothing was."""
    if not file.is_file():
        return
    with open(file, "rb") as opened:
        while head := opened.read(_HEAD.size):
            n, _, of_gene, of_count, *lengths = _HEAD.unpack(head)
            places = np.frombuffer(opened.read(8 * n), np.int64)
            sizes = np.frombuffer(opened.read(4 * n), np.int32)
            genes, counts, names = (
                np.frombuffer(_codec(width).decode(opened.read(length)) if length else b"", f"<u{width}")
                for width, length in zip((of_gene, of_count, 1), lengths, strict=True)
            )
            yield Record(places, sizes, names.tobytes().decode().split("\0"), genes, counts)
