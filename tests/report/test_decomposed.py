"""The section and the figure of what was lost: their numbers, their caption, and charts that can be drawn."""

import re

import pandas as pd
import pytest
import vl_convert

from sclaws.decomposition import Decomposition
from sclaws.fit import Fits
from sclaws.report import decomposed, page, reading
from sclaws.table import Table

LOST = {"model": 0.12, "measurement": 0.6, "interaction": 0.09, "both": 0.81}


def frame(model="pca", cells=float("inf"), sure=True):
    return pd.DataFrame([
        {
            "model": model, "signal": "obsm(key=protein)", "n_cells_level": cells, "axis": "umis_per_cell",
            "level": level, "share": level / 600, "full": 2.0, "part": part, "value": value,
            "low": value - 0.05 if sure else float("nan"), "high": value + 0.05 if sure else float("nan"),
            "unit": "bits", "replicates": 3, "verdict": "measurement",
        }
        for level in (60.0, 300.0) for part, value in LOST.items()
    ])  # fmt: skip


def plain(markup):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", markup))


def test_the_section_tells_every_part_and_warns_of_the_shift():
    text = plain(decomposed.shown(frame()).section)
    assert "this part includes a shift between training and test cells" in text
    assert "pca 60 UMI per cell 10 % 2.00 0.81 (0.76 to 0.86) 0.60 (0.55 to 0.65)" in text
    assert text.count("measurement 3") == 0
    assert text.count("3 measurement") == 2  # replicates, and what lost more


def test_a_chart_for_each_model_at_the_largest_levels():
    rows = pd.concat([frame(), frame("scvi"), frame("scvi", cells=100.0)])
    lost = decomposed.shown(rows)
    assert [chart["id"] for chart in lost.charts] == ["lost-0", "lost-1"]
    assert [title for title, _ in decomposed.panels(rows)] == ["pca", "scvi"]
    assert len(lost.charts[0]["data"]["parts"]["rows"]) == 2 * 4
    assert plain(lost.section).count("scvi") == 1 + 4  # its chart, and rows for two numbers of cells


def test_two_axes_are_two_charts_though_neither_has_a_level_of_its_own():
    snr = frame().drop(columns="n_cells_level").assign(axis="snr", resolution_level=float("inf"))
    resolution = frame().drop(columns="n_cells_level").assign(axis="resolution", snr_level=float("inf"))
    titles = [title for title, _ in decomposed.panels(pd.concat([snr, resolution]))]
    assert titles == ["pca · resolution", "pca · signal-to-noise ratio"]
    assert decomposed.svg(pd.concat([snr, resolution])).startswith("<svg")


@pytest.mark.parametrize("sure", [True, False])
def test_charts_are_drawn(sure):
    (chart,) = decomposed.shown(frame(sure=sure)).charts
    data = chart["data"]["parts"]
    rows = [dict(zip(data["fields"], row, strict=True)) for row in data["rows"]]
    drawn = vl_convert.vegalite_to_svg(chart["spec"] | {"width": 300, "datasets": {"parts": rows}})
    assert all(f">{part}</text>" in drawn for part in LOST)
    assert ">bits lost</text>" in drawn
    whole = decomposed.svg(pd.concat([frame(sure=sure), frame("scvi", sure=sure)]))
    assert all(f">{text}</text>" in whole for text in ("pca", "scvi", "depth (UMI per cell)"))
    assert "shift between" in whole


def test_without_an_interval_there_is_the_number_alone():
    assert "0.810 0.600 0.120 0.0900 3" in plain(decomposed.shown(frame(sure=False)).section)


def test_the_page_has_the_section_only_if_something_was_taken_apart():
    table = Table(pd.DataFrame({"value": [1.0]}))
    found = page.html(reading.contents(table, Fits(), title="t", lost=Decomposition(frame())))
    assert 'id="lost"' in found
    assert 'id="lost-0" class="chart"' in found or 'class="chart" id="lost-0"' in found
    assert '"id":"lost-0"' in found
    bare = page.html(reading.contents(table, Fits(), title="t", lost=Decomposition(frame()[:0])))
    assert 'id="lost"' not in bare
    assert decomposed.shown(frame()[:0]).charts == ()
