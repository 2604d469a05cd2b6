"""120 curves of the noise law with 1,000 bootstrap draws each: all together, and one by one with scipy's curve_fit.

    OMP_NUM_THREADS=1 python benchmarks/fit_speed.py

One process, one thread, one run. Ours is the whole call of ``sclaws.fit.fit``: the fits, 1,000 refits of each to
points simulated from it, profile intervals, rivals, left-out levels, the test on the largest levels, verdicts. The loop
is the refits alone, ``scipy.optimize.curve_fit`` started at the estimate, on the same simulated points: with bounds, as
ours, and without, which is its quickest way. A sample of the loop is timed and scaled up to all, which is said.
"""

import argparse
import time
import warnings

import numpy as np
import pandas as pd
from scipy import optimize

from sclaws.fit import fit
from sclaws.laws.noise import Noise

DEPTHS = np.tile(np.geomspace(10, 2500, 10), 3)


def curves(count: int, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Return curves of 10 depths and 3 replicates, and their (count, 30) values."""
    rng = np.random.default_rng(seed)
    truth = {"i_max": rng.uniform(1, 3, (count, 1)), "u_bar": rng.uniform(50, 900, (count, 1))}
    values = Noise().predict({"depth": DEPTHS}, truth) + 0.15 * rng.standard_normal((count, len(DEPTHS)))
    curve, point = (index.ravel() for index in np.indices(values.shape))
    frame = pd.DataFrame({"curve": curve, "replicate": point // 10, "umi": DEPTHS[point], "mi": values.ravel()})
    return frame, values


def model(u: np.ndarray, i_max: float, u_bar: float) -> np.ndarray:
    """The noise law, written as one would for scipy."""
    return i_max - 0.5 * np.log2((1 + u / u_bar) / (u / u_bar + 2 ** (-2 * i_max)))


def loop(found: pd.DataFrame, draws: int, sample: int, bounds: tuple[float, float]) -> tuple[float, np.ndarray]:
    """Return seconds for all refits, from ``sample`` of each curve's, and the (curves, 2) standard deviations."""
    rng = np.random.default_rng(1)
    spread = []
    spent = 0.0
    for row in found.itertuples():
        start = (row.i_max, row.u_bar)
        simulated = model(DEPTHS, *start) + row.rmse * rng.standard_normal((sample, len(DEPTHS)))
        began = time.perf_counter()
        refits = [optimize.curve_fit(model, DEPTHS, y, p0=start, bounds=bounds)[0] for y in simulated]
        spent += time.perf_counter() - began
        spread.append(np.std(refits, axis=0))
    return spent * draws / sample, np.array(spread)


def main() -> None:
    """Print a table in the form that stands in docs/laws.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=120)
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--sample", type=int, default=25, help="refits of each curve that the loop really does")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    table, _ = curves(args.curves)
    fit(table[table["curve"] < 2], Noise(), "umi", "mi", "curve", "replicate")  # load everything
    began = time.perf_counter()
    fits = fit(table, Noise(), "umi", "mi", "curve", "replicate", n_draws=args.draws)
    ours = time.perf_counter() - began
    print(f"{args.curves} curves x {args.draws} draws; the loop is timed on {args.sample} draws a curve, scaled up\n")
    print("| | seconds | ratio |\n|---|---|---|")
    print(f"| `sclaws.fit.fit`, everything | {ours:.2f} | 1 |")
    spreads = []
    for name, bounds in (("bounded as ours", (0, np.inf)), ("unbounded", (-np.inf, np.inf))):
        seconds, spread = loop(fits.frame, args.draws, args.sample, bounds)
        spreads.append(spread)
        print(f"| `curve_fit` in a loop, {name} | {seconds:.1f} | {seconds / ours:.0f} |", flush=True)
    mine = np.array([one.draws.std().to_numpy() for one in fits])
    ratios = [np.round(np.median(mine / spread, axis=0), 2).tolist() for spread in spreads]
    print(f"\nspread of the refits of i_max and u_bar, ours over the loop's, median curve: {ratios}")


if __name__ == "__main__":
    main()
