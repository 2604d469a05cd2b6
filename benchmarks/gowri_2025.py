"""What studies of measurement noise say of the published claims: tables, answers and the collapse, from their results.

    sclaws run gowri-2025 --data cells.h5ad --profile laptop      # as often as there are data sets
    python benchmarks/gowri_2025.py cells-gowri-2025-laptop.sclaws ... [--figure docs/gowri_2025.svg]

Reads tables and fits, and trains nothing. A claim that compares two parameters is answered yes or no where their
logarithms differ by more than 1.96 of their joint standard error (from the 95 % intervals), else "cannot tell".
The figure has the curves that follow the law.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from sclaws.table import Table

GOOD = ("follows the law", "saturated")
WINDOW = ([1e-3, 300], [1e-3, 2])  # of the figure: u/ū and the rescaled information
TICKS = [1e-3, 1e-2, 0.1, 1, 10, 100]


def main() -> None:
    """Print the tables and the answers; write the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    points = []
    for folder in given.results:
        table, fits = Table.read(folder), pd.read_csv(folder / "fits.csv")
        if "x" not in fits:
            raise SystemExit(f"{folder}/fits.csv has no column x: run the study again, which trains nothing anew")
        print(f"\n## {folder.name}\n")
        noise = fits[(fits["law"] == "noise") & fits["i_max"].notna()]
        for (signal, x), some in fits[fits["law"] == "noise"].groupby(["signal", "x"]):
            _told(some, signal, x)
        _cells(fits[fits["law"] == "saturating-power"], table)
        _needed(folder)
        for (signal, x), some in noise.groupby(["signal", "x"]):
            _claims(some, table.frame[table.frame["signal"] == signal], f"{signal} ({x})")
        points.append(_collapsed(folder, noise))
    if given.figure:
        _figure(pd.concat(points)).save(str(given.figure))


def _told(fits: pd.DataFrame, signal: str, x: str) -> None:
    print(f"{signal}: noise law ({x})\n\n| model | I_max, bits | ū | R² | verdict |\n|---|---|---|---|---|")
    for _, row in fits.iterrows():
        r2 = f"{row['r2']:.3f}" if pd.notna(row.get("r2")) else ""
        print(f"| {row['model']} | {_value(row, 'i_max')} | {_value(row, 'u_bar')} | {r2} | {row['verdict']} |")
    print()


def _value(row: Any, name: str) -> str:
    value, low, high = (row.get(f"{name}{end}", math.nan) for end in ("", "_low", "_high"))
    if pd.isna(value) or not np.isfinite(high):
        return f"> {low:.3g}" if pd.notna(low) and np.isfinite(low) else ""
    return f"{value:.3g} ({low:.3g} to {high:.3g})"


def _cells(fits: pd.DataFrame, table: Table) -> None:
    print(
        "cells, nothing else taken away\n\n| signal | model | fewest cells | all cells | gain (95 %) | verdict |\n"
        "|---|---|---|---|---|---|"
    )
    noises = [c for c in table.frame if c.endswith("_level") and c != "n_cells_level"]
    full = table.frame[(table.frame[noises] == np.inf).all(axis=1)]
    for (signal, model), some in full.groupby(["signal", "model"]):
        mean = some.groupby("n_cells_level")["value"].mean()
        gain, half = _gain(some, table)
        verdict = fits[(fits["signal"] == signal) & (fits["model"] == model)]["verdict"]
        said = verdict.iloc[0] if len(verdict) else ""
        print(f"| {signal} | {model} | {mean.iloc[0]:.2f} | {mean.iloc[-1]:.2f} | {gain:+.2f} ± {half:.2f} | {said} |")
    print()


def _gain(some: pd.DataFrame, table: Table) -> tuple[float, float]:
    """Return what all cells give beyond the fewest, and half of its 95 % interval: test cells and replicates."""
    ends = [some[some["n_cells_level"] == level].sort_values("replicate") for level in
            (some["n_cells_level"].min(), some["n_cells_level"].max())]  # fmt: skip
    values = ends[1]["value"].to_numpy() - ends[0]["value"].to_numpy()
    assert table.draws is not None
    draws = [table.draws.loc[list(zip(e["run"], e["metric"], strict=True))].to_numpy() for e in ends]
    cells = float((draws[1] - draws[0]).mean(axis=0).var())
    between = float(values.var(ddof=1) / len(values)) if len(values) > 1 else 0.0
    return float(values.mean()), 1.96 * math.sqrt(max(cells, between))


def _needed(folder: Path) -> None:
    needed = pd.read_csv(folder / "targets.csv")
    if len(needed):
        print(needed.to_string(index=False, float_format="%.3g"), "\n")


def _claims(fits: pd.DataFrame, frame: pd.DataFrame, signal: str) -> None:
    of = {row["model"].split("(")[0]: row for _, row in fits.iterrows()}
    good = [row["verdict"].startswith(GOOD) for row in of.values()]
    print(f"{signal}, claims: (1) the noise law fits: {sum(good)} of {len(good)} curves")
    if {"geneformer", "pca", "scvi"} <= set(of):
        print(f"  (2) ū of Geneformer below PCA's: {_less(of['geneformer'], of['pca'], 'u_bar')}; "
              f"I_max below scVI's: {_less(of['geneformer'], of['scvi'], 'i_max')}")  # fmt: skip
    if "bound" in frame and frame["bound"].notna().any():
        bound = frame["bound"].max()
        shares = ", ".join(f"{name} {row['i_max'] / bound:.2f}" for name, row in of.items() if pd.notna(row["i_max"]))
        print(f"  (4) I_max as a share of H(label) = {bound:.2f}: {shares}")
    print()


def _less(first: Any, second: Any, name: str) -> str:
    if not (first["verdict"].startswith(GOOD) and second["verdict"].startswith(GOOD)):
        return "cannot tell (one of the two follows no law)"
    far = math.log(first[name] / second[name])
    widths = [math.log(row[f"{name}_high"] / row[f"{name}_low"]) / 3.92 for row in (first, second)]
    z = far / math.hypot(*widths)
    answer = "yes" if z < -1.96 else "no" if z > 1.96 else "cannot tell"
    return f"{answer} ({first[name]:.3g} against {second[name]:.3g})"


def _collapsed(folder: Path, noise: pd.DataFrame) -> pd.DataFrame:
    """Return u/ū and (4^I − 1)/(4^I_max − 1) of the points of every curve that follows the law."""
    noise = noise[noise["verdict"].str.startswith(GOOD)]
    points = pd.read_csv(folder / "predictions.csv")
    points = points[points["law"] == "noise"]
    by = [c for c in ("signal", "model", "score") if c in noise and c in points]
    both = points.merge(noise[[*by, "x", "i_max", "u_bar", "verdict"]].rename(columns={"x": "axis"}), on=by)
    both["u"] = [row[row["axis"]] for _, row in both.iterrows()]
    both = both.dropna(subset="u")  # a point has a place on the axis of its own fit alone
    return both.assign(
        ratio=both["u"] / both["u_bar"],
        scaled=np.expm1(2 * math.log(2) * both["y"]) / np.expm1(2 * math.log(2) * both["i_max"]),
        study=folder.name.split("-")[0],
    )


def _figure(points: pd.DataFrame) -> Any:
    """Return a panel a study: means of replicates, networks before training hollow; its window holds nearly all."""
    by = ["study", "signal", "x", "model", "ratio"]
    means = points.rename(columns={"axis": "x"}).groupby(by)["scaled"].mean().reset_index()
    means["network"] = means["model"].str.replace(r",? (un)?trained", "", regex=True)
    means["state"] = np.where(means["model"].str.contains("untrained"), "before training", "as it is used")
    inside = means["ratio"].between(*WINDOW[0]) & means["scaled"].between(*WINDOW[1])
    print(f"figure: {means.groupby(by[:4]).ngroups} curves, {inside.sum()} of {len(means)} points in the window")
    line = pd.DataFrame({"ratio": np.geomspace(*WINDOW[0], 80)})
    line["scaled"] = line["ratio"] / (1 + line["ratio"])
    x = alt.X("ratio:Q").scale(type="log", domain=WINDOW[0]).title("u / ū").axis(values=TICKS, format="~g")
    y = alt.Y("scaled:Q").scale(type="log", domain=WINDOW[1]).title("(4^I − 1) / (4^I_max − 1)")
    y = y.axis(values=TICKS, format="~g")
    hollow = alt.FillOpacity("state:N").scale(domain=["as it is used", "before training"], range=[0.8, 0]).title(None)
    shown = means[inside][["study", "network", "state", "ratio", "scaled"]].round({"ratio": 4, "scaled": 4})
    colour = alt.Color("network:N").scale(scheme="dark2").title(None)
    fill = alt.Fill("network:N").scale(scheme="dark2").title(None)
    dots = (
        alt.Chart(shown)
        .mark_point(size=22, strokeWidth=1)
        .encode(x=x, y=y, color=colour, fill=fill, fillOpacity=hollow)
    )
    panels = []
    for study in sorted(means["study"].unique()):
        curve = alt.Chart(line).mark_line(color="black", strokeWidth=1).encode(x=x, y=y)
        panels.append(
            (curve + dots.transform_filter(alt.datum.study == study)).properties(title=study, width=210, height=170)
        )
    return alt.concat(*panels, columns=4).configure_axis(gridColor="#eee").configure_view(stroke="#ccc")


if __name__ == "__main__":
    main()
