"""Codes of residues: each letter has its own, and what is no code is told."""

import numpy as np
import pytest
from scipy import sparse

from sclaws.residues import AMINO_ACIDS, GAP, NO_RESIDUE, PADDING, UNKNOWN, codes, refusal


def test_every_letter_has_its_code_in_either_case():
    assert len(set(AMINO_ACIDS)) == 20
    for text in (AMINO_ACIDS, AMINO_ACIDS.lower()):
        assert codes(text.encode()).tolist() == list(range(20))
    assert codes(b"XBZJUOx-").tolist() == [UNKNOWN] * 7 + [GAP]
    assert codes(b"*1 .?").tolist() == [NO_RESIDUE] * 5


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (sparse.csr_matrix((1, 2)), "counts"),
        (np.zeros((1, 2)), "measurements"),
        (np.array([[3, 99]]), "numbers such as 99, and residues have the codes 0 to 22"),
        (np.array([[3, -1]]), "numbers such as -1"),
    ],
)
def test_what_is_no_code_is_told(values, told):
    assert told in refusal(values)


def test_codes_are_not_refused():
    assert refusal(np.array([[0, PADDING]], dtype=np.int8)) == ""
