import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from sclaws.counts import log_normalised
from sclaws.hashing import mix, name_ids
from sclaws.models import _batches
from sclaws.models._batches import Cells, hidden, hidden_entries, scaled

torch = pytest.importorskip("torch")

IDS, GENES = name_ids(f"c{i}" for i in range(400)), name_ids(f"g{j}" for j in range(90))


# ── which entries are hidden ─────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("rate", [0.05, 0.15, 0.6])
def test_as_many_are_hidden_as_the_rate_says(rate):
    masked = hidden(IDS, GENES, 3, rate)
    n = masked.size
    assert abs(masked.mean() - rate) < 4 * np.sqrt(rate * (1 - rate) / n) + (1 - rate) ** 90  # the last: one at least
    each = masked.sum(axis=1)  # binomial, cell by cell
    assert abs(each.var() / (90 * rate * (1 - rate)) - 1) < 4 * np.sqrt(2 / 400)
    other = hidden(IDS, GENES, 4, rate)  # another seed asks for others
    assert abs((masked & other).mean() - rate**2) < 4 * np.sqrt(rate**2 / n) + 2 * (1 - rate) ** 90


@given(st.permutations(range(12)), st.permutations(range(15)), st.integers(1, 15), st.integers(0, 2**31))
def test_an_entry_is_hidden_in_any_order_and_vocabulary_or_in_none(cells, genes, n, seed):
    whole = hidden(IDS[:12], GENES, seed, 0.2)
    assert whole.any(axis=1).all()
    some = np.array(genes[:n])
    got = hidden(IDS[cells], GENES[some], seed, 0.2)
    expected = whole[np.ix_(cells, some)]
    among = expected.any(axis=1)
    np.testing.assert_array_equal(got[among], expected[among])
    assert (got[~among].sum(axis=1) == 1).all()  # a cell in which nothing would be hidden


def test_the_one_that_is_hidden_where_none_would_be_has_the_lowest_hash():
    salted = mix(mix(np.uint64(5)) ^ IDS)
    hashes = mix(salted[:, None] ^ GENES[None])
    masked = hidden(IDS, GENES, 5, 1e-9)
    np.testing.assert_array_equal(masked.argmax(axis=1), hashes.argmin(axis=1))
    assert (masked.sum(axis=1) == 1).all()


@pytest.mark.parametrize("rate", [1e-9, 0.15])
def test_entries_of_a_list_are_hidden_as_those_of_a_table(rate):
    rng = np.random.default_rng(0)
    table = hidden(IDS, GENES, 8, rate)
    owner, gene = np.nonzero(np.ones((400, 90), dtype=bool))
    np.testing.assert_array_equal(hidden_entries(IDS, owner, GENES[gene], 8, rate), table[owner, gene])
    there = rng.random((400, 90)) < 0.2  # and where a cell has some genes only, as if it were alone with them
    there[[0, 7, 399]] = False
    owner, gene = np.nonzero(there)
    got = hidden_entries(IDS, owner, GENES[gene], 8, rate)
    for cell in np.unique(owner):
        mine = owner == cell
        alone = hidden(IDS[[cell]], GENES[gene[mine]], 8, rate)[0]
        np.testing.assert_array_equal(got[mine], alone)
    assert hidden_entries(IDS, np.empty(0, dtype=int), GENES[:0], 8, rate).shape == (0,)


def test_positions_of_what_is_hidden():
    masked = np.array([[0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 1, 0]], dtype=bool)
    at, real = _batches.positions(masked)
    assert [set(row[keep]) for row, keep in zip(at, real, strict=True)] == [{1, 3}, set(), {0, 1, 2}]
    assert at.shape == (3, 3)
    assert _batches.positions(masked[1:2])[0].shape == (1, 1)


# ── cells ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def counts_of(n, genes=11, seed=0):
    return sparse.csr_matrix(np.random.default_rng(seed).poisson(0.7, size=(n, genes)).astype(np.float32))


def totals_of(counts):
    return np.asarray(counts.sum(axis=1), dtype=float).ravel() + 3


def test_a_batch_holds_each_models_own_cells():
    counts = [counts_of(n, seed=n) for n in (5, 9, 2)]
    cells = Cells.of(counts, [totals_of(c) for c in counts], "cpu")
    rows = np.array([[4, 0, 0, 3], [8, 1, 2, 3], [1, 0, 1, 0]])
    dense, library = cells.batch(rows)
    for m, c in enumerate(counts):
        np.testing.assert_array_equal(dense[m].numpy(), c.toarray()[rows[m]])
        np.testing.assert_array_equal(library[m].numpy(), totals_of(c)[rows[m]].astype(np.float32))


@pytest.mark.parametrize("sizes", [(5, 0), (0, 5), (3, 0, 4)])
def test_a_model_without_cells_beside_others(sizes):
    """No validation cells in one job of several."""
    counts = [counts_of(n, seed=n) for n in sizes]
    cells = Cells.of(counts, [totals_of(c) for c in counts], "cpu")
    dense, _ = cells.batch(np.zeros((len(sizes), 1), dtype=int))
    for m, c in enumerate(counts):
        if c.shape[0]:
            np.testing.assert_array_equal(dense[m, 0].numpy(), c.toarray()[0])


def test_scaled_is_the_fields_custom_and_does_not_know_the_vocabulary():
    dense = counts_of(8, genes=20).toarray()
    dense[3] = 0
    counts = sparse.csr_matrix(dense)
    library = np.asarray(counts.sum(axis=1), dtype=float).ravel()
    cells = Cells.of([counts], [library], "cpu")
    got = scaled(*cells.batch(np.arange(8)[None]))[0].numpy()
    np.testing.assert_allclose(got, log_normalised(counts, library).toarray(), rtol=1e-6)
    fewer = Cells.of([counts[:, [3, 8, 1]]], [library], "cpu")
    np.testing.assert_array_equal(scaled(*fewer.batch(np.arange(8)[None]))[0].numpy(), got[:, [3, 8, 1]])
    assert not got[3].any()
