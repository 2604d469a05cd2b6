"""Paper A refitted: what the exponent and the floor become when the residuals of the loss itself are squared.

    python benchmarks/paper_a.py ../shared/published/paper_A --figure docs/paper_a.svg

Reads the 18 canonical runs of Kendiukhov, arXiv 2602.15253 (V = 512, six sizes, three seeds), prints the table of
docs/paper_a.md and draws its figure. Intervals (95 %) are profiles, except those of the paper's own recipe, which has
none: there the seeds of each size are drawn anew, with replacement, 2,000 times.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from sclaws.fit import fit
from sclaws.laws.power_with_floor import PowerWithFloor, log_grid_fit

RUNS = "scaling_analysis_20260216_163445_V512_new__stage2b_canonical_runs.csv"
BASELINE = "baseline_census200k_v512.csv"
SUBSETS = {"all six sizes": [], "without XXS": ["XXS"], "without XXS and L": ["XXS", "L"]}
STEPS = 300
DRAWS = 2000


def published(runs: pd.DataFrame) -> dict[str, float]:
    """Return the paper's own fit of these runs."""
    return log_grid_fit(runs["params"].to_numpy(float), runs["loss"].to_numpy(float), STEPS)


def redrawn(runs: pd.DataFrame) -> pd.DataFrame:
    """Return the paper's own fits of runs with the seeds of each size drawn anew."""
    rng = np.random.default_rng(0)
    groups = [group.to_numpy() for _, group in runs.groupby("params")["loss"]]
    size = np.repeat(np.sort(runs["params"].unique()).astype(float), [len(g) for g in groups])
    many = [np.concatenate([rng.choice(g, len(g)) for g in groups]) for _ in range(DRAWS)]
    return pd.DataFrame([log_grid_fit(size, loss, STEPS) for loss in many])


def shown(value: float, low: float, high: float) -> str:
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def left_out(runs: pd.DataFrame, alpha: object) -> str:
    """Return the range of the exponent when each size is left out in turn."""
    found = [alpha(runs[runs["size"] != size]) for size in runs["size"].unique()]
    return f"{min(found):.3f} to {max(found):.3f}"


def rows(name: str, runs: pd.DataFrame) -> list[str]:
    """Return the rows of the table for one subset of the sizes."""
    own, draws = published(runs), redrawn(runs)
    ends = {k: draws[k].quantile([0.025, 0.975]) for k in ("alpha", "c")}
    cells = [shown(own[k], *ends[k]) for k in ("alpha", "c")]
    apart = left_out(runs, lambda some: published(some)["alpha"])
    made = [f"| {name} | log (L − c), the paper's | {' | '.join(cells)} | {apart} | |"]
    for criterion, what in (("log", "log L"), ("linear", "L")):

        def fitted(some, criterion=criterion, draws=2):
            table = some[["params", "loss", "seed"]]
            return fit(table, PowerWithFloor(), "params", "loss", (), "seed", criterion, n_draws=draws)[0]

        one = fitted(runs, draws=200)
        cells = [shown(one.value[k], one.low[k], one.high[k]) for k in ("alpha", "c")]
        apart = left_out(runs, lambda some: fitted(some).value["alpha"])
        made.append(f"| {name} | {what} | {' | '.join(cells)} | {apart} | {one.verdict} |")
    return made


def figure(runs: pd.DataFrame, mean_loss: float, path: Path) -> None:
    """Draw the losses, three fits, and the loss of predicting each gene's mean."""
    import altair as alt

    size = np.geomspace(300, 3e8, 200)
    some = runs[runs["size"] != "XXS"]
    theta = {
        "residuals of log (L − c), as published": published(runs),
        "residuals of L": fit(runs[["params", "loss"]], PowerWithFloor(), "params", "loss")[0].value,
        "residuals of L, without XXS": fit(some[["params", "loss"]], PowerWithFloor(), "params", "loss")[0].value,
    }
    curves = [
        pd.DataFrame({"params": size, "loss": PowerWithFloor().predict({"size": size}, t), "fit": name})
        for name, t in theta.items()
    ]
    x = alt.X(
        "params:Q",
        scale=alt.Scale(type="log", domain=[300, 3e8]),
        axis=alt.Axis(format="~s", grid=False),
        title="parameters",
    )
    y = alt.Y("loss:Q", scale=alt.Scale(domain=[1.4, 2.2]), title="validation loss (MSE)")
    ours = alt.Scale(domain=list(theta), range=["#b4472d", "#1f5f8b", "#4d8b31"])
    lines = (
        alt.Chart(pd.concat(curves))
        .mark_line(clip=True)
        .encode(x, y, color=alt.Color("fit:N", scale=ours, title=None, legend=alt.Legend(orient="top", labelLimit=300)))
    )
    points = alt.Chart(runs[["params", "loss"]]).mark_point(color="black", filled=True, size=22).encode(x, y)
    mean = pd.DataFrame({"loss": [mean_loss], "params": [3e8], "text": ["predicting each gene's mean"]})
    rule = alt.Chart(mean).mark_rule(strokeDash=[4, 3], color="#666666").encode(y="loss:Q")
    words = alt.Chart(mean).mark_text(align="right", dy=-7, color="#666666").encode(x, y, text="text:N")
    chart = (lines + points + rule + words).properties(width=560, height=260)
    chart.configure_legend(columns=1).configure_view(stroke=None).save(str(path))


def main() -> None:
    """Print the table in the form that stands in docs/paper_a.md, and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--figure", type=Path)
    args = parser.parse_args()
    runs = pd.read_csv(args.folder / RUNS).rename(columns={"best_val_mse": "loss"})[["size", "params", "seed", "loss"]]
    mean_loss = float(pd.read_csv(args.folder / BASELINE).set_index("split")["mse"]["val"])
    print("| points | squared residuals of | α | c | α, one size left out | verdict |\n|---|---|---|---|---|---|")
    for name, out in SUBSETS.items():
        print("\n".join(rows(name, runs[~runs["size"].isin(out)])), flush=True)
    print("\nmean loss:", runs.groupby("size")["loss"].mean().sort_values().round(4).to_dict())
    size, loss, own = runs["params"].to_numpy(float), runs["loss"], published(runs)
    misses = PowerWithFloor().predict({"size": size}, own) - loss
    print("the paper's curve minus the losses:", misses.groupby(runs["size"]).mean().round(3).to_dict())
    print(
        f"its rms: {np.sqrt((misses**2).mean()):.4f}; of the least squares of L: "
        f"{fit(runs[['params', 'loss']], PowerWithFloor(), 'params', 'loss', n_draws=2)[0].rmse:.4f}"
    )
    print(f"predicting each gene's mean: {mean_loss:.4f}")
    if args.figure:
        figure(runs, mean_loss, args.figure)


if __name__ == "__main__":
    main()
