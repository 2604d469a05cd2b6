"""Does one more parameter earn its place? AICc of the laws of depth on the 120 published curves of paper B.

    python benchmarks/rivals.py ../shared/published/paper_B_v2

Gowri, Sadalski et al., arXiv 2503.02726, second version: PBMC and mouse embryo, model × signal × number of cells, up to
ten depths and three seeds a curve. Prints how often each rival is preferred to the noise law, and the other way round.
"""

import argparse
from pathlib import Path

import pandas as pd

from sclaws.fit import fit
from sclaws.laws.constant import Constant
from sclaws.laws.logistic import Logistic
from sclaws.laws.noise import Noise
from sclaws.laws.noise_with_floor import NoiseWithFloor
from sclaws.laws.parallel_channels import ParallelChannels

CURVE = ["dataset", "algorithm", "signal", "size"]
RIVALS = (NoiseWithFloor(), ParallelChannels(), Logistic(), Constant())


def main() -> None:
    """Print a table: law, curves on which it wins by 2 units of AICc, on which it loses, residual, open intervals."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    table = pd.read_csv(parser.parse_args().folder / "mi_results.csv")
    fits = fit(table, [Noise(), *RIVALS], "umis_per_cell", "mi_value", CURVE, n_draws=2).frame
    aicc, rmse = (fits.pivot(index=CURVE, columns="law", values=name) for name in ("aicc", "rmse"))
    gain = aicc.rsub(aicc["noise"], axis=0)
    unknown = fits["verdict"].str.startswith("not identifiable").groupby(fits["law"]).sum()
    print("| law | better by 2 | worse by 2 | median rms residual, bits | not identifiable |\n|---|---|---|---|---|")
    for law in gain:
        won, lost = (gain[law] > 2).sum(), (gain[law] < -2).sum()
        print(f"| {law} | {won} | {lost} | {rmse[law].median():.3f} | {unknown[law]} of {len(gain)} |")
    d = fits["d"].dropna()
    print(f"\nparallel channels: d below 1.01 on {(d < 1.01).sum()} curves, above 63 on {(d > 63).sum()}")


if __name__ == "__main__":
    main()
