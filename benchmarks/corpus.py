"""A corpus on disk: does memory stay flat from 200,000 cells to 2 million, and how quickly is it read?

    python benchmarks/corpus.py FOLDER                       # makes the files first: 2.4 GB, some minutes
    python benchmarks/corpus.py FOLDER --steps read          # reading alone, beside scDataset and AnnData

Simulated cells of 20 types, 2,000 genes of which 7 % are seen in a cell, in four h5ad files. Every step runs in a
process of its own, whose highest memory is the kernel's (VmHWM). scDataset is left out where it is not installed.
Cold: the kernel is asked to drop the files' pages before (posix_fadvise); warm: read just before.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

GENES, TYPES, FILES, BLOCK = 2000, 20, 4, 25_000
SIZES = (200_000, 2_000_000)


# ── the data ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def make(folder: Path, cells: int) -> None:
    """Write four files of a quarter of the cells each, unless they are there."""
    import anndata
    import pandas as pd
    from scipy import sparse

    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    rates = rng.gamma(0.3, 1.0, (TYPES, GENES))
    rates = (rates / rates.sum(axis=1, keepdims=True) * 160).astype(np.float32)
    for number in range(FILES):
        file = folder / f"part{number}.h5ad"
        if file.is_file():
            continue
        rng = np.random.default_rng([1, cells, number])
        parts, kinds = [], []
        for size in [BLOCK] * (cells // FILES // BLOCK) or [cells // FILES]:
            kind = rng.integers(0, TYPES, size)
            parts.append(
                sparse.csr_matrix(rng.poisson(rates[kind] * rng.lognormal(0, 0.3, (size, 1))), dtype=np.float32)
            )
            kinds.append(kind)
        counts = sparse.vstack(parts, format="csr")
        obs = pd.DataFrame(
            {"type": pd.Categorical.from_codes(np.concatenate(kinds), [f"type{i}" for i in range(TYPES)])},
            index=[f"{number}-{i}" for i in range(counts.shape[0])],
        )
        anndata.AnnData(counts, obs=obs, var=pd.DataFrame(index=[f"G{i}" for i in range(GENES)])).write_h5ad(file)
    (folder / "recipe.toml").write_text(
        "".join(f'[[file]]\npath = "part{i}.h5ad"\ncolumns = {{ type = "type" }}\n\n' for i in range(FILES))
    )


# ── what is measured, each in a process of its own ───────────────────────────────────────────────────────────────────
def ingest(folder: Path) -> int:
    """Write the corpus; return the number of cells."""
    import shutil

    from sclaws.ingest import ingest as write

    shutil.rmtree(folder / "corpus.zarr", ignore_errors=True)
    write(folder / "recipe.toml", folder / "corpus.zarr")
    return opened(folder).n_obs


def opened(folder: Path) -> Any:
    """Return the view of a corpus that never fits into memory."""
    from sclaws.stored import Stored
    from sclaws.view import View

    return View.of(Stored(folder / "corpus.zarr", in_memory_gb=0.0))


def parts(folder: Path) -> tuple[Any, Any]:
    """Return training and validation cells, thinned to a half: what a trial of a study sees."""
    from sclaws.split import Split
    from sclaws.thinning import Thin

    found = Split(test=0.1, valid=0.001).parts(opened(folder), seed=0)
    train, valid = (view.corrupt(Thin.keep(0.5, 1)) for view in (found.train, found.valid))
    return train.in_memory(), valid.materialise()


def opening(folder: Path) -> int:
    """Open it, part it, know its columns: what everything else begins with."""
    train, _ = parts(folder)
    return train.n_obs + 0 * len(train.obs)


def pca(folder: Path) -> int:
    """750 variable genes, 16 components; two walks."""
    from sclaws.models.pca import PCA

    train, valid = parts(folder)
    PCA(dim=16).fit(train, valid, seed=0)
    return train.n_obs


def medians(folder: Path) -> int:
    """What Geneformer divides by; one walk."""
    from sclaws.models import _medians

    train, _ = parts(folder)
    _medians.medians((block.values for block in train.batches()), train.totals, train.n_vars)
    return train.n_obs


def sketch(folder: Path) -> int:
    """A tenth of the cells, from boxes on 50 components."""
    from sclaws.axes.n_cells import NCells

    train, _ = parts(folder)
    NCells(choose="sketched").prepare(train, train.n_obs // 10, seed=0)(train)
    return train.n_obs


def vendi(folder: Path) -> int:
    """How diverse the cells are; 2,048 of them stand for all."""
    from sclaws.diversity import vendi_of_counts

    train, _ = parts(folder)
    vendi_of_counts(train)
    return train.n_obs


def epoch(folder: Path) -> int:
    """One epoch of the masked autoencoder (750 genes, batches of 512), and what comes before and after it."""
    from sclaws.models.masked_autoencoder import MaskedAutoencoder

    train, valid = parts(folder)
    updates = train.n_obs // 512
    MaskedAutoencoder(n_genes=750, widths=(128,), dim=16, batch_size=512, max_updates=updates).fit(train, valid, seed=0)
    return train.n_obs


def sentences(folder: Path) -> int:
    """One epoch of a small Geneformer-type model (context 64, batches of 512), with medians and lengths before it."""
    from sclaws.models.geneformer import Geneformer

    train, valid = parts(folder)
    Geneformer("16x1x2x2", context=64, batch_size=512, max_updates=train.n_obs // 512).fit(train, valid, seed=0)
    return train.n_obs


def contrasted(folder: Path) -> int:
    """As many cells as there are for the contrastive model (750 genes, batches of 512 in equal shares of types)."""
    from sclaws.models.contrastive import Contrastive

    train, valid = parts(folder)
    Contrastive(
        label="type", widths=(128,), dim=16, n_genes=750, batch_size=512, max_updates=train.n_obs // 512, patience=10**6
    ).fit(train, valid, seed=0)
    return train.n_obs


# ── reading alone ────────────────────────────────────────────────────────────────────────────────────────────────────
Batches = Callable[[Path, int], Iterator[Any]]
BATCH = 256


def ours(folder: Path, seed: int) -> Iterator[Any]:
    """Dense shuffled batches of the corpus, as networks get them."""
    yield from shuffled(opened(folder), seed)


def ours_thinned(folder: Path, seed: int) -> Iterator[Any]:
    """The same, half the molecules taken away on the way."""
    from sclaws.thinning import Thin

    yield from shuffled(opened(folder).corrupt(Thin.keep(0.5, 1)), seed)


def shuffled(view: Any, seed: int) -> Iterator[Any]:
    from sclaws.models import _streams

    stream = _streams.Stream(view, "benchmark")
    for step in range(1, view.n_obs // BATCH + 1):
        yield stream.dense(stream.stretches.rows(BATCH, seed, step))


def walk(folder: Path, seed: int) -> Iterator[Any]:
    """Sparse blocks of the corpus in the order of the disk, as statistics get them."""
    for block in opened(folder).batches():
        yield block.values


def scdataset(folder: Path, seed: int) -> Iterator[Any]:
    """scDataset over the first file, backed: blocks of 16 cells, 64 batches fetched together (its own advice)."""
    import anndata
    from scdataset import BlockShuffling, scDataset

    data = anndata.read_h5ad(folder / "part0.h5ad", backed="r")

    def fetched(adata: Any, rows: Any) -> Any:
        return adata.X[np.asarray(rows)]

    loader = scDataset(
        data, BlockShuffling(block_size=16), batch_size=BATCH, fetch_factor=64, fetch_callback=fetched,
        batch_callback=lambda values, rows: values[np.asarray(rows)].toarray(),
    )  # fmt: skip
    yield from loader


def backed(folder: Path, seed: int) -> Iterator[Any]:
    """AnnData backed by the first file: batches of cells drawn from anywhere."""
    import anndata

    data = anndata.read_h5ad(folder / "part0.h5ad", backed="r")
    order = np.random.default_rng(seed).permutation(data.n_obs)
    for start in range(0, data.n_obs, BATCH):
        yield data.X[np.sort(order[start : start + BATCH])].toarray()


def backed_in_order(folder: Path, seed: int) -> Iterator[Any]:
    """AnnData backed by the first file: neighbours, in order: quick, and no shuffling."""
    import anndata

    data = anndata.read_h5ad(folder / "part0.h5ad", backed="r")
    for start in range(0, data.n_obs, BATCH):
        yield data.X[start : start + BATCH].toarray()


READERS = (ours, ours_thinned, walk, scdataset, backed, backed_in_order)
STEPS = (ingest, opening, pca, medians, sketch, vendi, epoch, sentences, contrasted)


def drop(folder: Path) -> None:
    """Ask the kernel to let go of the files' pages."""
    for file in folder.rglob("*"):
        if file.is_file():
            handle = os.open(file, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def rate(reader: Batches, folder: Path, seconds: float) -> dict[str, float]:
    """Return cells a second over about so many seconds, without the first batch; for batches, after one is made."""
    batches, cells = reader(folder, 0), 0
    next(batches)
    started = time.perf_counter()
    for batch in batches:
        cells += batch.shape[0]
        if time.perf_counter() - started > seconds:
            break
    return {"cells": cells, "seconds": time.perf_counter() - started}


def child(step: str, folder: Path, seconds: float) -> dict[str, float]:
    """Do one step in this process, and say what it took."""
    named = {each.__name__: each for each in (*READERS, *STEPS)}
    started = time.perf_counter()
    if named[step] in READERS:
        found = rate(named[step], folder, seconds)
    else:
        found = {"cells": named[step](folder), "seconds": time.perf_counter() - started}
    status = Path("/proc/self/status").read_text()
    return found | {"megabytes": int(status.split("VmHWM:")[1].split()[0]) / 1024}


def apart(step: str, folder: Path, seconds: float) -> dict[str, float]:
    """Do one step in a process of its own."""
    words = [sys.executable, __file__, str(folder), "--child", step, "--seconds", str(seconds)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{step} of {folder}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def memory(folder: Path, steps: list[str], seconds: float) -> None:
    print(f"{'':12} {'cells':>10} {'seconds':>8} {'cells/s':>9} {'MB':>6}   {'more bytes a cell':}")
    for step in steps:
        found = [apart(step, folder / str(size), seconds) for size in SIZES]
        for at, each in enumerate(found):
            slope = (
                (each["megabytes"] - found[0]["megabytes"]) / (each["cells"] - found[0]["cells"]) * 1e6 if at else None
            )
            told = (
                ""
                if slope is None
                else f"{slope:8.0f}, so {(each['megabytes'] + slope * (2e7 - each['cells']) / 1e6) / 1e3:.1f} GB at 2e7"
            )
            print(
                f"{step:12} {each['cells']:10,} {each['seconds']:8.1f} {each['cells'] / each['seconds']:9,.0f} "
                f"{each['megabytes']:6.0f} {told}", flush=True,
            )  # fmt: skip


def reading(folder: Path, seconds: float) -> None:
    print(f"{'cells a second':18} {'warm':>10} {'cold':>10} {'MB':>6}")
    for reader in READERS:
        try:
            warm = [apart(reader.__name__, folder, seconds) for _ in range(2)][-1]
            drop(folder)
            cold = apart(reader.__name__, folder, seconds)
        except SystemExit as error:
            print(f"{reader.__name__:18} not measured: {str(error).splitlines()[-1]}")
            continue
        rates = [f"{each['cells'] / each['seconds']:10,.0f}" for each in (warm, cold)]
        print(f"{reader.__name__:18} {' '.join(rates)} {warm['megabytes']:6.0f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", nargs="*", default=[*(step.__name__ for step in STEPS), "read"])
    parser.add_argument("--seconds", type=float, default=10.0, help="of reading, each way")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(child(args.child, args.folder, args.seconds)))
        return
    for size in SIZES:
        make(args.folder / str(size), size)
    if steps := [step for step in args.steps if step != "read"]:
        memory(args.folder, steps, args.seconds)
    if "read" in args.steps:
        reading(args.folder / str(SIZES[-1]), args.seconds)


if __name__ == "__main__":
    main()
