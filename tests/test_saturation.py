"""The published saturation points, from the published values; and which rows of a table make a curve."""

import math

import pandas as pd
import pytest

from sclaws.errors import TableError
from sclaws.saturation import saturate
from sclaws.table import Table, falls

BLOCKS = {
    "scVI_zeroshot_classification_hematopoiesis": ("micro_f1", (1, 10, 1), (1, 10, 1)),
    "Geneformer_zeroshot_integration_periodontitis": ("avg_bio", (10, 1, 25), (25, 1, 75)),
}
SCHEMES = ["celltype_reweighted", "geometric_sketching", "random"]
INF = math.inf


# ── DenAdel et al. ───────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("name", BLOCKS)
def test_published_saturation_points(shared, name):
    """Read off the published heat maps; the mean rule was worked out by hand from the same values."""
    y, published, mean = BLOCKS[name]
    block = pd.read_csv(shared / "published" / "paper_C" / f"{name}.csv")
    frame = saturate(block, "percent", y, ["scheme"], "seed", whole=None).frame.set_index("scheme")
    assert tuple(frame.loc[SCHEMES, "published"]) == published
    assert tuple(frame.loc[SCHEMES, "mean"]) == mean
    assert set(frame["gained"]) == {""}  # no untrained model in these files
    told = pd.read_csv(shared / "published" / "paper_C" / "saturation_heatmaps_transcribed.csv")
    same = (told["model"] == block["model"].iloc[0]) & (told["dataset"] == block["dataset"].iloc[0])
    told = told[same & (told["task"] == block["task"].iloc[0])].set_index("scheme")["saturation_percent"]
    assert tuple(told[SCHEMES]) == published


def test_all_cells_are_every_schemes_if_one_says_so(shared):
    block = pd.read_csv(shared / "published" / "paper_C" / "Geneformer_zeroshot_integration_periodontitis.csv")
    frame = saturate(block, "percent", "avg_bio", ["scheme"], "seed", whole=100).frame
    assert set(frame["levels"]) == {6} and set(frame["whole"]) == {100}
    apart = saturate(block, "percent", "avg_bio", ["scheme"], "seed", whole=None)
    assert sorted(apart.frame["levels"]) == [5, 5, 6]
    assert list(apart.frame["published"]) == list(frame["published"])  # here it changes nothing
    assert (apart.points["portion"] == apart.points["level"] / 100).all()  # of the largest that any scheme has


# ── a study's table ──────────────────────────────────────────────────────────────────────────────────────────────────
VALUES = {100.0: 0.6, 300.0: 0.8, 1000.0: 0.96, INF: 1.0}


def rows(values=VALUES, replicates=3, **named):
    return [
        {
            "run": f"{'-'.join(map(str, named.values()))}{r}{level}", "model": "pca", "metric": "f1", "value": value,
            "n_cells": min(level, 2000.0), "n_cells_level": level, "replicate": r, "status": "ok",
        } | named
        for r in range(replicates) for level, value in values.items()
    ]  # fmt: skip


def test_all_stands_at_the_cells_that_there_are():
    found = saturate(pd.DataFrame(rows()))
    (row,) = found.frame.to_dict("records")
    assert (row["model"], row["metric"], row["x"]) == ("pca", "f1", "n_cells")
    assert (row["whole"], row["published"], row["mean"]) == (2000, 1000, 1000)
    assert list(found.points["level"]) == [100, 300, 1000, 2000]
    assert list(found.points["portion"]) == [0.05, 0.15, 0.5, 1]
    assert found and found.by == ("model", "metric")


def test_a_scheme_without_all_cells_gets_those_of_another():
    few = {level: value for level, value in VALUES.items() if level < INF}
    made = pd.DataFrame(rows(scheme="uniform") + rows(few, scheme="sketch"))
    assert list(saturate(made).frame["best"]) == [1, 1]
    alone = saturate(made, whole=None).frame.set_index("scheme")
    assert alone.loc["sketch", ["whole", "best"]].tolist() == [1000, 0.96]
    only_all = pd.DataFrame(rows({INF: 1.0}, scheme="uniform") + rows(few, scheme="sketch"))
    assert list(saturate(only_all).frame["scheme"]) == ["sketch"]  # one level is no curve


def test_the_untrained_model_by_its_name_whatever_the_scheme():
    made = rows(scheme="uniform") + rows(scheme="sketch")
    made += rows({INF: 0.9}, model="pca untrained", scheme="uniform")
    found = saturate(pd.DataFrame(made))
    assert list(found.frame["untrained"]) == [0.9, 0.9]
    assert list(found.frame["gain"]) == [2000, 2000]  # .96 is .6 of the gain
    assert list(found.frame["model"]) == ["pca", "pca"]
    assert (found.points["level"] == 0).sum() == 2
    assert (found.rows.frame["n_cells_level"] > 0).all()


def test_the_untrained_model_where_other_axes_vary():
    """Its training levels need not be there; what the test cells are must agree."""
    named = {"umis_per_cell_level": 20.0, "umis_per_cell_test_level": INF}
    made = rows(**named) + rows(**{**named, "umis_per_cell_level": 60.0})
    made += rows({INF: 0.5}, model="pca untrained", **{**named, "umis_per_cell_level": INF})
    made += rows({INF: 0.1}, model="pca untrained", **{**named, "umis_per_cell_test_level": 5.0})
    assert list(saturate(pd.DataFrame(made)).frame["untrained"]) == [0.5, 0.5]


def test_level_0_is_the_untrained_model():
    made = pd.DataFrame([
        {"percent": p, "f1": v, "scheme": s, "seed": r}
        for s in ("a", "b") for p, v in {0: 0.9, 1: 0.91, 10: 0.96, 100: 1.0}.items() for r in range(3)
    ])  # fmt: skip
    found = saturate(made, "percent", "f1", ["scheme"], "seed")
    assert list(found.frame["published"]) == [10, 10] and list(found.frame["gain"]) == [100, 100]
    assert list(found.frame["untrained"]) == [0.9, 0.9]
    assert list(found.points.loc[found.points["level"] == 0, "replicates"]) == [3, 3]  # not six


def test_metrics_turn_round_by_name_or_when_said():
    assert falls("loss") and falls("valid_loss") and falls("MSE") and falls("mean error")
    assert not falls("micro_f1") and not falls("gain") and not falls("glossary")
    made = pd.DataFrame(rows({100.0: 2.0, 300.0: 1.2, 1000.0: 1.0}, metric="loss"))
    assert saturate(made).frame["best"].tolist() == [1.0]
    assert saturate(made, lower=()).frame["best"].tolist() == [2.0]
    assert saturate(made.assign(metric="distance"), lower={"distance"}).frame["mean"].tolist() == [1000]


def test_failed_rows_and_short_curves_are_left_out():
    bad = pd.DataFrame(rows()).assign(status=lambda f: f["status"].where(f["n_cells_level"] != 300.0, "failed"))
    assert saturate(bad).frame["levels"].tolist() == [3]
    assert not saturate(pd.DataFrame(rows({100.0: 1.0, 300.0: 2.0})))


def test_draws_of_a_table_are_used():
    made = pd.DataFrame(rows(replicates=1))
    index = pd.MultiIndex.from_frame(made[["run", "metric"]])
    draws = pd.DataFrame([[0.01 * (-1) ** (i * j) for j in range(64)] for i in range(len(made))], index=index)
    assert saturate(Table(made, draws)).frame["covers"].tolist() == ["test cells"]
    assert saturate(Table(made)).frame["covers"].tolist() == [""]


@pytest.mark.parametrize(
    ("asked", "match"),
    [
        ({"x": "cells"}, "no column 'cells'"),
        ({"replicate": "sed"}, "no column 'sed'"),
        ({"share": 1.0}, "share = 1.0 must lie between 0 and 1"),
        ({"by": ["model"]}, "several curves are mixed in one"),
        ({"by": ["model", "metric", "whole"]}, "'whole' is called as a column of the results is"),
    ],
)
def test_what_is_refused(asked, match):
    made = pd.DataFrame(rows() + rows(metric="loss")).assign(whole="x")
    with pytest.raises(TableError, match=match):
        saturate(made, **asked)


def test_the_order_of_rows_does_not_matter():
    made = pd.DataFrame([row | {"value": row["value"] + 0.01 * i} for i, row in enumerate(rows())])
    one, two = saturate(made), saturate(made.sample(frac=1, random_state=1))
    pd.testing.assert_frame_equal(one.frame, two.frame)
    pd.testing.assert_frame_equal(one.points, two.points)
