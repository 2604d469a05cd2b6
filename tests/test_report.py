"""The report, from table and fits to a real browser with the network cut: it draws, fits the screen, stays silent."""

import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from sclaws import report
from sclaws.errors import StoreError
from sclaws.fit import fit
from sclaws.laws.noise import Noise
from sclaws.table import Table

HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
DEPTHS = np.geomspace(10, 5000, 7)
TRUTH = {"i_max": 2.0, "u_bar": 150.0}
BY = ["dataset", "signal", "model", "n_cells_level"]
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def curve(model: str, i_max: float, cells: float, signal: str = "protein") -> pd.DataFrame:
    """Two replicates of a curve that follows the noise law but for errors of .03 bits, as a study would table them."""
    depth = np.tile(DEPTHS, 2)
    error = np.random.default_rng(int(1000 * i_max + min(cells, 9999))).normal(0, 0.03, depth.size)
    value = error + Noise().predict({"depth": depth}, {"i_max": np.array(i_max), "u_bar": np.array(TRUTH["u_bar"])})
    same = {"dataset": "tissue", "model": model, "signal": signal, "metric": "information", "unit": "bits"}
    own = {"value": value, "low": value - 0.06, "high": value + 0.06, "umis_per_cell": depth, "bound": 3.5}
    levels = {"umis_per_cell_level": depth, "n_cells": min(cells, 4000.0), "n_cells_level": cells}
    return pd.DataFrame({**same, **own, **levels, "replicate": np.repeat([0, 1], DEPTHS.size)})


@pytest.fixture(scope="module")
def table() -> Table:
    """Two models at three numbers of cells, the last "all", and a baseline that does not train; one run has failed."""
    models = [
        curve(m, i + 0.1 * k, c)
        for m, i in (("pca", 1.8), (HOSTILE, 2.2))
        for k, c in enumerate((300.0, 1000.0, np.inf))
    ]
    failures = pd.DataFrame({"key": ["k1"], "error": ["ScoreError"], "message": [f"too few cells {HOSTILE}"]})
    provenance = {"versions": {"numpy": ["2.1", "2.2"]}, "datasets": {"tissue": {"content": "blake2b:f00"}}}
    frame = pd.concat([*models, curve("gene-mean", 0.4, np.inf)], ignore_index=True)
    return Table(frame, None, provenance, failures)


@pytest.fixture(scope="module")
def page(table, tmp_path_factory):
    fits = fit(table, Noise(), x="umis_per_cell", by=BY, replicate="replicate")
    folder = tmp_path_factory.mktemp("study")
    return report.write(folder, table, fits, title="Tissue", study_text=f"name = '{HOSTILE}'", truth={"tissue": TRUTH})


# ── the file ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_it_is_one_file_under_a_name_of_ours_or_yours(page, table, tmp_path):
    fits = fit(table, Noise(), x="umis_per_cell", by=BY, replicate="replicate")
    mine = report.write(tmp_path / "sub" / "mine.html", table, fits, title="Tissue")
    assert (page.name, mine.name) == ("report.html", "mine.html")
    assert [p.name for p in mine.parent.iterdir()] == ["mine.html"]
    assert page.stat().st_size < 1_500_000


def test_the_same_results_give_the_same_bytes(page, table, tmp_path):
    fits = fit(table, Noise(), x="umis_per_cell", by=BY, replicate="replicate")
    again = report.write(
        tmp_path, table, fits, title="Tissue", study_text=f"name = '{HOSTILE}'", truth={"tissue": TRUTH}
    )
    assert again.read_bytes() == page.read_bytes()


def test_nothing_in_it_points_outside(page):
    text = page.read_text(encoding="utf-8")
    assert not re.search(r'(src|href)\s*=\s*["\']?(https?:)?//', text)
    assert len(re.findall("<script", text)) == len(re.findall("</script", text)) == 3


def test_a_place_that_cannot_be_written_is_an_error_with_a_remedy(table, tmp_path):
    fits = fit(table, Noise(), x="umis_per_cell", by=BY, replicate="replicate")
    (tmp_path / "file").write_text("kept")
    with pytest.raises(StoreError, match="cannot be written .*give another folder"):
        report.write(tmp_path / "file", table, fits, title="Tissue")
    assert (tmp_path / "file").read_text() == "kept"


def test_the_analysis_half_does_without_the_experiments():
    heavy = {"anndata", "torch", "scvi", "scanpy", "vl_convert"}
    code = f"import sclaws.report, sys; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# ── the browser ──────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("no chromium or google-chrome on the path")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module", params=[1280, 390])
def opened(request, browser, page):
    """The page at desktop and at phone width, with every request but the file's own refused and written down."""
    context = browser.new_context(viewport={"width": request.param, "height": 900})
    tab = context.new_page()
    tab.requests, tab.said = [], []
    context.route("**/*", lambda route: route.continue_() if route.request.url == page.as_uri() else route.abort())
    tab.on("request", lambda asked: tab.requests.append(asked.url))
    tab.on("console", lambda message: tab.said.append(message.text))
    tab.on("pageerror", lambda error: tab.said.append(str(error)))
    tab.goto(page.as_uri())
    tab.wait_for_selector("html[data-drawn]", timeout=20_000)
    yield tab
    context.close()


def test_it_asks_for_nothing_and_says_nothing(opened, page):
    assert opened.requests == [page.as_uri()]
    assert opened.said == []


def test_it_fits_the_screen(opened):
    assert opened.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    outside = """[...document.querySelectorAll('.chart svg, .card, h1, h2, p, pre, .scroll')]
        .filter((e) => e.getBoundingClientRect().right > innerWidth + 0.5).map((e) => e.outerHTML.slice(0, 80))"""
    assert opened.evaluate(outside) == []


def marks(tab, chart: str, kind: str) -> int:
    """Number of marks with a size that a chart has drawn."""
    query = (
        f"[...document.querySelectorAll('#{chart} .mark-{kind}.role-mark path, #{chart} .mark-{kind}.role-mark line')]"
    )
    return tab.evaluate(f"{query}.filter((e) => (e.getAttribute('d') ?? e.getAttribute('y2') ?? '').length > 0).length")


def test_every_chart_has_drawn_its_marks(opened):
    assert opened.eval_on_selector_all(".chart", "all => all.map((e) => e.id)") == [
        "chart-0", "chart-0-0", "chart-0-1", "chart-0-scaled",
    ]  # fmt: skip
    points = 2 * DEPTHS.size
    assert marks(opened, "chart-0", "symbol") == 3 * points  # two models at the largest level, and the baseline
    assert marks(opened, "chart-0-0", "symbol") == 6  # two models at three levels
    assert marks(opened, "chart-0-1", "symbol") == 6


def test_headlines_baselines_and_failures_can_be_read(opened):
    text = opened.inner_text("main")
    for words in (
        "1 item failed",
        "With all (4,000) training cells",
        "follows the law",
        "truth 2.00, inside the interval",
        "above gene-mean",
        "blake2b:f00",
        "This table mixes results made with numpy 2.1 and 2.2.",
        f"too few cells {HOSTILE}",
        f"name = '{HOSTILE}'",
    ):
        assert words in text


def test_names_from_files_stay_inert(opened):
    assert opened.title() == "Tissue"
    assert opened.locator("img").count() == 0
    assert opened.locator(f'.pill[data-model="{HOSTILE.replace(chr(34), chr(92) + chr(34))}"]').count() == 1


def test_a_point_tells_what_it_is_and_stays_inert(opened):
    opened.locator("#chart-0 .mark-symbol.role-mark path").first.hover(force=True)
    told = opened.locator("#vg-tooltip-element.visible")
    told.wait_for()
    assert HOSTILE in told.inner_text()
    assert "all (4,000) training cells" in told.inner_text()
    assert told.locator("img, script").count() == 0


def test_levels_and_models_can_be_chosen(opened):
    before = marks(opened, "chart-0", "symbol")
    opened.get_by_role("button", name="pca").click()
    opened.wait_for_function(f"document.querySelectorAll('#chart-0 .mark-symbol.role-mark path').length < {before}")
    assert marks(opened, "chart-0", "symbol") == before - 2 * DEPTHS.size
    opened.get_by_role("button", name="pca").click()
    top = "document.querySelector('#chart-0 .mark-symbol.role-mark path').getAttribute('transform')"
    was = opened.evaluate(top)
    opened.locator(".levels select").select_option("300")
    opened.wait_for_function(f"{top} !== {was!r}")
    assert marks(opened, "chart-0", "symbol") == before


def test_tables_sort_by_number(opened):
    column = "[...document.querySelectorAll('#parameters ~ .scroll')][0]"
    cells = f"[...{column}.querySelectorAll('tbody td:nth-child(3)')].map((e) => parseFloat(e.dataset.v))"
    head = opened.locator("#parameters ~ .scroll").first.locator("th button").nth(2)
    head.click()
    up = opened.evaluate(cells)
    head.click()
    assert up == sorted(up)
    assert opened.evaluate(cells) == up[::-1]
    assert len(up) == 7
