"""Geometric sketching: ours and the package geosketch (Hie et al. 2019), the same points and boxes, in one run.

    python benchmarks/sketching.py ../shared/data/hpc_tusi.h5ad ../shared/data/kang12k.h5ad --simulated 100000 500000

Prints a table, a row for each set of points, size of the sketch and number of boxes. Each library works with one
thread; its time is that of its processor, so that a busy machine does not tell (ours compiled before). A call of
geosketch that needs more than ``--limit`` seconds is stopped, and its row says so. Quality, the mean over seeds:
partial Hausdorff distance (all but the farthest 1 in 10,000, of up to 20,000 points, lie as near to the sketch), and
how much more of the rarest kind of cell is in it than in the data (types of ``--types`` where there are any, else 20
k-means clusters).
"""

import argparse
import multiprocessing
import resource
import time
from pathlib import Path

import numpy as np

from sclaws.axes._boxes import components
from sclaws.datasets.h5ad import H5ad
from sclaws.sketching import boxes, in_rounds
from sclaws.view import View

SIZES = ((0.01, 0.01), (0.1, 0.01), (0.1, 0.1))  # of the sketch, of the boxes; as a share of the points


def measured(path: Path, types: str):
    """Return name, 50 components and kinds of the cells of a file."""
    from sklearn.cluster import KMeans

    view = View.of(H5ad(str(path)).load())
    points = components(view, 50)
    if types in view.obs:
        return path.stem, points, view.obs[types].astype(str).to_numpy()
    return path.stem, points, KMeans(20, n_init=3, random_state=0).fit_predict(points)


def simulated(n: int):
    """Return 20 clusters of 40 % to 1 in 25,000 of the points, whose spreads differ sixfold, in 50 dimensions."""
    rng = np.random.default_rng(0)
    shares = np.geomspace(1, 1e-4, 20)
    kinds = rng.choice(20, n, p=shares / shares.sum())
    centres, spreads = rng.normal(0, 1.5, (20, 50)), rng.permutation(np.linspace(0.2, 1.2, 20))
    points = (centres[kinds] + rng.normal(size=(n, 50)) * spreads[kinds, None]) * np.geomspace(10, 0.2, 50)
    return f"simulated {n:,}", points.astype(np.float32), kinds


def ours(points, size: int, k: int, seed: int):
    start = time.process_time()
    chosen = in_rounds(boxes(points, k), np.arange(len(points), dtype=np.uint64), seed)[:size]
    return time.process_time() - start, chosen


def theirs(points, size: int, k: int, seed: int, limit: int):
    """Return geosketch's seconds and cells, from a process that ends at the limit; None if it did."""
    receive, send = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=_theirs, args=(send, points, size, k, seed, limit))
    process.start()
    send.close()
    try:
        return receive.recv()
    except EOFError:
        return None
    finally:
        process.join()


def _theirs(send, points, size, k, seed, limit):
    from geosketch import gs

    spent = time.process_time()
    resource.setrlimit(resource.RLIMIT_CPU, (int(spent) + limit, int(spent) + limit))
    chosen = gs(points, size, k=k, seed=seed, replace=False)
    send.send((time.process_time() - spent, np.asarray(chosen)))


def uniform(points, size: int, k: int, seed: int):
    return 0.0, np.random.default_rng(seed).permutation(len(points))[:size]


def quality(points, kinds, chosen) -> tuple[float, float]:
    """Return the partial Hausdorff distance and the enrichment of the rarest kind."""
    far = np.sqrt(np.quantile(_squares(points, points[chosen]), 1 - 1e-4))
    names, sizes = np.unique(kinds, return_counts=True)
    rarest = names[sizes.argmin()]
    return float(far), float((kinds[chosen] == rarest).mean() / (kinds == rarest).mean())


def _squares(points, chosen):
    """Return the squared distance of each point to the nearest chosen one; up to 20,000 points, spread evenly."""
    points = points[:: max(len(points) // 20_000, 1)]
    found = [((part**2).sum(1)[:, None] - 2 * part @ chosen.T + (chosen**2).sum(1)).min(axis=1)
             for part in np.array_split(points, len(points) // 256 + 1)]  # fmt: skip
    return np.maximum(np.concatenate(found), 0)


def row(name: str, points, kinds, share: float, per_box: float, args) -> str:
    size, k = int(share * len(points)), int(per_box * len(points))
    runs = {"ours": [], "uniform": [], "geosketch": []}
    for seed in range(args.seeds):
        runs["ours"].append(ours(points, size, k, seed))
        runs["uniform"].append(uniform(points, size, k, seed))
        runs["geosketch"].append(theirs(points, size, k, seed, args.limit))
        if runs["geosketch"][-1] is None:
            break
    done = {name: found for name, found in runs.items() if None not in found}
    seconds = {name: min(run[0] for run in found) for name, found in done.items()}
    told = {n: np.mean([quality(points, kinds, run[1]) for run in found], axis=0) for n, found in done.items()}
    their = f"{seconds['geosketch']:.2f}" if "geosketch" in seconds else f"over {args.limit}"
    ratio = seconds.get("geosketch", args.limit) / seconds["ours"]
    cells = [name, f"{100 * share:g} %", f"{k:,}", f"{seconds['ours']:.3f}", their]
    cells.append(f"{ratio:.0f}×" if "geosketch" in seconds else f"over {ratio:.0f}×")
    for i, form in ((0, "{:.2f}"), (1, "{:.2f}")):
        cells += [form.format(told[who][i]) if who in told else "–" for who in ("ours", "geosketch", "uniform")]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--types", default="cell_type", help="column of obs with the kinds of cells")
    parser.add_argument("--simulated", type=int, nargs="*", default=[], help="numbers of simulated points")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=120, help="processor seconds that geosketch may take a call")
    args = parser.parse_args()
    warm = np.random.default_rng(0).normal(size=(100, 50)).astype(np.float32)
    ours(warm, 10, 10, 0)
    print("| points | sketch | boxes | ours, s | geosketch, s | ratio | distance: ours | geosketch | uniform "
          "| rarest kind: ours | geosketch | uniform |\n|" + "---|" * 12)  # fmt: skip
    for load in [lambda p=p: measured(p, args.types) for p in args.files] + [
        lambda n=n: simulated(n) for n in args.simulated
    ]:
        name, points, kinds = load()
        for share, per_box in SIZES:
            print(row(name, points, kinds, share, per_box, args), flush=True)


if __name__ == "__main__":
    main()
