"""Nearest-neighbour information: ours, scipy's cKDTree, and scikit-learn's trees as NPEET uses them; one run.

    python benchmarks/ksg.py

"neighbours" is the search alone (the k-th distance and two counts), what the last two columns do as well; "score" is
the whole of ``KSG().estimate``, with its interval. scipy may use all cores, NPEET's code has no such option. All are
warm, take turns, and the best of their turns is shown.
"""

from __future__ import annotations

import os
import time

import numba
import numpy as np
from scipy.spatial import cKDTree
from sklearn.neighbors import BallTree, KDTree

from sclaws import neighbours
from sclaws.scores.ksg import KSG

SIZES = [(2_000, 2, 2), (2_000, 8, 8), (2_000, 16, 14), (10_000, 2, 2), (10_000, 8, 8), (10_000, 16, 14)]
K = 3


def ours(x, y):
    radius = neighbours.kth_distance(np.hstack([x, y]), K)
    return radius, neighbours.count_within(x, radius), neighbours.count_within(y, radius)


def scipys(x, y):
    both = np.hstack([x, y])
    radius = cKDTree(both).query(both, K + 1, p=np.inf, workers=-1)[0][:, -1]
    inside = np.nextafter(radius, 0)
    counts = [cKDTree(v).query_ball_point(v, inside, p=np.inf, workers=-1, return_length=True) - 1 for v in (x, y)]
    return radius, *counts


def npeets(x, y):
    """The searches of NPEET's ``mi``: Chebyshev KD-trees, ball trees from 20 columns."""
    both = np.hstack([x, y])
    radius = tree(both).query(both, k=K + 1)[0][:, K]
    inside = np.nextafter(radius, 0)
    return radius, *(tree(side).query_radius(side, inside, count_only=True) - 1 for side in (x, y))


def tree(points):
    return (BallTree if points.shape[1] >= 20 else KDTree)(points, metric="chebyshev")


def seconds(run, *given):
    start = time.perf_counter()
    found = run(*given)
    return time.perf_counter() - start, found


def main() -> None:
    rng = np.random.default_rng(0)
    print(f"{os.cpu_count()} cores, {numba.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}; seconds")
    print(f"{'cells':>7} {'dims':>6} {'neighbours':>11} {'score':>8} {'scipy':>8} {'NPEET':>8}  ratios      equal")
    for n, dx, dy in SIZES:
        x, y = rng.normal(size=(n, dx)), rng.normal(size=(n, dy))
        y[:, 0] += x[:, 0]
        best = np.full(4, np.inf)
        equal = True
        ours(x[:300], y[:300])  # compiled before the clock starts
        for _ in range(3 if n * dx > 50_000 else 10):
            turns = [seconds(ours, x, y), seconds(KSG(K).estimate, x, y), seconds(scipys, x, y), seconds(npeets, x, y)]
            best = np.minimum(best, [turn[0] for turn in turns])
            for other in turns[2:]:
                equal &= all(np.array_equal(a, b) for a, b in zip(turns[0][1], other[1], strict=True))
        search, score, kd, npeet = best
        ratios = f"{kd / search:>5.1f}x {npeet / search:>5.1f}x {'yes' if equal else 'NO':>6}"
        print(f"{n:>7,} {f'{dx}+{dy}':>6} {search:>11.4f} {score:>8.4f} {kd:>8.4f} {npeet:>8.4f} {ratios}", flush=True)


if __name__ == "__main__":
    main()
