"""How often do the 95 % intervals of a fit hold the truth, and how wide are they? All curves are solved in one call.

    python benchmarks/intervals.py --simulations 400

Noise law with I_max = 2 bits and ū = 300 UMI at depths from 10 to 2,500; a point's standard deviation is .2 bits, of
which a share rho of the variance is common to the points of a replicate. The binomial error of a coverage of .95 in 400
simulations is .011.
"""

import argparse

import numpy as np
import pandas as pd

from sclaws.fit import fit
from sclaws.laws.noise import Noise

TRUTH = {"i_max": 2.0, "u_bar": 300.0}
SD = 0.2


def simulated(levels: int, replicates: int, rho: float, simulations: int, seed: int = 0) -> pd.DataFrame:
    """Return curves of the noise law with errors that correlate within a replicate."""
    rng = np.random.default_rng([seed, levels, replicates, int(100 * rho)])
    depth = np.geomspace(10, 2500, levels)
    clean = Noise().predict({"depth": depth}, {k: np.array(v) for k, v in TRUTH.items()})
    shape = (simulations, replicates, levels)
    shift = np.sqrt(rho) * rng.standard_normal(shape[:2])[..., None]
    values = clean + SD * (shift + np.sqrt(1 - rho) * rng.standard_normal(shape))
    curve, replicate, level = (index.ravel() for index in np.indices(shape))
    return pd.DataFrame({"curve": curve, "replicate": replicate, "depth": depth[level], "value": values.ravel()})


def main() -> None:
    """Print a table in the form that stands in docs/laws.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=400)
    args = parser.parse_args()
    print("| depths × replicates | ρ | I_max: cover, median width | ū: cover, median width |\n|---|---|---|---|")
    for levels, replicates, rho in ((8, 3, 0.0), (8, 3, 0.5), (8, 3, 0.7), (8, 2, 0.0), (8, 2, 0.7)):
        table = simulated(levels, replicates, rho, args.simulations)
        frame = fit(table, Noise(), x="depth", y="value", by="curve", replicate="replicate").frame
        cells = []
        for name, true in TRUTH.items():
            low, high = frame[f"{name}_low"], frame[f"{name}_high"]
            cells.append(f"{((low <= true) & (true <= high)).mean():.3f}, {(high - low).median():.3g}")
        print(f"| {levels} × {replicates} | {rho:g} | {cells[0]} | {cells[1]} |", flush=True)


if __name__ == "__main__":
    main()
