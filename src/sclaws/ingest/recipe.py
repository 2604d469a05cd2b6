"""What a corpus is made of, as a TOML file says it."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pydantic

from sclaws.errors import StudyError, did_you_mean

STUDY = "study"  # the column of obs that says which file a cell is from
_TOP = ("genes", "file")
Which = Literal["common", "all"]


@dataclass(frozen=True)
class Part:
    """A file of the corpus: an h5ad file, a zarr folder, or an experiment of SOMA.

    ``path`` leads to either; ``soma`` is the address of an experiment where it is no path, and ``census`` a release of
    CELLxGENE Census, such as "2025-01-30", whose ``organism`` is taken. Of an experiment ``measurement`` and ``layer``
    name the matrix ("RNA", "raw"), and ``filter`` chooses cells, in SOMA's words: "tissue == 'blood'".

    Of all, ``columns`` maps a column of the corpus to one of the file, ``keep`` and ``drop`` choose cells by
    "column=value", ``genes`` (a column of ``var``) and ``genes_path`` (a table) give genes other names, as in the data
    set h5ad.
    """

    name: str = ""
    path: str = ""
    soma: str = ""
    census: str = ""
    organism: str = "homo_sapiens"
    measurement: str = "RNA"
    layer: str | None = None
    filter: str = ""
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    genes: str | None = None
    genes_path: str | None = None

    @property
    def where(self) -> str:
        """What errors call it."""
        return self.path or self.soma or f"census {self.census}, {self.organism}"

    @property
    def is_soma(self) -> bool:
        """Whether it is read by TileDB-SOMA."""
        return (
            bool(self.soma or self.census) or (Path(self.path) / "__tiledb_group.tdb").exists() or _is_tiledb(self.path)
        )


def _is_tiledb(path: str) -> bool:
    return bool(path) and (Path(path) / "__group").is_dir()


_FIELDS = tuple(field.name for field in dataclasses.fields(Part))


def read(recipe: Path) -> tuple[Which, list[Part]]:
    """Return which genes a recipe asks for, and its files; raise ``StudyError`` for what cannot be understood."""
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
    for word in words:
        if word not in _FIELDS:
            raise StudyError(f"{where}: unknown field {word!r}; {did_you_mean(word, _FIELDS)}")
    if sum(bool(words.get(source)) for source in ("path", "soma", "census")) != 1:
        raise StudyError(f"{where}: 'path' is missing (or soma, or census: one of the three)")
    columns = words.get("columns", {})
    if not isinstance(columns, Mapping) or not all(isinstance(each, str) for each in columns.values()):
        raise StudyError(f'{where}: columns = {columns!r} must be a table such as {{ cell_type = "celltype" }}')
    if STUDY in columns:
        raise StudyError(f"{where}: the column {STUDY!r} is the file's name; call this one something else")
    try:
        part = pydantic.TypeAdapter(Part).validate_python(dict(words))
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise StudyError(f"{where}, field {field!r}: {first['msg']}, got {first.get('input')!r}") from error
    beside: dict[str, Any] = {
        name: str(recipe.resolve().parent / Path(value).expanduser()) for name, value in _paths(part).items()
    }
    named = part.name or Path(part.path or part.soma or part.census).stem
    return dataclasses.replace(part, name=named, **beside)


def _paths(part: Part) -> dict[str, str]:
    """Return the fields that are paths, which start at the recipe."""
    return {name: value for name in ("path", "genes_path") if (value := getattr(part, name))}
