"""A study of a corpus on disk: the same numbers whether its cells are brought into memory or read in blocks."""

from pathlib import Path

import pandas as pd
import pytest

from sclaws.datasets.corpus import Corpus
from sclaws.errors import DataError, PluginError
from sclaws.plugins import Spec
from sclaws.study import Study

COUNTED = ["n_cells", "umis_per_cell", "n_genes"]


@pytest.fixture
def folder(corpus: Path) -> Path:
    return corpus


def table(folder: Path, out: Path, in_memory_gb: float) -> pd.DataFrame:
    words = {
        "name": "disk",
        "dataset": {"use": "corpus", "path": str(folder), "in_memory_gb": in_memory_gb, "name": "tissue"},
        "models": [{"use": "pca", "dim": 3, "n_genes": 30}, {"use": "random-projection", "dim": 4}],
        "scores": ["probe"],
        "signals": [{"use": "obs", "column": "type"}],
        "levels": {"n_cells": [100, 300], "umis_per_cell": [30, "all"], "n_genes": [40, "all"]},
    }
    return Study.of(words, out).run(progress=False).table.frame


def test_a_study_gives_the_same_from_disk_as_from_memory(folder: Path, tmp_path: Path):
    one, other = (table(folder, tmp_path / name, gb) for name, gb in (("memory", 1.0), ("disk", 0.0)))
    key = ["model", "level_n_cells", "level_umis_per_cell", "level_n_genes", "metric"]
    key = [column for column in key if column in one]
    one, other = (frame.sort_values([*key, *COUNTED]).reset_index(drop=True) for frame in (one, other))
    assert len(one) == 2 * 2 * 2 * 2
    pd.testing.assert_frame_equal(one[COUNTED], other[COUNTED])
    # to rounding: sums over cells are taken in another order
    pd.testing.assert_series_equal(one["value"], other["value"], rtol=1e-4)


def test_it_is_described_by_its_checksum(folder: Path):
    described = Spec.of("datasets", {"use": "corpus", "path": str(folder)}).describe()
    assert described["path"].startswith("blake2b:")
    other = Spec.of("datasets", {"use": "corpus", "path": str(folder), "in_memory_gb": 0.5})
    assert other.describe() == described and other.build().in_memory_gb == 0.5


def test_what_cannot_be_opened(tmp_path: Path):
    with pytest.raises(DataError, match=r"none.zarr does not exist; give the folder that sclaws ingest wrote"):
        Corpus(str(tmp_path / "none.zarr")).load()
    with pytest.raises(PluginError, match="in_memory_gb = -1.0 must be 0 or more"):
        Corpus("x", in_memory_gb=-1.0)
