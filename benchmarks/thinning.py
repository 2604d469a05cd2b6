"""Thinning beside ``scanpy.pp.downsample_counts`` (per cell), alternating in one run, both warm.

    python benchmarks/thinning.py counts.h5ad

Prints the median seconds of each and the median of the ratios of neighbouring runs. The two differ in what they do:
scanpy draws a fixed total for each cell without replacement, ours keeps each molecule with a fixed probability. Both
give the thinned counts of all cells as one CSR matrix: scanpy in place, ours as a new one.
"""

import argparse
import statistics
import time

import anndata
import numpy as np
import scanpy

from sclaws.thinning import Thin
from sclaws.view import View


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path")
    parser.add_argument("--runs", type=int, default=9)
    args = parser.parse_args()
    adata = anndata.read_h5ad(args.path)
    view = View.of(adata)
    totals = np.asarray(adata.X.sum(axis=1)).ravel()
    print(
        f"{args.path.rsplit('/', 1)[-1]}: {adata.n_obs:,} cells x {adata.n_vars:,} genes, {totals.sum():,.0f} molecules"
    )
    for fraction in (0.03, 0.1, 0.3, 0.9):
        ours, theirs = [], []
        for number in range(args.runs + 1):
            copies = adata.copy()  # scanpy works in place; the copy is not timed
            ours.append(seconds(lambda: list(view.corrupt(Thin.keep(fraction, number)).batches(view.n_obs))))
            per_cell = (totals * fraction).astype(int)
            theirs.append(
                seconds(lambda: scanpy.pp.downsample_counts(copies, counts_per_cell=per_cell, random_state=number))
            )
        ours, theirs = ours[1:], theirs[1:]  # the first of each compiles
        ratio = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
        print(
            f"keep {fraction:4.0%}: sclaws {statistics.median(ours):.3f} s, scanpy {statistics.median(theirs):.3f} s, "
            f"ratio {ratio:.1f} (of {args.runs} pairs)"
        )


def seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
