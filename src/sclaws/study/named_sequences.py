"""A named study of protein sequences: which columns of a table hold sequences and dates."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sclaws.errors import DataError, StudyError, did_you_mean
from sclaws.plugins import Spec
from sclaws.study.toml_text import levels, place, stem, toml
from sclaws.trial import whole

SEQUENCES = ("sequence", "seq", "aa", "protein")
DATES = ("decimal_date", "num_date", "date", "collection_date")  # numbers first: days are written in many ways
_TRAINED = 0.65


def words(data: Path, signals: Sequence[str], by: str | None) -> dict[str, str]:
    """Return what the template of a study of sequences leaves open, as TOML. One load of the table."""
    if by:
        raise StudyError(
            "a study of sequences keeps copies of a sequence together, and no other groups: leave --by out"
        )
    columns = _columns(data)
    date = _named(signals) or next((name for name in DATES if name in columns), None)
    sequence = next((name for name in SEQUENCES if name in columns), None)
    if sequence is None or date not in columns:
        what = "sequences, called " + " or ".join(SEQUENCES) if sequence is None else "dates: --signal date=COLUMN"
        hint = f"; {did_you_mean(str(date), columns)}" if date else ""
        raise DataError(f"{data} has the columns {', '.join(columns)}; one has to hold {what}{hint}")
    dataset: dict[str, Any] = {
        "use": "sequences", "name": stem(data), "path": place(data), "sequence": sequence, "date": date,
        "precise": next((name for name in columns if name == "date_precise"), None),
        "imprecise": "drop", "letters": "drop",
    }  # fmt: skip
    found = {name: value for name, value in dataset.items() if value is not None}
    cells = whole(Spec.of("datasets", found | {"path": str(data.absolute())})).n_obs * _TRAINED
    return {
        "dataset": toml(dataset),
        "cells": levels(np.geomspace(min(100.0, cells / 8), cells, 4)[:-1], whole=True),
    }


def _named(signals: Sequence[str]) -> str | None:
    """Return the column in ``date=COLUMN``."""
    if len(signals) > 1:
        raise StudyError(f"--signal {', '.join(signals)}: a study of sequences asks for one date")
    for text in signals:
        kind, _, key = text.partition("=")
        if kind != "date" or not key:
            raise StudyError(f"--signal {text!r}: a study of sequences asks for a date; write date=COLUMN")
        return key
    return None


def _columns(data: Path) -> list[str]:
    names = data.name.lower().removesuffix(".gz")
    if names.endswith((".fasta", ".fa", ".faa")):
        raise DataError(
            f"{data} is FASTA, which has no dates: bring a table with a sequence and a date a row, or write a study "
            f"whose data set has a metadata_path (docs/sequences.md)"
        )
    try:
        return list(pd.read_csv(data, sep="," if names.endswith(".csv") else "\t", nrows=0).columns)
    except (OSError, ValueError, UnicodeDecodeError, pd.errors.ParserError) as error:
        raise DataError(f"{data} cannot be read as a table ({error}); give a TSV or CSV, gzipped or not") from error
