import numpy as np
import pandas as pd
import pytest

from sclaws.errors import TableError
from sclaws.table import COLUMNS, Table


def study_frame(rows=6):
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "run": [f"{i:04x}12e4" for i in range(rows)],
            "metric": "information",
            "model": "pca",
            "value": rng.normal(size=rows) / 3,
            "replicate": np.arange(rows) % 2,
            "umis_per_cell": np.repeat(np.geomspace(10, 1000, rows // 2), 2),
            "a_measured_one": 1.0,
        }
    )


def draws_of(frame):
    rng = np.random.default_rng(1)
    index = pd.MultiIndex.from_frame(frame[["run", "metric"]])
    return pd.DataFrame(rng.normal(size=(len(frame), 64)), index=index)


def curve(**more):
    return pd.DataFrame({"umi": [10.0, 20.0, 40.0], "mi": [0.5, 0.8, 1.0]} | more)


def two_models():
    return pd.concat([curve(model="pca"), curve(model="scvi", mi=[0.6, 0.9, 1.1])], ignore_index=True)


# ── reading and writing ──────────────────────────────────────────────────────────────────────────────────────────────
def test_folder_round_trip(tmp_path):
    frame = study_frame()
    failures = pd.DataFrame({"key": ["ff"], "error": ["ModelError"], "message": ["no"]})
    Table(frame, draws_of(frame), {"b": 1, "a": "ü"}, failures).write(tmp_path)
    back = Table.read(tmp_path)
    pd.testing.assert_frame_equal(back.frame[list(frame)], frame, check_exact=True)
    np.testing.assert_array_equal(back.draws.to_numpy(), draws_of(frame).to_numpy())
    assert back.draws.index.equals(draws_of(frame).index)
    assert back.provenance == {"a": "ü", "b": 1}
    assert back.failures["error"].tolist() == ["ModelError"]


def test_bytes_do_not_depend_on_the_order_of_rows_and_columns(tmp_path):
    frame, shuffle = study_frame(), np.random.default_rng(2).permutation(6)
    mixed = frame.iloc[shuffle][sorted(frame, reverse=True)]
    Table(frame, draws_of(frame)).write(tmp_path / "a")
    Table(mixed, draws_of(frame).iloc[shuffle]).write(tmp_path / "b")
    for name in ("table.csv", "draws.parquet", "provenance.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    header = (tmp_path / "a" / "table.csv").read_text().partition("\n")[0].split(",")
    assert header == ["run", "model", "metric", "value", "replicate", "a_measured_one", "umis_per_cell"]
    assert [name for name in COLUMNS if name in header] == header[:5]


def test_writing_again_leaves_nothing_stale(tmp_path):
    frame = study_frame()
    Table(frame, draws_of(frame), failures=pd.DataFrame({"key": ["ff"]})).write(tmp_path)
    Table(frame).write(tmp_path)
    assert Table.read(tmp_path).draws is None
    assert len(Table.read(tmp_path).failures) == 0


@pytest.mark.parametrize("suffix", ["csv", "tsv", "parquet"])
def test_reads_files_of_ones_own(tmp_path, suffix):
    path = tmp_path / f"results.{suffix}"
    frame = curve(model=["a", "b", "c"])
    if suffix == "parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if suffix == "tsv" else ",")
    pd.testing.assert_frame_equal(Table.read(path).frame, frame)


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(TableError, match=r"absent\.csv does not exist: give a CSV, TSV or Parquet file"):
        Table.read(tmp_path / "absent.csv")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(TableError, match=r"empty\.csv cannot be read as a table"):
        Table.read(tmp_path / "empty.csv")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 no more")
    with pytest.raises(TableError, match=r"broken\.parquet cannot be read as a table"):
        Table.read(tmp_path / "broken.parquet")


def test_unwritable_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(TableError, match=r"file cannot be written: .*; give another folder"):
        Table(curve()).write(tmp_path / "file")


def test_shows_itself():
    assert "6 rows, 0 failures" in Table(study_frame())._repr_html_()
    assert Table(curve()).to_pandas() is not Table(curve()).frame


def test_where_takes_labels_and_masks():
    table = Table(study_frame())
    assert table.where([1, 3]).frame.index.tolist() == [1, 3]
    assert len(table.where(table.frame["replicate"] == 0).frame) == 3


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────────
def refused(frame, match, x=("umi",), y="mi", by=(), replicate=None):
    with pytest.raises(TableError, match=match):
        Table(frame).points(x, y, by, replicate)


def test_missing_column_with_the_nearest_name():
    refused(curve(), "no column 'umis': did you mean 'umi'", x=["umis"])
    refused(curve(), "no column 'modle'", by=["modle"])


def test_text_in_a_number():
    refused(curve(umi=["10", "2o", "40"]), "column 'umi', row 2: '2o' is not a number")


@pytest.mark.parametrize(("value", "said"), [(np.nan, r"empty \(NaN\)"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_nan_and_infinity(value, said):
    refused(curve(mi=[0.5, value, 1.0]), f"column 'mi', row 2: {said}; 1 such value")


def test_negative_depth():
    refused(curve(umi=[-1.0, 20.0, 40.0]), "column 'umi', row 1: -1 is negative")


def test_duplicated_rows():
    refused(pd.concat([curve(), curve().iloc[:1]]), "row 4 repeats an earlier row in every column")


def test_nothing_left():
    refused(curve(status="failed"), "no rows that did not fail")


def test_failed_rows_are_left_out():
    frame = curve(mi=[0.5, np.nan, 1.0], status=["ok", "failed", "ok"])
    assert Table(frame).points(["umi"], "mi").index.tolist() == [0, 2]


def test_mixed_models_name_the_by():
    refused(two_models(), r"several curves are mixed in one: .*differ in 'model' \(pca, scvi.*add --by model")
    refused(two_models().assign(signal="day"), "add --by signal,model", by=["signal"])
    assert len(Table(two_models()).points(["umi"], "mi", ["model"])) == 6


def test_mixed_models_at_different_depths():
    shifted = two_models()
    shifted.loc[3:, "umi"] *= 1.5
    refused(shifted, "add --by model")


def test_mixed_levels_of_another_axis():
    frame = pd.concat([curve(size=100), curve(size=1000, mi=[0.9, 1.2, 1.5])])
    refused(frame, r"differ in 'size' \(100, 1000.*add --by size")


def test_nominal_levels_tell_measured_depths_together():
    cells = pd.concat(
        [curve(umi_level=[1, 2, 3], n_cells_level=n, mi=np.random.default_rng(n).random(3)) for n in (5, 9)]
    )
    cells["umi"] += np.arange(6) / 100  # the measured depth differs a little between the curves
    refused(cells, "differ in 'n_cells_level'.*add --by n_cells_level")


def test_replicates_are_no_mixture():
    frame = pd.concat([curve(seed=1), curve(seed=2, mi=[0.4, 0.7, 1.1])])
    assert len(Table(frame).points(["umi"], "mi")) == 6
    assert len(Table(frame).points(["umi"], "mi", replicate="seed")) == 6


def test_names_that_follow_the_depth_are_no_mixture():
    frame = pd.concat([curve(assay="shallow"), curve(assay="deep", umi=[100.0, 200.0, 400.0])])
    assert len(Table(frame).points(["umi"], "mi")) == 6
