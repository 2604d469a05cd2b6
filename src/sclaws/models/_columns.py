"""Values of any kind as columns for a linear model: measurements as they are, codes as one column a letter."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from sclaws.errors import ModelError
from sclaws.protocols import Values, View

LETTERS = 32  # codes 0 to 31 are letters, the padding of short sequences among them; -1 is none


def are_codes(values: Values) -> bool:
    """Whether values are codes whose order means nothing: a dense array of integers."""
    return not sparse.issparse(values) and np.asarray(values).dtype.kind in "iu"


def one_hot(codes: NDArray[Any]) -> sparse.csr_matrix:
    """Return (n, p·32) float32: column 32·j + c is 1 where feature j is letter c. Memory: 12 bytes a letter.

    Raises ``ModelError`` for whole numbers that are no codes, such as the bytes of an image.
    """
    codes = np.asarray(codes, dtype=np.int64)
    if codes.size and not (codes.min() >= -1 and codes.max() < LETTERS):
        raise ModelError(
            f"dense whole numbers are read as codes, 0 to {LETTERS - 1}, and these go from {codes.min()} to "
            f"{codes.max()}; give measurements as floats, and counts as a sparse matrix"
        )
    rows, features = np.nonzero(codes >= 0)
    columns = features * LETTERS + codes[rows, features]
    shape = (len(codes), codes.shape[1] * LETTERS)
    return sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)


def of_block(values: Values) -> Any:
    """Return values as float32 columns: counts stay CSR, codes become CSR, measurements stay dense."""
    if are_codes(values):
        return one_hot(np.asarray(values))
    return values.astype(np.float32)


def read(view: View) -> Any:
    """Return (n, columns) of a whole view, in memory: CSR for codes, a dense array for measurements."""
    parts = [of_block(block.values) for block in view.batches()]
    if not parts:
        return np.empty((0, view.n_vars), dtype=np.float32)
    return sparse.csr_matrix(sparse.vstack(parts)) if sparse.issparse(parts[0]) else np.concatenate(parts)
