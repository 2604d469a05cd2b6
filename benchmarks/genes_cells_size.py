"""Genes, cells or parameters: what the factorial study says, as tables and a figure.

    sclaws run docs/studies/genes-cells-size.toml --out results.sclaws
    python benchmarks/genes_cells_size.py results.sclaws [--figure docs/genes_cells_size.svg]

Reads the table of the study and trains nothing. Gains are those on the genes that both vocabularies have.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from sclaws.table import Table

COMMON = "heldout-loss(n_genes=128)"
FACTORS = ("size", "n_genes_level", "n_cells_level")


def main() -> None:
    """Print the tables; write the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    table = Table.read(given.results)
    frame = table.frame.assign(size=table.frame["model"].str.extract(r"size=(\w+)", expand=False))
    gains = frame[(frame["score"] == COMMON) & (frame["metric"] == "gain")]
    print("gain over the gene-mean on the common genes, bits per masked gene, mean of replicates")
    print(_grid(gains, "value").to_string(float_format="%.3f"))
    print("\nlargest standard error over test cells:", round(float(gains["stderr"].max()), 4))
    print("standard deviation between replicates, median:", round(float(_spread(gains)), 4))
    for factor in FACTORS:
        keep = [other for other in FACTORS if other != factor]
        print(f"\nmost less least of {factor}, by {', '.join(keep)}")
        print(_effect(gains, table, factor, keep).to_string(float_format="%.3f"))
    print("\nwhat four times the cells add, by values seen in training (cells x genes) for each parameter")
    print(_per_parameter(gains, table).to_string(float_format="%.3g"))
    best = gains.loc[gains["value"].idxmax()]
    print(f"\nbest: {best['model']}, {best['n_cells']:.0f} cells, {best['n_genes']:.0f} genes:")
    print(f"{best['value']:.3f} bits, {best['value'] / best['stderr']:.0f} standard errors")
    if given.figure:
        _figure(gains).save(str(given.figure))


def _grid(gains: pd.DataFrame, what: str) -> pd.DataFrame:
    order = gains.groupby("size")["n_params"].min().sort_values().index
    return gains.pivot_table(index="size", columns=["n_genes_level", "n_cells_level"], values=what).loc[order]


def _spread(gains: pd.DataFrame) -> float:
    return float(gains.groupby(["size", "n_genes_level", "n_cells_level"])["value"].std().median())


def _effect(gains: pd.DataFrame, table: Table, factor: str, keep: list[str]) -> pd.DataFrame:
    """Return the gain at the highest level of a factor less that at the lowest, and its standard error over cells."""
    rank = gains.groupby(factor)["n_params" if factor == "size" else factor].min().sort_values().index
    rows = []
    for names, some in gains.groupby(keep):
        pairs = [some[some[factor] == level].sort_values("replicate") for level in (rank[0], rank[-1])]
        values, error = _difference(*pairs, table)
        rows.append((*names, values.mean(), error, values.min(), values.max()))
    return pd.DataFrame(rows, columns=[*keep, "difference", "stderr", "lowest", "highest"])


def _difference(low: pd.DataFrame, high: pd.DataFrame, table: Table) -> tuple[Any, float]:
    """Return differences by replicate, and the standard error of their mean over test cells, which runs share."""
    values = high["value"].to_numpy() - low["value"].to_numpy()
    assert table.draws is not None
    draws = [table.draws.loc[list(zip(f["run"], f["metric"], strict=True))].to_numpy() for f in (low, high)]
    return values, float((draws[1] - draws[0]).mean(axis=0).std())


def _per_parameter(gains: pd.DataFrame, table: Table) -> pd.DataFrame:
    """Return, from each number of cells to the next, what is gained, with the values seen for each parameter."""
    rows = []
    for (size, genes), some in gains.groupby(["size", "n_genes_level"]):
        levels = sorted(some["n_cells_level"].unique())
        for low, high in itertools.pairwise(levels):
            pair = [some[some["n_cells_level"] == level].sort_values("replicate") for level in (low, high)]
            values, error = _difference(*pair, table)
            ratio = low * genes / some["n_params"].iloc[0]
            rows.append((size, genes, low, high, ratio, low / some["n_params"].iloc[0], values.mean(), error))
    columns = ["size", "genes", "cells", "to", "values/parameter", "cells/parameter", "added", "stderr"]
    return pd.DataFrame(rows, columns=columns).sort_values("values/parameter")


def _figure(gains: pd.DataFrame) -> Any:
    frame = gains.assign(
        cells=gains["n_cells"].round().astype(int).astype(str) + " cells",
        vocabulary=gains["n_genes"].astype(int).astype(str) + " genes",
    )
    x = alt.X("n_params:Q").scale(type="log").title("parameters")
    order = [f"{int(n)} cells" for n in np.sort(gains["n_cells"].round().unique())]
    colour = alt.Color("cells:N", sort=order, title=None).scale(scheme="viridis")
    base = alt.Chart(frame).encode(x=x, color=colour)
    y = alt.Y("mean(value):Q").title("gain over the gene-mean, bits per masked gene").scale(zero=False)
    line = base.mark_line().encode(y=y)
    points = base.mark_point(filled=True, size=40).encode(y=alt.Y("value:Q").title("").scale(zero=False))
    columns = sorted(frame["vocabulary"].unique(), key=lambda text: int(text.split()[0]))
    panels = (line + points).properties(width=300, height=260)
    return panels.facet(alt.Facet("vocabulary:N", sort=columns).title(None))


if __name__ == "__main__":
    main()
