"""What a known ceiling is worth: intervals of noise laws for a label of 2.3 bits, with and without.

    python benchmarks/ceiling.py --simulations 1000

Eight depths, three replicates, errors of .1 bit of which 30 % of the variance is common to a replicate. The binomial
error of a coverage of .95 in 1,000 simulations is .007. Widths are medians; those of u_bar are in decades; "open" is
the share of intervals without an upper end, whose width is left out of the median.
"""

import argparse

import numpy as np
import pandas as pd

from sclaws.fit import fit
from sclaws.laws.noise import Noise

ENTROPY, U_BAR, SD, SHARED = 2.3, 300.0, 0.1, 0.3


def curves(i_max: float, depths: np.ndarray, n: int) -> pd.DataFrame:
    rng = np.random.default_rng(round(1000 * i_max))
    own, shift = rng.standard_normal((n, 3, len(depths))), rng.standard_normal((n, 3, 1))
    y = Noise().predict({"depth": depths}, {"i_max": i_max, "u_bar": U_BAR})
    y = y + SD * (np.sqrt(1 - SHARED) * own + np.sqrt(SHARED) * shift)
    curve, replicate, level = np.indices(y.shape)
    columns = {"curve": curve, "replicate": replicate, "u": depths[level], "y": y, "bound": np.full(y.shape, ENTROPY)}
    return pd.DataFrame({name: values.ravel() for name, values in columns.items()})


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--simulations", type=int, default=1000)
    n = options.parse_args().simulations
    heads = ("depths up to", "I_max", "ceiling", *[f"`{p}`: cover | width | open" for p in ("i_max", "u_bar")])
    print(f"| {' | '.join(heads)} | not identifiable |\n|{'---|' * 10}")
    for largest in (2500, 600, 100):
        for i_max in (2.28, 1.9):
            frame = curves(i_max, np.geomspace(10, largest, 8), n)
            for ceiling in (None, "bound"):
                how = {"by": ["curve"], "replicate": "replicate", "ceiling": ceiling, "n_draws": 2}
                print(line(fit(frame, Noise(), "u", "y", **how).frame, largest, i_max, ceiling))


def line(found: pd.DataFrame, largest: int, i_max: float, ceiling: str | None) -> str:
    cells = [f"{largest:,}", str(i_max), "2.3" if ceiling else "none"]
    for name, truth in {"i_max": i_max, "u_bar": U_BAR}.items():
        low, high = (found[f"{name}_{end}"].to_numpy() for end in ("low", "high"))
        closed = np.isfinite(low) & np.isfinite(high)
        width = (np.log10(high / low) if name == "u_bar" else high - low)[closed]
        inside = (low <= truth) & (truth <= high)
        cells += [f"{inside.mean():.3f}", f"{np.median(width):.3f}", f"{100 * np.mean(~closed):.1f} %"]
    unknown = 100 * found["verdict"].str.startswith("not identifiable").mean()
    return "| " + " | ".join([*cells, f"{unknown:.1f} %"]) + " |"


if __name__ == "__main__":
    with np.errstate(all="ignore"):
        main()
