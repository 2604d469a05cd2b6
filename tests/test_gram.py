"""Sums and products over blocks are numpy's over all rows, sparse and dense, whatever the blocks and threads."""

import numba
import numpy as np
import pytest
from scipy import sparse

from sclaws.gram import Gram, leading, signed


def rows(n=230, g=40, density=0.1, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(2, 1, (n, g)) * (rng.random((n, g)) < density)


def gram(blocks, g, shift=None):
    out = Gram(g, shift)
    for block in blocks:
        out.add(block)
    return out


def cut(x, size, form):
    return (form(x[start : start + size]) for start in range(0, len(x), size))


@pytest.mark.parametrize("form", [sparse.csr_matrix, np.asarray], ids=["sparse", "dense"])
@pytest.mark.parametrize("density", [0.02, 0.1, 0.9])
@pytest.mark.parametrize("size", [17, 500])
def test_means_and_products_are_numpys(form, density, size):
    x = rows(density=density)
    found = gram(cut(x, size, form), 40)
    np.testing.assert_allclose(found.mean, x.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.covariance(), np.cov(x.T), rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(found.second_moment(), x.T @ x / len(x), rtol=1e-12)
    assert found.rows == 230


def test_neither_blocks_nor_threads_change_a_bit_of_a_sparse_sum():
    x = rows(density=0.05)
    one = gram(cut(x, 500, sparse.csr_matrix), 40)
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    other = gram(cut(x, 13, sparse.csr_matrix), 40)
    numba.set_num_threads(before)
    assert one.covariance().tobytes() == other.covariance().tobytes()
    assert one.mean.tobytes() == other.mean.tobytes()


def test_columns_far_from_zero_keep_their_digits_about_a_shift():
    """Of values 10⁹ from zero that differ by 1, the squares alone have lost the variance."""
    x = rows(density=1.0) + 1e9
    found = gram(cut(x, 50, np.asarray), 40, shift=x[0])
    np.testing.assert_allclose(found.covariance(), np.cov((x - 1e9).T), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.mean, x.mean(axis=0), rtol=1e-12)
    assert not np.allclose(gram(cut(x, 50, np.asarray), 40).covariance(), np.cov((x - 1e9).T), rtol=0.1)


def test_some_columns_of_another_join():
    x, y, at = rows(seed=0), rows(n=70, g=60, seed=1), np.array([3, 8, 59])
    found = gram(cut(x[:, :3], 50, sparse.csr_matrix), 3)
    found.plus(gram(cut(y, 50, sparse.csr_matrix), 60), at)
    both = np.concatenate([x[:, :3], y[:, at]])
    np.testing.assert_allclose(found.covariance(), np.cov(both.T), rtol=1e-10)
    assert found.rows == 300


def test_leading_axes_and_their_signs():
    x = rows(density=1.0) * np.linspace(1, 5, 40)
    _, _, axes = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    found = leading(np.cov(x.T), 4)
    np.testing.assert_allclose(np.abs((found * axes[:4].T).sum(axis=0)), 1, rtol=1e-9)
    largest = np.abs(found).argmax(axis=0)
    assert (found[largest, np.arange(4)] > 0).all()
    np.testing.assert_array_equal(signed(-found), found)
