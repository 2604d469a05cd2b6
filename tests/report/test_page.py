"""The whole page as text: complete in itself, the same every time, and deaf to what files say."""

import base64
import hashlib
import json
import re
from dataclasses import replace

import pytest

from sclaws.report.page import Contents, drawable, html, scales

HOSTILE = "</script><script>document.title='taken'</script><img src=http://x.invalid/a.png onerror=alert(1)>"


@pytest.fixture
def page(panel):
    return html(Contents("A study", (panel,)))


def payload(page: str) -> list[dict]:
    return json.loads(
        re.search(r'<script id="charts" type="application/json">(.*?)</script>', page, re.DOTALL).group(1)
    )


def test_the_same_contents_give_the_same_page(page, panel):
    assert page == html(Contents("A study", (panel,)))


def test_nothing_is_fetched(page):
    assert not re.search(r'(src|href)\s*=\s*["\']?(https?:)?//', page)
    assert "@import" not in page
    assert len(page) < 1_500_000


def test_the_policy_names_exactly_our_scripts(page):
    allowed = set(re.findall(r"sha256-([\w+/=]+)", page))
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert {base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts} == allowed
    assert len(scripts) == 2


def test_charts_hold_every_point_and_every_parameter_that_has_a_limit(page, panel):
    (shown,) = payload(page)
    main, *parameters = shown["charts"]
    assert len(main["data"]["points"]["rows"]) == sum(len(c.points) for c in panel.curves)
    assert len(main["data"]["line"]["rows"]) == sum(len(c.line) for c in panel.curves if not c.baseline)
    assert len(parameters) == len(drawable(panel)) == 2
    sides = [row[5] for row in parameters[0]["data"]["params"]["rows"]]
    assert sides == ["closed", "closed", "closed", "up"]


def test_a_baseline_with_one_depth_is_a_rule_across(page, panel):
    x, _ = scales(panel)
    main = payload(page)[0]["charts"][0]
    number = [c.model for c in panel.curves].index("gene-mean")
    rows = main["data"]["baseline"]["rows"]
    assert [row[0] for row in rows] == [number, number]
    assert [row[1] for row in rows] == pytest.approx([x.low, x.high], rel=1e-4)
    assert [row[2] for row in rows] == pytest.approx([0.3, 0.3])


def test_text_from_files_stays_text(panel):
    curves = tuple(replace(c, model=HOSTILE, note=HOSTILE, verdict=f"no law: {HOSTILE}") for c in panel.curves)
    evil = replace(
        panel, title=HOSTILE, y=HOSTILE, unit=HOSTILE, law=HOSTILE, curves=curves, constants=((HOSTILE, HOSTILE),)
    )
    failures = ({HOSTILE: HOSTILE, "message": HOSTILE, "traceback": HOSTILE},)
    provenance = {HOSTILE: {HOSTILE: HOSTILE}, "warnings": [HOSTILE]}
    page = html(Contents(HOSTILE, (evil,), ((HOSTILE, HOSTILE),), provenance, failures, HOSTILE, HOSTILE))
    ours = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert "<img" not in ours
    assert "onerror=alert(1)&gt;" in ours
    assert len(re.findall(r"<script", page)) == len(re.findall(r"</script", page)) == 3
    assert payload(page)[0]["curves"]["rows"][0][0] == HOSTILE


def test_without_curves_no_script_is_carried():
    page = html(Contents("Empty", ()))
    assert len(page) < 50_000
    assert "No law was fitted" in page
