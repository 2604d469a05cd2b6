from fractions import Fraction

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from sclaws.models import _medians, _tokens
from sclaws.models._tokens import rank, token_ids


def csr(rows):
    return sparse.csr_matrix(np.asarray(rows, dtype=np.float32))


def sentences(tokens):
    return [tokens.ids[a:b].tolist() for a, b in zip(tokens.starts[:-1], tokens.starts[1:], strict=True)]


def plainly(counts, middle, ids, context, value):
    """The definition: genes with a token, the largest value first, then the gene that comes first."""
    out = []
    for row in counts.toarray():
        genes = [g for g in np.flatnonzero(row) if not np.isnan(middle[g]) and ids[g] >= 0]
        out.append([int(ids[g]) for g in sorted(genes, key=lambda g: (-value(row[g], middle[g]), g))][:context])
    return out


def medians(counts, totals):
    return _medians.medians([counts], totals, counts.shape[1])


def exactly(count, median):
    return Fraction(int(count)) / Fraction(float(median))


def rounded(count, median):
    mantissa, exponent = np.frexp(float(count) / median)
    return float(np.ldexp(np.rint(mantissa * 2**33), exponent))


def simulated(n, p, depth, seed=0, spread=2.0):
    rng = np.random.default_rng(seed)
    share = np.exp(rng.normal(0, spread, p))
    mean = np.exp(rng.normal(np.log(depth), 0.4, n))[:, None] * share / share.sum()
    return csr(rng.poisson(rng.gamma(2.0, mean / 2.0)))


# ── ranks ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_gene_furthest_above_its_median_comes_first():
    middle = np.array([10.0, 1.0, np.nan, 2.0])
    tokens = rank(csr([[10, 3, 99, 4], [30, 0, 0, 2], [0, 0, 7, 0], [0, 0, 0, 0]]), middle, context=8)
    # the genes with a median are tokens 2, 3, 4; values 1, 3, 2 in the first cell and 3, -, 1 in the second
    assert sentences(tokens) == [[3, 4, 2], [2, 4], [], []]
    assert tokens.lengths.tolist() == [3, 2, 0, 0]
    assert len(tokens) == 4
    assert (tokens.ids.dtype, tokens.starts.dtype) == (np.int32, np.int64)


def test_ties_go_to_the_gene_that_comes_first():
    middle = np.array([3.0, 1.0, 2.0, 1.0, 0.5])
    assert sentences(rank(csr([[3, 1, 2, 2, 1]]), middle, context=8)) == [[5, 6, 2, 3, 4]]


def test_ties_hold_through_the_rounding_of_divisions():
    """A gene seen in one cell has its own share as median, so all such genes of the cell have the same value, 1."""
    shares = np.arange(1, 40) / 7_919.0
    assert len(set(np.arange(1, 40) * (1 / (shares * 1e4)))) > 1  # in floating point they do not
    tokens = rank(csr([np.arange(1, 40)]), shares * 1e4, context=64)
    assert sentences(tokens) == [list(range(2, 41))]


def test_a_context_keeps_the_highest():
    counts = simulated(30, 400, 300)
    middle = medians(counts, np.asarray(counts.sum(axis=1)).ravel())
    whole = sentences(rank(counts, middle, context=400))
    for context in (1, 17, 100):
        assert sentences(rank(counts, middle, context=context)) == [cell[:context] for cell in whole]


@pytest.mark.parametrize("depth", [20, 500, 20_000])
def test_ranks_are_those_of_a_plain_sort(depth):
    counts = simulated(40, 1500, depth, seed=depth)
    middle = medians(counts[:20], np.asarray(counts[:20].sum(axis=1)).ravel())  # genes unseen there have no token
    assert np.isnan(middle).any()
    found = sentences(rank(counts, middle, context=600))
    assert found == plainly(counts, middle, token_ids(middle), 600, rounded)


@pytest.mark.parametrize("octaves", [1e-4, 0.01, 40.0], ids=["one bucket", "few buckets", "beyond the buckets"])
def test_ranks_do_not_depend_on_how_the_values_lie(octaves):
    """Values that crowd together are sorted by comparison, those far from the cell's mean share a bucket."""
    rng = np.random.default_rng(3)
    counts = csr(rng.integers(1, 3, (5, 900)))
    middle = 2.0 ** rng.uniform(0, octaves, 900)
    assert sentences(rank(counts, middle, context=700)) == plainly(counts, middle, np.arange(900) + 2, 700, rounded)


@given(st.data())
def test_any_cells_are_ranked_as_fractions_are(data):
    n, p = data.draw(st.integers(0, 4)), data.draw(st.integers(1, 30))
    counts = csr(data.draw(st.lists(st.lists(st.integers(0, 6), min_size=p, max_size=p), min_size=n, max_size=n))
                 or np.empty((0, p)))  # fmt: skip
    middle = np.array(data.draw(st.lists(st.sampled_from([0.25, 1, 2, 3, 7, 1000, np.nan]), min_size=p, max_size=p)))
    ids = np.array(data.draw(st.lists(st.integers(-1, 50), min_size=p, max_size=p)), dtype=np.int32)
    context = data.draw(st.integers(1, p))
    assert sentences(rank(counts, middle, context=context, ids=ids)) == plainly(counts, middle, ids, context, exactly)


def test_ranks_do_not_depend_on_threads_or_on_the_other_cells():
    counts = simulated(50, 500, 400)
    middle = medians(counts, np.asarray(counts.sum(axis=1)).ravel())
    together = rank(counts, middle, context=90)
    alone = [sentences(rank(counts[i : i + 1], middle, context=90))[0] for i in range(50)]
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    try:
        single = rank(counts, middle, context=90)
    finally:
        numba.set_num_threads(before)
    assert sentences(together) == sentences(single) == alone


def test_a_dictionary_of_ones_own_says_which_tokens():
    counts = csr([[1, 2, 3, 4]])
    tokens = rank(counts, np.array([1.0, 1.0, np.nan, 1.0]), context=4, ids=np.array([70, -1, 8, 9]))
    assert sentences(tokens) == [[9, 70]]
    assert token_ids(np.array([1.0, np.nan, 2.0]), first=5).tolist() == [5, -1, 6]
    assert sentences(rank(counts, np.ones(4), context=2, first=5)) == [[8, 7]]


@pytest.mark.parametrize(
    ("middle", "settings", "match"),
    [
        ([1.0], {}, r"3 genes need as many medians and tokens, got \(1,\) and \(1,\)"),
        ([1.0, 2.0, 0.0], {}, "a gene's median must be above 0 and finite"),
        ([1.0, 2.0, np.inf], {}, "a gene's median must be above 0 and finite"),
        ([1.0, 2.0, 3.0], {"ids": [1, 2]}, r"got \(3,\) and \(2,\)"),
        ([1.0, 2.0, 3.0], {"context": 0}, "a context holds at least one token, got 0"),
    ],
)
def test_what_cannot_be_ranked(middle, settings, match):
    with pytest.raises(ValueError, match=match):
        rank(csr([[1, 2, 3]]), np.array(middle), **{"context": 4, **settings})


def test_more_genes_than_a_key_holds():
    p = _tokens._MOST_GENES + 1
    with pytest.raises(ValueError, match="1048577 genes are more than the 1048576 that can be ranked"):
        rank(sparse.csr_matrix((1, p), dtype=np.float32), np.ones(p), context=4)
