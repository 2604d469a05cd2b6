"""Peak memory and speed of what walks over cells, at two numbers of cells that are nowhere in memory.

    python benchmarks/out_of_core.py --cells 50000 500000 --genes 2000

Counts are made by hashing (cell, gene) as a batch is asked for: 5 % are not zero, genes' levels differ, four programs
make components. Each task runs in a process of its own, once for each number of cells: seconds of the task (compiled
before), cells a second of each walk beside making the cells alone, the process's peak memory (VmHWM), and the bytes a
cell between the two numbers. "held" is what the fake source itself keeps of a cell: its row and its id.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numba import njit
from scipy import sparse

from sclaws.axes import _boxes
from sclaws.hashing import GOLDEN, mix, mix64
from sclaws.models.gene_mean import GeneMean
from sclaws.models.geneformer import vocabulary
from sclaws.models.hvg import HVG
from sclaws.models.pca import PCA
from sclaws.models.random_projection import RandomProjection
from sclaws.protocols import Block, Job

PROGRAMS = 4
DENSITY = 0.05


@njit(cache=True)
def _made(cells, genes, chance, data, indices, ends):
    """Write the counts of cells: a hash of (cell, gene) below a chance that the cell's programs raise or lower."""
    at = 0
    for row in range(len(cells)):
        own = mix64(cells[row])
        program, depth = own & np.uint64(PROGRAMS - 1), 0.5 + float(own >> np.uint64(40)) / 2.0**24
        for gene in range(len(genes)):
            state = mix64(own ^ genes[gene])
            here = 1.8 if (genes[gene] >> np.uint64(7)) & np.uint64(PROGRAMS - 1) == program else 0.73
            share = float(state >> np.uint64(11)) / 2.0**53 / (chance[gene] * depth * here)
            if share < 1:
                data[at] = np.float32(1 + int(np.log(max(share, 1e-12)) / -1.2))  # geometric
                indices[at] = gene
                at += 1
        ends[row + 1] = at
    return at


@dataclass(frozen=True, eq=False)
class Made:
    """A view of cells that do not exist until they are asked for."""

    rows: np.ndarray
    n_vars: int
    counts = True
    applied = ()

    @property
    def n_obs(self):
        return len(self.rows)

    def __len__(self):
        return len(self.rows)

    @property
    def cell_ids(self):
        return mix(self.rows.astype(np.uint64) * GOLDEN)

    @property
    def feature_ids(self):
        return mix(np.arange(self.n_vars, dtype=np.uint64))

    @property
    def feature_names(self):
        return pd.Index([f"g{i}" for i in range(self.n_vars)])

    @cached_property
    def library(self):
        return np.concatenate([np.asarray(b.values.sum(axis=1), dtype=np.float64).ravel() for b in self.batches()])

    def take(self, rows):
        return replace(self, rows=self.rows[rows])

    def batches(self, size=4096):
        genes = self.feature_ids
        chance = np.exp(np.random.default_rng(0).normal(0, 1.3, self.n_vars))
        chance = np.minimum(chance / chance.mean() * DENSITY, 0.7)
        for start in range(0, self.n_obs, size):
            ids = mix(self.rows[start : start + size].astype(np.uint64) * GOLDEN)
            data, indices = (
                np.empty(len(ids) * self.n_vars // 3, np.float32),
                np.empty(len(ids) * self.n_vars // 3, np.int32),
            )
            ends = np.zeros(len(ids) + 1, np.int32)
            found = _made(ids, genes, chance, data, indices, ends)
            yield Block(ids, genes, sparse.csr_matrix((data[:found], indices[:found], ends), (len(ids), self.n_vars)))


def nested(view):
    """Six numbers of cells, each half of the one before."""
    return [Job(view.take(np.arange(view.n_obs >> i)), view, 0) for i in range(6)]


# what is done, and how many walks over the cells that is, the library's among them
TASKS = {
    "nothing": (lambda view: view.n_obs, 0),
    "the cells alone": (lambda view: sum(block.values.nnz for block in view.batches()), 1),
    "hvg": (lambda view: HVG(750).fit(view, view, seed=0), 1),
    "hvg + pca": (lambda view: PCA(16, 750).fit(view, view, seed=0), 2),
    "pca, all genes": (lambda view: PCA(16, "all").fit(view, view, seed=0), 1),
    "pca, 6 numbers of cells": (lambda view: PCA(16, 750).fit_many(nested(view)), 2),
    "pca, one by one": (lambda view: [PCA(16, 750).fit(job.train, view, seed=0) for job in nested(view)], 4),
    "medians": (lambda view: vocabulary(view), 2),
    "gene means": (lambda view: GeneMean().fit(view, view, seed=0), 2),
    "projection, embedded": (lambda view: RandomProjection(16).fit(view, view, seed=0).embed(view), 1),
    "sketch": (lambda view: _boxes.codes(view, 50, 0.01), 3),
}


def one(task, cells, genes):
    """Do a task in this process and print what it took."""
    TASKS[task][0](Made(np.arange(3000), 200))
    start = time.perf_counter()
    TASKS[task][0](Made(np.arange(cells), genes))
    seconds = time.perf_counter() - start
    with open("/proc/self/status") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    print(json.dumps({"seconds": seconds, "peak": peak * 1024}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs=2, default=(50_000, 500_000))
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--task", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.task:
        one(given.task, given.cells[0], given.genes)
    else:
        compare(given)


def compare(given):
    """Print a row for each task, from fresh processes."""
    few, many = given.cells
    print(f"| {given.genes} genes | walks | {few:,}: s | MB | {many:,}: s | MB | cells/s a walk | bytes a cell more |")
    print("|---|---|---|---|---|---|---|---|")
    for task in given.tasks:
        found = []
        for cells in given.cells:
            own = ["--task", task, "--cells", str(cells), str(cells), "--genes", str(given.genes)]
            done = subprocess.run([sys.executable, __file__, *own], capture_output=True, text=True, check=True)
            found.append(json.loads(done.stdout))
        a, b = found
        walks = TASKS[task][1]
        speed = f"{walks * many / b['seconds']:,.0f}" if walks else ""
        print(
            f"| {task} | {walks} | {a['seconds']:.1f} | {a['peak'] / 1e6:.0f} | {b['seconds']:.1f} | "
            f"{b['peak'] / 1e6:.0f} | {speed} | {(b['peak'] - a['peak']) / (many - few):.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
