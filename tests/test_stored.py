"""A corpus on disk gives what the same cells in memory give, in any order and in blocks of any size."""

import shutil
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sclaws import keys, stored
from sclaws.alignment import aligned
from sclaws.errors import DataError
from sclaws.hashing import name_ids
from sclaws.ingest import ingest
from sclaws.stored import Stored
from sclaws.thinning import Thin
from sclaws.view import View

CELLS, GENES = 700, 40


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("corpus")
    counts = np.random.default_rng(0).poisson(0.7, (CELLS, GENES))
    counts[3] = 0
    counts[5, 2] = 70_000  # more than two bytes
    obs = pd.DataFrame({"kind": ["a", "b"] * (CELLS // 2)}, index=[f"c{i}" for i in range(CELLS)])
    var = pd.DataFrame(index=[f"G{i}" for i in range(GENES)])
    anndata.AnnData(sparse.csr_matrix(counts, dtype=np.float32), obs=obs, var=var).write_h5ad(home / "a.h5ad")
    (home / "recipe.toml").write_text('[[file]]\npath = "a.h5ad"\ncolumns = { kind = "kind" }\n')
    ingest(home / "recipe.toml", home / "corpus.zarr")
    return home / "corpus.zarr"


@pytest.fixture
def both(folder: Path) -> tuple[View, View]:
    """The same cells on disk and in memory."""
    return View.of(Stored(folder, in_memory_gb=0)), View.of(anndata.read_zarr(folder))


def dense(view: View, size: int = 4096) -> np.ndarray:
    return np.vstack([block.values.toarray() for block in view.batches(size)])


def test_it_holds_what_anndata_reads(both: tuple[View, View]):
    disk, memory = both
    assert disk.on_disk and not memory.on_disk and disk.counts
    np.testing.assert_array_equal(dense(disk), memory.source.adata.X.toarray())
    np.testing.assert_array_equal(disk.cell_ids, memory.cell_ids)
    np.testing.assert_array_equal(disk.totals, memory.totals)
    np.testing.assert_array_equal(disk.feature_totals, memory.feature_totals)
    assert list(disk.obs["kind"]) == list(memory.obs["kind"])
    assert list(disk.feature_names) == list(memory.feature_names)
    assert disk.totals.max() > 70_000


def test_cells_stand_in_the_order_of_a_hash(folder: Path):
    """So that cells that neighbour each other on disk are a sample of all, and the files' order changes nothing."""
    names = anndata.read_zarr(folder).obs_names
    numbers = [int(name.partition(":c")[2]) for name in names]
    assert numbers != sorted(numbers)
    np.testing.assert_array_equal(Stored(folder).cell_ids, name_ids(names))


@pytest.mark.parametrize("size", [1, 7, 64, 5000])
def test_any_rows_in_any_order_in_blocks_of_any_size(both: tuple[View, View], size: int):
    rows = np.random.default_rng(1).permutation(CELLS)[:200]
    some = np.append(rows, rows[:3])  # a cell may be asked for twice
    thin = Thin.keep(0.4, 3)
    seen = [view.take(some).corrupt(thin).choose(np.arange(1, GENES, 3)) for view in both]
    np.testing.assert_array_equal(dense(seen[0], size), dense(seen[1]))
    np.testing.assert_array_equal(seen[0].library, seen[1].library)


@pytest.mark.parametrize(("most", "gap"), [(1, 0), (50, 10), (2**23, 0), (100, 2**16)])
def test_pieces_of_any_length_make_the_same_rows(
    both: tuple[View, View], monkeypatch: pytest.MonkeyPatch, most: int, gap: int
):
    monkeypatch.setattr(stored, "_MOST", most)
    monkeypatch.setattr(stored, "_GAP", gap)
    rows = np.sort(np.random.default_rng(2).permutation(CELLS)[:90])
    np.testing.assert_array_equal(dense(both[0].take(rows)), dense(both[1].take(rows)))


def test_what_fits_is_brought_into_memory_and_the_rest_stays(folder: Path):
    rows = np.array([9, 4, 300])
    assert not View.of(Stored(folder, in_memory_gb=1)).take(rows).in_memory().on_disk
    view = View.of(Stored(folder, in_memory_gb=0)).take(rows).in_memory()
    assert view.on_disk and list(view.rows) == [4, 9, 300]
    needed = view.source.adata.X[rows].nnz * 8 / 1e9
    assert Stored(folder, in_memory_gb=needed).fits(rows) and not Stored(folder, in_memory_gb=0.99 * needed).fits(rows)


def test_cells_brought_into_memory_keep_their_names(folder: Path):
    disk = View.of(Stored(folder)).take([5, 2])
    assert list(disk.to_adata().obs_names) == list(anndata.read_zarr(folder).obs_names[[5, 2]])


def test_nothing_is_walked_for_twice(both: tuple[View, View]):
    disk = both[0].corrupt(Thin.keep(0.5, 1))
    totals = disk.totals
    kept = disk.take(np.arange(10)).choose(np.arange(5))
    kept.__dict__["source"] = None  # no walk is possible
    np.testing.assert_array_equal(kept.library, totals[:10])


def test_an_empty_view_has_no_batches(both: tuple[View, View]):
    assert list(both[0].take(np.arange(0)).batches()) == []


def test_a_corpus_is_known_by_the_checksum_that_it_carries(folder: Path, tmp_path: Path):
    told = keys.path_digest(folder)
    copy = shutil.copytree(folder, tmp_path / "copy.zarr")
    (copy / "X" / "data" / "zarr.json").unlink()  # nothing else is looked at: a corpus may be a terabyte
    assert keys.path_digest(copy) == told
    data = anndata.read_h5ad(folder.parent / "a.h5ad")
    data.X[0, 0] += 1
    data.write_h5ad(tmp_path / "a.h5ad")
    (tmp_path / "recipe.toml").write_text((folder.parent / "recipe.toml").read_text())
    ingest(tmp_path / "recipe.toml", tmp_path / "other.zarr")
    assert keys.path_digest(tmp_path / "other.zarr") != told


def test_a_damaged_chunk_is_named(folder: Path, tmp_path: Path):
    copy = shutil.copytree(folder, tmp_path / "copy.zarr")
    shard = next(file for file in (copy / "X" / "data" / "c").rglob("*") if file.is_file())
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    with pytest.raises(DataError, match="copy.zarr: counts 0 to .*damaged"):
        dense(View.of(Stored(copy)))


@pytest.mark.parametrize("name", ["X/data", "X/indices", "X/indptr", "uns/sclaws/cell_ids", "uns/sclaws/totals"])
def test_a_missing_file_is_no_zeros(folder: Path, tmp_path: Path, name: str):
    """zarr gives the fill value for what is not there: half a copy would be a corpus of other counts."""
    copy = shutil.copytree(folder, tmp_path / "copy.zarr")
    next(file for file in (copy / name / "c").rglob("*") if file.is_file()).unlink()
    with pytest.raises(DataError, match=f"1 of the 1 files of {name} are missing: the corpus is damaged"):
        Stored(copy)


def test_cells_to_be_tested_that_do_not_fit_are_refused(folder: Path):
    view = View.of(Stored(folder, in_memory_gb=0))
    few = pd.Index([f"G{i}" for i in range(5)])
    with pytest.raises(DataError, match="700 cells are lined up with 5 features in memory"):
        aligned(view, few)
    lined, share = aligned(View.of(Stored(folder)), few)
    assert share == 1 and lined.n_vars == 5 and not lined.on_disk


@pytest.mark.filterwarnings("ignore:Writing zarr v2", "ignore:zarr v3 autosharding")
@pytest.mark.parametrize("name", ["nowhere.zarr", "file.zarr", "empty.zarr", "plain.zarr"])
def test_what_is_no_corpus_is_refused(tmp_path: Path, name: str):
    (tmp_path / "file.zarr").write_text("")
    (tmp_path / "empty.zarr").mkdir()
    anndata.AnnData(np.ones((2, 2))).write_zarr(tmp_path / "plain.zarr")
    with pytest.raises(DataError, match=f"{name} .*sclaws ingest"):
        Stored(tmp_path / name)


def test_a_corpus_of_another_format_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stored, "FORMAT", 2)
    with pytest.raises(DataError, match="has format 1, and this version of sclaws reads 2"):
        Stored(folder)
