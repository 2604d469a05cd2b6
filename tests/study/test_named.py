"""Studies with a name: what they make of a user's data, and what they refuse."""

import tomllib

import anndata
import numpy as np
import pandas as pd
import pytest

from sclaws.errors import DataError, StudyError
from sclaws.study import Study, named
from sclaws.testing import counts


@pytest.fixture
def cells(tmp_path, monkeypatch):
    """A file of 600 cells with proteins and a label, in the working folder."""
    monkeypatch.chdir(tmp_path)
    adata = counts(n=600).to_adata()
    adata.obs["cell_type"] = adata.obs.pop("label")
    adata.write_h5ad("cells.h5ad")
    return tmp_path / "cells.h5ad"


def test_names_in_the_file_suggest_signals_and_the_data_give_the_levels(cells) -> None:
    words = tomllib.loads(named.settled("gowri-2025", cells))
    assert words["signals"] == [
        {"use": "obsm", "key": "protein", "name": "protein"},
        {"use": "obs", "column": "cell_type", "kind": "label", "name": "cell_type"},
    ]
    depth = anndata.read_h5ad(cells).X.sum(axis=1).mean()
    depths = words["grid"][0]["levels"]["umis_per_cell"]
    assert depths[-1] == "all"
    assert depths[2] == pytest.approx(depth / 10, rel=0.01)  # a tenth is what the decomposition is asked for
    trained_alone, tested_alone = words["grid"][2], words["grid"][3]
    assert (
        set(trained_alone["levels"]["umis_per_cell"])
        == set(tested_alone["test_levels"]["umis_per_cell"])
        <= set(depths)
    )
    assert words["grid"][4]["levels"]["n_cells"][0] == round(600 * 0.65 / 8)
    paper = words["profiles"]["paper"]["grid"][0]["levels"]
    assert (len(paper["umis_per_cell"]), len(paper["n_cells"])) == (10, 10)


@pytest.mark.parametrize("profile", [None, "smoke", "laptop", "paper"])
def test_every_profile_is_a_study_whose_trials_can_be_priced(cells, profile) -> None:
    study = Study.named("gowri-2025", cells, profile=profile)
    study.check()
    plan = study.plan()
    assert plan.to_train == plan.n_trials > 0
    if profile == "paper":
        assert plan.n_trials == 3 * (4 * 10 * 10 + 3 * 10)  # models at depths and cells, baselines at depths


def test_the_smoke_profile_runs_and_ends_with_fits(cells, tmp_path) -> None:
    result = Study.named("gowri-2025", cells, signals=["protein=protein"], profile="smoke", out=tmp_path / "out").run(
        progress=False
    )
    assert result.failed == result.missing == 0
    laws = set(result.fits.frame["law"])
    assert laws == {"noise", "saturating-power"}
    both = result.table.frame.query("n_cells_level == inf and umis_per_cell_level == umis_per_cell_test_level")
    values = both[both.model.str.startswith("pca")].sort_values("umis_per_cell_level")["value"].to_numpy()
    assert values[-1] > values[0]  # the deepest cells tell most


def test_the_file_is_written_once_and_never_over_somebodys_changes(cells, tmp_path) -> None:
    file = named.write("gowri-2025", cells)
    assert named.write("gowri-2025", cells) == file
    assert Study.read(file, profile="smoke").out == tmp_path / "cells-gowri-2025-smoke.sclaws"
    file.write_text(file.read_text() + "# mine\n")
    with pytest.raises(StudyError, match=r"cells-gowri-2025\.toml is there and says something else: run it as it is"):
        named.write("gowri-2025", cells)


def test_donors_stay_whole_if_asked(cells) -> None:
    words = tomllib.loads(named.settled("gowri-2025", cells, ["label=cell_type"], by="donor"))
    assert words["split"]["by"] == "donor"
    assert words["signals"] == [
        {"use": "obs", "column": "cell_type", "kind": "label", "group": "donor", "name": "cell_type"}
    ]


def test_partners_bring_a_split_of_their_own(cells) -> None:
    adata = anndata.read_h5ad(cells)
    adata.obs["clone"] = pd.Categorical([f"k{i // 2}" for i in range(600)])
    adata.obsm["spatial"] = np.random.default_rng(0).uniform(size=(600, 2))
    del adata.obs["block"]
    adata.write_h5ad(cells)
    clone = tomllib.loads(named.settled("gowri-2025", cells, ["clone=clone"]))
    assert (clone["split"]["by"], clone["split"]["test"], clone["signals"]) == (
        "clone",
        0.5,
        [{"use": "clone", "column": "clone", "name": "clone"}],
    )
    near = tomllib.loads(named.settled("gowri-2025", cells, ["neighbour=spatial"]))
    assert (near["split"]["by"], near["dataset"]["blocks"]) == ("block", 5)  # 24 cells each
    assert near["signals"] == [{"use": "neighbour", "key": "spatial", "by": "block", "n": 3000, "name": "neighbour"}]
    with pytest.raises(StudyError, match="a clone needs a split of its own: give it a study of its own, with --signal"):
        named.settled("gowri-2025", cells, ["clone=clone", "protein=protein"])


@pytest.mark.parametrize(
    ("signals", "error", "match"),
    [
        (["protein"], StudyError, "--signal 'protein' is not KIND=KEY; kinds: protein .a matrix of obsm., label"),
        (["colour=x"], StudyError, "--signal 'colour=x' is not KIND=KEY"),
        (["protein=protien"], DataError, r"there is no obsm\['protien'\]; did you mean 'protein'[?]"),
        (["label=celltype"], DataError, r"there is no obs\['celltype'\]; did you mean 'cell_type'[?]"),
    ],
)
def test_signals_that_are_not_there_are_named(cells, signals, error, match) -> None:
    with pytest.raises(error, match=match):
        named.settled("gowri-2025", cells, signals)


def test_nothing_that_looks_like_a_signal_is_told(cells) -> None:
    adata = anndata.read_h5ad(cells)
    del adata.obsm["protein"], adata.obsm["spatial"], adata.obs["cell_type"], adata.obs["clone"]
    adata.write_h5ad(cells)
    with pytest.raises(DataError, match="nothing .* is called like a signal .obs: .*donor.*; obsm: state.: name it"):
        named.settled("gowri-2025", cells)


def test_an_unknown_name_and_data_that_are_not_given(cells) -> None:
    with pytest.raises(StudyError, match="gowri-2024: no such study file, and no study has this name; did you mean"):
        named.write("gowri-2024", cells)
    with pytest.raises(StudyError, match="gowri-2025 is a study of your data: add --data FILE"):
        named.write("gowri-2025", None)


def test_every_named_study_has_a_line() -> None:
    assert [line.split()[0] for line in named.lines()] == named.names()
    assert all(len(line.split()) > 4 for line in named.lines())


def changed(file, **columns):
    adata = anndata.read_h5ad(file)
    for name, values in columns.items():
        adata.obs[name] = values
    adata.write_h5ad(file)


@pytest.mark.parametrize(
    ("signals", "by", "match"),
    [
        ([], "donr", r"--by donr: obs has no such column; did you mean 'donor'"),
        ([], "sparse", r"--by sparse: it is missing for 5 cells, which are in no group; fill or drop them"),
        (["clone=clone"], "donor", "keeps clones whole, and no other groups: leave --by out"),
        (["neighbour=spatial"], None, "obs has a column 'block' already: say --by COLUMN"),
        (["neighbour=state"], None, r"blocks are cut of obsm\['spatial'\], not of 'state': say --by COLUMN"),
    ],
)
def test_groups_that_cannot_be_kept_whole_leave_no_file_in_the_way(cells, tmp_path, signals, by, match) -> None:
    changed(cells, sparse=[None] * 5 + ["a", "b"] * 297 + ["a"])
    with pytest.raises((DataError, StudyError), match=match):
        named.write("gowri-2025", cells, signals, by)
    assert not list(tmp_path.glob("*.toml"))


def test_levels_are_cells_that_the_split_leaves(cells) -> None:
    """Half of the clones are tested; and of uneven donors the largest may be."""
    changed(cells, person=["a"] * 180 + [f"b{i // 30}" for i in range(420)])
    for signal, by in (("clone=clone", None), ("label=cell_type", "person")):
        text = named.settled("gowri-2025", cells, [signal], by)
        for seed in range(3):
            study = Study.parse(text.replace("replicates = 2", f"replicates = {seed + 1}"), "x", cells.parent, "paper")
            study.check()


def test_neighbours_have_blocks_of_enough_cells(cells) -> None:
    adata = anndata.read_h5ad(cells)
    del adata.obs["block"]
    adata.write_h5ad(cells)
    study = Study.named("gowri-2025", cells, ["neighbour=spatial"])
    assert any("25 blocks" in said for said in study.check())


def test_files_that_differ_after_a_dot_have_studies_of_their_own_and_odd_names_are_written_well(cells) -> None:
    for name in ('a "b".v1.h5ad', 'a "b".v2.h5ad'):
        (cells.parent / "other").mkdir(exist_ok=True)
        (cells.parent / "other" / name).write_bytes(cells.read_bytes())
    files = [named.write("gowri-2025", cells.parent / "other" / f'a "b".v{i}.h5ad') for i in (1, 2)]
    assert [file.name for file in files] == [f'a "b".v{i}-gowri-2025.toml' for i in (1, 2)]
    assert Study.read(files[1]).words["name"] == 'a "b".v2-gowri-2025'
    files[0].write_text("name = 'mine'")
    with pytest.raises(StudyError, match=r"sclaws run 'a \"b\".v1-gowri-2025.toml'"):
        named.write("gowri-2025", cells.parent / "other" / 'a "b".v1.h5ad')


def test_counts_are_found_in_their_layer(cells) -> None:
    adata = anndata.read_h5ad(cells)
    adata.layers["counts"] = adata.X.copy()
    adata.X = np.log1p(adata.X)
    adata.write_h5ad(cells)
    words = tomllib.loads(named.settled("gowri-2025", cells))
    assert words["dataset"] == {"use": "h5ad", "path": str(cells), "layer": "counts"}
    adata.layers["elsewhere"] = adata.layers.pop("counts")
    adata.write_h5ad(cells)
    with pytest.raises(DataError, match=r"log-normalised values; point `layer` to the counts .layers: elsewhere"):
        named.settled("gowri-2025", cells)


def test_names_are_read_as_people_write_them_and_no_label_is_asked_twice(cells) -> None:
    label = anndata.read_h5ad(cells).obs["cell_type"]
    again = pd.Categorical(label.astype(str).map({"high": "CL:1", "low": "CL:2"}))
    time = {"time": np.arange(600) % 7, "timed": np.ones(600), "some_time": np.arange(600) % 2 == 0}
    changed(
        cells, **{"cell_type_ontology_term_id": again, "Cell Type 2": pd.Categorical(["x", "y", "z"] * 200)}, **time
    )
    words = tomllib.loads(named.settled("gowri-2025", cells))
    assert [each.get("column") for each in words["signals"]] == [None, "cell_type", "Cell Type 2", "time"]


# ── images and sequences ─────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def images(tmp_path, monkeypatch):
    """An .npz of 400 images of 12 pixels a side, in three classes that differ in their brightness."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    digit = rng.integers(3, size=400)
    pixels = rng.uniform(0, 60, size=(400, 12, 12)) + 60 * digit[:, None, None]
    np.savez(tmp_path / "digits.npz", x_train=pixels.astype(np.uint8), y_train=digit)
    return tmp_path / "digits.npz"


def test_images_in_colour_keep_it(images) -> None:
    grey = np.load(images)
    np.savez(images, x_train=np.repeat(grey["x_train"][..., None], 3, axis=3), y_train=grey["y_train"])
    assert tomllib.loads(named.settled("gowri-2025-images", images))["dataset"]["colour"] == "rgb"


def test_images_give_classes_and_resolutions(images) -> None:
    words = tomllib.loads(named.settled("gowri-2025-images", images))
    assert (words["dataset"]["images"], words["dataset"]["labels"]) == ("x_train", "y_train")
    assert words["signals"][0] == {"use": "obs", "column": "label", "kind": "label", "name": "class"}
    assert {each["positive"] for each in words["signals"][1:]} < {"0", "1", "2"}
    resolutions = words["grid"][3]["levels"]["resolution"]
    assert resolutions[0] == 2
    assert resolutions[-2] < 12
    assert set(words["grid"][4]["levels"]["resolution"]) < set(resolutions)


def test_the_smoke_profile_of_images_runs(images, tmp_path) -> None:
    result = Study.named("gowri-2025-images", images, profile="smoke", out=tmp_path / "out").run(progress=False)
    assert result.failed == result.missing == 0
    every = result.table.frame.query("model == 'pca' and snr_level == inf and resolution_level == inf")
    full = every[every["signal"] == "class"]["value"].max()
    assert full > 0.8 * np.log2(3)  # brightness tells the three classes apart


@pytest.fixture
def proteins(tmp_path, monkeypatch):
    """A table of 400 proteins whose residues change with the year."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    year = rng.uniform(1990, 2010, size=400)
    letters = np.array(list("ACDEFGHIKLMNPQRSTVWY"))
    old, new = rng.integers(20, size=(2, 60))
    swept = (year[:, None] - 1990) / 20 > rng.uniform(size=60)
    other = rng.random((400, 60)) < 0.02
    codes = np.where(other, rng.integers(20, size=(400, 60)), np.where(swept, new, old))
    table = pd.DataFrame({"aa": ["".join(letters[row]) for row in codes], "decimal_date": year.round(2)})
    table.to_csv(tmp_path / "flu.tsv", sep="\t", index=False)
    return tmp_path / "flu.tsv"


def test_the_smoke_profile_of_sequences_runs(proteins, tmp_path) -> None:
    words = tomllib.loads(named.settled("gowri-2025-sequences", proteins))
    assert (words["dataset"]["sequence"], words["dataset"]["date"]) == ("aa", "decimal_date")
    study = Study.named("gowri-2025-sequences", proteins, profile="smoke", out=tmp_path / "out")
    result = study.run(progress=False)
    assert result.failed == result.missing == 0
    pca = result.table.frame.query(
        "model == 'pca' and intact_odds_level == intact_odds_test_level and n_cells_level == inf"
    )
    values = pca.set_index("intact_odds_level")["value"]
    assert values[np.inf] > values[1.0] + 0.5  # half of the residues wrong: much of the date is gone
    assert set(result.fits.frame["law"]) == {"noise", "saturating-power"}


@pytest.mark.parametrize(
    ("name", "file", "content", "match"),
    [
        ("gowri-2025-sequences", "flu.fasta", ">a\nACD\n", r"flu\.fasta is FASTA, which has no dates: bring a table"),
        (
            "gowri-2025-sequences",
            "flu.tsv",
            "aa\tday\nACD\t1\n",
            "has the columns aa, day; one has to hold dates: --signal",
        ),
        (
            "gowri-2025-sequences",
            "flu.csv",
            "date,day\n1,1\n",
            "one has to hold sequences, called sequence or seq or aa",
        ),
        ("gowri-2025-images", "photo.npz", "no arrays", "neither a folder of images nor an .npz of arrays"),
        ("gowri-2025", "cells.h5ad", "no cells", "cannot be read: it is no HDF5 file"),
    ],
)
def test_data_of_another_kind_are_refused(tmp_path, monkeypatch, name, file, content, match) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / file).write_text(content)
    with pytest.raises(DataError, match=match):
        named.settled(name, tmp_path / file)
    with pytest.raises(DataError, match="nowhere does not exist; give the path of your data"):
        named.settled(name, tmp_path / "nowhere")


def test_words_that_mean_nothing_there_are_refused(images, proteins) -> None:
    with pytest.raises(StudyError, match="a study of images asks for the label, .*: no --signal, --by"):
        named.settled("gowri-2025-images", images, ["label=label"])
    with pytest.raises(StudyError, match="'label=x': a study of sequences asks for a date; write date=COLUMN"):
        named.settled("gowri-2025-sequences", proteins, ["label=x"])
    with pytest.raises(StudyError, match="--signal date=x, date=y: a study of sequences asks for one date"):
        named.settled("gowri-2025-sequences", proteins, ["date=x", "date=y"])
    with pytest.raises(StudyError, match="keeps copies of a sequence together"):
        named.settled("gowri-2025-sequences", proteins, by="country")
    np.savez("other.npz", pictures=np.zeros((3, 2, 2)))
    with pytest.raises(DataError, match="has the arrays pictures; name them images and labels, x_train and y_train"):
        named.settled("gowri-2025-images", images.parent / "other.npz")
