"""Files of counts -> one corpus on disk: genes under one kind of name, cells shuffled, each knowing its study."""

from __future__ import annotations

import contextlib
import functools
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from filelock import FileLock, Timeout
from scipy import sparse

from sclaws import counts, keys
from sclaws.errors import DataError, StudyError
from sclaws.hashing import name_ids, ranked
from sclaws.ingest import gathering, scattering
from sclaws.ingest.files import Opened, anndata_file, opened
from sclaws.ingest.recipe import STUDY, Part, Which, read
from sclaws.protocols import Ids, Ints

FEWEST = 20  # genes that files must share to be one corpus
SEED = 0  # of the order of cells on disk
BUCKET = 2**23  # non-zeros that are shuffled at once, about
_EXAMPLES = 3

Progress = Callable[[int, str], None]


def _silent(cells: int, what: str) -> None:
    pass


def ingest(recipe: Path, out: Path, progress: Progress = _silent) -> list[str]:
    """Write the corpus that a recipe describes to the folder ``out``, and return what was found, in sentences.

    The recipe is a TOML file: ``genes`` = "common" (the default) or "all", and a ``[[file]]`` for each file
    (:class:`sclaws.ingest.recipe.Part`). ``obs`` gets ``study`` and the columns asked for; cells are called
    "name:cell" and stand in the order of a hash of that, whatever the order of files. The folder is an AnnData in zarr.
    ``progress(cells, what)`` is called as cells are read, and again as they are written.

    Every file is read once, in blocks; cells go to buckets on disk, and buckets to the corpus, so memory is some
    hundred megabytes and about 100 bytes a cell, whatever its counts; disk is needed for the cells twice. Killed, it
    goes on at the file it was at.
    Raises ``StudyError`` for a recipe that cannot be read, ``DataError`` for files and folders.
    """
    which, parts = read(recipe)
    if out.suffix != ".zarr":
        raise StudyError(f"{out} must end in .zarr, which is what is written")
    if out.exists():
        raise DataError(f"{out} is there already; remove it, or give another name")
    scratch = out.with_name(f".{out.name}.half")
    with _alone(scratch), contextlib.ExitStack() as stack:
        files = [stack.enter_context(_file(part)) for part in parts]
        said = _written(files, _genes(files, which), scratch, out, progress)
    shutil.rmtree(scratch)
    return said


@contextlib.contextmanager
def _alone(scratch: Path) -> Iterator[None]:
    """Hold the folder of what is half done; raise ``DataError`` when somebody else does, or nothing can be written."""
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        with FileLock(scratch / "lock", timeout=0):
            yield
    except Timeout as error:
        raise DataError(f"{scratch} is being written by another process; wait for it, or give another name") from error
    except OSError as error:
        raise DataError(f"{scratch} cannot be written: {error}; run again, and it goes on where it was") from error


@contextlib.contextmanager
def _file(part: Part) -> Iterator[Opened]:
    if part.is_soma:
        from sclaws.ingest.soma import experiment  # takes seconds to import

        source: Any = experiment(part)
    else:
        source = anndata_file(part)
    with source as found:
        yield opened(part, found)


def _written(files: Sequence[Opened], genes: pd.Index, scratch: Path, out: Path, progress: Progress) -> list[str]:
    ids, places = _ordered(_ids(files))
    expected = sum(file.source.non_zeros() * file.n_obs / max(file.source.n_obs, 1) for file in files)
    per_bucket = int(max(len(ids) * min(BUCKET / max(expected, 1.0), 1.0), 1))
    _same_as_before(scratch, [*map(_fingerprint, files), keys.key(list(genes)), per_bucket])
    found, folders, said, first = [], [], [], 0
    for number, file in enumerate(files):
        folders.append(scratch / f"{number}")
        mine = places[first : first + file.n_obs]
        told = _telling(progress, f"reading {file.part.name}")
        found.append(scattering.scatter(_blocks(file, genes), mine, per_bucket, folders[-1], told))
        said.append(_said(file, genes, found[-1]))
        first += file.n_obs
    half = scratch / "corpus.zarr"
    gathering.gather(
        half, folders, found, per_bucket=per_bucket, ids=ids, genes=genes,
        obs=_obs(files).iloc[np.argsort(places)], progress=_telling(progress, "writing"),
    )  # fmt: skip
    half.rename(out)  # whole, or not there
    return [*said, f"{out}: {len(ids):,} cells x {len(genes):,} genes"]


def _ordered(ids: Ids) -> tuple[Ids, Ints]:
    """Return the (n,) ids in the order of the corpus, and the place that each cell has there."""
    order = ranked(ids, SEED)
    places = np.empty(len(order), dtype=np.int64)
    places[order] = np.arange(len(order))
    return ids[order], places


def _telling(progress: Progress, what: str) -> Callable[[int], None]:
    return lambda cells: progress(cells, what)


def _fingerprint(file: Opened) -> str:
    """Return what changes when a file or what is wanted of it does, without reading all of it."""
    table = keys.path_digest(Path(file.part.genes_path)) if file.part.genes_path else ""
    path = Path(file.part.path)
    inside = [each.stat() for each in (path.rglob("*") if path.is_dir() else [path])] if file.part.path else []
    changed = [sum(each.st_size for each in inside), max((each.st_mtime_ns for each in inside), default=0)]
    return keys.key([repr(file.part), file.n_obs, file.source.non_zeros(), table, keys.key(list(file.genes)), *changed])


def _same_as_before(scratch: Path, plan: list[Any]) -> None:
    """Throw away what was half done after another recipe, or of files that were changed since."""
    file = scratch / "plan.json"
    with contextlib.suppress(OSError, ValueError):  # none yet, or cut short
        if json.loads(file.read_text()) == plan:
            return
    for folder in scratch.iterdir():
        if folder.is_dir():
            shutil.rmtree(folder)
    file.write_text(json.dumps(plan))


def _ids(files: Sequence[Opened]) -> Ids:
    """Return the (n,) ids of all cells, file after file; raise ``DataError`` when a file has two of one name."""
    parts = []
    for file in files:
        mine = np.concatenate([np.empty(0, np.uint64), *(name_ids(names) for names in file.names())])
        unique, first = np.unique(mine, return_index=True)
        if len(unique) < len(mine):
            twice = np.setdiff1d(np.arange(len(mine)), first)
            name = next(n for at, n in enumerate(n for names in file.names() for n in names) if at == twice[0])
            raise DataError(
                f"{file.part.where}: {len(twice)} cell names occur more than once, the first is "
                f"{name.partition(':')[2]!r}; call adata.obs_names_make_unique() and save it again"
            )
        parts.append(mine)
    return np.concatenate(parts)


def _blocks(file: Opened, genes: pd.Index) -> Iterator[scattering.Block]:
    """Yield a file's cells on the genes of the corpus; genes of its own that have one name are added up."""
    into = genes.get_indexer(pd.Index(file.genes))
    mine = np.flatnonzero(into >= 0)
    chosen = sparse.csr_matrix(
        (np.ones(len(mine), np.float32), (mine, into[mine])), shape=(len(file.genes), len(genes))
    )
    named = (name for names in file.names() for name in names)
    remedy = "point `layer` to the counts"
    for first, values in file.blocks():
        names = [next(named) for _ in range(values.shape[0])]
        csr = counts.checked(values, names, list(file.genes), where=file.part.where, remedy=remedy)
        moved = sparse.csr_matrix(csr @ chosen)
        moved.sort_indices()
        yield scattering.Block(first, names, moved, float(csr.data.sum(dtype=np.float64)))


def _said(file: Opened, genes: pd.Index, found: scattering.Scattered) -> str:
    share = genes.isin(file.genes).mean()
    return (
        f"{file.part.name}: {file.n_obs:,} cells x {len(set(file.genes)):,} genes; it has {share:.0%} of the corpus's "
        f"genes, which hold {found.after / max(found.before, 1.0):.0%} of its counts"
    )


def _genes(files: Sequence[Opened], which: Which) -> pd.Index:
    names = [pd.Index(file.genes).drop_duplicates() for file in files]
    if which == "all":
        return functools.reduce(lambda one, other: one.union(other, sort=False), names)
    common = functools.reduce(lambda one, other: one[one.isin(other)], names)
    if len(common) < FEWEST:
        called = "; ".join(
            f"{file.part.name}: {', '.join(map(repr, each[:_EXAMPLES]))}"
            for file, each in zip(files, names, strict=True)
        )
        raise DataError(
            f"the files share {len(common)} genes, and {FEWEST} are the least ({called}): bring them to one kind of "
            f"name (genes = a column of var, genes_path = a table of names)"
        )
    return common


def _obs(files: Sequence[Opened]) -> pd.DataFrame:
    """Return the columns of the corpus (n, ...), file after file."""
    names = list(dict.fromkeys(column for file in files for column in file.columns))
    study = pd.Categorical.from_codes(
        np.repeat(np.arange(len(files)), [file.n_obs for file in files]), [file.part.name for file in files]
    )
    return pd.DataFrame({STUDY: study, **{name: _column(files, name) for name in names}})


def _column(files: Sequence[Opened], name: str) -> pd.Series[Any]:
    """Return what all files together have in a column: numbers if all of them are, else names (a label's categories).

    Whole numbers some of which are missing are names: as numbers they could only be fractions, and so a quantity.
    """
    parts = [file.columns.get(name) for file in files]
    there = [part for part in parts if part is not None]
    kinds = {pd.api.types.infer_dtype(part, skipna=True) for part in there} - {"empty"}
    missing = len(there) < len(parts) or any(part.isna().any() for part in there)
    fractions = kinds & {"floating", "mixed-integer-float"}
    if kinds <= {"floating", "mixed-integer-float", "integer"} and (fractions or (kinds and not missing)):
        filled = [
            np.full(file.n_obs, np.nan) if part is None else pd.to_numeric(part).to_numpy()
            for file, part in zip(files, parts, strict=True)
        ]
        return pd.Series(np.concatenate(filled))
    texts = [_names(part, file.n_obs) for file, part in zip(files, parts, strict=True)]
    return pd.Series(pd.api.types.union_categoricals(texts))


def _names(values: pd.Series[Any] | None, n: int) -> pd.Categorical:
    """Return a column as categories (n,), each a text; of none, what is missing throughout."""
    if values is None:
        return pd.Categorical.from_codes(np.full(n, -1), pd.Index([], dtype=object))
    kind = values.astype("category").array
    texts = pd.Index([str(category) for category in kind.categories], dtype=object)
    unique = pd.Index(texts.unique(), dtype=object)
    codes = np.where(kind.codes < 0, -1, unique.get_indexer(texts)[kind.codes]) if len(texts) else kind.codes
    return pd.Categorical.from_codes(codes, unique)
