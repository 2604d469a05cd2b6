"""Prices against sums done by hand, the saturation curve against molecules drawn one by one, and every refusal."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from sclaws.design.prices import (
    Cells,
    Depth,
    FlowCell,
    Library,
    Other,
    Parameters,
    Prices,
    Saturation,
    Training,
)
from sclaws.errors import DesignError

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = sorted((DOCS / "prices").glob("*.toml"))
HALF = -np.log(0.5)  # reads per molecule, usable ones, at which half of the molecules are seen


def file(folder: Path, text: str) -> Path:
    path = folder / "prices.toml"
    path.write_text(text)
    return path


def depth(**words) -> Depth:
    return Depth(saturation=Saturation(20000, 0.5), **words)


# ── money by hand ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_example_of_the_page_costs_what_the_page_says(tmp_path):
    page = (DOCS / "prices.md").read_text()
    (block,) = re.findall(r"^```toml\n(.*?)^```", page, flags=re.MULTILINE | re.DOTALL)
    prices = Prices.read(file(tmp_path, block))
    parts = prices.parts({"n_cells": 32000, "umis_per_cell": 10000})
    reads = 20000 / 0.5 * HALF
    assert f"{reads:,.0f}" in page
    assert parts["fixed"] == 500
    assert parts["libraries"] == 2 * 1500
    assert parts["sequencing"] == pytest.approx(40000 * reads / 1e6 * 2.0)
    assert f"{prices.cost({'n_cells': 32000, 'umis_per_cell': 10000}):,.0f} USD" in page
    assert prices.parts({"n_cells": 32001, "umis_per_cell": 10000})["libraries"] == 3 * 1500


def test_every_part_by_hand():
    prices = Prices(
        "EUR",
        fixed=100,
        cells=Cells(price=0.1, library=Library(1000, 5000), recovered=0.5, kept=0.8),
        depth=depth(flow_cell=FlowCell(2000, 1e8)),
        parameters=Parameters(gpu_hour=2.0, flop_per_second=1e12, tokens_per_cell=1000, epochs=3),
        other=(Other("n_genes", 3.0),),
    )
    parts = prices.parts({"n_cells": 8000.0, "umis_per_cell": 10000.0, "n_params": 1e6, "n_genes": 500.0})
    reads = 10000 * 40000 * HALF  # 8,000 kept are 10,000 sequenced and 20,000 loaded
    assert parts == {
        "fixed": 100,
        "cells": pytest.approx(0.1 * 20000),
        "libraries": 4 * 1000,
        "sequencing": np.ceil(reads / 1e8) * 2000,
        "training": pytest.approx(6e6 * 8000 * 1000 * 3 / 1e12 / 3600 * 2.0),
        "other: n_genes": 1500,
    }
    assert np.ceil(reads / 1e8) == 3  # 2.77e8 reads


def test_umis_and_training_without_curve_or_size():
    prices = Prices(
        "USD",
        cells=Cells(price=0, kept=0.5),
        depth=Depth(price_per_million_umis=4.0),
        training=Training(gpu_hour=3.6, flop_per_second=1e9, flop_per_cell=1e6),
    )
    parts = prices.parts({"n_cells": 1000, "umis_per_cell": 500})
    assert parts["sequencing"] == pytest.approx(4.0)  # 2,000 sequenced cells x 500
    assert parts["training"] == pytest.approx(1e-3)  # 1e9 FLOP take a second, at .001 a second


def test_parts_sum_to_cost_and_arrays_broadcast():
    prices = Prices.read(DOCS / "prices" / "10x-3p-gem-x.toml")
    levels = {"n_cells": np.geomspace(10, 1e6, 4)[:, None], "umis_per_cell": np.array([10.0, 1e4, 4e4])}
    cost = prices.cost(levels)
    assert cost.shape == (4, 3) and cost.dtype == np.float64
    np.testing.assert_allclose(np.sum([*prices.parts(levels).values()], axis=0), cost)
    one = prices.cost({"n_cells": levels["n_cells"][2, 0], "umis_per_cell": 1e4})
    assert one.shape == () and one == cost[2, 1]
    with_more = prices.cost(levels | {"snr": np.ones((5, 1, 1))})  # costs nothing, and still gives the shape
    np.testing.assert_array_equal(with_more, np.broadcast_to(cost, (5, 4, 3)))


def test_a_column_that_no_law_varies_is_held():
    prices = Prices("USD", cells=Cells(price=1.0, held=300), depth=Depth(price_per_million_umis=1e6))
    assert prices.cost({"umis_per_cell": np.array([2.0])}) == [900]
    assert prices.cost({"umis_per_cell": 2.0, "n_cells": 10}) == 30
    assert "n_cells at 300" in " ".join(prices.assumed)


def test_lacks_names_the_columns_without_a_price():
    prices = Prices("USD", cells=Cells(column="cells", price=1), other=(Other("n_genes", 1),))
    assert prices.columns == ("cells", "n_genes")
    assert prices.lacks(["umis", "cells", "n_params"]) == ["umis", "n_params"]


# ── steps, limits, never falling ─────────────────────────────────────────────────────────────────────────────────────
def test_libraries_are_bought_whole():
    prices = Prices("USD", cells=Cells(library=Library(1500, 10000), kept=0.7))
    full = 0.7 * 10000  # not a whole number of libraries in floating point, by a hair
    assert prices.cost({"n_cells": np.array([0, 1, full, full + 1, 3 * full])}).tolist() == [0, 1500, 1500, 3000, 4500]


def test_flow_cells_are_bought_whole():
    prices = Prices("USD", cells=Cells(price=0), depth=depth(flow_cell=FlowCell(100, 1e6)))
    per_cell = float(Saturation(20000, 0.5).reads(np.array(1000.0)))
    cells = np.array([1e6 / per_cell * 0.999, 1e6 / per_cell * 1.001])
    assert prices.cost({"n_cells": cells, "umis_per_cell": 1000}).tolist() == [100, 200]


@pytest.mark.parametrize(
    ("levels", "part"),
    [
        ({"umis_per_cell": 20000}, "sequencing"),
        ({"umis_per_cell": 30000}, "sequencing"),
        ({"n_cells": 50001}, "cells"),
        ({"n_cells": np.inf}, "cells"),
        ({"n_cells": np.nan}, "cells"),
        ({"umis_per_cell": np.inf}, "sequencing"),
        ({"n_params": np.inf}, "training"),
        ({"n_genes": 1001}, "other: n_genes"),
    ],
)
def test_what_cannot_be_had_costs_infinitely_much(levels, part):
    prices = Prices(
        "USD",
        cells=Cells(price=0, most=50000),
        depth=depth(flow_cell=FlowCell(0, 1e9)),
        parameters=Parameters(gpu_hour=0, flop_per_second=1, tokens_per_cell=1, epochs=1),
        other=(Other("n_genes", 0, most=1000),),
    )
    here = {"n_cells": 50000, "umis_per_cell": 19999, "n_params": 1e6, "n_genes": 1000}
    assert prices.cost(here) == 0
    found = prices.parts(here | levels)
    assert [name for name, money in found.items() if np.isinf(money)] == [part]
    assert np.isinf(prices.cost(here | levels))


def test_no_cells_at_an_impossible_depth_are_impossible_too():
    prices = Prices("USD", cells=Cells(price=1), depth=depth(price_per_million_reads=1))
    assert np.isinf(prices.cost({"n_cells": 0, "umis_per_cell": 20000}))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_read_and_never_fall_with_any_level(path):
    prices = Prices.read(path)
    spans = {"n_cells": 8, "umis_per_cell": 6, "n_params": 11}
    axes = [np.concatenate([[0], np.geomspace(1, 10 ** spans[column], 120)]) for column in prices.columns]
    cost = prices.cost(dict(zip(prices.columns, np.meshgrid(*axes, indexing="ij"), strict=True)))
    assert not np.isnan(cost).any()
    assert cost.flat[0] == prices.fixed
    assert np.isfinite(cost).mean() > 0.3
    for axis in range(cost.ndim):
        before, after = (np.take(cost, range(*ends), axis) for ends in ((0, 120), (1, 121)))
        assert (after >= before * (1 - 1e-12)).all()
    assert prices.source and prices.date
    assert "assumed" in path.read_text() and "assumed" in prices.assumed[0]


def test_there_is_an_example_for_every_common_assay_and_the_page_names_it():
    assert len(EXAMPLES) >= 6
    page = (DOCS / "prices.md").read_text()
    assert not [path.name for path in EXAMPLES if f"(prices/{path.name})" not in page]
    fields = {
        name for path in EXAMPLES for section in tomllib.loads(path.read_text()).items() for name in _names(section)
    }
    assert not [name for name in fields if f"`{name}`" not in page]


def _names(section):
    name, words = section
    return [name] if not isinstance(words, dict) else [*words]


# ── saturation ───────────────────────────────────────────────────────────────────────────────────────────────────────
def drawn(molecules: int, usable: float, reads: list[int], cells: int, seed: int) -> np.ndarray:
    """Return UMI a cell (rows,): reads one by one, some lost, the others on molecules at random; first r of them."""
    rng = np.random.default_rng(seed)
    seen = np.zeros(len(reads))
    for _ in range(cells):
        order = rng.integers(molecules, size=max(reads))
        order[rng.random(max(reads)) >= usable] = -1
        for row, count in enumerate(reads):
            found = np.unique(order[:count])
            seen[row] += len(found) - (found[0] == -1)
    return seen / cells


def test_reads_and_umis_are_inverse():
    curve = Saturation(20000, 0.6)
    umis = np.array([0, 1e-3, 1, 1e3, 1.9e4, 2e4 * (1 - 1e-9)])
    np.testing.assert_allclose(curve.umis(curve.reads(umis)), umis, rtol=1e-9)
    assert curve.reads(np.array([1.0])) == pytest.approx(1 / 0.6, rel=1e-4)  # nothing repeats yet
    assert curve.umis(np.array(1e9)) == pytest.approx(20000)
    assert np.isinf(curve.reads(np.array([20000, 1e6]))).all()


def test_the_curve_is_that_of_molecules_drawn_one_by_one():
    reads = [500, 5000, 20000, 60000]
    seen = drawn(12000, 0.4, reads, cells=40, seed=1)
    error = np.sqrt(seen / 40)  # of a Poisson mean; distinct molecules scatter less
    assert (np.abs(Saturation(12000, 0.4).umis(np.array(reads)) - seen) < 4 * error).all()


@pytest.mark.parametrize(("molecules", "usable"), [(6000, 0.7), (30000, 0.3)])
def test_a_table_gives_back_the_molecules_that_were_drawn(tmp_path, molecules, usable):
    reads = [1000, 4000, 10000, 25000, 50000]
    table = tmp_path / "saturation.csv"
    rows = zip(reads, drawn(molecules, usable, reads, cells=40, seed=2), strict=True)
    table.write_text("reads,umis\n" + "".join(f"{r},{u}\n" for r, u in rows))
    prices = Prices.read(
        file(tmp_path, 'currency="USD"\ncells={price=0}\ndepth={price_per_million_reads=1, table="saturation.csv"}')
    )
    curve = prices.depth.saturation
    assert curve.molecules == pytest.approx(molecules, rel=0.03)
    assert curve.usable == pytest.approx(usable, rel=0.01)
    half = prices.cost({"n_cells": 1e6, "umis_per_cell": molecules / 2})
    assert half == pytest.approx(molecules / usable * HALF, rel=0.03)
    assert "fitted to 5 rows of saturation.csv" in prices.assumed[2]
    assert "given" not in prices.assumed[2]


def test_the_interval_of_the_molecules_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(3)
    reads, truth, tries = np.geomspace(1000, 60000, 6), 15000, 400
    clean = Saturation(truth, 0.5).umis(reads)
    inside = 0
    for _ in range(tries):
        told = Saturation.fit(reads, (np.sqrt(clean) + 0.3 * rng.standard_normal(6)) ** 2).told
        low, high = (float(n.replace(",", "")) for n in re.search(r"\(([\d,]+) to ([\d,]+)\)", told).groups())
        inside += low <= truth <= high
    assert abs(inside / tries - 0.95) < 4 * np.sqrt(0.05 * 0.95 / tries)


def test_shares_of_the_page_solve_its_equation():
    page = (DOCS / "prices.md").read_text()
    (saturations,) = re.findall(r"^\| saturation s \|(.*)\|$", page, flags=re.MULTILINE)
    (shares,) = re.findall(r"^\| u/M \|(.*)\|$", page, flags=re.MULTILINE)
    for said, share in zip(saturations.split("|"), shares.split("|"), strict=True):
        x = np.linspace(1e-3, 20, 200001)
        solved = x[np.argmin(np.abs(-np.expm1(-x) / x - (1 - float(said.strip(" %")) / 100)))]
        assert float(share) == pytest.approx(-np.expm1(-solved), abs=6e-4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("reads,umi\n1,1\n", "column 'umis' is missing"),
        ("reads,umis\n1,x\n2,2\n3,3\n", "reads and umis must be numbers"),
        ("reads,umis\n100,50\n200,250\n300,260\n", "row 2: 250 UMI from 200 reads per cell cannot be"),
        ("reads,umis\n100,50\n200,\n300,100\n", "row 2: nan UMI"),
        ("reads,umis\n100,50\n200,70\n200,71\n", "2 different numbers of reads; a curve needs 3"),
        (
            "reads,umis\n100,50\n200,100\n400,200\n",
            "UMI rise nearly in proportion to reads.*cannot be told; add deeper rows",
        ),
        ("reads,umis\n100,50\n200,99\n400,201\n800,390\n", "UMI rise nearly in proportion to reads"),
    ],
)
def test_tables_that_cannot_be_fitted_are_refused(tmp_path, text, message):
    (tmp_path / "saturation.csv").write_text(text)
    with pytest.raises(DesignError, match=f"saturation.csv: {message}"):
        Prices.read(
            file(tmp_path, 'currency="USD"\ncells={price=0}\ndepth={price_per_million_reads=1, table="saturation.csv"}')
        )


# ── refusals ─────────────────────────────────────────────────────────────────────────────────────────────────────────
CELLS = "[cells]\nprice = 1\n"
DEPTH = f"{CELLS}[depth]\nprice_per_million_reads = 1\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[cells\n", "prices.toml: not valid TOML"),
        (f"fixed = 1\n{CELLS}", "prices.toml: currency is missing; write for example"),
        ('currency = "USD"\n', "prices.toml: nothing is priced; add [cells]"),
        (f"currency = 3\n{CELLS}", "prices.toml: currency = 3 must be text"),
        (f'currency = "USD"\nfixed = -5\n{CELLS}', "prices.toml: fixed = -5 must be a number of 0 or more"),
        (f'currency = "USD"\nfixd = 5\n{CELLS}', "prices.toml: unknown field 'fixd'; did you mean 'fixed'?"),
        (f'currency = "USD"\nsource = 5\n{CELLS}', "prices.toml: source = 5 must be text"),
        ('currency = "USD"\ncells = 3', "[cells]: 3 must be a table of fields"),
        ('currency = "USD"\n[cells]\nprice = -0.1', "[cells]: price = -0.1 must be a number of 0 or more"),
        ('currency = "USD"\n[cells]\nprice = nan', "[cells]: price = nan must be a number"),
        ('currency = "USD"\n[cells]\nprice = inf', "[cells]: price = inf must be a number"),
        ('currency = "USD"\n[cells]\nprice = true', "[cells]: price = True must be a number"),
        ('currency = "USD"\n[cells]\nprice = "1"', "[cells]: price = '1' must be a number"),
        ('currency = "USD"\n[cells]\nkept = 0.5', "[cells]: give the price of a cell, or library"),
        (
            'currency = "USD"\n[cells]\nprice = 1\nkept = 1.5',
            "[cells]: kept = 1.5 must be a number above 0 and at most 1",
        ),
        ('currency = "USD"\n[cells]\nprice = 1\nrecovered = 0', "[cells]: recovered = 0 must be a number above 0"),
        ('currency = "USD"\n[cells]\nprice = 1\ncolumn = ""', "[cells]: column = '' must be text"),
        ('currency = "USD"\n[cells]\nprice = 1\nmost = 0', "[cells]: most = 0 must be a number above 0"),
        ('currency = "USD"\n[cells]\nprice = 1\nmost = 9\nheld = 10', "[cells]: held = 10 must be .* at most 9"),
        (
            'currency = "USD"\n[cells]\nlibrary = {price = 1}',
            "[cells] library: cells is missing; it needs price, cells",
        ),
        (
            'currency = "USD"\n[cells]\nlibrary = {price = 1, cells = 0}',
            "[cells] library: cells = 0 must be .* above 0",
        ),
        ('currency = "USD"\n[cells]\nlibrary = 1500', "[cells] library: 1500 must be a table of fields"),
        (f'currency = "USD"\n{DEPTH}', "[depth]: how many reads a UMI takes is missing; give molecules and usable"),
        (f'currency = "USD"\n{DEPTH}molecules = 1e4', "[depth]: usable is missing; it needs molecules, usable"),
        (f'currency = "USD"\n{DEPTH}molecules = -1\nusable = 1', "[depth]: molecules = -1 must be a number above 0"),
        (f'currency = "USD"\n{DEPTH}molecules = 1\nusable = 60', "[depth]: usable = 60 must be .* at most 1"),
        (f'currency = "USD"\n{DEPTH}molecules = 1\ntable = "a.csv"', "[depth]: .* either the table or the two numbers"),
        (f'currency = "USD"\n{DEPTH}table = 3', "[depth]: table = 3 must be the name of a CSV file"),
        (f'currency = "USD"\n{DEPTH}table = "no.csv"', "no.csv"),
        (f'currency = "USD"\n{DEPTH}price_per_million_umis = 1', "[depth]: give one of price_per_million_reads"),
        (f'currency = "USD"\n{DEPTH}saturation = 1', "[depth]: unknown field 'saturation'; .*valid: .*molecules"),
        (f'currency = "USD"\n{DEPTH}price = 1', "[depth]: unknown field 'price'; valid: .*price_per_million_reads"),
        (
            f'currency = "USD"\n{CELLS}[depth]\nmolecules = 1\nusable = 1',
            "[depth]: give one of price_per_million_reads",
        ),
        (
            f'currency = "USD"\n{CELLS}[depth]\nprice_per_million_umis = 1\nmolecules = 1\nusable = 1',
            "[depth]: price_per_million_umis needs no molecules",
        ),
        (
            f'currency = "USD"\n{CELLS}[depth]\nprice_per_million_umis = -1',
            "[depth]: price_per_million_umis = -1 must be",
        ),
        (
            'currency = "USD"\n[depth]\nprice_per_million_umis = 1',
            "prices.toml: [depth] and training are paid for every",
        ),
        (f'currency = "USD"\n{CELLS}[parameters]\ngpu_hour = 1', "[parameters]: flop_per_second is missing; it needs"),
        (
            f'currency = "USD"\n{CELLS}[parameters]\ngpu_hour=1\nflop_per_second=1\ntokens_per_cell=0\nepochs=1',
            "[parameters]: tokens_per_cell = 0 must be a number above 0",
        ),
        (
            f'currency = "USD"\n{CELLS}[training]\ngpu_hour=1\nflop_per_second=1\nflop_per_cell=1\n'
            "[parameters]\ngpu_hour=1\nflop_per_second=1\ntokens_per_cell=1\nepochs=1",
            "prices.toml: [parameters] and [training] both price training",
        ),
        (
            f'currency = "USD"\n{CELLS}[training]\ngpu_hour=-1\nflop_per_second=1\nflop_per_cell=1',
            "[training]: gpu_hour = -1 must be a number of 0 or more",
        ),
        (
            'currency = "USD"\n[other]\ncolumn = "n_genes"\nprice = 1',
            "other: write one [[other]] table, with two brackets",
        ),
        ('currency = "USD"\n[[other]]\ncolumn = "n_genes"', "[[other]] number 1: price is missing"),
        (f'currency = "USD"\n{CELLS}[[other]]\ncolumn = "n_cells"\nprice = 1', "column 'n_cells' is priced twice"),
    ],
)
def test_bad_prices_are_refused_in_one_sentence(tmp_path, text, message):
    pattern = re.sub(r"([\[\]])", r"\\\1", message)
    with pytest.raises(DesignError, match=pattern) as caught:
        Prices.read(file(tmp_path, text))
    assert str(tmp_path) in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DesignError, match="nowhere.toml: no such price file; copy one of docs/prices"):
        Prices.read(tmp_path / "nowhere.toml")
    with pytest.raises(DesignError, match="cannot be read as text"):
        Prices.read(tmp_path)


def test_levels_that_cannot_be_priced_are_refused():
    prices = Prices("USD", cells=Cells(price=1), depth=depth(price_per_million_reads=1))
    with pytest.raises(DesignError, match="umis_per_cell has a price and no level; give its level, or write held"):
        prices.cost({"n_cells": 100})
    with pytest.raises(DesignError, match="n_cells = -3 is below 0"):
        prices.cost({"n_cells": np.array([5, -3, np.nan]), "umis_per_cell": 1})


def test_python_is_checked_as_a_file_is():
    with pytest.raises(DesignError, match="price = -1 must be a number of 0 or more"):
        Cells(price=-1)
    with pytest.raises(DesignError, match="nothing is priced"):
        Prices("USD")


# ── what is said ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_what_is_assumed_is_said(tmp_path):
    text = f'currency = "USD"\nsource = "our core"\ndate = 2025-06-25\n{DEPTH}molecules = 20000\nusable = 0.6\n'
    origin, cells, curve, even = Prices.read(file(tmp_path, text)).assumed
    assert origin == "Prices as of 2025-06-25: our core."
    assert "Every cell that is paid for counts" in cells
    assert curve.startswith("A cell's library holds 20,000 molecules and 0.6 of its reads are usable: as given, not")
    assert "equally likely" in even
    linear = Prices("USD", cells=Cells(price=1, kept=0.5), depth=Depth(price_per_million_umis=1)).assumed
    assert "no source" in linear[0] and "50 % of these count" in linear[1] and "without saturation" in linear[2]
    size = Parameters(gpu_hour=1, flop_per_second=2e14, tokens_per_cell=2048, epochs=3)
    assert (
        "2,048 tokens a cell, 3 epochs and 2e+14 FLOP a second"
        in Prices("USD", cells=Cells(price=0), parameters=size).assumed[-1]
    )
    train = Training(gpu_hour=1, flop_per_second=1e12, flop_per_cell=5e9)
    assert "5e+09 FLOP a cell at any depth" in Prices("USD", cells=Cells(price=0), training=train).assumed[-1]


def test_prices_load_without_heavy_packages():
    code = "import sclaws.design.prices, sys; print(*{'torch', 'anndata', 'scanpy', 'scipy'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
