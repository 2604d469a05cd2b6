"""Batch integration beside scib-metrics on real cells, and what the intervals hold of simulated ones.

    python benchmarks/integration.py ../shared/data/kang12k.h5ad
    python benchmarks/integration.py --simulations 100

The first: 50 principal components of log counts (scanpy), ``obs["cell_type"]`` and ``obs["donor"]``. Both sides get the
same cells in the same order, the same exact neighbours, resolutions and seed of Leiden, each in a process of its own;
scib-metrics as it comes, in single precision, and once more with jax in double precision (``--double``). Seconds of
CPU, "first" with jax's compilation for these shapes; what ours spends on intervals is in the last line alone.

The second: fresh cells of known mixtures (six types in 8 dimensions, in unequal numbers, three shifted batches); how
often the interval holds the mean over all of them, and the mean standard error over their true spread.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd

from sclaws.hashing import name_ids, ranked
from sclaws.protocols import Pairs
from sclaws.scores import _agreement, _knn_graph
from sclaws.scores._clustered import per_class
from sclaws.scores._estimate import distinct
from sclaws.scores._mixing import Mixing
from sclaws.scores._silhouette import Silhouette
from sclaws.scores.integration import Integration

RESOLUTIONS = tuple(2 * step / 10 for step in range(1, 11))  # scib-metrics has no others
SEED = 42


def probe(x, y, batch, names):
    obs = pd.DataFrame({"batch": batch.astype(str)}, index=names)
    return SimpleNamespace(view=SimpleNamespace(obs=obs), pairs=Pairs(x, y, np.arange(len(x)), name_ids(names)))


def timed(of, turns=1):
    """Return what ``of`` returns and the CPU seconds of each turn."""
    spent = []
    for _ in range(turns):
        start = time.process_time()
        found = of()
        spent.append(time.process_time() - start)
    return found, spent


# ── the two sides ────────────────────────────────────────────────────────────────────────────────────────────────────
def ours(x, y, batch, names, index, far):
    near15 = index[:, :15], far[:, :15]

    def clustered():
        graph = _knn_graph.connectivities(*near15)
        clusters = _knn_graph.clusters(graph, RESOLUTIONS, SEED)
        best = max(clusters, key=lambda cluster: _agreement.nmi(y, cluster)[0])
        return _agreement.nmi(y, best)[0], _agreement.ari(y, best)[0]

    def asw_batch():
        means = []
        for kind in np.unique(y):
            own = np.unique(batch[y == kind], return_inverse=True)[1]
            if 1 < own.max() + 1 < len(own):
                means.append(1 - np.abs(Silhouette.of(x[y == kind], own).widths).mean())
        return np.mean(means)

    def connected():
        return per_class(_knn_graph.in_largest_part(_knn_graph.connectivities(*near15), y).astype(float), y)[0]

    most = batch.max()
    found = {
        "nmi, ari": timed(clustered),
        "asw_label": timed(lambda: (Silhouette.of(x, y).widths.mean() + 1) / 2),
        "asw_batch": timed(asw_batch),
        "ilisi": timed(lambda: (np.median(Mixing.of(index, far, batch, 30).lisi) - 1) / most),
        "graph_connectivity": timed(connected),
    }
    score = Integration("batch", n_cells=len(x), resolutions=RESOLUTIONS)
    whole, spent = timed(lambda: score(probe(x, y, batch, names), seed=SEED))
    found["the whole score, with neighbours and intervals"] = (
        {name: [e.value, e.low, e.high] for name, e in whole.items()},
        spent,
    )
    return found


def theirs(x, y, batch, names, index, far):
    import scib_metrics
    from scib_metrics.nearest_neighbors import NeighborsResults

    near = NeighborsResults(index, far)
    near15 = near.subset_neighbors(15)
    weights = _knn_graph.connectivities(index[:, :15], far[:, :15])
    graph = SimpleNamespace(knn_graph_distances=weights, knn_graph_connectivities=weights)

    def clustered(near):
        found = scib_metrics.nmi_ari_cluster_labels_leiden(near, y, seed=SEED)
        return found["nmi"], found["ari"]

    return {
        "nmi, ari of our weights": timed(lambda: clustered(graph)),
        "nmi, ari of UMAP's in single precision": timed(lambda: clustered(near15)),
        "asw_label": timed(lambda: scib_metrics.silhouette_label(x, y), 2),
        "asw_batch": timed(lambda: scib_metrics.silhouette_batch(x, y, batch), 2),
        "ilisi": timed(lambda: scib_metrics.ilisi_knn(near, batch), 2),
        "graph_connectivity": timed(lambda: scib_metrics.graph_connectivity(graph, y)),
        "graph_connectivity of directed edges": timed(lambda: scib_metrics.graph_connectivity(near15, y)),
    }


def one_side(side: str, double: bool, cells: Path) -> None:
    if side == "theirs":
        import jax

        jax.config.update("jax_enable_x64", double)
    given = np.load(cells)
    before = peak_memory()
    found = {"ours": ours, "theirs": theirs}[side](**{name: given[name] for name in given.files})
    print(json.dumps({"found": found, "before": before, "peak": peak_memory()}, default=float))


def peak_memory():
    """Return the most memory that this process has held, in GB (Linux; what ``resource`` says counts the parent's)."""
    return int(re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())[1]) / 1e6


# ── real cells ───────────────────────────────────────────────────────────────────────────────────────────────────────
def prepared(path: Path, cells: int, folder: Path) -> tuple[Path, float]:
    import anndata
    import scanpy

    data = anndata.read_h5ad(path)
    scanpy.pp.normalize_total(data, target_sum=1e4)
    scanpy.pp.log1p(data)
    scanpy.pp.pca(data, n_comps=50)
    order = ranked(distinct(name_ids(data.obs_names)), 0)[:cells]  # as the score has them: Leiden depends on it
    x = data.obsm["X_pca"][order].astype(np.float64)
    codes = {key: np.unique(data.obs[key].astype(str).to_numpy()[order], return_inverse=True)[1] for key in
             ("cell_type", "donor")}  # fmt: skip
    (index, far), spent = timed(lambda: _knn_graph.neighbours(x, 90))
    at = folder / "cells.npz"
    names = data.obs_names[order].to_numpy().astype(str)
    np.savez(at, x=x, y=codes["cell_type"], batch=codes["donor"], names=names, index=index, far=far)
    print(f"{len(x):,} cells x {x.shape[1]}, {codes['cell_type'].max() + 1} types, {codes['donor'].max() + 1} batches;")
    print(f"90 neighbours, exact: {spent[0]:.1f} s\n")
    return at, spent[0]


def side_by_side(path: Path, cells: int, double: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        at, _ = prepared(path, cells, Path(folder))
        sides = {}
        for side in ("ours", "theirs"):
            command = [sys.executable, __file__, str(at), "--side", side, *(["--double"] if double else [])]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            sides[side] = json.loads(done.stdout.splitlines()[-1])
    print("| metric | ours | scib-metrics | difference | ours, s | scib-metrics, s: first, again | ratio |")
    print("|---|---|---|---|---|---|---|")
    mine, other = sides["ours"]["found"], sides["theirs"]["found"]
    for name, (value, spent) in other.items():
        own, own_spent = mine[name.split(" of ")[0]]
        pairs = zip(np.atleast_1d(own), np.atleast_1d(value), strict=True)
        text = [(f"{a:.6f}", f"{b:.6f}", f"{a - b:.1e}") for a, b in pairs]
        values = " | ".join(", ".join(column) for column in zip(*text, strict=True))
        both = ", ".join(f"{s:.2f}" for s in spent)
        print(f"| {name} | {values} | {own_spent[0]:.2f} | {both} | {spent[-1] / own_spent[0]:.1f} |")
    print()
    for side, found in sides.items():
        print(f"{side}: peak {found['peak']:.2f} GB, {found['before']:.2f} of them before the first metric")
    whole, spent = mine["the whole score, with neighbours and intervals"]
    print(f"\nthe whole score, with neighbours and intervals: {spent[0]:.1f} s")
    print(", ".join(f"{name} {value:.3f} ({low:.3f} to {high:.3f})" for name, (value, low, high) in whole.items()))


# ── simulated cells ──────────────────────────────────────────────────────────────────────────────────────────────────
MIXTURES = {
    "500 cells, types hardly told apart": (500, 1.1, 0.6),
    "500 cells, types overlap": (500, 1.6, 0.6),
    "500 cells, types apart": (500, 2.5, 0.3),
    "1,500 cells, types overlap": (1500, 1.6, 0.6),
}


def drawn(rng, n, apart, shift, d=8, types=6, batches=3):
    centre = np.random.default_rng(0).normal(size=(types, d)) * apart / np.sqrt(2)
    moved = np.random.default_rng(1).normal(size=(batches, d)) * shift
    y = rng.choice(types, size=n, p=np.arange(1, types + 1) / (types * (types + 1) / 2))
    batch = rng.integers(batches, size=n)
    return rng.normal(size=(n, d)) + centre[y] + moved[batch], y, batch


def coverage(simulations: int) -> None:
    names = Integration.metrics
    print("| covered % (standard error / true spread) | " + " | ".join(names) + " |")
    print("|---|" + "---|" * len(names))
    for title, (n, apart, shift) in MIXTURES.items():
        found = []
        for seed in range(simulations):
            x, y, batch = drawn(np.random.default_rng(100 + seed), n, apart, shift)
            found.append(Integration("batch")(probe(x, y, batch, pd.Index([f"c{i}" for i in range(n)])), seed=seed))
        row = []
        for name in names:
            values = np.array([f[name].value for f in found])
            covered = np.mean([f[name].low <= values.mean() <= f[name].high for f in found])
            ratio = np.mean([f[name].stderr for f in found]) / values.std(ddof=1)
            row.append(f"{100 * covered:.0f} ({ratio:.2f})")
        print(f"| {title} | " + " | ".join(row) + " |", flush=True)


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("path", type=Path, nargs="?")
    parse.add_argument("--cells", type=int, default=12_000)
    parse.add_argument("--double", action="store_true")
    parse.add_argument("--simulations", type=int, default=0)
    parse.add_argument("--side", choices=["ours", "theirs"], help="used by the program itself")
    given = parse.parse_args()
    if given.side:
        one_side(given.side, given.double, given.path)
    elif given.path:
        side_by_side(given.path, given.cells, given.double)
    if given.simulations:
        coverage(given.simulations)


if __name__ == "__main__":
    main()
