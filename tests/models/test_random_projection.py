import numpy as np
import pytest
from scipy import stats

from sclaws.errors import PluginError
from sclaws.models.random_projection import RandomProjection


def test_a_feature_keeps_its_row_whatever_others_there_are(parts):
    whole = RandomProjection().fit(parts.train, parts.valid, seed=3)
    some = RandomProjection().fit(parts.train.choose([7, 2, 40]), parts.valid, seed=3)
    np.testing.assert_array_equal(some.matrix, whole.matrix[[7, 2, 40]])


def test_the_matrix_is_normal_of_variance_one_over_dim(parts):
    matrix = RandomProjection(dim=200).fit(parts.train, parts.valid, seed=5).matrix * np.sqrt(200)
    assert stats.kstest(matrix.ravel(), "norm").pvalue > 1e-3
    assert np.abs(np.corrcoef(matrix.T) - np.eye(200)).max() < 6 / np.sqrt(80)


def test_it_is_a_projection_of_the_values(parts):
    trained = RandomProjection(dim=3).fit(parts.train, parts.valid, seed=1)
    expected = parts.test.to_adata().X.toarray().astype(np.float64) @ trained.matrix.astype(np.float64)
    np.testing.assert_allclose(trained.embed(parts.test), expected, rtol=1e-6)


def test_seeds_differ_and_cells_do_not_matter(parts):
    one, two = (RandomProjection().fit(parts.train, parts.valid, seed=s).matrix for s in (1, 2))
    assert np.abs(np.corrcoef(one.ravel(), two.ravel())[0, 1]) < 4 / np.sqrt(one.size)
    fewer = RandomProjection().fit(parts.train.take([0, 1]), parts.valid, seed=1).matrix
    np.testing.assert_array_equal(fewer, one)


def test_no_dimensions_is_an_error():
    with pytest.raises(PluginError, match="random-projection: dim = 0 must be at least 1"):
        RandomProjection(dim=0)
