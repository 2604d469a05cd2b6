"""Deeper or more cells? The published grids of paper B (second version) with stated prices, one answer a curve.

    python benchmarks/deeper_or_more.py ../shared/published/paper_B_v2 docs/prices/10x-3p-gem-x.toml --figure out.svg

Prints markdown: the depth that both published rules ask for at the largest number of cells (noise law), what limits at
the largest scale that was measured, and the best allocation of two budgets under noise-and-cells, pooled.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import pandas as pd

from sclaws.design import figure
from sclaws.design.designing import Design, design
from sclaws.design.optimum import best, rounded
from sclaws.design.prices import Prices
from sclaws.fit import fit
from sclaws.laws.noise import Noise
from sclaws.laws.noise_and_cells import NoiseAndCells

BY = ["dataset", "signal", "algorithm"]


def depths(table: pd.DataFrame) -> None:
    largest = table[table["n_cells"] == table.groupby("dataset")["n_cells"].transform("max")]
    print("| curve, most cells | fraction: .9 I_max | gap: I_max − .074 |\n|---|---|---|")
    for one in fit(largest, Noise(), "umis_per_cell", "mi_value", BY, "seed"):
        said = []
        for rule in ("fraction", "gap"):
            need = one.need(rule)
            said.append(f"{rounded(need.value)} ({rounded(need.low)} to {rounded(need.high)})")
        print(f"| {', '.join(one.curve.values())} | {' | '.join(said)} |", flush=True)


def answer(one: Design, budgets: list[float], prices: Prices) -> str:
    now = one.limits
    gains = {
        row["column"]: [now.extra * row[name] for name in ("gain", "low", "high")]
        for row in now.frame.to_dict("records")
    }
    said = [f"{g[0]:.3f} ({g[1]:.3f} to {g[2]:.3f})" for g in gains.values()]
    for budget in budgets:
        plan = best(one.fit, prices, budget)
        levels = [f"{rounded(c.value)} ({rounded(c.low)}–{rounded(c.high)})" for c in plan.choices.values()]
        said.append(" × ".join(levels))
    return f"| {', '.join(one.fit.curve.values())} | {now.verdict} | {' | '.join(said)} |"


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("folder", type=Path)
    parse.add_argument("prices", type=Path)
    parse.add_argument("--budgets", default="50000,500000")
    parse.add_argument("--figure", type=Path)
    given = parse.parse_args()
    table = pd.read_csv(given.folder / "mi_results.csv").rename(columns={"size": "n_cells"})
    budgets, prices = [float(each) for each in given.budgets.split(",")], Prices.read(given.prices)
    depths(table)
    fits = fit(table, NoiseAndCells(), ["umis_per_cell", "n_cells"], "mi_value", BY, "seed")
    found = design(fits, prices, k=0)
    money = " | ".join(f"best for {budget:,.0f}: UMI × cells" for budget in budgets)
    print(f"\n| curve | limits | a tenth more on depth, bits | on cells | {money} |")
    print(f"|---|---|---|---|{'---|' * len(budgets)}")
    for one in found.designs:
        print(answer(one, budgets, prices), flush=True)
    if given.figure:
        chosen = [d for d in found.designs if d.fit.curve["signal"] in ("protein_counts", "author_day")]
        front = dataclasses.replace(found, designs=tuple(chosen)).front
        given.figure.write_text(figure.svg(front.drop(columns="dataset"), short(chosen[0].fit), prices.currency))


def short(one):
    return dataclasses.replace(one, curve={k: v for k, v in one.curve.items() if k != "dataset"})


if __name__ == "__main__":
    main()
