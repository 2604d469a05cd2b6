import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import sparse

from sclaws import counts
from sclaws.errors import DataError

CELLS, GENES = ["a", "b"], ["g0", "g1", "g2"]


def check(values):
    return counts.checked(np.asarray(values), CELLS, GENES, where="d.h5ad, X", remedy="point `layer` to the counts")


@given(hnp.arrays(np.int64, hnp.array_shapes(min_dims=2, max_dims=2), elements=st.integers(0, 2**24)))
def test_any_form_of_the_same_counts_becomes_the_same_csr(values):
    forms = [values, sparse.csc_matrix(values), sparse.coo_array(values), sparse.csr_array(values.astype(np.float64))]
    for form in forms:
        csr = counts.as_csr(form)
        assert csr.dtype == np.float32
        assert csr.has_sorted_indices
        assert (csr.data != 0).all()
        np.testing.assert_array_equal(csr.toarray(), values)
        assert counts.first_problem(csr) is None


def test_the_callers_matrix_is_left_alone():
    mine = sparse.csr_matrix((np.array([1, 0, 2], np.float32), np.array([2, 1, 0]), np.array([0, 3])), shape=(1, 3))
    before = mine.data.copy(), mine.indices.copy()
    tidy = counts.as_csr(mine)
    assert tidy.nnz == 2
    np.testing.assert_array_equal(mine.data, before[0])
    np.testing.assert_array_equal(mine.indices, before[1])


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ([[1, 0, 2], [0, np.nan, 1]], "cell 'b', gene 'g1' is nan, which is no finite number"),
        ([[1, 0, np.inf], [0, 0, 1]], "cell 'a', gene 'g2' is inf, which is no finite number"),
        ([[1, 0, 2], [-3, 0, 1]], "cell 'b', gene 'g0' is -3, and counts are not negative"),
        ([[0, 0.69, 1.1], [0, 0, 1]], "cell 'a', gene 'g1' is 0.69, .* look like log-normalised values"),
        ([[0, -0.7, 1.1], [0, 0, 1]], "cell 'a', gene 'g1' is -0.7, .* look like scaled values"),
        ([[0, 0, 312.5], [0, 0, 1]], "cell 'a', gene 'g2' is 312.5, .* look like normalised values"),
    ],
)
def test_the_first_value_that_is_no_count_is_named_with_what_it_looks_like(values, says):
    with pytest.raises(DataError, match=rf"d\.h5ad, X: the value of {says}.*; point `layer` to the counts"):
        check(values)


def test_log_normalised_by_hand():
    found = counts.log_normalised(sparse.csr_matrix([[3, 0, 1], [0, 0, 0], [0, 5, 0]]))
    expected = np.log1p([[7500, 0, 2500], [0, 0, 0], [0, 10000, 0]])
    np.testing.assert_allclose(found.toarray(), expected)


@pytest.mark.parametrize("genes", [[], [4], [0, 3, 9], list(range(10))])
def test_logarithms_of_some_genes_are_those_columns_of_all(genes):
    values = np.random.default_rng(0).poisson(0.7, (50, 10))
    values[3] = 0
    some = counts.log_of(counts.as_csr(values), np.array(genes, dtype=int))
    every = counts.log_normalised(values)
    assert some.shape == (50, len(genes)) and some.has_canonical_format
    np.testing.assert_allclose(some.toarray(), every.toarray()[:, genes], rtol=1e-14)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1.0, 0.5, 1e-30, 2.0**23 - 0.5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_value_that_is_no_count_is_found_wherever_it_is(value, dtype):
    data = np.arange(1, 40, dtype=dtype)
    assert counts.first_problem(sparse.csr_matrix(data)) is None
    data[29] = value
    assert counts.first_problem(sparse.csr_matrix(data))[0] == 29
