"""Specifications are valid Vega-Lite, axes hold what they show, and ticks are round numbers inside them."""

import altair
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sclaws.report import charts
from sclaws.report.charts import Scale

LOOKS = charts.styles([("pca", False), ("scvi", False), ("gene-mean", True)])
X = Scale.of("depth (UMI per cell)", [10.0, 8000.0])
Y = Scale.of("information (bits)", [0.1, 3.0], log=False, zero=True)


@pytest.mark.parametrize("levels", [{}, {0: "all"}, {0: "100", 1: "all"}])
@pytest.mark.parametrize("extra", [(), ("baseline", "truth", "bound")])
def test_curves_are_valid_vega_lite(levels, extra):
    spec = charts.curves(X, Y, LOOKS, levels, extra, "about")
    assert altair.LayerChart.from_dict(spec).to_dict(validate=True)["layer"]


@pytest.mark.parametrize("x", [None, X])
def test_parameters_are_valid_vega_lite(x):
    spec = charts.parameter(x, Y, LOOKS, {1: "all"} if x else {}, True, "about")
    assert altair.LayerChart.from_dict(spec).to_dict(validate=True)["layer"]


def test_models_differ_in_colour_and_shape_and_baselines_are_grey():
    looks = [(s.colour, s.shape) for s in LOOKS.values()]
    assert len(set(looks)) == 3
    assert [s.colour == charts.BASELINE for s in LOOKS.values()] == [False, False, True]


@given(st.lists(st.floats(1e-3, 1e8), min_size=1, max_size=20))
def test_an_axis_holds_its_values_and_its_ticks(values):
    scale = Scale.of("x", values)
    assert scale.low <= min(values)
    assert max(values) <= scale.high
    assert scale.low < scale.high
    assert all(scale.low <= tick <= scale.high for tick in scale.ticks)
    assert scale.log == (max(values) / min(values) > charts.WIDE)


def test_zero_stands_at_the_foot_of_the_axis():
    assert Y.low == 0.0
    assert Scale.of("loss", [1.1, 1.2], zero=False).low > 1.0
    assert Scale.of("gain", [-1.0, 2.0], zero=True).low < -1.0


def test_log_ticks_are_round():
    assert charts.log_ticks(12, 900) == (20, 50, 100, 200, 500)
    assert charts.log_ticks(8, 1200) == (10, 30, 100, 300, 1000)
    assert charts.log_ticks(1, 1e7) == tuple(10.0**e for e in range(8))
