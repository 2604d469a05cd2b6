"""Residues as numbers: the codes that data sets of proteins hold in ``X``, and whether values are such codes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

AMINO_ACIDS = "ACDEFGHIKLMNPQRSTVWY"  # codes 0 to 19: the order of the letters, which means nothing
UNKNOWN, GAP, PADDING = 20, 21, 22  # X, a gap of an alignment, and what fills the rows of shorter sequences
_AMBIGUOUS = "XBZJUO"  # read as unknown: one of several, or an amino acid that is not among the twenty
NO_RESIDUE = -1


def _table() -> NDArray[np.int8]:
    table = np.full(256, NO_RESIDUE, dtype=np.int8)
    codes = {letter: code for code, letter in enumerate(AMINO_ACIDS)} | {"-": GAP}
    for letter, code in (codes | dict.fromkeys(_AMBIGUOUS, UNKNOWN)).items():
        table[[ord(letter), ord(letter.lower())]] = code
    return table


_TABLE = _table()


def codes(letters: bytes) -> NDArray[np.int8]:
    """Return the (n,) int8 codes of n letters, of either case; -1 for one that stands for no residue."""
    return _TABLE[np.frombuffer(letters, dtype=np.uint8)]


def refusal(values: Any) -> str:
    """Return what values (n, p) are when they are no codes of residues: "counts", say; nothing when they are."""
    if sparse.issparse(values):
        return "counts"
    found = np.asarray(values)
    if not np.issubdtype(found.dtype, np.integer):
        return "measurements (dense floats)"
    wrong = found[(found < 0) | (found > PADDING)]
    return f"numbers such as {wrong[0]}, and residues have the codes 0 to {PADDING}" if len(wrong) else ""
