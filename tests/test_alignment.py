"""Cells seen through the features of other data: every count under its name, and what is lacking said."""

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sclaws.alignment import aligned, contents
from sclaws.errors import DataError
from sclaws.view import View

RNG = np.random.default_rng(0)
COUNTS = RNG.poisson(2.0, (5, 40)).astype(np.float32)
NAMES = [f"g{i}" for i in range(40)]


def view(counts: np.ndarray = COUNTS, names: list[str] = NAMES, dense: bool = False) -> View:
    obs = pd.DataFrame({"kind": list("abcde")[: len(counts)]}, index=[f"c{i}" for i in range(len(counts))])
    made = anndata.AnnData(counts if dense else sparse.csr_matrix(counts), obs=obs, var=pd.DataFrame(index=names))
    made.obsm["protein"] = np.arange(len(counts))[:, None].astype(float)
    return View.of(made)


def test_counts_come_under_the_names_asked_for():
    features = pd.Index(["g7", "absent", "g0", "g39"])
    found, share = aligned(view(), features)
    assert share == 0.75 and list(found.feature_names) == list(features)
    expected = np.c_[COUNTS[:, 7], np.zeros(5), COUNTS[:, 0], COUNTS[:, 39]]
    np.testing.assert_array_equal(found.to_adata().X.toarray(), expected)
    np.testing.assert_array_equal(found.library, expected.sum(axis=1))  # of genes that nobody learned from, nothing
    fewer, _ = aligned(view(), pd.Index(NAMES[5:]))  # all found, and some left out
    np.testing.assert_array_equal(fewer.library, COUNTS[:, 5:].sum(axis=1))
    np.testing.assert_array_equal(fewer.to_adata().X.toarray(), COUNTS[:, 5:])
    np.testing.assert_array_equal(found.cell_ids, view().cell_ids)
    np.testing.assert_array_equal(found.obsm("protein"), view().obsm("protein"))
    assert list(found.obs["kind"]) == list("abcde")


def test_all_features_are_a_choice_and_no_copy():
    given = view()
    same, share = aligned(given, given.feature_names)
    assert same is given and share == 1
    turned, _ = aligned(given, pd.Index(NAMES[::-1]))
    assert turned.source is given.source
    np.testing.assert_array_equal(turned.to_adata().X.toarray(), COUNTS[:, ::-1])


def test_too_few_features_are_refused_with_examples_of_both_names():
    with pytest.raises(
        DataError, match=r"1 of the 4 features .*at least 50%.*called like 'ENSG1', 'ENSG2', 'ENSG3', and here 'g0'"
    ):
        aligned(view(), pd.Index(["ENSG1", "ENSG2", "ENSG3", "g1"]), found=0.5)
    with pytest.raises(DataError, match="0 of the 1 features"):
        aligned(view(), pd.Index(["ENSG1"]))
    assert aligned(view(), pd.Index(["ENSG1", "g1"]), found=0.5)[1] == 0.5


def test_measurements_must_have_every_feature():
    given = view(COUNTS + 0.5, dense=True)
    with pytest.raises(DataError, match="1 of 2 features are missing, the first is 'x'"):
        aligned(given, pd.Index(["g1", "x"]))
    np.testing.assert_array_equal(aligned(given, pd.Index(["g3", "g1"]))[0].to_adata().X, COUNTS[:, [3, 1]] + 0.5)


def test_contents_know_a_cell_by_its_counts_alone():
    counts = COUNTS + 1  # 40 genes each
    order = RNG.permutation(40)
    same = contents(view(counts[:, order], [NAMES[i] for i in order]))
    np.testing.assert_array_equal(same, contents(view(counts)))
    changed = counts.copy()
    changed[2, 5] += 1
    assert list(contents(view(changed)) == same) == [True, True, False, True, True]
    swapped = counts.copy()
    swapped[0, :2] = swapped[0, 1::-1] + [0, 7]
    assert contents(view(swapped))[0] != same[0]


def test_cells_of_few_genes_have_no_contents():
    counts = COUNTS + 1
    counts[1, 15:] = 0
    assert len(contents(view(counts))) == 4
