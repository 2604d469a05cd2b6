"""Codes become one column a letter, measurements stay as they are."""

import anndata
import numpy as np
import pytest
from scipy import sparse

from sclaws.errors import ModelError
from sclaws.models import _columns
from sclaws.models.pca import PCA
from sclaws.models.random_projection import RandomProjection
from sclaws.view import View


def codes(n=200, p=7, seed=0) -> View:
    rng = np.random.default_rng(seed)
    made = anndata.AnnData(rng.integers(-1, 5, size=(n, p)).astype(np.int8))
    made.obs_names, made.var_names = [f"r{i}" for i in range(n)], [f"p{j}" for j in range(p)]
    return View.of(made)


def measured(n=200, p=30, seed=0) -> View:
    rng = np.random.default_rng(seed)
    made = anndata.AnnData((rng.normal(size=(n, 3)) @ rng.normal(size=(3, p)) + 5).astype(np.float32))
    made.obs_names, made.var_names = [f"r{i}" for i in range(n)], [f"p{j}" for j in range(p)]
    return View.of(made)


def test_a_letter_is_a_column_and_no_letter_is_none() -> None:
    found = _columns.one_hot(np.array([[0, 3, -1], [31, -1, 1]])).toarray()
    assert found.shape == (2, 96)
    assert set(zip(*np.nonzero(found), strict=True)) == {(0, 0), (0, 35), (1, 31), (1, 65)}
    assert found.max() == 1


def test_whole_numbers_that_are_no_codes_are_refused() -> None:
    """Bytes of an image, which would lose every value above 31, in silence."""
    made = codes().to_adata()
    made.X = np.random.default_rng(0).integers(0, 256, made.shape).astype(np.uint8)
    for model in (PCA(dim=3), RandomProjection(dim=3)):
        with pytest.raises(ModelError, match=r"codes, 0 to 31, .* from \d+ to 2\d\d; give measurements as floats"):
            model.fit(View.of(made), View.of(made), seed=0).embed(View.of(made))


def test_what_are_codes() -> None:
    assert _columns.are_codes(np.zeros((2, 2), np.int8))
    assert not _columns.are_codes(np.zeros((2, 2), np.float32))
    assert not _columns.are_codes(sparse.csr_matrix((2, 2), dtype=np.int64))


@pytest.mark.parametrize("view", [codes(), measured()], ids=["codes", "measurements"])
def test_components_of_other_values_are_those_of_their_columns(view: View) -> None:
    columns = _columns.read(view)
    dense = (columns.toarray() if sparse.issparse(columns) else columns).astype(float)
    left, singular, _ = np.linalg.svd(dense - dense.mean(axis=0), full_matrices=False)
    found = PCA(dim=3).fit(view, view, seed=0).embed(view)
    np.testing.assert_allclose(np.abs(found), np.abs(left[:, :3] * singular[:3]), atol=2e-3)
    uncentred = PCA(dim=3, centred=False).fit(view, view, seed=0).embed(view)
    left, singular, _ = np.linalg.svd(dense, full_matrices=False)
    np.testing.assert_allclose(np.abs(uncentred), np.abs(left[:, :3] * singular[:3]), atol=2e-3)


def test_components_of_other_values_are_saved(tmp_path) -> None:
    trained = PCA(dim=3).fit(codes(), codes(), seed=0)
    trained.save(tmp_path)
    np.testing.assert_array_equal(PCA(dim=3).load(tmp_path).embed(codes(seed=1)), trained.embed(codes(seed=1)))


def test_the_names_of_letters_mean_nothing_to_a_projection() -> None:
    """Where two sequences differ, they are as far apart whatever the letters: not so if codes were taken as numbers."""
    view = codes(n=2, p=200)
    made = view.to_adata()
    made.X[0], made.X[1] = 0, 1
    near = RandomProjection(dim=4000).fit(View.of(made), view, seed=0).embed(View.of(made))
    made.X[1] = 30
    far = RandomProjection(dim=4000).fit(View.of(made), view, seed=0).embed(View.of(made))
    distances = [np.sum((z[0] - z[1]) ** 2) for z in (near, far)]
    np.testing.assert_allclose(distances, 2 * 200, rtol=0.08)  # each position adds two independent rows


def test_too_few_letters_are_told() -> None:
    few = codes(n=100, p=20).to_adata()
    few.X[:, :10], few.X[:, 10:] = 3, -1  # ten positions with one letter each, of which two have a second
    few.X[0, :2] = 4
    with pytest.raises(ModelError, match="pca: 16 components need more than the 12 letters that occur"):
        PCA().fit(View.of(few), None, seed=0)
