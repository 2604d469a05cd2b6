"""Genes under other names: columns move with their names, and those that share one are added up."""

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sclaws.datasets._genes import renamed
from sclaws.errors import DataError

COUNTS = np.arange(12, dtype=np.float32).reshape(3, 4)


def data(names: list[str], **var: list[object]) -> anndata.AnnData:
    return anndata.AnnData(
        sparse.csr_matrix(COUNTS), obs=pd.DataFrame(index=list("xyz")), var=pd.DataFrame(var, index=names)
    )


def test_a_column_names_genes_and_twins_are_added_up():
    made = renamed(data(["e1", "e2", "e3", "e4"], symbol=["B", "A", "B", None]), "symbol", None)
    assert list(made.var_names) == ["B", "A", "e4"]  # in the order of the first of each; without a name, its own
    np.testing.assert_array_equal(made.X.toarray(), np.c_[COUNTS[:, 0] + COUNTS[:, 2], COUNTS[:, 1], COUNTS[:, 3]])


def test_a_table_knows_identifiers_without_their_version(tmp_path: Path):
    file = tmp_path / "names.csv"
    file.write_text("id,symbol\ne1,A\ne2,\ne3.4,C\n")
    made = renamed(data(["e1.7", "e2", "e3.4", "e9"]), None, str(file))
    assert list(made.var_names) == ["A", "e2", "C", "e9"]
    np.testing.assert_array_equal(made.X.toarray(), COUNTS)


def test_nothing_to_do():
    given = data(["e1", "e2", "e3", "e4"])
    assert renamed(given, None, None) is given


def test_what_cannot_be_done(tmp_path: Path):
    given = data(["e1", "e2", "e3", "e4"], symbol=["A", "B", "C", "D"], none=["", None, "", ""])
    for column, table, match in [
        ("symbols", None, "'symbols' is no column of var; did you mean 'symbol'"),
        ("none", None, "new name for none of the 4 genes, the first is 'e1'"),
        ("symbol", "t.csv", "say the same thing twice"),
        (None, str(tmp_path / "absent.csv"), "cannot be read as a table of gene names"),
    ]:
        with pytest.raises(DataError, match=match):
            renamed(given, column, table)
    (tmp_path / "one.csv").write_text("id\ne1\n")
    with pytest.raises(DataError, match="needs two columns"):
        renamed(given, None, str(tmp_path / "one.csv"))
