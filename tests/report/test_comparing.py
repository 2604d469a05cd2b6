"""The tables of tests and targets say what the fits say, and are absent where there is nothing to say."""

import re

import numpy as np
import pandas as pd
import pytest

from sclaws.fit import Fits, fit
from sclaws.laws.constant import Constant
from sclaws.laws.noise import Noise
from sclaws.report import comparing, reading, universal
from sclaws.report.charts import styles
from sclaws.table import Table

X = np.geomspace(10, 2500, 10)
MODELS = {"pca": (2.0, 300.0), "scvi": (3.0, 600.0)}


def plain(markup) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", markup))


@pytest.fixture(scope="module")
def table() -> Table:
    parts = [
        pd.DataFrame({"model": m, "umi": X, "mi": Noise().predict({"depth": X}, {"i_max": i, "u_bar": u})})
        for m, (i, u) in MODELS.items()
    ]
    frame = pd.concat(parts, ignore_index=True)
    return Table(frame.assign(mi=frame["mi"] + 0.03 * np.resize([1.0, -1.0, -1.0, 1.0], len(frame))))


@pytest.fixture(scope="module")
def fits(table) -> Fits:
    return fit(table, [Noise(), Constant()], x="umi", y="mi", by="model")


def test_every_fit_has_a_row_of_its_tests(fits):
    markup = comparing.compared(fits)
    assert markup.count("<tr>") == 1 + len(fits)
    text = plain(markup)
    assert "the largest quarter of the levels, predicted from a refit" in text
    assert text.count(" best ") == 1 + 2  # the heading, and the noise law of each model
    first = fits[0]
    assert f"{first.constant_aicc - first.aicc:.1f}" in text
    assert f"{100 * first.held_out.coverage:.0f} %" in text


def test_what_is_needed_by_both_rules_unless_others_are_asked_for(fits):
    text = plain(comparing.needed(fits, ()))
    assert "gap (I_max − .074 bits)" in text
    assert "fraction (.9 · I_max)" in text
    assert "beyond the data" in text
    asked = comparing.needed(fits, [1.0])
    assert asked.count("<tr>") == 1 + 2  # a constant needs nothing
    assert "gap" not in asked


def test_fits_of_calls_with_other_by_columns_stand_in_one_table(table, fits):
    other = table.frame.assign(lab=np.resize([1.0, np.inf], len(table.frame)))
    both = Fits.join([fits, fit(other, Noise(), x="umi", y="mi", by=["lab", "model"])])
    text = plain(comparing.compared(both))
    assert "pca – noise" in text
    assert "pca all noise" in text
    assert comparing.needed(both, ()).count("<tr>") == 1 + 2 * (2 + 4)


def test_nothing_to_tell():
    assert comparing.compared(Fits()) is None
    assert comparing.needed(Fits(), ()) is None
    flat = fit(pd.DataFrame({"x": X, "y": np.resize([1.0, 1.1], 10)}), Constant(), "x", "y")
    assert comparing.needed(flat, ()) is None


def test_all_curves_are_drawn_on_one(table, fits):
    noise, constant = reading.panels(table, fits, {})
    assert universal.drawable(noise)
    assert not universal.drawable(constant)
    assert len(noise.scaled) == len(table.frame)
    assert [curve for curve, *_ in noise.scaled] == [0] * 10 + [1] * 10
    spec, rows = universal.chart(noise, styles(noise.models.items()))
    assert len(rows["scaled"]) == 20
    for x, y in rows["universal"]:
        assert y == pytest.approx(x / (1 + x))
    assert [row[0] for row in rows["universal"]] == sorted(row[0] for row in rows["universal"])
    assert spec["layer"]


def test_a_flat_curve_has_no_scale_to_be_laid_onto_others_by(table):
    flat = pd.DataFrame({"model": "mean", "umi": X, "mi": 0.001 * np.resize([1.0, -1.0, -1.0, 1.0], len(X))})
    three = Table(pd.concat([table.frame, flat], ignore_index=True))
    found = fit(three, Noise(), x="umi", y="mi", by="model")
    assert [one.curve["model"] for one in found if one.verdict.startswith("flat")] == ["mean"]
    (panel,) = reading.panels(three, found, {})
    order = [one.curve["model"] for one in found]
    assert {order[curve] for curve, *_ in panel.scaled} == set(MODELS)
    assert len(panel.scaled) == len(panel.universal) == len(table.frame)


def test_one_curve_is_not_laid_onto_itself(table):
    one = table.where(table.frame["model"] == "pca")
    (panel,) = reading.panels(one, fit(one, Noise(), x="umi", y="mi", by="model"), {})
    assert panel.scaled == ()
