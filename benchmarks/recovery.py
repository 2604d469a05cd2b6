"""Does the whole chain give back what is known? Data, corruption, model, score, store, table, fit, interval.

    python benchmarks/recovery.py channel --studies 100
    python benchmarks/recovery.py tissue --studies 200

``channel``: the Gaussian channel of paper B, Box 1, where the noise law is exact. How often does a parameter's 95 %
interval cover its true value, and how wide is it? ``tissue``: simulated counts. How often does the lower 95 % limit
of an embedding's information exceed the information of the true state (it should in at most 2.5 % of runs), and which
share of what an oracle embedding gives does a model keep at full depth?
"""

import argparse
import tempfile

import numpy as np
import pandas as pd

from sclaws.study import Study


def channel(seed: int, folder: str) -> pd.DataFrame:
    """Return one row a parameter: true value, estimate, interval, of one simulated study."""
    study = Study.of(
        {
            "name": f"channel-{seed}",
            "engine": "serial",
            "replicates": 3,
            "dataset": {"use": "gaussian-channel", "n_cells": 3000, "seed": seed},
            "split": {"test": 0.5, "valid": 0.05},
            "models": [{"use": "random-projection", "dim": 1}],
            "signals": [{"use": "obsm", "key": "signal"}],
            "scores": ["gaussian"],
            "levels": {"snr": {"log": [0.3, 300, 8]}},
            "fit": [{"law": "noise", "x": "snr"}],
        },
        folder,
    )
    fitted = study.run(progress=False).fits.frame.iloc[0]
    (truth,) = study.truth().values()
    rows = [
        {"parameter": p, "truth": truth[p], "value": fitted[p], "low": fitted[f"{p}_low"], "high": fitted[f"{p}_high"]}
        for p in ("i_max", "u_bar")
    ]
    return pd.DataFrame(rows).assign(seed=seed, verdict=fitted["verdict"])


def tissue(seed: int, folder: str) -> pd.DataFrame:
    """Return one row a model and signal of one simulated tissue at full depth: information, limits, truth."""
    study = Study.of(
        {
            "name": f"tissue-{seed}",
            "engine": "serial",
            "dataset": {"use": "simulated-tissue", "n_cells": 3000, "seed": seed},
            "split": {"test": 0.3, "valid": 0.05},
            "models": [{"use": "pca", "dim": 16}, {"use": "oracle", "key": "state"}],
            "grid": [
                {"signals": [{"use": "obsm", "key": "protein"}], "scores": ["gaussian", "ksg"]},
                {"signals": [{"use": "obs", "column": "cell_type"}], "scores": ["probe", "ksg"]},
            ],
        },
        folder,
    )
    study.check()
    study.run(progress=False)
    frame = study.table().frame
    (truth,) = study.truth().values()
    protein = frame["signal"].str.contains("protein")
    known = np.where(protein, truth["protein_information"], truth["label_information"])
    columns = ["model", "signal", "score", "value", "low", "high"]
    return frame[columns].assign(truth=known, seed=seed)


def told_channel(found: pd.DataFrame) -> None:
    """Print coverage and width by parameter."""
    found["covers"] = (found["low"] <= found["truth"]) & (found["truth"] <= found["high"])
    found["width"] = found["high"] - found["low"]
    for name, rows in found.groupby("parameter"):
        print(
            f"{name}: covered in {rows['covers'].sum()} of {len(rows)} studies, "
            f"median width {rows['width'].median():.3g}, "
            f"mean error {(rows['value'] - rows['truth']).mean():+.3g}, truth {rows['truth'].iloc[0]:.4g}"
        )
    print(found.drop_duplicates("seed")["verdict"].str.split(":").str[0].value_counts().to_string())


def told_tissue(found: pd.DataFrame) -> None:
    """Print how often the lower limit exceeds the truth, and the share of the oracle's information."""
    for (model, signal, score), rows in found.groupby(["model", "signal", "score"]):
        exceeds = (rows["low"] > rows["truth"]).sum()
        same = (found["signal"] == signal) & (found["score"] == score)
        oracle = found[found["model"].str.startswith("oracle") & same]
        share = rows["value"].mean() / oracle["value"].mean()
        print(
            f"{model}, {signal}, {score}: lower limit above the truth in {exceeds} of {len(rows)} runs, "
            f"mean {rows['value'].mean():.3f} of {rows['truth'].mean():.3f} bits, {share:.0%} of the oracle's"
        )


def main() -> None:
    """Run the simulated studies one after another, in folders that are removed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["channel", "tissue"])
    parser.add_argument("--studies", type=int, default=100)
    args = parser.parse_args()
    one, told = (channel, told_channel) if args.what == "channel" else (tissue, told_tissue)
    with tempfile.TemporaryDirectory() as folder:
        told(pd.concat([one(seed, folder) for seed in range(args.studies)], ignore_index=True))


if __name__ == "__main__":
    main()
