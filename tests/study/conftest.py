"""A small study on a small file: what the tests of this folder start from."""

from pathlib import Path

import anndata
import pytest

from sclaws.testing import counts

STUDY = """
replicates = 2
dataset = {{ use = "h5ad", path = "cells.h5ad" }}
engine = "serial"
models = ["random-projection", {{ use = "pca", dim = 4 }}]
signals = [{{ use = "obsm", key = "protein" }}]
scores = ["gaussian"]
levels.umis_per_cell = [20, 60, 150, "all"]
split = {{ test = 0.5, valid = 0.1 }}
{more}
"""


@pytest.fixture
def cells() -> anndata.AnnData:
    return counts(400).to_adata()


@pytest.fixture
def study(tmp_path: Path, cells: anndata.AnnData) -> Path:
    """A study file beside its data."""
    cells.write_h5ad(tmp_path / "cells.h5ad")
    path = tmp_path / "small.toml"
    path.write_text(STUDY.format(more=""))
    return path
