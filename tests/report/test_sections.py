"""The page's parts say what the curves say."""

import math
import re
from dataclasses import replace

import pytest

from sclaws.report import sections
from sclaws.report.charts import styles
from sclaws.report.markup import tag
from sclaws.report.records import Point


def plain(markup: str) -> str:
    """The text that a reader sees."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", markup)).replace("&gt;", ">")


def test_headlines_tell_the_largest_level_with_intervals_verdict_and_truth(panel):
    text = plain(sections.found([panel]))
    assert "With 1,000 training cells" in text
    assert "pca follows the law" in text
    assert "I max = 2.10 (1.90 to 2.30) bits truth 2.00, inside the interval" in text
    assert "scvi not identifiable the points cover 41 % of the transition" in text
    assert "I max > 2.40 bits truth 2.00, outside the interval" in text
    assert "All 4 curves of this group: follows the law (3) and not identifiable (1)" in text


def test_many_panels_are_folded_under_their_titles_and_verdicts(panel):
    many = [replace(panel, title=f"part {i}") for i in range(sections.MANY + 1)]
    for section in (sections.found, sections.parameters, sections.baselines):
        assert section(many[:-1]).count("<details") == 0
        markup = section(many)
        assert markup.count("<details") == len(many) and "<h3" not in markup
        assert "part 8 : follows the law (3) and not identifiable (1)" in plain(markup)


def test_of_many_cards_the_first_is_open(panel):
    many = [replace(panel, title=f"part {i}") for i in range(sections.MANY + 1)]
    cards = [tag("section", each.title) for each in many]
    assert "<details" not in sections.folded(many[:-1], cards[:-1])
    markup = sections.folded(many, cards)
    assert markup.count("<details") == len(many) and markup.count("<details open") == 1
    assert markup.index("<details open") < markup.index("part 1")


def test_without_a_fit_the_page_says_so():
    assert "No law was fitted" in sections.found([])


def test_the_table_has_a_row_a_fitted_curve_and_one_sided_limits(panel):
    markup = sections.parameters([panel])
    assert markup.count("<tr>") == 1 + 4
    text = plain(markup)
    assert "I max (bits) ū (UMI per cell) verdict R² RMSE points" in text
    assert "> 450" in text
    assert 'data-v="450.0"' in markup
    assert "gene-mean" not in text


def test_every_panel_has_a_table_of_its_own(panel):
    text = plain(sections.parameters([panel, replace(panel, title="cell type")]))
    assert text.count("protein noise law · a paper") == text.count("cell type noise law · a paper") == 1


def test_baselines_show_what_training_bought(panel):
    text = plain(sections.baselines([panel]))
    bare = next(c for c in panel.curves if c.model == "gene-mean")
    top = next(c for c in panel.curves if c.model == "pca" and c.levels == ("1,000",))
    gap = top.points[-1].y - sum(p.y for p in bare.points) / 2
    assert f"pca {top.points[-1].y:.2f} +{gap:.2f}" in text
    assert "gene-mean baseline 0.300 –" in text


def test_a_loss_is_compared_with_its_sign(panel):
    curves = tuple(replace(c, points=(Point(1.0, 0.5 if c.baseline else 0.4),)) for c in panel.curves)
    assert "−0.100" in plain(sections.baselines([replace(panel, curves=curves)]))


def test_a_table_without_baselines_is_told_what_it_misses(panel):
    bare = replace(panel, curves=tuple(c for c in panel.curves if not c.baseline))
    assert "no baseline" in sections.baselines([bare])


def test_mixed_versions_are_a_warning():
    mixed = sections.mixed({"versions": {"numpy": ["2.1", "2.2"], "torch": ["2.13"], "scipy": "1.15"}})
    assert mixed == ["this table mixes results made with numpy 2.1 and 2.2"]
    assert sections.mixed({"warnings": ["a warning"]}) == ["a warning"]


def test_everything_that_was_run_is_told():
    text = plain(sections.ran([("runs", "12")], {"seeds": [1, 2], "datasets": {"a": {"hash": "f00"}}}, 'x = "<b>"'))
    for word in ("runs 12", "1, 2", "f00", "x = &quot;&lt;b>&quot;"):
        assert word in text


def test_every_failure_is_told_with_its_message():
    failures = [{"key": "ab", "error": "ScoreError", "message": "too few cells", "traceback": "Traceback: line 3"}]
    text = plain(sections.failed([*failures, {"key": "cd", "message": math.nan}]))
    assert "2 items failed" in text
    assert "too few cells traceback Traceback: line 3" in text
    assert "nan" not in text
    assert sections.failed([]) == "<p>Nothing failed.</p>"


@pytest.mark.parametrize(
    ("text", "kind"), [("follows the law", "good"), ("flat: no scaling seen", "warn"), ("no law: x", "bad")]
)
def test_verdicts_are_coloured_by_kind(text, kind):
    assert f'class="verdict {kind}"' in sections.verdict(text)


def test_a_card_offers_models_and_levels(panel):
    markup = sections.curves(panel, 0, styles(panel.models.items()), ["i_max"])
    assert re.findall(r'data-model="([^"]+)"', markup) == ["pca", "scvi", "gene-mean"]
    assert '<option value="1,000" selected>' in markup
    assert 'id="chart-0-0"' in markup
    assert "hollow points were held out" in markup
