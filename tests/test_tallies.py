"""A tally holds every count: what is summed from it is what numpy sums over the cells."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from sclaws import tallies
from sclaws.tallies import COMMON, Tally, tallied


def drawn(n=300, p=12, seed=0):
    """Counts of none to thousands, many of them above what has a place of its own."""
    rng = np.random.default_rng(seed)
    return rng.poisson(rng.lognormal(rng.uniform(-3, 6, p), 1.5, (n, p))).astype(np.float32)


def blocks(dense, size):
    return (sparse.csr_matrix(dense[start : start + size]) for start in range(0, len(dense), size))


def statistics(entries, p):
    return [entries.sums(f(entries.counts), p) for f in (lambda c: c, np.square, np.log1p, lambda c: np.minimum(c, 70))]


def check(tally, dense):
    genes, counts, times = entries = tally.entries()
    triples = [
        (g, c, int((dense[:, g] == c).sum())) for g in range(dense.shape[1]) for c in np.unique(dense[:, g]) if c
    ]
    assert list(zip(genes.tolist(), counts.tolist(), times.tolist(), strict=True)) == triples
    wide = dense.astype(np.float64)
    expected = [f(wide).sum(axis=0) for f in (lambda c: c, np.square, np.log1p, lambda c: np.minimum(c, 70))]
    np.testing.assert_allclose(statistics(entries, dense.shape[1]), expected, rtol=1e-12)
    np.testing.assert_array_equal(tally.expressing, (dense > 0).sum(axis=0))
    assert (tally.cells, tally.genes) == dense.shape


@pytest.mark.parametrize("size", [1, 64, 300])
def test_it_is_every_count_of_every_gene(size):
    dense = drawn()
    assert (dense > COMMON).mean() > 0.1 and (dense == COMMON).any() and (dense == COMMON + 1).any()
    check(tallied(blocks(dense, size), 12), dense)


def test_many_large_counts_in_one_block_and_many_waiting_blocks(monkeypatch):
    monkeypatch.setattr(tallies, "_PENDING", 50)
    dense = drawn(4000) + COMMON
    check(tallied(blocks(dense, 500), 12), dense)


def test_tallies_add_up():
    dense = drawn()
    one, two, three = (tallied(blocks(part, 50), 12) for part in (dense[:100], dense[100:110], dense[110:]))
    check(one.plus([two, three]), dense)
    check(one, dense[:100])  # and are as they were


@given(st.lists(st.integers(0, 2**24), min_size=1, max_size=30), st.integers(1, 5))
def test_any_count_that_float32_holds_comes_back(values, size):
    dense = np.array(values, dtype=np.float32)[:, None]
    entries = tallied(blocks(dense, size), 1).entries()
    assert np.repeat(entries.counts, entries.times).tolist() == sorted(v for v in values if v)


def test_no_cells_have_no_counts():
    assert [len(part) for part in Tally(3).entries()] == [0, 0, 0]
