import warnings

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sclaws.datasets.h5ad import H5ad
from sclaws.errors import DataError
from sclaws.plugins import Spec


@pytest.fixture
def make(tmp_path):
    """Write an AnnData of 4 cells x 3 genes, changed at will, and return its path."""

    def write(x=None, *, cells="abcd", genes="xyz", name="data.h5ad", **kwargs):
        x = np.array([[1, 0, 2], [0, 3, 0], [0, 0, 0], [5, 1, 1]], dtype=np.float32) if x is None else x
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".* names are not unique")  # written on purpose
            adata = anndata.AnnData(x, pd.DataFrame(index=list(cells)), pd.DataFrame(index=list(genes)), **kwargs)
            adata.write_h5ad(tmp_path / name)
        return str(tmp_path / name)

    return write


COUNTS = np.array([[1, 0, 2], [0, 3, 0], [0, 0, 0], [5, 1, 1]], dtype=np.float32)


@pytest.mark.parametrize("form", [np.asarray, sparse.csr_matrix, sparse.csc_matrix])
def test_any_storage_of_counts_loads_as_csr(make, form):
    loaded = H5ad(make(form(COUNTS))).load()
    assert isinstance(loaded.X, sparse.csr_matrix)
    assert loaded.X.dtype == np.float32
    np.testing.assert_array_equal(loaded.X.toarray(), COUNTS)
    assert list(loaded.obs_names) == list("abcd")


def test_integers_of_a_layer_are_read_and_annotations_kept(make):
    path = make(np.log1p(COUNTS), layers={"counts": COUNTS.astype(np.int32)}, obsm={"p": sparse.csr_matrix(COUNTS)})
    loaded = H5ad(path, layer="counts").load()
    np.testing.assert_array_equal(loaded.X.toarray(), COUNTS)
    np.testing.assert_array_equal(loaded.obsm["p"], COUNTS)
    assert not loaded.layers


def test_log_normalised_values_point_to_the_layer(make):
    path = make(np.log1p(COUNTS), layers={"counts": COUNTS})
    with pytest.raises(DataError, match=r"cell 'a', gene 'x' is 0\.69.* log-normalised .*`layer` .*\(layers: counts\)"):
        H5ad(path).load()


@pytest.mark.parametrize(("value", "says"), [(np.nan, "no finite number"), (-1.0, "counts are not negative")])
def test_a_bad_value_is_named(make, value, says):
    x = COUNTS.copy()
    x[3, 1] = value
    with pytest.raises(DataError, match=rf"data\.h5ad, X: the value of cell 'd', gene 'y' is .*{says}"):
        H5ad(make(x)).load()


def test_duplicate_names_say_which_and_what_to_do(make):
    with pytest.raises(DataError, match=r"1 gene names .* 'x'; call adata\.var_names_make_unique\(\)"):
        H5ad(make(genes="xyx")).load()
    with pytest.raises(DataError, match=r"2 cell names .* 'a'; call adata\.obs_names_make_unique\(\)"):
        H5ad(make(cells="aaab")).load()


def test_what_is_absent_is_named(make, tmp_path):
    with pytest.raises(DataError, match=r"nothing\.h5ad does not exist"):
        H5ad(str(tmp_path / "nothing.h5ad")).load()
    with pytest.raises(DataError, match="is a folder"):
        H5ad(str(tmp_path)).load()
    with pytest.raises(DataError, match="no layer 'count'; did you mean 'counts'"):
        H5ad(make(layers={"counts": COUNTS}), layer="count").load()
    no_x = anndata.AnnData(obs=pd.DataFrame(index=list("ab")), var=pd.DataFrame(index=list("xy")))
    no_x.layers["spliced"] = np.ones((2, 2), dtype=np.float32)
    no_x.write_h5ad(tmp_path / "no_x.h5ad")
    with pytest.raises(DataError, match=r"has no X; point `layer` to the counts \(layers: spliced\)"):
        H5ad(str(tmp_path / "no_x.h5ad")).load()
    with pytest.raises(DataError, match="0 cells x 3 genes is empty"):
        H5ad(make(np.empty((0, 3), np.float32), cells="")).load()


@pytest.mark.parametrize("kept", [0.0, 0.02, 0.3, 0.6, 0.9, 0.99])
def test_a_file_cut_off_anywhere_is_one_clear_error(tmp_path, kept):
    x = sparse.random(300, 200, 0.2, format="csr", random_state=0, data_rvs=lambda n: np.ones(n), dtype=np.float32)
    whole = tmp_path / "whole.h5ad"
    anndata.AnnData(x).write_h5ad(whole)
    cut = tmp_path / "cut.h5ad"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * kept)])
    with pytest.raises(DataError, match=r"cut\.h5ad cannot be read: .*copy it again"):
        H5ad(str(cut)).load()


def test_damage_inside_the_file_is_an_error_and_not_other_data(make, tmp_path):
    import h5py

    path = make(sparse.csr_matrix(COUNTS))
    with h5py.File(path, "r+") as file:
        del file["X/indptr"]
    with pytest.raises(DataError, match=r"data\.h5ad cannot be read"):
        H5ad(path).load()
    text = tmp_path / "text.h5ad"
    text.write_text("cell,gene\n1,2\n")
    with pytest.raises(DataError, match="it is no HDF5 file"):
        H5ad(str(text)).load()


def test_content_is_of_the_bytes_and_not_of_the_place(make, tmp_path):
    path = make()
    (tmp_path / "elsewhere").mkdir()
    moved = tmp_path / "elsewhere" / "other.h5ad"
    moved.write_bytes((tmp_path / "data.h5ad").read_bytes())
    described = [Spec.of("datasets", {"use": "h5ad", "path": str(p)}).describe() for p in (path, moved)]
    assert described[0] == described[1]
    changed = COUNTS.copy()
    changed[0, 0] = 2
    assert Spec.of("datasets", {"use": "h5ad", "path": str(make(changed))}).describe() != described[0]


def test_real_files_load(shared):
    cite = H5ad(str(shared / "data" / "cite_pbmc10k.h5ad")).load()
    assert cite.shape == (6855, 4000)  # data/README.md
    assert cite.obsm["protein_counts"].shape == (6855, 14)
    assert np.median(np.asarray(cite.X.sum(axis=1))) == 661
    papalexi = H5ad(str(shared / "data" / "papalexi.h5ad")).load()
    assert isinstance(papalexi.obsm["grna_counts"], np.ndarray)  # sparse in the file
