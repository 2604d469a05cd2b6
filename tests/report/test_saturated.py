"""The section on saturation: its charts can be drawn, its numbers are those of the rules."""

import re

import pandas as pd
import pytest
import vl_convert

from sclaws.fit import Fits
from sclaws.report import page, reading, saturated
from sclaws.saturation import Saturation, saturate
from sclaws.table import Table

VALUES = {0.0: 0.5, 1.0: 0.6, 10.0: 0.8, 25.0: 0.96, 100.0: 1.0}


@pytest.fixture
def found() -> Saturation:
    rows = pd.DataFrame([
        {"model": m, "metric": metric, "scheme": s, "percent": p, "replicate": r, "value": v * k}
        for k, metric in ((1, "micro_f1"), (100, "bits"))
        for m in ("pca", "scvi") for s in ("uniform", "sketch") for p, v in VALUES.items() for r in range(3)
    ])  # fmt: skip
    return saturate(rows, "percent", whole=100)


def plain(markup):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", markup))


def test_a_chart_for_each_metric_and_a_row_for_each_curve(found):
    shown = saturated.shown(found)
    assert [chart["id"] for chart in shown.charts] == ["saturated-0", "saturated-1"]
    assert [title for title, _ in saturated.panels(found)] == ["bits", "micro_f1"]
    rows = shown.charts[0]["data"]["levels"]["rows"]
    assert len(rows) == 2 * 2 * 5
    assert [row[2] for row in rows[:5]] == ["untrained", "level", "level", "end", "level"]
    assert rows[3][3:5] == [25.0, 96.0] and rows[3][-1].endswith("at 25")
    text = plain(shown.section)
    assert "any single replicate" in text
    assert text.count("micro_f1 100 1.00 25 25 100") == 4  # all, best, and the three rules


def test_what_is_unknown_is_a_dash(found):
    assert saturated.said({"gained": "", "gain": float("nan")}, "gain") == "–"
    assert saturated.said({"gained": "no gain"}, "gain") == "no gain"
    wide = {"mean": 1000.0, "mean_low": 300.0, "mean_high": float("inf")}
    assert saturated.said(wide, "mean") == "1,000 (300 to none)"


def test_charts_are_drawn(found):
    for chart in saturated.shown(found).charts:
        data = chart["data"]["levels"]
        rows = [dict(zip(data["fields"], row, strict=True)) for row in data["rows"]]
        drawn = vl_convert.vegalite_to_svg(chart["spec"] | {"width": 300, "datasets": {"levels": rows}})
        assert all(f">{name}</text>" in drawn for name in ("pca", "scvi", "uniform", "sketch", "percent, % of all"))
    whole = saturated.svg(found)
    assert all(f">{text}</text>" in whole for text in ("micro_f1", "bits", "pca", "percent, % of all"))
    assert "A ring" in whole


def test_one_curve_without_names_is_drawn():
    rows = pd.DataFrame({"percent": list(VALUES), "f1": list(VALUES.values())})
    found = saturate(rows, "percent", "f1", [])
    assert ">f1</text>" in saturated.svg(found, "f1")


def test_a_model_has_one_colour_in_all_charts_though_some_lack_it(found):
    rows = found.points[(found.points["model"] == "scvi") | (found.points["metric"] == "bits")]
    few = found.frame[(found.frame["model"] == "scvi") | (found.frame["metric"] == "bits")]
    one, two = (chart["spec"] for _, chart in saturated.panels(Saturation(few, rows, found.rows, found.by)))
    colours = [spec["layer"][2]["encoding"]["color"]["scale"] for spec in (one, two)]
    assert colours[0] == colours[1] and colours[0]["domain"] == ["pca", "scvi"]


def test_many_rows_are_folded(found):
    many = Saturation(pd.concat([found.frame] * 20, ignore_index=True), found.points, found.rows, found.by)
    made = saturated._table(many)
    assert "160 curves: the table" in plain(made)
    assert "<details" in made and made.count("<tr") == 161
    assert "<details" not in saturated._table(found)


def test_no_chart_is_left_out_without_a_word(found, monkeypatch):
    assert "chart more" not in plain(saturated.shown(found).section)
    monkeypatch.setattr(saturated, "MOST", 1)
    shown = saturated.shown(found)
    assert len(shown.charts) == 1
    assert "1 chart more would be of further metrics" in plain(shown.section)
    assert "1 chart more" in saturated.svg(found)


def test_the_page_has_the_section_only_if_there_is_something_to_say(found):
    table = Table(pd.DataFrame({"value": [1.0]}))
    whole = page.html(reading.contents(table, Fits(), title="t", ends=found))
    assert 'id="saturated"' in whole and '"id":"saturated-1"' in whole
    assert 'id="saturated"' not in page.html(reading.contents(table, Fits(), title="t"))
