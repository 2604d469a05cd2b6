"""Trained on one data set, evaluated on another: features by name, nothing trained again, nothing leaked."""

import textwrap
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sclaws import grid
from sclaws.errors import DataError, StudyError
from sclaws.models.pca import PCA
from sclaws.study import Study
from sclaws.study.fitting import curve_columns
from sclaws.testing import counts
from sclaws.view import View

STUDY = """
    name = "s"
    dataset = { use = "h5ad", path = "corpus.h5ad" }
    split = { test = 0.2, valid = 0.1 }
    engine = "serial"
    keep = "weights"
    levels.n_cells = [100, "all"]
    models = { use = "pca", dim = 3, n_genes = "all" }

    [[evaluate]]
    signals = { use = "obs", column = "label" }
    scores = "probe"

    [[evaluate]]
    dataset = { use = "h5ad", path = "other.h5ad" }
    signals = { use = "obs", column = "label" }
    scores = "probe"
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A corpus of 300 cells; other cells of the same kind, whose genes are in another order, one lacking, one new."""
    counts(n=300).to_adata().write_h5ad(tmp_path / "corpus.h5ad")
    other = counts(n=900, seed=0).to_adata()[400:].copy()  # of the same genes' rates, cells that the corpus has not
    moved = other[:, ::-1].copy()
    moved.var_names = [*other.var_names[:0:-1], "new"]  # g0 is called otherwise, and so is not found
    moved.write_h5ad(tmp_path / "other.h5ad")
    path = tmp_path / "s.toml"
    path.write_text(textwrap.dedent(STUDY))
    return path


def test_the_table_says_what_was_evaluated_on_and_how_much_of_it_was_found(study: Path) -> None:
    result = Study.read(study).run(progress=False)
    frame = result.table.frame
    assert result.failed == result.missing == 0 and result.done.trained
    assert set(zip(frame["dataset"], frame["evaluated_on"], strict=True)) == {("corpus", "corpus"), ("corpus", "other")}
    there = frame[frame["evaluated_on"] == "other"]
    assert (there["n"] == 500).all() and np.allclose(there["found_test"], 59 / 60)
    assert frame.loc[frame["evaluated_on"] == "corpus", "found_test"].isna().all()
    assert "evaluated_on" in curve_columns(frame, ["n_cells"])  # a curve for each data set that is tested on


def test_the_embedding_is_that_of_the_cells_with_their_genes_lined_up_by_hand(study: Path) -> None:
    made = Study.read(study)
    made.run(progress=False)
    run = next(r for r in made.runs if r.evaluated and not r.trial.levels)
    stored = made.store.array(run.trial.key, f"embedding-{run.view_key}")
    trained = PCA(dim=3, n_genes="all").load(made.store.weights(run.trial.key))
    other = anndata.read_h5ad(study.parent / "other.h5ad").to_df()
    lined = other.reindex(columns=[f"g{i}" for i in range(60)], fill_value=0.0)
    by_hand = anndata.AnnData(sparse.csr_matrix(lined.to_numpy(np.float32)), var=pd.DataFrame(index=lined.columns))
    np.testing.assert_allclose(stored, trained.embed(View.of(by_hand)), atol=1e-5)


def test_a_further_data_set_trains_nothing(study: Path) -> None:
    first = Study.read(study).run(progress=False)
    third = counts(n=1500).to_adata()[1000:].copy()
    third.write_h5ad(study.parent / "third.h5ad")
    study.write_text(
        study.read_text()
        + textwrap.dedent("""
        [[evaluate]]
        dataset = { use = "h5ad", path = "third.h5ad" }
        signals = { use = "obs", column = "label" }
        scores = "probe"
    """)
    )
    again = Study.read(study).run(progress=False)
    assert len(first.done.trained) == 2 and again.done.trained == []
    assert len(again.done.scored) == 2
    assert set(again.table.frame["evaluated_on"]) == {"corpus", "other", "third"}


def test_groups_of_data_that_are_tested_whole_are_cut_by_no_split(study: Path) -> None:
    """Donors of the other data may be called as those of the corpus, whose split cuts them: none was learned from."""
    words = study.read_text()
    at = words.rindex('column = "label"')
    study.write_text(words[:at] + 'column = "label", group = "donor"' + words[at + len('column = "label"') :])
    Study.read(study).check()
    result = Study.read(study).run(progress=False)
    assert result.failed == 0 and (result.table.frame["evaluated_on"] == "other").sum() == 2


def test_axes_of_a_block_are_its_own(study: Path, tmp_path: Path) -> None:
    words = {"dataset": {"use": "h5ad", "path": "corpus.h5ad"}, "models": "pca", "scores": "probe",
             "signals": {"use": "obs", "column": "label"}, "levels": {"n_genes": [30]},
             "grid": [{}, {"axes": {"n_genes": {"use": "n_genes", "by": "expressed"}}}]}  # fmt: skip
    runs = grid.runs(words, tmp_path)
    assert {dict(run.trial.levels[0].axis.fields).get("by") for run in runs} == {None, "expressed"}
    with pytest.raises(StudyError, match=r"axes: unknown key 'n_gens'"):
        grid.runs(words | {"grid": [{"axes": {"n_gens": "n_genes"}}]}, tmp_path)


OTHER = 'path = "other.h5ad" }'
SIGNALS = 'signals = { use = "obs", column = "label" }\n'


@pytest.mark.parametrize(
    ("old", "new", "error", "match"),
    [
        (OTHER, f"{OTHER}\nfound = 0.99", DataError, "59 of the 60 features learned from"),
        (OTHER, f"{OTHER}\nfound = 2", StudyError, "found = 2 must be a share"),
        (OTHER, f"{OTHER}\nfind = 1", StudyError, "unknown key 'find'; did you mean 'found'"),
        (OTHER, 'path = "corpus.h5ad", name = "x" }', DataError, r"100% of the cells have the very counts.*drop = \["),
        (OTHER, 'path = "corpus.h5ad" }', DataError, "100% of the cells have the very counts"),  # beside its own
        (f'{SIGNALS}scores = "probe"\n\n[[ev', f"{SIGNALS}\n[[ev", StudyError, "number 1: 'scores' is missing"),
        (f"{OTHER}\n{SIGNALS}", f"{OTHER}\n", StudyError, "number 2: score 'probe' compares with"),
        (f"{OTHER}\n{SIGNALS}", f"{OTHER}\n{SIGNALS.replace('label', 'lable')}", DataError, "did you mean 'label'"),
    ],
)
def test_what_cannot_be_evaluated(study: Path, old: str, new: str, error: type[Exception], match: str) -> None:
    assert old in study.read_text()
    study.write_text(study.read_text().replace(old, new))
    with pytest.raises(error, match=match):
        Study.read(study).check()
