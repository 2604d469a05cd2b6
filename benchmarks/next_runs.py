"""Do suggested runs reach the error of a full grid at half of its cost? Simulated studies of a known joint law.

    python benchmarks/next_runs.py --studies 100

A full grid is six depths × five numbers of cells, paid as in benchmarks/design.py; a study that follows suggestions
starts from the grid's cheap corner (three depths × three numbers of cells) and is given money up to a share of what the
grid costs; a third one spends the same on runs of the grid in the order of their cost, and a fourth at random. Errors
are of the optimum for ten times the grid's dearest run: root mean square in decades of cells, and bits lost there.
"""

from __future__ import annotations

import argparse

import numpy as np
import pandas as pd

from design import CELLS, DEPTHS, TRUTH, Flat, true_optimum
from sclaws.design.next_runs import suggest
from sclaws.design.optimum import best
from sclaws.fit import fit
from sclaws.laws.noise_and_cells import NoiseAndCells

COLUMNS = ["depth", "cells"]
SIGMA = 0.05
THETA = {k: np.array(v) for k, v in TRUTH.items()}


def measured(levels, rng):
    bits = NoiseAndCells().predict({c: levels[c].to_numpy() for c in COLUMNS}, THETA)
    return levels[["study", *COLUMNS]].assign(bits=bits + SIGMA * rng.normal(size=len(levels)))


def fitted(rows):
    """Return {study: fit}; all studies are fitted in one call."""
    fits = fit(rows, NoiseAndCells(), COLUMNS, "bits", ["study"], pool=False, n_draws=100)
    return {one.curve["study"]: one for one in fits if one.value}


def cost(levels):
    return Flat().cost({c: levels[c].to_numpy() for c in COLUMNS})


def repeated(levels, studies):
    return pd.concat([levels.assign(study=i) for i in range(studies)], ignore_index=True)


def follows(start, grid, money, budget, studies, rng):
    """Return the rows of studies that ask for six runs at a time until their money is spent."""
    rows = measured(repeated(start, studies), rng)
    left = dict.fromkeys(range(studies), money - cost(start).sum())
    while left:
        fits, new = fitted(rows), []
        for study in list(left):
            one = fits.get(study)
            asked = one and suggest(one, best(one, Flat(), budget), grid, cost(grid), 6, left[study], seed=len(rows))
            if not asked or not len(asked.runs):
                del left[study]
                continue
            new.append(asked.runs.assign(study=study))
            left[study] -= asked.total
        if new:
            rows = pd.concat([rows, measured(pd.concat(new, ignore_index=True), rng)], ignore_index=True)
    return rows


def in_order(grid, orders, money, rng):
    """Return the rows of studies that run the grid in an order each, as far as the money goes."""
    some = [grid.iloc[order].assign(study=i) for i, order in enumerate(orders)]
    return measured(pd.concat([each[np.cumsum(cost(each)) <= money] for each in some], ignore_index=True), rng)


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--studies", type=int, default=100)
    given = parse.parse_args()
    depth, cells = (v.ravel() for v in np.meshgrid(DEPTHS, CELLS, indexing="ij"))
    grid = pd.DataFrame({"depth": depth, "cells": cells})
    start = grid[(grid["depth"] <= DEPTHS[2]) & (grid["cells"] <= CELLS[2])]
    whole, budget = float(cost(grid).sum()), 10 * float(cost(grid).max())
    studies, rng = given.studies, np.random.default_rng(0)
    ways = {"full grid": lambda: measured(repeated(grid, studies), rng)}
    for share in (0.5, 0.25):
        money = share * whole
        cheapest = [np.argsort(cost(grid), kind="stable")] * studies
        anyhow = [rng.permutation(len(grid)) for _ in range(studies)]
        ways |= {
            f"suggested, {share:.0%} of its cost": lambda money=money: follows(
                start, grid, money, budget, studies, rng
            ),
            f"cheapest first, {share:.0%}": lambda money=money, order=cheapest: in_order(grid, order, money, rng),
            f"at random, {share:.0%}": lambda money=money, order=anyhow: in_order(grid, order, money, rng),
        }
    for name, way in ways.items():
        rows = way()
        paid = float(cost(rows).sum()) / whole / studies
        fits = fitted(rows)
        decades, lost = [], []
        for one in fits.values():
            plan = best(one, Flat(), budget)
            right, at = true_optimum(one, Flat(), budget)
            chosen = {c: np.array(choice.value) for c, choice in plan.choices.items()}
            decades.append(np.log10(plan.choices["cells"].value / right["cells"]))
            lost.append(float(at({c: np.array(v) for c, v in right.items()})) - float(at(chosen)))
        failed = studies - len(fits)
        print(
            f"{name:<30} cost {paid:.2f}: error {np.sqrt(np.mean(np.square(decades))):.3f} decades of cells "
            f"(± {np.std(np.square(decades)) / np.sqrt(len(decades)) / 2 / np.sqrt(np.mean(np.square(decades))):.3f}), "
            f"{np.mean(lost):.4f} bits lost{f', {failed} not fitted' if failed else ''}",
            flush=True,
        )


if __name__ == "__main__":
    main()
