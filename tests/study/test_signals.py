"""Signals whose partner is another cell, through a whole study: split by what binds them, scored, the same again."""

from pathlib import Path

import anndata
import numpy as np
import pytest

import sclaws
from sclaws.datasets import _blocks

STUDY = """
dataset = {{ use = "h5ad", path = "cells.h5ad" }}
engine = "serial"
models = ["random-projection"]
signals = [{signal}]
scores = ["gaussian"]
levels.umis_per_cell = [60, "all"]
split = {{ test = 0.6, valid = 0.1, by = "{by}" }}
"""


@pytest.mark.parametrize(
    ("signal", "by", "found"),
    [
        ('{ use = "clone", column = "clone" }', "clone", "100 of 100 clones in obs['clone'] have two cells"),
        (
            '{ use = "clone", column = "clone", time = "day", early = [2, 4], late = [6] }',
            "clone",
            "100 of 100 clones in obs['clone'] have an early and a late cell",
        ),
        ('{ use = "neighbour", k = 2 }', "block", "400 cells with a place in 16 blocks of obs['block']"),
        ('{ use = "function", path = "mine.py", call = "twice", group = "donor" }', "donor", "found"),
    ],
)
def test_a_study_of_it_is_scored(tmp_path: Path, cells: anndata.AnnData, signal, by, found) -> None:
    del cells.obs["block"]
    cells.obs["block"] = _blocks.blocks(cells, 4, None)
    cells.write_h5ad(tmp_path / "cells.h5ad")
    (tmp_path / "mine.py").write_text("def twice(view):\n    return 2 * view.obsm('state')\n")
    (tmp_path / "study.toml").write_text(STUDY.format(signal=signal, by=by))
    study = sclaws.Study.read(tmp_path / "study.toml")
    assert any(line.endswith(f": {found}") for line in study.check())
    result = study.run(progress=False)
    assert not result.failed
    rows = result.table.frame
    assert len(rows) == 2
    assert np.isfinite(rows[["value", "stderr"]].to_numpy(dtype=float)).all()
    assert (rows["n"] >= 50).all()
