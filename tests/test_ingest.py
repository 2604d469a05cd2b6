"""Several files become one corpus: the same genes under one name, every count where it was."""

import sys
from pathlib import Path
from types import SimpleNamespace

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from sclaws.errors import DataError, StudyError
from sclaws.ingest import files as reading
from sclaws.ingest import ingest

N_GENES = 30


def write(path: Path, names: list[str], cells: int, seed: int, **obs: list[str]) -> np.ndarray:
    counts = np.random.default_rng(seed).poisson(1.5, (cells, len(names))).astype(np.float32)
    frame = pd.DataFrame(obs, index=[f"cell{i}" for i in range(cells)])
    anndata.AnnData(sparse.csr_matrix(counts), obs=frame, var=pd.DataFrame(index=names)).write_h5ad(path)
    return counts


def read(folder: Path) -> anndata.AnnData:
    """The corpus as anndata reads it, its cells in the order of the files."""
    made = anndata.read_zarr(folder)
    return made[sorted(made.obs_names, key=lambda name: (name.partition(":")[0], int(name.partition(":cell")[2])))]


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
    said = ingest(recipe, tmp_path / "corpus.zarr")
    made = read(tmp_path / "corpus.zarr")
    assert list(made.var_names) == [f"G{i}" for i in range(N_GENES)]
    expected = np.vstack([first[:, :N_GENES], second[:, :N_GENES][:, ::-1]])
    np.testing.assert_array_equal(made.X.toarray(), expected)
    assert list(made.obs["study"]) == ["a"] * 6 + ["other"] * 4
    assert list(made.obs_names[[0, 6]]) == ["a:cell0", "other:cell0"]
    assert list(made.obs["cell_type"][:6]) == ["b", "t"] * 3 and made.obs["cell_type"][6:].isna().all()
    share = first[:, :N_GENES].sum() / first.sum()
    assert f"a: 6 cells x 31 genes; it has 100% of the corpus's genes, which hold {share:.0%} of its counts" in said
    assert not list(tmp_path.glob(".*"))


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
    ingest(files[0], tmp_path / "corpus.zarr")
    obs = read(tmp_path / "corpus.zarr").obs
    assert obs["age"].dtype == np.float64 and obs["age"].isna().sum() == 3 and obs["age"].max() == 2.0
    assert obs["day"].dtype == np.int64 and list(obs["day"][5:]) == [2, 3, 3, 3, 3]
    assert set(obs["type"].cat.categories) == {"a", "b", "1"}
    assert set(obs["well"].cat.categories) == {"1", "2"} and obs["well"].isna().sum() == 4


def test_all_genes_are_zero_where_a_file_has_none(files: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path):
    recipe, first, second = files
    recipe.write_text('genes = "all"\n' + recipe.read_text())
    said = ingest(recipe, tmp_path / "corpus.zarr")
    made = read(tmp_path / "corpus.zarr")
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
        ingest(files[0], tmp_path / "corpus.zarr")
    assert not (tmp_path / "corpus.zarr").exists()


def test_what_is_written_has_its_name(files: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path):
    with pytest.raises(StudyError, match="must end in .zarr"):
        ingest(files[0], tmp_path / "corpus.csv")


# ── files of every kind ──────────────────────────────────────────────────────────────────────────────────────────────
def sample(tmp_path: Path, n: int = 40) -> anndata.AnnData:
    counts = np.random.default_rng(5).poisson(1.0, (n, N_GENES))
    obs = pd.DataFrame({"donor": [f"d{i % 3}" for i in range(n)]}, index=[f"cell{i}" for i in range(n)])
    var = pd.DataFrame({"symbol": [f"S{i // 2 if i < 4 else i}" for i in range(N_GENES)]})
    return anndata.AnnData(
        counts.astype(np.float32), obs=obs, var=var.set_index(pd.Index([f"G{i}" for i in range(N_GENES)]))
    )


def followed(tmp_path: Path, words: str) -> anndata.AnnData:
    (tmp_path / "recipe.toml").write_text(f'[[file]]\nname = "a"\n{words}\n')
    ingest(tmp_path / "recipe.toml", tmp_path / "made.zarr")
    return read(tmp_path / "made.zarr")


@pytest.mark.filterwarnings("ignore:Writing zarr v2", "ignore:zarr v3 autosharding")
def test_a_table_of_names_that_was_changed_is_read_again(tmp_path: Path):
    def killed(cells: int, what: str) -> None:
        if what == "writing":
            raise Killed

    data = sample(tmp_path)
    data.write_zarr(tmp_path / "a.zarr")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[[file]]\npath = "a.zarr"\ngenes_path = "names.tsv"\n')
    names = [f"N{i}" for i in range(N_GENES)]
    for new in (names, names[::-1]):
        pd.DataFrame({"id": data.var_names, "name": new}).to_csv(tmp_path / "names.tsv", sep="\t", index=False)
        with pytest.raises(Killed):
            ingest(recipe, tmp_path / "made.zarr", killed)
    ingest(recipe, tmp_path / "made.zarr")
    np.testing.assert_array_equal(read(tmp_path / "made.zarr").to_df()[names].to_numpy(), data.X[:, ::-1])


@pytest.mark.filterwarnings("ignore:Writing zarr v2", "ignore:zarr v3 autosharding")
@pytest.mark.parametrize("kind", ["csr", "csc", "dense", "zarr", "layer"])
def test_counts_are_read_however_they_are_kept(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading, "_BLOCK", 7)
    data = sample(tmp_path)
    dense, words = data.X.copy(), 'path = "a.h5ad"'
    if kind == "layer":
        data.layers["raw"], data.X, words = sparse.csr_matrix(dense), dense / 3, words + '\nlayer = "raw"'
    elif kind != "dense":
        data.X = sparse.csc_matrix(dense) if kind == "csc" else sparse.csr_matrix(dense)
    if kind == "zarr":
        data.write_zarr(tmp_path / "a.zarr")
        words = 'path = "a.zarr"'
    else:
        data.write_h5ad(tmp_path / "a.h5ad")
    np.testing.assert_array_equal(followed(tmp_path, words).X.toarray(), dense)


def test_cells_are_chosen_and_genes_of_one_name_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading, "_BLOCK", 9)
    data = sample(tmp_path)
    data.write_h5ad(tmp_path / "a.h5ad")
    made = followed(tmp_path, 'path = "a.h5ad"\nkeep = ["donor=d0", "donor=d2"]\ngenes = "symbol"')
    kept = (data.obs["donor"] != "d1").to_numpy()
    assert list(made.obs_names) == [f"a:{name}" for name in data.obs_names[kept]]
    summed = data[kept].to_df().T.groupby(data.var["symbol"].to_numpy()).sum().T
    np.testing.assert_array_equal(made.to_df()[list(summed)].to_numpy(), summed.to_numpy())


def test_a_corpus_can_be_ingested_again(tmp_path: Path):
    data = sample(tmp_path)
    data.write_h5ad(tmp_path / "a.h5ad")
    (tmp_path / "recipe.toml").write_text('[[file]]\npath = "a.h5ad"\n')
    ingest(tmp_path / "recipe.toml", tmp_path / "one.zarr")
    again = followed(tmp_path, 'path = "one.zarr"')
    assert again.X.sum() == data.X.sum()


@pytest.fixture
def experiment(tmp_path: Path) -> anndata.AnnData:
    """A local experiment of SOMA, as Census has them remotely."""
    soma = pytest.importorskip("tiledbsoma", reason="SOMA is read by tiledbsoma, which is not installed")
    import tiledbsoma.io

    data = sample(tmp_path)
    data.X = sparse.csr_matrix(data.X)
    tiledbsoma.io.from_anndata(str(tmp_path / "soma"), data, measurement_name="RNA", X_layer_name="raw")
    assert soma.Experiment.exists(str(tmp_path / "soma"))
    return data


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_an_experiment_of_soma(experiment: anndata.AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reading, "_BLOCK", 7)
    words = f'soma = "{tmp_path / "soma"}"\nfilter = "donor in [\'d0\', \'d1\']"\ncolumns = {{ who = "donor" }}'
    made = followed(tmp_path, words)
    kept = (experiment.obs["donor"] != "d2").to_numpy()
    assert list(made.obs_names) == [f"a:{name}" for name in experiment.obs_names[kept]]
    np.testing.assert_array_equal(made.X.toarray(), experiment.X.toarray()[kept])
    assert list(made.obs["who"]) == list(experiment.obs["donor"][kept])
    assert list(made.var_names) == list(experiment.var_names)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_release_of_census(experiment: anndata.AnnData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A local collection laid out as Census is, opened by its client's own function where that is installed."""
    import tiledbsoma

    with tiledbsoma.Collection.create(str(tmp_path / "census")) as census:
        data = census.add_new_collection("census_data")
        with tiledbsoma.Experiment.open(str(tmp_path / "soma")) as made:
            data.set("homo_sapiens", made, use_relative_uri=False)
    try:
        import cellxgene_census as client
    except ImportError:
        client = SimpleNamespace(open_soma=tiledbsoma.open)
        monkeypatch.setitem(sys.modules, "cellxgene_census", client)
    asked, open_soma = [], client.open_soma

    def released(*, census_version: str):
        asked.append(census_version)
        return open_soma(uri=str(tmp_path / "census"))

    monkeypatch.setattr(client, "open_soma", released)
    made = followed(tmp_path, 'census = "2025-01-30"\nfilter = "donor == \'d1\'"')
    kept = (experiment.obs["donor"] == "d1").to_numpy()
    assert asked == ["2025-01-30"]
    np.testing.assert_array_equal(made.X.toarray(), experiment.X.toarray()[kept])


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize(
    ("words", "match"),
    [
        ('layer = "row"', "no layer 'row'; did you mean 'raw'"),
        ('measurement = "ADT"', "no measurement 'ADT'.*RNA"),
        ("filter = \"donor == 'd9'\"", "leaves no cell"),
        ("filter = \"dnor == 'd9'\"", "cannot be read.*dnor"),
        ('columns = { who = "dnor" }', "no column 'dnor'; did you mean 'donor'"),
    ],
)
def test_an_experiment_that_is_not_what_was_said(experiment: anndata.AnnData, tmp_path: Path, words: str, match: str):
    with pytest.raises(DataError, match=match):
        followed(tmp_path, f'path = "soma"\n{words}')


# ── what can be wrong ────────────────────────────────────────────────────────────────────────────────────────────────
def spoil(data: anndata.AnnData, what: str) -> None:
    if what == "negative":
        data.X[7, 3] = -1
    elif what == "fraction":
        data.X[7, 3] = 0.5
    elif what == "nan":
        data.X[7, 3] = np.nan
    else:
        data.obs_names = ["cell0", *data.obs_names[:-1]]


@pytest.mark.filterwarnings("ignore:Observation names are not unique")
@pytest.mark.parametrize(
    ("what", "match"),
    [
        ("negative", "a.h5ad: the value of cell 'a:cell7', gene 'G3' is -1"),
        ("fraction", "is 0.5, which is no whole number"),
        ("nan", "no finite number"),
        ("names", "1 cell names occur more than once, the first is 'cell0'"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_left(tmp_path: Path, what: str, match: str):
    data = sample(tmp_path)
    spoil(data, what)
    data.write_h5ad(tmp_path / "a.h5ad")
    with pytest.raises(DataError, match=match):
        followed(tmp_path, 'path = "a.h5ad"')
    assert not (tmp_path / "made.zarr").exists()


@pytest.mark.parametrize(
    ("words", "match"),
    [
        ('path = "none.h5ad"', "none.h5ad does not exist"),
        ('path = "cut.h5ad"', "cut.h5ad cannot be read"),
        ('path = "text.h5ad"', "text.h5ad cannot be read"),
        ('path = "a.h5ad"\nlayer = "row"', "no layer 'row'"),
        ('path = "a.h5ad"\nkeep = ["donor=d7"]', "no cell has obs\\['donor'\\] = 'd7'"),
        ('path = "a.h5ad"\ngenes = "symbl"', "no column of var; did you mean 'symbol'"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, words: str, match: str):
    sample(tmp_path).write_h5ad(tmp_path / "a.h5ad")
    (tmp_path / "cut.h5ad").write_bytes((tmp_path / "a.h5ad").read_bytes()[:3000])
    (tmp_path / "text.h5ad").write_text("no HDF5")
    with pytest.raises(DataError, match=match):
        followed(tmp_path, words)


def test_an_unknown_field_of_a_file(tmp_path: Path):
    with pytest.raises(StudyError, match="number 1: unknown field 'pth'; did you mean 'path'"):
        followed(tmp_path, 'pth = "a.h5ad"')


def test_what_is_there_is_not_overwritten(files: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path):
    ingest(files[0], tmp_path / "corpus.zarr")
    with pytest.raises(DataError, match="is there already"):
        ingest(files[0], tmp_path / "corpus.zarr")


class Killed(BaseException):
    """What a kill looks like from inside."""


def test_killed_it_goes_on_at_the_file_it_was_at(
    files: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    read_from: list[str] = []
    blocks = reading.AnnDataFile.blocks

    def counted(self, size):
        read_from.append(self._part.name)
        yield from blocks(self, size)

    def killed(cells: int, what: str) -> None:
        if what == "reading other":
            raise Killed

    monkeypatch.setattr(reading.AnnDataFile, "blocks", counted)
    with pytest.raises(Killed):
        ingest(files[0], tmp_path / "corpus.zarr", killed)
    assert not (tmp_path / "corpus.zarr").exists()
    said = ingest(files[0], tmp_path / "corpus.zarr")
    assert read_from == ["a", "other", "other"]
    ingest(files[0], tmp_path / "whole.zarr")
    one, other = (read(tmp_path / f"{name}.zarr") for name in ("corpus", "whole"))
    np.testing.assert_array_equal(one.X.toarray(), other.X.toarray())
    assert said[0].startswith("a: 6 cells x 31 genes; it has 100% of the corpus's genes, which hold 9")
    assert not list(tmp_path.glob(".*"))


def test_a_file_that_was_changed_meanwhile_is_read_again(files: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path):
    def killed(cells: int, what: str) -> None:
        if what == "writing":
            raise Killed

    with pytest.raises(Killed):
        ingest(files[0], tmp_path / "corpus.zarr", killed)
    write(tmp_path / "a.h5ad", [f"G{i}" for i in range(N_GENES)], 6, 77, kind=["b", "t"] * 3)
    ingest(files[0], tmp_path / "corpus.zarr")
    expected = anndata.read_h5ad(tmp_path / "a.h5ad").X.toarray()
    np.testing.assert_array_equal(read(tmp_path / "corpus.zarr").X[:6].toarray(), expected)


def test_cells_are_in_the_same_order_whatever_the_order_of_files_and_buckets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    names = [f"G{i}" for i in range(N_GENES)]
    for number, name in enumerate("ab"):
        write(tmp_path / f"{name}.h5ad", names, 50, number)
    made = []
    for order, bucket in (("ab", 2**24), ("ba", 100)):
        monkeypatch.setattr("sclaws.ingest.BUCKET", bucket)
        (tmp_path / "recipe.toml").write_text("".join(f'[[file]]\npath = "{name}.h5ad"\n' for name in order))
        ingest(tmp_path / "recipe.toml", tmp_path / f"{order}.zarr")
        made.append(anndata.read_zarr(tmp_path / f"{order}.zarr"))
    assert list(made[0].obs_names) == list(made[1].obs_names)
    np.testing.assert_array_equal(made[0].X.toarray(), made[1].X.toarray())
    assert list(made[0].obs["study"]) == list(made[1].obs["study"])


def test_a_half_written_plan_is_no_plan(files: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path):
    (tmp_path / ".corpus.zarr.half").mkdir()
    (tmp_path / ".corpus.zarr.half" / "plan.json").write_text("[")
    ingest(files[0], tmp_path / "corpus.zarr")
    assert (tmp_path / "corpus.zarr").is_dir()


@pytest.mark.parametrize("what", ["_index", "donor"])
def test_a_damaged_annotation_is_the_files_fault(tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch):
    sample(tmp_path).write_h5ad(tmp_path / "a.h5ad")
    element = reading._element

    def damaged(group):
        if what in group.name:
            raise OSError("filter returned failure")
        return element(group)

    class Names:
        shape = (40,)

        def __getitem__(self, _):
            raise OSError("filter returned failure")

    begin = reading.AnnDataFile.__init__

    def begun(self, part, group):
        begin(self, part, group)
        if what == "_index":
            self._names = Names()

    monkeypatch.setattr(reading, "_element", damaged)
    monkeypatch.setattr(reading.AnnDataFile, "__init__", begun)
    with pytest.raises(DataError, match=r"a.h5ad cannot be read \(OSError: filter returned failure"):
        followed(tmp_path, 'path = "a.h5ad"\ncolumns = { who = "donor" }')


def test_two_at_once_do_not_write_one_corpus(files: tuple[Path, np.ndarray, np.ndarray], tmp_path: Path):
    def other(cells: int, what: str) -> None:
        with pytest.raises(DataError, match="being written by another process"):
            ingest(files[0], tmp_path / "corpus.zarr")

    ingest(files[0], tmp_path / "corpus.zarr", other)
