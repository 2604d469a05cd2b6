"""Every mistake a user can make: one clear error that names file, field and remedy, exit status 2, nothing lost."""

from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np
import pytest
from scipy import sparse

from sclaws import cli


def outcome(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr("sys.argv", ["sclaws", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def fractions(adata: anndata.AnnData) -> None:
    adata.X = sparse.csr_matrix(np.log1p(adata.X.toarray()))


def missing(adata: anndata.AnnData) -> None:
    adata.X.data[5] = np.nan


def negative(adata: anndata.AnnData) -> None:
    adata.X.data[5] = -1


def twins(adata: anndata.AnnData) -> None:
    adata.var_names = ["g0", "g0", *adata.var_names[2:]]


def same_cells(adata: anndata.AnnData) -> None:
    adata.obs_names = ["c0", "c0", *adata.obs_names[2:]]


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (fractions, "cells.h5ad, X: .*which is no whole number.*point `layer` to the counts"),
        (missing, "cells.h5ad.*(NaN|nan|not finite|missing)"),
        (negative, "cells.h5ad.*negative"),
        (twins, "cells.h5ad.*'g0'.*(more than once|twice|unique)"),
        (same_cells, "cells.h5ad.*'c0'.*(more than once|twice|unique)"),
    ],
)
def test_files_that_are_not_counts(
    study: Path, cells: anndata.AnnData, spoil: Callable, match: str, monkeypatch, capsys
) -> None:
    spoil(cells)
    cells.write_h5ad(study.parent / "cells.h5ad")
    assert outcome(monkeypatch, "run", study) == 2
    assert_says(capsys, match)


def assert_says(capsys: pytest.CaptureFixture, match: str) -> None:
    import re

    said = capsys.readouterr().err
    assert re.search(match, said, flags=re.DOTALL), f"{match!r} is not in: {said}"
    assert "Traceback" not in said


def test_a_truncated_file(study: Path, monkeypatch, capsys) -> None:
    data = study.parent / "cells.h5ad"
    data.write_bytes(data.read_bytes()[:5000])
    assert outcome(monkeypatch, "run", study) == 2
    assert_says(capsys, "cells.h5ad.*(truncated|cut|half|whole|incomplete)")


@pytest.mark.parametrize(
    ("more", "match"),
    [
        ('signals = [{ use = "obs", column = "lable" }]\nscores = ["probe"]', "'lable'.*did you mean 'label'"),
        ('signals = [{ use = "obsm", key = "protien" }]', "'protien'.*did you mean 'protein'"),
        (
            'signals = [{ use = "clone", column = "clone" }]',
            r"signal clone.* groups of obs\['clone'\] .*in training and in test.*split = . by = .clone.",
        ),
        (
            'signals = ["neighbour"]',
            r"signal neighbour: 9 groups of obs\['block'\] .*in training and in test.*split = . by = .block.",
        ),
        ('signals = [{ use = "neighbour", key = "X_spatial" }]', "no obsm.'X_spatial'.; did you mean 'spatial'"),
        ('signals = [{ use = "function", path = "mine.py", call = "day" }]', "mine.py does not exist"),
        ('models = ["pcaa"]', "unknown model 'pcaa': did you mean 'pca'"),
        ('models = [{ use = "pca", dmi = 3 }]', "no field 'dmi': did you mean 'dim'"),
        ('[[fit]]\nlaw = "niose"', "unknown law 'niose': did you mean 'noise'"),
        ('[[fit]]\nlaw = "noise"\nx = "umi_per_cell"', "unknown column 'umi_per_cell'; did you mean 'umis_per_cell'"),
        ("[[fit]]\nlaws = 3", "unknown key 'laws'; did you mean 'law'"),
        ("replicats = 3", "unknown key 'replicats'; did you mean 'replicates'"),
        ("levels.n_cells = [100000]", "n_cells = 100000 is not between 2 and the 160 training cells"),
        ("levels.umis_per_cell = [90000]", "umis_per_cell = 90000 is not above 0 and within the"),
        ('dataset = { use = "h5ad", path = "celsl.h5ad" }', "celsl.h5ad.*(no such file|does not exist)"),
        ('split = { by = "doner" }', "'doner' is not a column of obs; did you mean 'donor'"),
        ('engine = "threads"', "unknown engine 'threads'"),
        ("replicates = ", "not valid TOML"),
    ],
)
def test_words_that_mean_nothing(study: Path, more: str, match: str, monkeypatch, capsys) -> None:
    name = more.lstrip("[").split(" ", 1)[0].split(".")[0].split("]")[0]
    kept = [line for line in study.read_text().splitlines() if not line.startswith((f"{name} ", f"{name}."))]
    if "\nscores" in more:
        kept = [line for line in kept if not line.startswith("scores")]
    study.write_text("\n".join([*kept, more]))
    assert outcome(monkeypatch, "run", study) == 2
    assert_says(capsys, match)
    assert not (study.parent / "small.sclaws" / "trials").is_dir() or not any(
        (study.parent / "small.sclaws" / "trials").iterdir()
    )


def test_one_class_only(study: Path, cells: anndata.AnnData, monkeypatch, capsys) -> None:
    cells.obs["one"] = "same"
    cells.write_h5ad(study.parent / "cells.h5ad")
    text = study.read_text().replace('{ use = "obsm", key = "protein" }', '{ use = "obs", column = "one" }')
    study.write_text(text.replace('"gaussian"', '"probe"'))
    assert outcome(monkeypatch, "run", study) == 2
    assert_says(capsys, r"obs\['one'\] is 'same' for every cell: a label needs at least two classes")


def test_a_profile_that_is_not_there(study: Path, monkeypatch, capsys) -> None:
    study.write_text(study.read_text() + "\n[profiles.smoke]\nreplicates = 1\n")
    assert outcome(monkeypatch, "run", study, "--profile", "smok") == 2
    assert_says(capsys, "profile 'smok' is not in this study; did you mean 'smoke'")


def test_no_study_file(tmp_path: Path, monkeypatch, capsys) -> None:
    assert outcome(monkeypatch, "run", tmp_path / "none.toml") == 2
    assert_says(capsys, "none.toml: no such study file")


def test_output_that_cannot_be_written(study: Path, monkeypatch, capsys) -> None:
    (study.parent / "small.sclaws").write_text("a file is in the way")
    assert outcome(monkeypatch, "run", study) == 2
    assert_says(capsys, "small.sclaws")


def test_a_mistake_after_a_run_loses_nothing(study: Path, cells: anndata.AnnData, monkeypatch, capsys) -> None:
    assert outcome(monkeypatch, "run", study) == 0
    before = (study.parent / "small.sclaws" / "table.csv").read_bytes()
    data = (study.parent / "cells.h5ad").read_bytes()
    (study.parent / "cells.h5ad").write_bytes(data[:4000])
    assert outcome(monkeypatch, "run", study) == 2
    assert (study.parent / "small.sclaws" / "table.csv").read_bytes() == before
    (study.parent / "cells.h5ad").write_bytes(data)
    assert outcome(monkeypatch, "run", study) == 0
    assert (study.parent / "small.sclaws" / "table.csv").read_bytes() == before
