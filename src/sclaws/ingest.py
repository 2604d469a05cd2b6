"""Several files of counts -> one corpus: genes under one kind of name, cells that know which study they are from."""

from __future__ import annotations

import functools
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from scipy import sparse

from sclaws.alignment import aligned
from sclaws.errors import DataError, StudyError, did_you_mean
from sclaws.plugins import Spec
from sclaws.view import View

if TYPE_CHECKING:
    import anndata

STUDY = "study"  # the column of obs that says which file a cell is from
FEWEST = 20  # genes that files must share to be one corpus
_TOP = ("genes", "file")
_EXAMPLES = 3


@dataclass(frozen=True)
class Part:
    """A file of the corpus: its name, a data set ``h5ad``, and {column of the corpus: column of the file}."""

    name: str
    dataset: Spec
    columns: Mapping[str, str]

    def load(self) -> View:
        """Return its cells; raises ``DataError`` for a column that it does not have."""
        view = View.of(self.dataset.build().load())
        for column in self.columns.values():
            if column not in view.obs:
                raise DataError(f"{self.name}: obs has no column {column!r}; {did_you_mean(column, view.obs)}")
        return view


def ingest(recipe: Path, out: Path) -> list[str]:
    """Write the corpus that a recipe describes to ``out`` (h5ad), and return what was found, in sentences.

    The recipe is a TOML file: ``genes`` = "common" (the default) or "all", and a ``[[file]]`` for each file, with the
    fields of the data set h5ad (path, layer, keep, drop, genes, genes_path), a ``name`` (the file's own, if it has
    none) and ``columns``. ``obs`` gets ``study`` and the columns; cells are called "name:cell". Files and corpus
    are in memory at once. Raises ``StudyError`` for a recipe that cannot be read, ``DataError`` for its files.
    """
    which, parts = read(recipe)
    if out.suffix != ".h5ad":
        raise StudyError(f"{out} must end in .h5ad, which is what is written")
    made, said = corpus(parts, which)
    half = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        made.write_h5ad(half, compression="gzip")
        half.replace(out)  # whole, or not there
    except OSError as error:
        raise DataError(f"{out} cannot be written: {error}") from error
    finally:
        half.unlink(missing_ok=True)
    return [*said, f"{out}: {made.n_obs:,} cells x {made.n_vars:,} genes"]


def read(recipe: Path) -> tuple[Literal["common", "all"], list[Part]]:
    """Return which genes a recipe asks for, and its files."""
    try:
        words = tomllib.loads(recipe.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"{recipe} cannot be read: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"{recipe}: not valid TOML: {error}") from error
    for word in words:
        if word not in _TOP:
            raise StudyError(f"{recipe}: unknown key {word!r}; {did_you_mean(word, _TOP)}")
    files = words.get("file", [])
    if not isinstance(files, list) or not files or not all(isinstance(each, Mapping) for each in files):
        raise StudyError(f"{recipe}: write one [[file]] table, with two brackets, for each file")
    if (which := words.get("genes", "common")) not in ("common", "all"):
        raise StudyError(f"{recipe}: genes = {which!r}; {did_you_mean(str(which), ('common', 'all'))}")
    parts = [_part(each, recipe, number) for number, each in enumerate(files, start=1)]
    names = [part.name for part in parts]
    if twice := {name for name in names if names.count(name) > 1}:
        raise StudyError(f"{recipe}: two files are called {min(twice)!r}: give one of them a name of its own")
    return which, parts


def _part(words: Mapping[str, Any], recipe: Path, number: int) -> Part:
    where = f"{recipe}, [[file]] number {number}"
    rest = dict(words)
    name, columns = rest.pop("name", None), rest.pop("columns", {})
    if "path" not in rest:
        raise StudyError(f"{where}: 'path' is missing")
    if not isinstance(columns, Mapping) or not all(isinstance(each, str) for each in columns.values()):
        raise StudyError(f'{where}: columns = {columns!r} must be a table such as {{ cell_type = "celltype" }}')
    if STUDY in columns:
        raise StudyError(f"{where}: the column {STUDY!r} is the file's name; call this one something else")
    dataset = Spec.of("datasets", {"use": "h5ad", **rest}, recipe.resolve().parent)
    return Part(str(name or Path(rest["path"]).stem), dataset, columns)


def corpus(parts: Sequence[Part], which: Literal["common", "all"]) -> tuple[anndata.AnnData, list[str]]:
    """Return the parts as one, and a sentence about each.

    With "common" genes, those that every part has, in the order of the first; with "all", those of any, and zero where
    a part has none: a network may then learn which file a cell is from by what is missing.
    """
    import anndata

    views = [part.load() for part in parts]
    genes = _genes(parts, views, which)
    columns = list(dict.fromkeys(column for part in parts for column in part.columns))
    made, said = [], []
    for part, view in zip(parts, views, strict=True):
        lined, share = aligned(view, genes)
        counts = sparse.csr_matrix(lined.to_adata().X)
        total = max(float(view.totals.sum()), 1.0)
        said.append(
            f"{part.name}: {view.n_obs:,} cells x {view.n_vars:,} genes; it has {share:.0%} of the corpus's genes, "
            f"which hold {counts.sum() / total:.0%} of its counts"
        )
        obs = pd.DataFrame(
            {column: _column(part, view, column) for column in columns}, index=view.obs.index.astype(str)
        )
        obs.insert(0, STUDY, part.name)
        obs.index = part.name + ":" + obs.index
        made.append(anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=genes)))
    whole = made[0] if len(made) == 1 else anndata.concat(made)
    for column in (STUDY, *columns):
        whole.obs[column] = _kind(whole.obs[column])
    return whole, said


def _column(part: Part, view: View, column: str) -> Any:
    if column not in part.columns:
        return np.full(view.n_obs, None, dtype=object)
    values = view.obs[part.columns[column]]
    return values.astype(object).where(values.notna(), None).to_numpy()


def _kind(values: pd.Series[Any]) -> pd.Series[Any]:
    """Return what all files together have in a column: numbers if all of them are, else names (a label's categories).

    Whole numbers some of which are missing are names: as numbers they could only be fractions, and so a quantity.
    """
    what = pd.api.types.infer_dtype(values, skipna=True)
    if what in ("floating", "mixed-integer-float") or (what == "integer" and values.notna().all()):
        return pd.to_numeric(values)
    return values.map(str, na_action="ignore").astype("category")


def _genes(parts: Sequence[Part], views: Sequence[View], which: str) -> pd.Index:
    names = [view.feature_names for view in views]
    if which == "all":
        return functools.reduce(lambda one, other: one.union(other, sort=False), names)
    common = functools.reduce(lambda one, other: one[one.isin(other)], names)
    if len(common) < FEWEST:
        called = "; ".join(
            f"{part.name}: {', '.join(map(repr, each[:_EXAMPLES]))}" for part, each in zip(parts, names, strict=True)
        )
        raise DataError(
            f"the files share {len(common)} genes, and {FEWEST} are the least ({called}): bring them to one kind of "
            f"name (genes = a column of var, genes_path = a table of names)"
        )
    return common
