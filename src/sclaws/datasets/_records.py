"""Records of a FASTA file or of a table, plain or gzipped, as they stand in the file."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

from sclaws.errors import DataError, did_you_mean

Table: TypeAlias = dict[str, list[str]]  # columns by name, all of one length

_GZIP = b"\x1f\x8b"
_FASTA = (".fa", ".faa", ".fas", ".fasta", ".fst")


class Records(NamedTuple):
    """Names (n,), letters (n,) as written, and every other column of the table."""

    names: list[str]
    letters: list[str]
    others: Table


def text(path: str) -> str:
    """Return the text of a file; ``DataError`` when it is absent, empty, cut off or no text."""
    file = Path(path).expanduser()
    if not file.is_file():
        what = "is a folder, not a file" if file.is_dir() else "does not exist"
        raise DataError(f"{file} {what}; give the path of a FASTA file or a table, relative to the study file")
    content = file.read_bytes()
    try:
        found = (gzip.decompress(content) if content.startswith(_GZIP) else content).decode("utf-8-sig")
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(f"{file} cannot be unpacked ({error}): it is cut off or damaged; copy it again") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{file} is no text in UTF-8 ({error.reason}); give a FASTA file or a table") from error
    if not found.strip():
        raise DataError(f"{file} is empty; give a file with at least one record")
    return found


def is_fasta(path: str, content: str) -> bool:
    """Return whether a file's content is FASTA; ``DataError`` when its name says so, and it does not begin with >."""
    if content.lstrip().startswith(">"):
        return True
    if Path(path.removesuffix(".gz")).suffix.lower() in _FASTA:
        first = content.split("\n", 1)[0].strip()[:40]
        raise DataError(f"{path} begins with {first!r}, and a FASTA file with a header >name; give FASTA or a table")
    return False


def fasta(content: str) -> Records:
    """Return the records of a FASTA file: a name is the first word of its header, the rest of it is left out."""
    names, letters = [], []
    for record in content.lstrip()[1:].split("\n>"):
        header, _, lines = record.partition("\n")
        names.append((header.split() or [""])[0])
        letters.append("".join(lines.split()))
    return Records(names, letters, {})


def table(path: str, content: str) -> Table:
    """Return the columns of a table, parted by commas if the file's name ends in .csv, by tabs otherwise.

    ``DataError`` for a row of more or fewer fields than there are names, for names that occur twice, and for no rows.
    """
    commas = Path(path.removesuffix(".gz")).suffix.lower() == ".csv"
    lines = io.StringIO(content, newline="")
    if commas:
        rows = csv.reader(lines, strict=True)
    else:
        rows = csv.reader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)  # a quotation mark is one like any other
    try:
        header = next(rows)
        found = [row for row in rows if row]
    except csv.Error as error:
        raise DataError(f"{path} cannot be read as a table: line {rows.line_num}: {error}; write it anew") from error
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise DataError(f"{path}: two columns are called {twice!r}; rename one")
    for number, row in enumerate(found, start=1):
        if len(row) != len(header):
            raise DataError(f"{path}: record {number} has {len(row)} fields, and there are {len(header)} columns")
    if not found:
        raise DataError(f"{path} has a line of names ({', '.join(header[:5])}) and no records")
    return {name: [row[at] for row in found] for at, name in enumerate(header)}


def column(path: str, columns: Table, name: str, field: str) -> list[str]:
    """Return a column; ``DataError`` naming the nearest one, and the ``field`` that names it."""
    if name not in columns:
        raise DataError(f"{path} has no column {name!r} (field {field!r}); {did_you_mean(name, columns)}")
    return columns[name]


def of_table(path: str, columns: Table, sequence: str, name: str | None) -> Records:
    """Return the records of a table; without a column of names they are called by their number, from 1."""
    letters = column(path, columns, sequence, "sequence")
    names = [str(i) for i in range(1, len(letters) + 1)] if name is None else column(path, columns, name, "id")
    others = {key: values for key, values in columns.items() if key not in (sequence, name)}
    return Records(names, letters, others)


def joined(path: str, names: Sequence[str], columns: Table, name: str) -> Table:
    """Return the columns of a table of annotations in the order of ``names``; rows of other records are passed over.

    ``DataError`` for a record without a row, or with two.
    """
    ids = column(path, columns, name, "metadata_id")
    rows: dict[str, int] = {}
    wanted = set(names)
    for at, one in enumerate(ids):
        if one in rows and one in wanted:
            raise DataError(f"{path}: {one!r} occurs more than once in column {name!r}; keep one row a record")
        rows[one] = at
    if missing := [one for one in names if one not in rows]:
        raise DataError(
            f"{path}: {len(missing)} of {len(names)} records have no row, the first is {missing[0]!r}; metadata_id "
            f"names the column of the first words of the headers (now {name!r}, whose first is {ids[0]!r})"
        )
    order = [rows[one] for one in names]
    return {key: [values[at] for at in order] for key, values in columns.items() if key != name}
