"""Protein sequences, from FASTA or from a table, with their dates; checked before any work is done on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import anndata
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sclaws.datasets import _dates, _records
from sclaws.datasets._records import Records
from sclaws.errors import DataError
from sclaws.residues import NO_RESIDUE, PADDING, UNKNOWN, codes

_NUCLEOTIDES = tuple(b"ACGTUNacgtun")
_MOST = 0.9  # of the letters, gaps aside: a quarter of a protein's are among these, and genomes have others, too


@dataclass(frozen=True)
class Sequences:
    """Proteins of a FASTA file (``>name ...``) or of a table with one row a protein; both may be gzipped.

    Table: tabs part its columns, or commas in a .csv; ``sequence`` and ``id`` name two of them, and without ``id`` the
    records are called by their numbers. FASTA: ``metadata_path`` is a table of annotations, whose column
    ``metadata_id`` holds the first words of the headers. All other columns become ``obs``.

    ``date`` names the column to be read as dates: days (2009-05-31) or decimal years (2009.41), which ``obs["date"]``
    then holds, as decimal years. A date without a day, or that the column ``precise`` says no of, is imprecise. These
    and missing ones are refused, left out ("drop"), or stay ("middle" of the month or year; NaN where missing).

    ``letters`` says what becomes of a record with a letter that is no residue, a stop inside the sequence among them:
    it is refused, left out, or the letter is read as X.

    ``load`` gives ``X`` (n, longest) int8, codes of :mod:`sclaws.residues`: 0-19 for ACDEFGHIKLMNPQRSTVWY, 20 for X
    (B, Z, J, U and O, too), 21 for a gap, 22 after the end of a shorter sequence; their order means nothing. A stop (*)
    at the end is no part of a sequence. ``var`` has ``position``, from 1. ``obs["identical_to"]`` is the first record
    with the same sequence: ``split = { by = "identical_to" }`` keeps copies together. ``uns["dropped"]`` counts what
    was left out. Memory: n times the longest bytes.
    """

    path: str
    sequence: str = "sequence"
    id: str | None = None
    metadata_path: str | None = None
    metadata_id: str = "id"
    date: str | None = None
    precise: str | None = None
    imprecise: Literal["refuse", "drop", "middle"] = "refuse"
    letters: Literal["refuse", "drop", "unknown"] = "refuse"
    version: ClassVar[int] = 1

    def load(self) -> anndata.AnnData:
        """Return the checked proteins; raise ``DataError`` naming the file, record, position and remedy."""
        records = self._records()
        records = records._replace(letters=[row.removesuffix("*") for row in records.letters])
        _check_names(self.path, records.names)
        obs = pd.DataFrame({name: _typed(column) for name, column in records.others.items()}, index=records.names)
        dated = np.ones(len(obs), dtype=bool)
        if self.date is not None:
            obs["date"], dated = self._dates(records)
        values, clean = self._encoded(records, dated)
        obs["identical_to"] = _first_of(records)
        keep = dated & clean
        if not keep.any():
            raise DataError(f"{self.path}: every record has a letter that is no residue; are these proteins?")
        dropped = {"dates": int((~dated).sum()), "letters": int((dated & ~clean).sum())}
        values = values[keep]
        values = values[:, : int((values != PADDING).any(axis=0).sum())]
        var = pd.DataFrame({"position": np.arange(1, values.shape[1] + 1)})
        var.index = var["position"].astype(str)
        return anndata.AnnData(values, obs=obs[keep], var=var.rename_axis(None), uns={"dropped": dropped})

    def _records(self) -> Records:
        content = _records.text(self.path)
        if not _records.is_fasta(self.path, content):
            if self.metadata_path is not None:
                raise DataError(f"{self.path} is a table, which has columns of its own; metadata_path goes with FASTA")
            return _records.of_table(self.path, _records.table(self.path, content), self.sequence, self.id)
        found = _records.fasta(content)
        if self.metadata_path is None:
            return found
        columns = _records.table(self.metadata_path, _records.text(self.metadata_path))
        others = _records.joined(self.metadata_path, found.names, columns, self.metadata_id)
        return found._replace(others=others)

    def _dates(self, records: Records) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        file = self.metadata_path or self.path
        texts = _records.column(file, records.others, str(self.date), "date")
        told = None if self.precise is None else _records.column(file, records.others, self.precise, "precise")
        return _dates.years(texts, told, records.names, self.imprecise, f"{file}, column {self.date!r}")

    def _encoded(self, records: Records, wanted: NDArray[np.bool_]) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
        """Return codes (n, longest), and which (n,) records have residues alone; those not wanted are not looked at."""
        rows = [row if want else "" for row, want in zip(records.letters, wanted, strict=True)]
        lengths = np.array([len(row) for row in rows])
        if (empty := wanted & np.array([not row.strip("-") for row in rows])).any():
            raise DataError(f"{self.path}: record {records.names[int(empty.argmax())]!r} has no residues; remove it")
        whole = "".join(rows)
        text = whole.encode("ascii", "replace")  # a letter of another alphabet becomes ?
        numbers = np.bincount(np.frombuffer(text, dtype=np.uint8), minlength=256)
        share = numbers[list(_NUCLEOTIDES)].sum() / max(len(text) - numbers[ord("-")], 1)
        if share > _MOST:
            raise DataError(
                f"{self.path}: these look like nucleotides ({share:.0%} of the letters are ACGTUN); translate first"
            )
        flat = codes(text)
        clean = np.ones(len(rows), dtype=bool)
        if (wrong := np.flatnonzero(flat == NO_RESIDUE)).size:
            owners = np.searchsorted(np.cumsum(lengths), wrong, side="right")
            clean[owners] = self.letters == "unknown"
            first = int(wrong[0] - lengths[: owners[0]].sum())
            self._refuse_letter(records.names[owners[0]], first, whole[wrong[0]], len(np.unique(owners)))
            flat = np.where(flat == NO_RESIDUE, np.int8(UNKNOWN), flat)
        values = np.full((len(rows), int(lengths.max())), PADDING, dtype=np.int8)
        values[np.arange(values.shape[1]) < lengths[:, None]] = flat
        return values, clean

    def _refuse_letter(self, name: str, at: int, letter: str, records: int) -> None:
        if self.letters == "refuse":
            raise DataError(
                f"{self.path}: record {name!r}, position {at + 1}: {letter!r} is no residue ({records} records have "
                'such letters); correct the file, or letters = "drop" leaves these records out and "unknown" reads X'
            )


def _check_names(path: str, names: Sequence[str]) -> None:
    index = pd.Index(names)
    if "" in index:
        raise DataError(f"{path}: record {index.get_indexer_for([''])[0] + 1} has no name; give it one")
    if not index.is_unique:
        twice = index[index.duplicated()]
        raise DataError(
            f"{path}: {len(twice)} names occur more than once, the first is {twice[0]!r}; make them unique, or in a "
            "table leave `id` out, and records are called by their numbers"
        )


def _typed(column: Sequence[str]) -> Any:
    """Return a column as whole numbers, floats (NaN where there is nothing), or else categories of text."""
    texts = pd.Series(column, dtype=object)
    there = texts.str.strip() != ""
    numbers = pd.to_numeric(texts.where(there), errors="coerce").to_numpy(dtype=np.float64)
    if there.any() and np.isfinite(numbers[there]).all():
        whole = there.all() and texts.str.strip().str.fullmatch(r"[+-]?\d{1,15}").all()
        return numbers.astype(np.int64) if whole else numbers
    return pd.Categorical(texts.where(there, None))


def _first_of(records: Records) -> Any:
    first: dict[str, str] = {}
    return pd.Categorical([first.setdefault(row.upper(), name) for name, row in zip(*records[:2], strict=True)])
