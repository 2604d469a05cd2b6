"""All scores side by side on real signals: protein, cell type, developmental time, spatial neighbour.

    python benchmarks/signals_mi.py ../shared/data --cells 2500

Embeddings are 16 principal components of log counts, made on all cells of a file; the scores see ``--cells`` of them,
chosen at random. Markdown: value and 95 % interval in bits, verdict, seconds of one core.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import anndata
import numpy as np
import scanpy
from sklearn.decomposition import TruncatedSVD
from sklearn.neighbors import NearestNeighbors

from sclaws.errors import ScoreError
from sclaws.scores.auto import Auto
from sclaws.scores.gaussian import Gaussian
from sclaws.scores.infonce import InfoNCE
from sclaws.scores.ksg import KSG
from sclaws.scores.lmi import LMI
from sclaws.scores.probe import LabelProbe

SCORES = {
    "gaussian": Gaussian(), "ksg": KSG(), "lmi": LMI(), "infonce": InfoNCE(), "probe": LabelProbe(), "auto": Auto(),
}  # fmt: skip


def embedded(data: anndata.AnnData) -> np.ndarray:
    scanpy.pp.normalize_total(data, target_sum=1e4)
    scanpy.pp.log1p(data)
    return TruncatedSVD(16, random_state=0).fit_transform(data.X)


def signals(folder: Path, rng: np.random.Generator):
    """Yield (name, embedding, signal)."""
    data = anndata.read_h5ad(folder / "cite_pbmc10k.h5ad")
    proteins = np.log1p(np.asarray(data.obsm["protein_counts"], dtype=float))
    yield "14 proteins, cite_pbmc10k", embedded(data), proteins
    data = anndata.read_h5ad(folder / "kang12k.h5ad")
    yield "cell type, kang12k", embedded(data), np.asarray(data.obs["cell_type"].astype(str))
    data = anndata.read_h5ad(folder / "worm_embryo.h5ad")
    hours = np.asarray(data.obs["embryo_time"], dtype=float)
    known = np.isfinite(hours)
    yield "embryo time, worm_embryo", embedded(data)[known], hours[known, None]
    data = anndata.read_h5ad(folder / "xenium_breast.h5ad")
    x, spot = embedded(data), np.asarray(data.obsm["spatial"], dtype=float)
    near = NearestNeighbors(n_neighbors=5).fit(spot).kneighbors(return_distance=False)[:, :4]
    yield "one of 4 neighbours, xenium_breast", x, x[near[np.arange(len(x)), rng.integers(4, size=len(x))]]


def main() -> None:
    parse = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parse.add_argument("folder", type=Path)
    parse.add_argument("--cells", type=int, default=2500)
    given = parse.parse_args()
    rng = np.random.default_rng(0)
    for name, x, y in signals(given.folder, rng):
        rows = rng.permutation(len(x))[: given.cells]
        print(f"\n{name}: {len(rows):,} cells, {x.shape[1]} + {y.shape[1] if y.ndim > 1 else 'label'}\n", flush=True)
        print("| score | bits | 95 % | verdict | s |\n|---|---|---|---|---|")
        for which, score in SCORES.items():
            start = time.process_time()
            try:
                got = score.estimate(x[rows], y[rows])
            except ScoreError as error:
                print(f"| {which} | – | – | {error} | |", flush=True)
                continue
            seconds = time.process_time() - start
            by = f" ({got.details['chosen']})" if "chosen" in got.details else ""
            figures = f"{got.value:.2f} | {got.low:.2f} to {got.high:.2f} | {got.verdict}"
            print(f"| {which}{by} | {figures} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
