"""Cells a second from counts to ranked tokens: ours beside a plain argsort and Geneformer's published method.

    python benchmarks/tokens.py [counts.h5ad ...] [--cells 8000] [--context 512 2048]

Simulated cells (negative binomial, about 2,000 of 20,000 genes each) and those of any files given. All in one run,
interleaved, the best of ``--runs`` rounds after one that compiles and warms up. Every method starts from the same
counts in memory and the same medians and ends with all cells' tokens. "per-cell argsort" sorts each cell's count/median
in numpy. "published" is what the tokenizer of Geneformer's first version does, written anew: chunks of 512 cells of an
AnnData become a sparse matrix of count / total * 10,000 / median, whose rows are taken out, sorted with np.argsort and
cut; what it does before (reading) and after (an Arrow data set) is left out. "same tokens" counts places, "same values"
those with an equal count/median: they differ by how ties are broken, which np.argsort leaves open.
"""

import argparse
import time

import anndata
import numba
import numpy as np
from scipy import sparse

from sclaws.counts import as_csr
from sclaws.models._medians import medians
from sclaws.models._tokens import rank

GENES = 20_000
CHUNK = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", nargs="*")
    parser.add_argument("--cells", type=int, default=8_000)
    parser.add_argument("--context", type=int, nargs="*", default=[512, 2_048])
    parser.add_argument("--runs", type=int, default=5)
    args = parser.parse_args()
    data = {"simulated": simulated(args.cells)}
    for path in args.paths:
        data[path.rsplit("/", 1)[-1]] = as_csr(anndata.read_h5ad(path).X)[: args.cells]
    for name, counts in data.items():
        total = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
        middle, took = timed(lambda: medians([counts], total, counts.shape[1]))
        middle, took = timed(lambda: medians([counts], total, counts.shape[1]))
        per_cell = np.diff(counts.indptr)
        print(
            f"\n{name}: {counts.shape[0]:,} cells x {counts.shape[1]:,} genes, {per_cell.mean():,.0f} genes a cell "
            f"({np.percentile(per_cell, 5):,.0f} to {np.percentile(per_cell, 95):,.0f}); medians in {took:.2f} s"
        )
        for context in args.context:
            compare(counts, total, middle, context, args.runs)


def compare(counts, total, middle, context: int, runs: int) -> None:
    methods = {
        f"sclaws, {n} thread{'s' * (n > 1)}": lambda n=n: ours(counts, middle, context, n) for n in thread_counts()
    }
    methods["per-cell argsort"] = lambda: per_cell_argsort(counts, middle, context)
    adata = anndata.AnnData(counts, obs={"n_counts": total})
    methods["published"] = lambda: published(adata, middle, context)
    best, made = dict.fromkeys(methods, np.inf), {}
    for round_ in range(runs + 1):
        for name, method in methods.items():
            made[name], took = timed(method)
            best[name] = min(best[name], took) if round_ else best[name]
    first = next(iter(methods))
    valued = {name: values_of(tokens, counts, middle, context) for name, tokens in made.items()}
    print(f"  {f'context {context:,}':18} {'cells/s':>10}   one thread of ours is faster by  same tokens  same values")
    for name, took in best.items():
        tokens, ratio = np.mean(made[name] == made[first]), took / best[first]
        values = np.mean(np.isclose(valued[name], valued[first], rtol=1e-9, atol=0))
        print(f"  {name:18} {counts.shape[0] / took:10,.0f} {ratio:33.2f} {tokens:12.2%} {values:12.2%}")


def values_of(tokens, counts, middle, context: int):
    known = np.flatnonzero(~np.isnan(middle))
    lengths = np.minimum(np.diff(counts[:, known].indptr), context)
    genes = known[tokens - 2]
    return np.asarray(counts[np.repeat(np.arange(len(lengths)), lengths), genes]).ravel() / middle[genes]


def thread_counts() -> list[int]:
    return sorted({1, min(2, numba.config.NUMBA_NUM_THREADS)})


def ours(counts, middle, context: int, threads: int):
    numba.set_num_threads(threads)
    return rank(counts, middle, context=context).ids


def per_cell_argsort(counts, middle, context: int):
    token = np.arange(counts.shape[1], dtype=np.int32) + 2 - np.cumsum(np.isnan(middle)).astype(np.int32)
    out = []
    for start, end in zip(counts.indptr[:-1], counts.indptr[1:], strict=True):
        genes = counts.indices[start:end]
        values = counts.data[start:end] / middle[genes]
        genes, values = genes[~np.isnan(values)], values[~np.isnan(values)]
        out.append(token[genes[np.argsort(-values)[:context]]])
    return np.concatenate(out)


def published(adata, middle, context: int):
    known = np.flatnonzero(~np.isnan(middle))
    tokens = np.arange(len(known)) + 2
    cells = []
    for start in range(0, adata.n_obs, CHUNK):
        rows = np.arange(start, min(start + CHUNK, adata.n_obs))
        totals = adata[rows].obs["n_counts"].to_numpy()[:, None]
        normal = sparse.csr_matrix(adata[rows, known].X / totals * 10_000 / middle[known])
        cells += [tokens[normal[i].indices][np.argsort(-normal[i].data)][:context] for i in range(len(rows))]
    return np.concatenate(cells)


def simulated(n: int) -> sparse.csr_matrix:
    """Negative binomial counts, each with half its mean as dispersion's inverse; genes' shares are log-normal."""
    rng = np.random.default_rng(0)
    share = np.exp(rng.normal(0, 2.0, GENES))
    share /= share.sum()
    blocks = []
    for start in range(0, n, 500):
        depth = np.exp(rng.normal(np.log(4_200), 0.25, min(500, n - start)))
        rate = rng.standard_gamma(2.0, (len(depth), GENES)) / 2.0
        blocks.append(sparse.csr_matrix(rng.poisson(rate * depth[:, None] * share).astype(np.float32)))
    return as_csr(sparse.vstack(blocks))


def timed(work):
    start = time.perf_counter()
    made = work()
    return made, time.perf_counter() - start


if __name__ == "__main__":
    main()
