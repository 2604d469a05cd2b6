"""The section on loss and task: a pair of measures once, the line within models before that over all."""

import re

import pandas as pd

from sclaws.agreement import ALL, COLUMNS, WITHIN
from sclaws.fit import Fits
from sclaws.report import agreed, page, reading
from sclaws.table import Table


def row(first, second, model, rho, **more):
    named = dict.fromkeys(COLUMNS, "") | {"first_score": "heldout-loss", "second_score": "classification"}
    numbers = {"rho": rho, "low": rho - 0.1, "high": rho + 0.1, "n_trials": 36, "n_clusters": 12, "helpful": rho < 0}
    return named | {"first_metric": first, "second_metric": second, "model": model, "verdict": "so"} | numbers | more


FRAME = pd.DataFrame([
    row("information", "loss", ALL, 0.3),
    row("loss", "f1", ALL, -0.8), row("loss", "f1", WITHIN, -0.2, verdict="weak"), row("loss", "f1", "pca", -0.1),
    row("f1", "mse", ALL, -0.5),
])  # fmt: skip


def plain(markup):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", markup))


def test_losses_beside_tasks_come_first_and_within_models_says_most():
    first, *_, last = agreed.pairs(FRAME)
    assert (first["first"], first["second"]) == ("loss (heldout-loss)", "f1 (classification)")
    assert first["one"]["model"] == WITHIN
    assert last["first"].startswith("f1")


def test_data_sets_are_named_where_there_are_several():
    lung = FRAME[1:3].assign(second_evaluated_on="lung")
    assert agreed.pairs(lung)[0]["second"] == "f1 (classification, lung)"
    assert agreed.pairs(lung.assign(first_evaluated_on="lung"))[0]["second"] == "f1 (classification)"


def test_a_row_a_pair_with_both_correlations():
    text = plain(agreed.shown(FRAME))
    assert "−0.80 (−0.90 to −0.70) −0.20 (−0.30 to −0.10) 36 weak" in text
    assert text.count("information (heldout-loss)") == 1
    assert "pca" not in text


def test_the_page_has_the_section_only_if_there_are_rows():
    table = Table(pd.DataFrame({"value": [1.0]}))
    assert 'id="agreed"' in page.html(reading.contents(table, Fits(), title="t", agreement=FRAME))
    assert 'id="agreed"' not in page.html(reading.contents(table, Fits(), title="t", agreement=FRAME[:0]))
