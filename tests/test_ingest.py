"""Several files become one corpus: the same genes under one name, every count where it was."""

from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sclaws.errors import DataError, StudyError
from sclaws.ingest import ingest

N_GENES = 30


def write(path: Path, names: list[str], cells: int, seed: int, **obs: list[str]) -> np.ndarray:
    counts = np.random.default_rng(seed).poisson(1.5, (cells, len(names))).astype(np.float32)
    frame = pd.DataFrame(obs, index=[f"cell{i}" for i in range(cells)])
    anndata.AnnData(sparse.csr_matrix(counts), obs=frame, var=pd.DataFrame(index=names)).write_h5ad(path)
    return counts


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, np.ndarray, np.ndarray]:
    """Two files with cells of the same names: symbols in one, identifiers in another order in the other."""
    symbols = [f"G{i}" for i in range(N_GENES)]
    first = write(tmp_path / "a.h5ad", [*symbols, "alone"], 6, 0, kind=["b", "t"] * 3)
    second = write(tmp_path / "b.h5ad", [f"ENSG{i}.2" for i in reversed(range(N_GENES))] + ["ENSG99"], 4, 1)
    table = pd.DataFrame({"id": [f"ENSG{i}" for i in range(N_GENES)], "symbol": symbols})
    table.to_csv(tmp_path / "genes.tsv", sep="\t", index=False)
    recipe = tmp_path / "corpus.toml"
    recipe.write_text(
        '[[file]]\npath = "a.h5ad"\ncolumns = { cell_type = "kind" }\n'
        '[[file]]\npath = "b.h5ad"\nname = "other"\ngenes_path = "genes.tsv"\n'
    )
    return recipe, first, second


def test_every_count_is_where_it_was(files: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path):
    recipe, first, second = files
    said = ingest(recipe, tmp_path / "corpus.h5ad")
    made = anndata.read_h5ad(tmp_path / "corpus.h5ad")
    assert list(made.var_names) == [f"G{i}" for i in range(N_GENES)]
    expected = np.vstack([first[:, :N_GENES], second[:, :N_GENES][:, ::-1]])
    np.testing.assert_array_equal(made.X.toarray(), expected)
    assert list(made.obs["study"]) == ["a"] * 6 + ["other"] * 4
    assert list(made.obs_names[[0, 6]]) == ["a:cell0", "other:cell0"]
    assert list(made.obs["cell_type"][:6]) == ["b", "t"] * 3 and made.obs["cell_type"][6:].isna().all()
    share = first[:, :N_GENES].sum() / first.sum()
    assert f"a: 6 cells x 31 genes; it has 100% of the corpus's genes, which hold {share:.0%} of its counts" in said
    assert not list(tmp_path.glob(".*.tmp"))


def test_numbers_stay_numbers_and_names_become_names(files: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path):
    """A float read back as categories would be taken for a label, and names of two types cannot be written at all."""
    columns = {"age": ([1.5, None], [2.0]), "day": ([1, 2], [3]), "type": (["a", "b"], [1]), "well": ([1, 2], [])}
    for number, name in enumerate("ab"):
        data = anndata.read_h5ad(tmp_path / f"{name}.h5ad")
        for column, values in columns.items():
            if values[number]:
                data.obs[column] = np.resize(np.array(values[number]), data.n_obs)
        data.obs["age"] = data.obs["age"].astype(float)
        data.write_h5ad(tmp_path / f"{name}.h5ad")
    all_of, some = ("{ " + ", ".join(f'{c} = "{c}"' for c in of) + " }" for of in (columns, ["age", "day", "type"]))
    files[0].write_text(
        f'[[file]]\npath = "a.h5ad"\ncolumns = {all_of}\n'
        f'[[file]]\npath = "b.h5ad"\ngenes_path = "genes.tsv"\ncolumns = {some}\n'
    )
    ingest(files[0], tmp_path / "corpus.h5ad")
    obs = anndata.read_h5ad(tmp_path / "corpus.h5ad").obs
    assert obs["age"].dtype == np.float64 and obs["age"].isna().sum() == 3 and obs["age"].max() == 2.0
    assert obs["day"].dtype == np.int64 and list(obs["day"][5:]) == [2, 3, 3, 3, 3]
    assert set(obs["type"].cat.categories) == {"a", "b", "1"}
    assert set(obs["well"].cat.categories) == {"1", "2"} and obs["well"].isna().sum() == 4


def test_all_genes_are_zero_where_a_file_has_none(files: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path):
    recipe, first, second = files
    recipe.write_text('genes = "all"\n' + recipe.read_text())
    said = ingest(recipe, tmp_path / "corpus.h5ad")
    made = anndata.read_h5ad(tmp_path / "corpus.h5ad")
    assert set(made.var_names) == {*(f"G{i}" for i in range(N_GENES)), "alone", "ENSG99"}
    assert made[6:, "alone"].X.sum() == 0 and made[:6, "ENSG99"].X.sum() == 0
    assert made.X.sum() == first.sum() + second.sum()
    assert f"it has {31 / 32:.0%} of the corpus's genes" in said[0]


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("", StudyError, r"write one \[\[file\]\] table"),
        ("file = 3", StudyError, r"write one \[\[file\]\] table"),
        ('gene = "all"\n[[file]]\npath="a.h5ad"', StudyError, "unknown key 'gene'; did you mean 'genes'"),
        ('genes = "al"\n[[file]]\npath="a.h5ad"', StudyError, "genes = 'al'; did you mean 'all'"),
        ('[[file]]\nname = "a"', StudyError, "number 1: 'path' is missing"),
        ('[[file]]\npath = "a.h5ad"\n[[file]]\npath = "a.h5ad"', StudyError, "two files are called 'a'"),
        ('[[file]]\npath = "a.h5ad"\ncolumns = "kind"', StudyError, "must be a table such as"),
        ('[[file]]\npath = "a.h5ad"\ncolumns = { study = "kind" }', StudyError, "column 'study' is the file's name"),
        ('[[file]]\npath = "a.h5ad"\ncolumns = { t = "knd" }', DataError, "no column 'knd'; did you mean 'kind'"),
        ('[[file]]\npath = "a.h5ad"\n[[file]]\npath = "b.h5ad"', DataError, "share 0 genes.*'G0'.*'ENSG29.2'"),
        ("[[file]", StudyError, "not valid TOML"),
    ],
)
def test_a_recipe_that_cannot_be_followed(
    files: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path, text: str, error: type[Exception], match: str
):
    files[0].write_text(text)
    with pytest.raises(error, match=match):
        ingest(files[0], tmp_path / "corpus.h5ad")
    assert not (tmp_path / "corpus.h5ad").exists()


def test_what_is_written_has_its_name(files: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path):
    with pytest.raises(StudyError, match="must end in .h5ad"):
        ingest(files[0], tmp_path / "corpus.csv")
