"""How often the intervals of saturation and of rank correlations hold the truth: the two tables of docs/saturation.md.

``python benchmarks/saturation.py --simulations 300``
"""

import argparse

import numpy as np

from sclaws.agreement import correlation
from sclaws.multiplier import DRAWS
from sclaws.saturation_rules import Curve, Level

ATS = np.array([1.0, 10.0, 25.0, 50.0, 75.0, 100.0])
MEANS = 0.9 - 0.4 * ATS**-0.35  # the mean's .95 is reached at 50, the gain's over .4 at 75
START = 0.4


def simulated(means, start, replicates, sd, shared, rng):
    """Return a curve whose replicates have ``shared`` of their variance in common along it, and names in common."""
    common = rng.standard_normal(replicates)

    def level(at, mean):
        own = rng.standard_normal(replicates)
        values = mean + sd * (np.sqrt(shared) * common + np.sqrt(1 - shared) * own)
        names = tuple(f"{r}" if shared else f"{at} {r}" for r in range(replicates))
        return Level(at, values, names, np.zeros((replicates, DRAWS)))

    return Curve(tuple(map(level, ATS, means)), level(0.0, start), False)


def saturation(n, rng):
    print("| replicates | shared | sd | mean: holds | gain: holds | published early | mean early | false gain |")
    print("|---|---|---|---|---|---|---|---|")
    again = np.random.default_rng(0)
    for replicates in (2, 3, 5):
        for shared in (0.0, 0.7):
            for sd in (0.01, 0.03):
                rows = [simulated(MEANS, START, replicates, sd, shared, rng).judged(0.95, again)[0] for _ in range(n)]
                none = [simulated(0 * MEANS, 0.0, replicates, sd, shared, rng).judged(0.95, again)[0] for _ in range(n)]
                found = [
                    [r["mean_low"] <= 50 <= r["mean_high"] for r in rows],
                    [r["gain_low"] <= 75 <= r["gain_high"] for r in rows],
                    [r["published"] < 50 for r in rows],
                    [r["mean"] < 50 for r in rows],
                    [r["gained"] == "gain" for r in none],
                ]
                shares = " | ".join(f"{np.mean(one):.2f}" for one in found)
                print(f"| {replicates} | {shared:g} | {sd:g} | {shares} |", flush=True)


def agreement(n, rng):
    print("\n| clusters | trials in each | ρ | holds | mean width |\n|---|---|---|---|---|")
    for clusters, trials in ((8, 1), (12, 1), (40, 1), (12, 5), (36, 5)):
        for r in (0.0, 0.6):
            held, width = [], []
            for _ in range(n):
                u, e = rng.standard_normal((2, clusters, 1)) + 0.5 * rng.standard_normal((2, clusters, trials))
                v = r * u + np.sqrt(1 - r**2) * e  # pairs of one normal distribution, whatever the cluster
                where = np.repeat(np.arange(clusters), trials)
                _, low, high = correlation(u.ravel(), v.ravel(), np.zeros(u.size, dtype=int), where, rng)
                held.append(low <= 6 / np.pi * np.arcsin(r / 2) <= high)
                width.append(high - low)
            print(f"| {clusters} | {trials} | {6 / np.pi * np.arcsin(r / 2):.2f} | {np.mean(held):.3f} | "
                  f"{np.mean(width):.2f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--simulations", type=int, default=300)
    asked = parser.parse_args()
    saturation(asked.simulations, np.random.default_rng(1))
    agreement(asked.simulations, np.random.default_rng(2))
