"""Table and fits become panels: what is compared stands together, and nothing of the table is lost or mixed in."""

import numpy as np
import pandas as pd
import pytest

from sclaws.fit import Fits, fit
from sclaws.laws.noise import Noise
from sclaws.report import reading
from sclaws.report.reading import Roles
from sclaws.table import Table

DEPTHS = np.geomspace(10, 3000, 6)
BY = ["dataset", "signal", "model", "n_cells_level"]


def rows(model: str, cells: float, signal: str = "protein", metric: str = "information") -> pd.DataFrame:
    depth = np.repeat(DEPTHS, 2)
    value = Noise().predict({"depth": depth}, {"i_max": np.array(2.0), "u_bar": np.array(80.0)})
    value = value + 0.02 * np.resize([1.0, -1.0, -1.0, 1.0], depth.size)
    same = {"dataset": "tissue", "signal": signal, "model": model, "metric": metric, "unit": "bits", "status": "ok"}
    levels = {"umis_per_cell": depth, "n_cells": min(cells, 5000.0), "n_cells_level": cells}
    replicates = {"replicate": np.resize([0, 1], depth.size)}
    return pd.DataFrame({**same, "value": value, "low": value - 0.1, "high": value + 0.1, **levels, **replicates})


@pytest.fixture(scope="module")
def table() -> Table:
    parts = [rows(m, c, s) for s in ("protein", "label") for m in ("pca", "scvi") for c in (100.0, np.inf)]
    failed = rows("pca", 100.0).assign(status="failed", value=np.nan).iloc[:1]
    return Table(
        pd.concat(
            [*parts, rows("gene-mean", np.inf), rows("pca", 100.0, metric="gain").assign(value=9.0), failed],
            ignore_index=True,
        )
    )


@pytest.fixture(scope="module")
def fits(table) -> Fits:
    chosen = table.where(table.frame["metric"] == "information")
    held = chosen.frame["umis_per_cell"] > 1000
    return fit(chosen, Noise(), x="umis_per_cell", by=BY, replicate="replicate", held_out=held)


@pytest.fixture(scope="module")
def panels(table, fits):
    return list(reading.panels(table, fits, {"i_max": 2.0, "u_bar": 80.0}))


def test_a_panel_for_each_signal(panels):
    assert [p.title for p in panels] == ["label", "protein"]
    assert [(p.y, p.unit, p.x, p.law) for p in panels] == [("information", "bits", "depth (UMI per cell)", "noise")] * 2
    assert panels[0].constants == (("dataset", "tissue"),)


def test_every_row_that_was_fitted_is_a_point_and_no_other(panels, table):
    points = [p for panel in panels for c in panel.curves for p in c.points]
    wanted = table.frame[(table.frame["metric"] == "information") & (table.frame["status"] == "ok")]
    assert sorted((p.x, p.y, p.replicate) for p in points) == sorted(
        zip(wanted["umis_per_cell"], wanted["value"], wanted["replicate"].astype(str), strict=True)
    )
    assert all(p.high - p.low == pytest.approx(0.2) for p in points)


def test_what_was_held_out_is_told(panels):
    assert all(p.held_out == (p.x > 1000) for panel in panels for c in panel.curves for p in c.points)


def test_levels_are_in_order_and_all_is_placed_by_what_was_measured(panels):
    (cells,) = panels[1].slices
    assert cells.levels == ("100", "all (5,000)")
    assert cells.values == {"100": 100.0, "all (5,000)": 5000.0}


def test_a_model_that_does_not_train_holds_at_every_level(panels):
    by_model = {c.model: c for c in panels[1].curves}
    assert by_model["gene-mean"].levels == (None,)
    assert by_model["gene-mean"].baseline
    assert by_model["pca"].levels == ("all (5,000)",)


def test_parameters_lines_and_truth_are_those_of_the_fit(panels, fits):
    curve = panels[0].curves[0]
    one = next(f for f in fits if f.curve["signal"] == "label")
    assert [(p.name, p.value, p.low, p.high) for p in curve.parameters] == [
        (name, one.value[name], one.low[name], one.high[name]) for name in ("i_max", "u_bar")
    ]
    assert [p.unit for p in curve.parameters] == ["bits", "UMI per cell"]
    assert [p.truth for p in curve.parameters] == [2.0, 80.0]
    expected = Noise().predict(
        {"depth": np.array([k.x for k in curve.line])}, {k: np.array(v) for k, v in one.value.items()}
    )
    assert [k.y for k in curve.line] == pytest.approx(list(expected))
    assert all(k.low < k.y < k.high for k in curve.line)
    assert (curve.line[0].x, curve.line[-1].x) == pytest.approx((DEPTHS[0], DEPTHS[-1]))


def test_two_inputs_make_two_panels(table, fits):
    chosen = table.where((table.frame["metric"] == "information") & (table.frame["model"] == "pca"))
    other = fit(chosen, Noise(), x="umis_per_cell", by=["signal", "n_cells_level"], replicate="replicate")
    renamed = Table(table.frame.assign(reads=table.frame["umis_per_cell"]))
    reads = fit(
        renamed.where(chosen.frame.index), Noise(), x="reads", by=["signal", "n_cells_level"], replicate="replicate"
    )
    titles = [p.title for p in reading.panels(renamed, Fits.join([other, reads]), {})]
    assert titles == [f"{s}, against {x}" for x in ("depth (UMI per cell)", "reads") for s in ("label", "protein")]


class Joint:
    """Two inputs: the noise law with a ceiling that grows with the logarithm of the number of cells."""

    inputs = ("depth", "cells")
    params = {"slope": (0.0, 2.0), "u_bar": (1.0, 1000.0)}

    def predict(self, x, theta):
        return Noise().predict(x, {"i_max": theta["slope"] * np.log10(x["cells"]), "u_bar": theta["u_bar"]})


def test_a_law_of_two_inputs_is_drawn_at_each_level_of_the_second():
    depth, cells = (a.ravel() for a in np.meshgrid(DEPTHS, [100.0, 1000.0, 10000.0]))
    y = Joint().predict({"depth": depth, "cells": cells}, {"slope": np.array(0.6), "u_bar": np.array(90.0)})
    table = Table(pd.DataFrame({"umi": depth, "cells": cells, "mi": y}))
    (panel,) = reading.panels(table, fit(table, Joint(), x=["umi", "cells"], y="mi"), {})
    assert [c.levels for c in panel.curves] == [("100",), ("1,000",), ("10,000",)]
    assert [bool(c.verdict) for c in panel.curves] == [False, False, True]
    assert all(len(c.points) == DEPTHS.size for c in panel.curves)
    for curve in panel.curves:
        assert curve.line[-1].y == pytest.approx(curve.points[-1].y, abs=1e-4)


def test_a_table_of_ones_own_needs_no_columns_of_ours():
    depth = np.tile(DEPTHS, 2)
    y = Noise().predict({"depth": depth}, {"i_max": np.repeat([1.0, 2.0], DEPTHS.size), "u_bar": np.array(80.0)})
    table = Table(pd.DataFrame({"lab": np.repeat(["x", "y"], DEPTHS.size), "umi": depth, "mi": y}))
    found = reading.contents(table, fit(table, Noise(), x="umi", y="mi", by="lab"), title="mine")
    (panel,) = found.panels
    assert [c.model for c in panel.curves] == ["x", "y"]
    assert (panel.title, panel.slices) == ("mi", ())
    assert found.lead == "12 results; 2 curves fitted; nothing failed."


def test_rows_that_were_not_looked_at_are_no_points_though_they_look_alike():
    """As of a model that never sees its training cells: the same value at the same place, whatever the other level."""
    depth = np.tile(DEPTHS, 2)
    y = Noise().predict({"depth": depth}, {"i_max": np.array(2.0), "u_bar": np.array(80.0)})
    table = Table(pd.DataFrame({"tested": np.repeat(["deep", "alike"], DEPTHS.size), "umi": depth, "mi": y}))
    found = reading.contents(table, fit(table, Noise(), x="umi", y="mi", where="tested==alike"), title="mine")
    assert len(found.panels[0].curves[0].points) == DEPTHS.size


def test_without_fits_there_are_no_panels():
    assert reading.contents(Table(pd.DataFrame({"a": [1]})), Fits(), title="empty").panels == ()


def test_columns_have_roles():
    curves = [
        {"dataset": "d", "signal": s, "model": m, "n_cells_level": c, "umis_per_cell_level": u}
        for s in "ab" for m in "pq" for c, u in ((10.0, 1.0), (20.0, 2.0))
    ]  # fmt: skip
    roles = Roles.of(curves, ("umis_per_cell",))
    assert roles.colour == "model"
    assert roles.slices == ("n_cells_level",)
    assert roles.panel == ("signal", "dataset", "umis_per_cell_level")
    assert roles.varying == ("signal", "umis_per_cell_level")
