"""Do the intervals of the optimum hold it? Simulated studies of a known joint law, 1 to 100 times the data's budget.

    python benchmarks/design.py --studies 2000
    python benchmarks/design.py --studies 400 --pool       # with the priors of the joint law

Each study has six depths × five numbers of cells × two replicates with errors of --sigma bits. Prices: so much a cell,
so much a molecule. The truth is the optimum of the law that the data were drawn from. Monte-Carlo error beside it.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass

import numpy as np
import pandas as pd

from sclaws.design.optimum import best
from sclaws.design.surface import Surface, on_budget
from sclaws.fit import fit
from sclaws.laws.noise_and_cells import NoiseAndCells

TRUTH = {"i_0": 0.05, "i_inf": 3.2, "u_bar": 1500.0, "n_bar": 4000.0, "s": 0.6}
DEPTHS = np.geomspace(30, 3000, 6)
CELLS = np.geomspace(200, 20_000, 5)


@dataclass(frozen=True)
class Flat:
    """So much a cell and so much a molecule."""

    currency: str = "EUR"
    cell: float = 0.2
    molecule: float = 2e-4

    def cost(self, levels):
        return np.asarray(levels["cells"]) * (self.cell + self.molecule * np.asarray(levels["depth"]))


def studies(count: int, sigma: float, rng: np.random.Generator) -> pd.DataFrame:
    depth, cells, _ = (v.ravel() for v in np.meshgrid(DEPTHS, CELLS, [0, 1], indexing="ij"))
    bits = NoiseAndCells().predict({"depth": depth, "cells": cells}, {k: np.array(v) for k, v in TRUTH.items()})
    frames = [
        pd.DataFrame({"study": i, "depth": depth, "cells": cells, "bits": bits + sigma * rng.normal(size=len(bits))})
        for i in range(count)
    ]
    return pd.concat(frames, ignore_index=True)


def true_optimum(one, prices, money):
    """Return the levels (by column) of the best place on the same budget line, under the truth, and a y of levels."""
    theta = {k: np.array(v) for k, v in TRUTH.items()}

    def at(levels):
        return NoiseAndCells().predict({"depth": levels["depth"], "cells": levels["cells"]}, theta)

    places = on_budget(Surface(one), prices, money)
    found = at(places)
    top = int(np.argmax(found))
    return {c: float(v[top]) for c, v in places.items()}, at


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("--studies", type=int, default=2000)
    parse.add_argument("--sigma", type=float, default=0.05)
    parse.add_argument("--pool", action="store_true")
    given = parse.parse_args()
    table = studies(given.studies, given.sigma, np.random.default_rng(0))
    fits = fit(table, NoiseAndCells(), ["depth", "cells"], "bits", ["study"], pool=given.pool)
    prices = Flat()
    paid = float(prices.cost({"depth": DEPTHS[-1], "cells": CELLS[-1]}))
    for times in (1, 10, 100):
        inside, regret, claimed, width = {"depth": [], "cells": []}, [], [], []
        held = []
        for one in fits:
            plan = best(one, prices, times * paid)
            right, at = true_optimum(one, prices, times * paid)
            chosen = {c: np.array(choice.value) for c, choice in plan.choices.items()}
            top = float(at({c: np.array(v) for c, v in right.items()}))
            regret.append(top - float(at(chosen)))
            claimed.append(plan.regret)
            held.append(plan.y_low <= float(at(chosen)) <= plan.y_high)
            for c, choice in plan.choices.items():
                inside[c].append(choice.low * 0.999 <= right[c] <= choice.high * 1.001)
            width.append(np.log10(plan.choices["cells"].high / plan.choices["cells"].low))
        told = "  ".join(f"{c} {share(v)}" for c, v in inside.items())
        print(
            f"{times:>4} x the data's budget: optimum covered: {told}; y covered {share(held)}; regret mean "
            f"{np.mean(regret):.4f}, worst {np.max(regret):.3f} bits (claimed {np.mean(claimed):.4f}); "
            f"cells' interval {np.median(width):.2f} decades",
            flush=True,
        )


def share(inside) -> str:
    p = float(np.mean(inside))
    return f"{p:.3f} ± {np.sqrt(p * (1 - p) / len(inside)):.3f}"


if __name__ == "__main__":
    main()
