"""How well is the corner of many cells and much depth predicted from the rest? The joint law against its rivals.

    python benchmarks/joint.py SHARED          (the folder that holds published/)

For each curve (data set × signal × model) what is fitted has at most .11 of the largest number of cells and .3 of the
largest depth; what is predicted at least .4 and .9; the rest is dropped. Beside it inner corners of the same kind
within the part that is fitted: those chose form and priors. Then the law with model size, largest sizes held out.
"""

import argparse
import time
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from sclaws.fit import fit
from sclaws.laws.noise_and_cells import NoiseAndCells
from sclaws.laws.noise_cells_and_parameters import NoiseCellsAndParameters
from sclaws.protocols import Param

BY = ["dataset", "signal", "model"]


class Published:
    """The two published laws in one, 5 parameters: noise law, ceiling i_inf − (N/n_sat)^−s, ū ∝ N^g."""

    inputs: ClassVar = ("depth", "cells")
    params: ClassVar = {
        "i_inf": Param(0.0, 15.0),
        "n_sat": Param(1e-6, 1e8, log=True),
        "s": Param(0.01, 10.0, log=True),
        "u_ref": Param(1e-1, 1e7, log=True),
        "g": Param(-2.0, 2.0),
    }

    def predict(self, x, theta):
        ceiling = np.maximum(theta["i_inf"] - (x["cells"] / theta["n_sat"]) ** -theta["s"], 0)
        seen = x["depth"] / (x["depth"] + theta["u_ref"] * (x["cells"] / 1e4) ** theta["g"])
        return 0.5 * np.log2(1 + seen * (4**ceiling - 1))


class LogLinear:
    """A plane in the logarithms."""

    inputs: ClassVar = ("depth", "cells")
    params: ClassVar = {
        "start": Param(-50, 50, linear=True),
        "u": Param(-5, 5, linear=True),
        "n": Param(-5, 5, linear=True),
    }

    def predict(self, x, theta):
        return theta["start"] + theta["u"] * np.log(x["depth"]) + theta["n"] * np.log(x["cells"])


# ── tables ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def second_version(shared: Path) -> pd.DataFrame:
    """Return the 2,445 values on PBMC and mouse embryo."""
    table = pd.read_csv(shared / "published/paper_B_v2/mi_results.csv")
    names = {"size": "cells", "umis_per_cell": "umi", "algorithm": "model", "mi_value": "mi", "seed": "replicate"}
    return table.rename(columns=names)[[*BY, "cells", "umi", "mi", "replicate"]]


def first_version(shared: Path) -> pd.DataFrame:
    """Return the first version's tables: other models, other estimates, one replicate, LARRY and MERFISH, too."""
    parts = []
    for name in ("PBMC_CITEseq", "LARRY", "MERFISH"):
        table = pd.read_csv(shared / f"published/paper_B_v1/{name}_scaling.csv")
        for signal in [c for c in table if c.endswith("MI")]:
            columns = {"model": table.Method, "cells": table["Cell number"], "umi": table["UMI per cell"]}
            parts.append(pd.DataFrame({"dataset": name, "signal": signal, **columns, "mi": table[signal]}))
    table = pd.concat(parts).dropna().assign(replicate=0)
    return table[~table.model.str.contains("nano")].reset_index(drop=True)  # four numbers of cells only


def part(table: pd.DataFrame) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the rows that are fitted or predicted, and the mask of the latter."""
    largest = table.groupby(BY)[["cells", "umi"]].transform("max")
    cells, umi = table.cells / largest.cells, table.umi / largest.umi
    held_out = (cells >= 0.4) & (umi >= 0.9)
    keep = held_out | ((cells <= 0.11) & (umi <= 0.3))
    return table[keep].reset_index(drop=True), held_out[keep].to_numpy()


def inner(table: pd.DataFrame) -> list[pd.DataFrame]:
    """Return parts of what is fitted, without its 0–1 largest numbers of cells and 0–2 largest depths."""
    whole, held_out = part(table)
    whole = whole[~held_out]
    cells, umi = (whole.groupby(BY)[c].rank("dense", ascending=False) for c in ("cells", "umi"))
    drops = [(i, j) for j in range(3) for i in range(2)]
    return [whole[(cells > i) & (umi > j)].reset_index(drop=True) for i, j in drops]


# ── rivals ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def least_squares(law):
    return lambda table, held_out: _fitted(table, held_out, law, pool=False)


def _fitted(table, held_out, law, pool):
    keys = {"x": ["umi", "cells"], "y": "mi", "by": BY, "held_out": held_out, "pool": pool}
    found = fit(table, law, **keys).predictions
    return found[found.held_out]


def nearest(table, held_out):
    """Carry the value at the largest depth and number of cells that were fitted forward."""
    parts = []
    for _, rows in table.assign(held_out=held_out).groupby(BY):
        seen, asked = rows[~rows.held_out], rows[rows.held_out]
        at = seen[(seen.cells == seen.cells.max()) & (seen.umi == seen.umi.max())]
        parts.append(asked.assign(y=asked.mi, predicted=at.mi.mean(), low=np.nan, high=np.nan))
    return pd.concat(parts)


METHODS = {
    "largest that was fitted, carried forward": nearest,
    "plane in the logarithms": least_squares(LogLinear()),
    "published laws, least squares": least_squares(Published()),
    "noise-and-cells, least squares": least_squares(NoiseAndCells()),
    "noise-and-cells, pooled": lambda table, held_out: _fitted(table, held_out, NoiseAndCells(), pool=True),
}


def measured(found: list[pd.DataFrame]) -> str:
    """Return the columns of the printed table; the median is over curves, coverage and width over points."""
    points = pd.concat(found)
    errors = [(one.y - one.predicted).pow(2).groupby([one[c] for c in BY]).mean() ** 0.5 for one in found]
    rmse, off = pd.concat(errors), (points.y - points.predicted).abs()
    text = f"{rmse.median():.3f} | {rmse.mean():.3f} | {rmse.max():.2f} | {off.median():.3f}"
    if points.low.isna().all():
        return f"{text} | – | –"
    covered, width = (points.low <= points.y) & (points.y <= points.high), points.high - points.low
    return f"{text} | {100 * covered.mean():.0f} % of {len(points)} | {width.median():.2f}"


def compare(name: str, tables: list[tuple[pd.DataFrame, np.ndarray]]) -> None:
    """Print one table of all methods."""
    print(f"\n**{name}**\n\n| method | median RMSE | mean | worst | median abs. error | covered | width | s |")
    print("|---|---|---|---|---|---|---|---|")
    for method, run in METHODS.items():
        start = time.perf_counter()
        found = [run(table, held_out) for table, held_out in tables]
        print(f"| {method} | {measured(found)} | {time.perf_counter() - start:.1f} |", flush=True)


def model_size(shared: Path) -> None:
    """Print the error at each of the four largest sizes, fitted to those below."""
    table = pd.read_csv(shared / "published/paper_B_v2/geneformer_model_size.csv").dropna(subset="mi_bits")
    table = table.assign(umi=8100 * table.quality, params=1e6 * table.params_millions, cells=1e5)
    print("\n| held out (parameters) | RMSE | bias | covered | width |\n|---|---|---|---|---|")
    for size in sorted(table.params.unique())[3:]:
        some = table[table.params <= size].reset_index(drop=True)
        held_out = (some.params == size).to_numpy()
        found = fit(some, NoiseCellsAndParameters(), x=["umi", "cells", "params"], y="mi_bits", held_out=held_out)
        asked = found.predictions[held_out]
        off, width = asked.y - asked.predicted, (asked.high - asked.low).median()
        covered = ((asked.low <= asked.y) & (asked.y <= asked.high)).mean()
        print(
            f"| {size:.3g} | {(off**2).mean() ** 0.5:.2f} | {off.mean():+.2f} | {100 * covered:.0f} % | {width:.2f} |"
        )


def main() -> None:
    """Print the tables that stand in docs/joint.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    shared = parser.parse_args().shared
    second, first = second_version(shared), first_version(shared)
    compare("PBMC and mouse embryo, 12 curves", [part(second)])
    compare("inner corners of the same", [part(table) for table in inner(second)])
    for name, rows in second.groupby("dataset"):
        compare(f"{name} alone", [part(rows.reset_index(drop=True))])
    outside = first[first.dataset.isin(["LARRY", "MERFISH"])].reset_index(drop=True)
    compare("first version, LARRY and MERFISH, 6 curves", [part(outside)])
    compare("first version, all, 15 curves", [part(first)])
    model_size(shared)


if __name__ == "__main__":
    main()
