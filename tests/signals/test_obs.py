import anndata
import numpy as np
import pandas as pd
import pytest

from sclaws.errors import DataError
from sclaws.signals.obs import Obs
from sclaws.view import View

N = 60


@pytest.fixture
def adata():
    i = np.arange(N)
    obs = pd.DataFrame(
        {
            "cell_type": pd.Categorical(np.array(["T", "B", "NK"])[i % 3], ["unused", "T", "B", "NK"]),
            "treated": i % 2 == 0,
            "stage": i % 4,
            "time": np.linspace(0, 5, N),
            "barcode": [f"bc{k}" for k in i],
            "one": "same",
            "empty": np.nan,
            "flat": 2.5,
            "gaps": [None if k % 5 == 0 else "ab"[k % 2] for k in i],
            "written": [("nan", "", "x", "y")[k % 4] for k in i],
            "words": ["1.5", "high"] * (N // 2),
            "donor": [f"d{k % 6}" for k in i],
        },
        index=[f"c{k}" for k in i],
    )
    obs.loc["c7", "time"] = np.nan
    return anndata.AnnData(np.ones((N, 2), np.float32), obs=obs)


@pytest.fixture
def embedding():
    return np.arange(2 * N, dtype=np.float32).reshape(N, 2)


def pairs(signal, adata, embedding, rows=None):
    view = View.of(adata)
    view = view if rows is None else view.take(rows)
    return view, signal.pairs(view, embedding[: len(view)], seed=0)


@pytest.mark.parametrize("column", ["cell_type", "treated", "stage"])
def test_categories_yes_no_and_whole_numbers_are_labels(adata, embedding, column):
    Obs(column).check(adata)
    _, made = pairs(Obs(column), adata, embedding)
    assert made.y.dtype.kind == "i"
    assert made.y.shape == (N,)
    assert set(made.y) == set(range(adata.obs[column].nunique()))  # unused categories leave no gap
    assert pd.crosstab(made.y, adata.obs[column].to_numpy()).gt(0).sum().eq(1).all()


def test_a_quantity_is_a_column_of_floats_and_its_gaps_are_left_out(adata, embedding):
    Obs("time").check(adata)
    view, made = pairs(Obs("time"), adata, embedding)
    assert made.y.shape == (N - 1, 1)
    assert 7 not in made.rows
    np.testing.assert_array_equal(made.y[:, 0], adata.obs["time"].to_numpy()[made.rows])
    np.testing.assert_array_equal(made.x, embedding[made.rows])
    np.testing.assert_array_equal(made.ids, view.cell_ids[made.rows])
    assert made.groups is None


@pytest.mark.parametrize(("column", "known"), [("gaps", 48), ("written", 30)])
def test_cells_without_a_label_are_left_out_also_those_written_as_text(adata, embedding, column, known):
    _, made = pairs(Obs(column), adata, embedding)
    assert len(made.rows) == len(made.x) == known
    assert set(made.y) == {0, 1}


def test_codes_of_a_view_are_those_of_its_own_cells(adata, embedding):
    rows = np.flatnonzero(adata.obs["cell_type"] != "B")
    _, made = pairs(Obs("cell_type"), adata, embedding, rows)
    assert set(made.y) == {0, 1}


def test_groups_are_codes_of_their_column_and_bind_the_split(adata, embedding):
    signal = Obs("cell_type", group="donor")
    assert signal.by == "donor"
    assert Obs("cell_type").by is None
    _, made = pairs(signal, adata, embedding)
    np.testing.assert_array_equal(made.groups, np.arange(N) % 6)


def test_the_kind_can_be_said(adata, embedding):
    _, made = pairs(Obs("stage", kind="continuous"), adata, embedding)
    np.testing.assert_array_equal(made.y[:, 0], np.arange(N) % 4)


@pytest.mark.parametrize(
    ("signal", "says"),
    [
        (Obs("cell_typ"), "obs has no column 'cell_typ'; did you mean 'cell_type'"),
        (Obs("one"), r"obs\['one'\] is 'same' for every cell"),
        (Obs("flat"), r"obs\['flat'\] is 2.5 for every cell"),
        (Obs("empty"), r"obs\['empty'\] is missing for all 60 cells"),
        (Obs("barcode"), r"60 classes for 60 cells.*kind = \"continuous\""),
        (Obs("words", kind="continuous"), r"obs\['words'\] is 'high' for cell 'c1', which is no finite number"),
        (Obs("cell_type", positive="NKs"), r"obs\['cell_type'\] has no class 'NKs'; did you mean 'NK'"),
        (Obs("words", bins=(1.0,)), r"obs\['words'\] is 'high' for cell 'c1', which is no finite number"),
        (Obs("time", bins=(9.0,)), r"obs\['time'\] is 'below 9' for every cell"),
        (Obs("time", bins=tuple(np.linspace(0, 5, 20))), "classes for 59 cells, too few cells a class"),
        (Obs("cell_type", group="donr"), "obs has no column 'donr'; did you mean 'donor'"),
        (Obs("cell_type", group="one"), r"obs\['one'\] has 1 groups"),
    ],
)
def test_what_cannot_be_a_signal_is_said_before_any_work(adata, signal, says):
    with pytest.raises(DataError, match=says):
        signal.check(adata)


@pytest.mark.parametrize("column", ["time", "stage"])
def test_bins_cut_a_quantity_at_their_edges_whatever_cells_are_looked_at(adata, embedding, column):
    signal = Obs(column, bins=(1.0, 2.5))
    signal.check(adata)
    for rows in (None, np.arange(0, N, 3)):
        view, made = pairs(signal, adata, embedding, rows)
        values = view.obs[column].to_numpy()[made.rows]
        np.testing.assert_array_equal(made.y, (values >= 1).astype(int) + (values >= 2.5))
        assert len(made.rows) == view.obs[column].notna().sum()


def test_a_number_of_bins_is_refused_with_the_edges_to_write(adata, embedding):
    with pytest.raises(DataError, match=r"bins = 3 would move with the cells.*bins = \[1\.(\d+), 3\.(\d+)\]") as told:
        Obs("time", bins=3).check(adata)
    edges = tuple(float(edge) for edge in str(told.value).rpartition("[")[2].rstrip("]").split(","))
    _, made = pairs(Obs("time", bins=edges), adata, embedding)
    assert np.ptp(np.bincount(made.y)) <= 1  # of equal numbers of cells


@pytest.mark.parametrize(("column", "positive"), [("cell_type", "NK"), ("stage", "2"), ("treated", "True")])
def test_one_class_against_the_rest(adata, embedding, column, positive):
    signal = Obs(column, positive=positive)
    signal.check(adata)
    _, made = pairs(signal, adata, embedding)
    np.testing.assert_array_equal(made.y, adata.obs[column].astype(str) == positive)


def test_one_class_against_the_rest_leaves_out_the_cells_of_none(adata, embedding):
    _, made = pairs(Obs("gaps", positive="a"), adata, embedding)
    assert len(made.rows) == 48
    np.testing.assert_array_equal(made.y, adata.obs["gaps"].to_numpy()[made.rows] == "a")


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"bins": (2.0, 1.0)}, r"bins = \[2.0, 1.0\] must be finite edges, each above the one before"),
        ({"bins": ()}, r"bins = \[\] must be finite edges"),
        ({"bins": (1.0, np.inf)}, "must be finite edges"),
        ({"bins": 1}, "bins = 1 cuts nothing"),
        ({"bins": (1.0,), "positive": "a"}, "give `bins` of a quantity or the `positive` class of a label, not both"),
        ({"kind": "continuous", "positive": "a"}, "positive = 'a' is a class, so kind = \"continuous\" cannot be"),
    ],
)
def test_fields_that_contradict_each_other(fields, says):
    with pytest.raises(DataError, match=says):
        Obs("time", **fields)


def test_a_view_without_any_known_cell_is_an_error(adata, embedding):
    with pytest.raises(DataError, match="missing for all 12 cells of the view"):
        pairs(Obs("gaps"), adata, embedding, np.arange(0, N, 5))


def test_real_columns(shared):
    worm = anndata.read_h5ad(shared / "data" / "worm_embryo.h5ad")
    Obs("embryo_time", kind="continuous").check(worm)
    Obs("time_point").check(worm)
    with pytest.raises(DataError, match='embryo_time.* whole numbers, .*say kind = "label" or kind = "continuous"'):
        Obs("embryo_time").check(worm)  # whole minutes
    with pytest.raises(DataError, match=r"equal numbers of cells here are bins = \[\d+, \d+, \d+\]"):
        Obs("embryo_time", bins=4).check(worm)
    edges = (270.0, 330.0, 390.0, 450.0, 510.0, 580.0, 650.0)  # those of the authors' own column
    Obs("embryo_time", bins=edges).check(worm)
    view = View.of(worm)
    made = Obs("embryo_time", bins=edges).pairs(view, np.zeros((len(view), 1)), seed=0)
    assert (pd.crosstab(made.y, worm.obs["embryo_time_bin"].astype(str).to_numpy()) > 0).sum().eq(1).all()
