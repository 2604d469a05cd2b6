"""What a study of what to learn from says: values, saturation, and five questions answered, from its results.

    python benchmarks/denadel_2026_results.py RESULTS.sclaws [--on kang] [--figure docs/denadel_2026.svg]

Reads tables and trains nothing. A difference is taken between results on the same test cells, so what the cells have in
common falls out (the table's draws); to their variance that between replicates is added, pooled over the levels of a
model with Student's quantile, because two replicates at a level do not tell their own. Intervals are 95 %, each for
itself; in bold are differences whose interval leaves out zero, and of twenty that are nothing one will.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from scipy import stats

from sclaws.table import Table

MEASURES = (
    ("classification", "linear_macro_f1"),
    ("classification", "knn_macro_f1"),
    ("classification", "information"),
    ("fine-tuning", "macro_f1"),
    ("integration(batch=donor)", "avg_bio"),
    ("integration(batch=donor)", "batch_removal"),
)
SIZES = ("scvi 0.5x", "scvi", "scvi 2x", "scvi 4x")
FEW = 4  # degrees of freedom of a variance, below which it is taken from elsewhere
DASHES = ([1, 0], [5, 3], [2, 2])
SHOWN = ("reweighted by cell_type", "sketched")  # beside uniform, in the figure
SHORT = {"reweighted by cell_type": "re-weighted"}


class Results:
    """The results on one data set: rows of a measure, and differences between them."""

    def __init__(self, folder: Path, on: str) -> None:
        self.table = Table.read(folder)
        self.frame = self.table.frame[self.table.frame["evaluated_on"] == on]
        self.measures = [m for m in MEASURES if len(self.of(*m))]

    def of(self, score: str, metric: str, model: str | None = None) -> pd.DataFrame:
        """Return the rows of a measure, of one model or of all."""
        rows = self.frame[(self.frame["score"] == score) & (self.frame["metric"] == metric)]
        return rows if model is None else rows[rows["model"] == model]

    def whole(self, measure: tuple[str, str], model: str) -> pd.DataFrame:
        """Return a model's rows at all training cells."""
        rows = self.of(*measure, model)
        return rows[rows["n_cells_level"].isna() | np.isinf(rows["n_cells_level"])]

    def draws(self, rows: pd.DataFrame) -> np.ndarray:
        """Return (rows, draws) resamples of the test cells; those of one draw belong together."""
        assert self.table.draws is not None
        return np.asarray(self.table.draws.loc[list(zip(rows["run"], rows["metric"], strict=True))])

    def spread(self, measure: tuple[str, str], model: str) -> float:
        """Return the variance between replicates, pooled over the levels of a model, times (Student's t / 1.96)².

        A model of one level (hvg) gets that of all that were trained: its own two replicates do not tell it.
        """
        squares, freedom = self._pooled(self.of(*measure, model))
        if freedom < FEW:
            rows = self.of(*measure)
            squares, freedom = self._pooled(rows[~rows["model"].str.contains("untrained")])
        return squares / freedom * float(stats.t.ppf(0.975, freedom) / 1.96) ** 2

    def _pooled(self, rows: pd.DataFrame) -> tuple[float, int]:
        levels = [v for _, v in rows.groupby(["model", "scheme", "n_cells_level"], dropna=False)["value"]]
        return sum(float(((v - v.mean()) ** 2).sum()) for v in levels), sum(len(v) - 1 for v in levels)

    def difference(self, measure: tuple[str, str], a: pd.DataFrame, b: pd.DataFrame) -> tuple[float, float]:
        """Return mean(a) − mean(b), and half of its 95 % interval."""
        cells = float((self.draws(a).mean(axis=0) - self.draws(b).mean(axis=0)).var())
        trained = sum(
            self.spread(measure, name) * len(own) / len(rows) ** 2
            for rows in (a, b)
            for name, own in rows.groupby("model")
        )
        return float(a["value"].mean() - b["value"].mean()), 1.96 * math.sqrt(cells + trained)


def main() -> None:
    """Print the tables and the answers; write the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--on", default="kang", help="the data set whose cells are typed and integrated")
    parser.add_argument("--figure", type=Path)
    given = parser.parse_args()
    found = Results(given.folder, given.on)
    models = [m for m in found.frame["model"].unique() if "untrained" not in m]
    values(found, [*models, *(m for m in found.frame["model"].unique() if "untrained" in m)])
    size(found, [m for m in models if m != "hvg"])
    schemes(found, [m for m in models if (m != "hvg" and m not in SIZES) or m == "scvi"])
    diversity(given.folder)
    against(found, models, "contrastive", "the aligned objective")
    for baseline in ("pca", "hvg"):
        against(found, [m for m in models if m != baseline], baseline, "the baseline")
    saturated(given.folder, given.on)
    agreed(given.folder)
    if given.figure:
        figure(found, given.on).save(str(given.figure))


# ── tables ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def values(found: Results, models: list[str]) -> None:
    """Print what each model comes to with all cells."""
    print("## With all training cells\n")
    heads("model", found.measures)
    for model in models:
        cells = []
        for measure in found.measures:
            rows = found.whole(measure, model)
            if rows.empty:
                cells.append("")
                continue
            if "untrained" in model:  # two draws of weights: no interval
                cells.append(f"{rows['value'].mean():.3f}")
                continue
            spread = math.sqrt(found.draws(rows).mean(axis=0).var() + found.spread(measure, model) / len(rows))
            cells.append(f"{rows['value'].mean():.3f} ± {1.96 * spread:.3f}")
        print(f"| {model} | {' | '.join(cells)} |")


def size(found: Results, models: list[str]) -> None:
    """Print what all cells give beyond the fewest, uniformly chosen."""
    print("\n## Does size help? All cells against the fewest, and against a tenth\n")
    heads("model", found.measures)
    for model in models:
        for place in (0, 1):
            cells = [_gain(found, measure, model, place) for measure in found.measures]
            if any(cells):
                print(f"| {model}, from {found_level(found, model, place):,.0f} | {' | '.join(cells)} |")


def found_level(found: Results, model: str, place: int) -> float:
    """Return the level of uniformly chosen cells that stands at ``place``, from below."""
    return sorted(_uniform(found.frame, model)["n_cells_level"].unique())[place]


def _uniform(frame: pd.DataFrame, model: str) -> pd.DataFrame:
    rows = frame[(frame["model"] == model) & (frame["scheme"] == "uniform")]
    return rows[np.isfinite(rows["n_cells_level"])]


def _gain(found: Results, measure: tuple[str, str], model: str, place: int) -> str:
    rows = found.of(*measure, model)
    few = _uniform(rows, model)
    if few.empty:
        return ""
    few = few[few["n_cells_level"] == found_level(found, model, place)]
    return signed(*found.difference(measure, found.whole(measure, model), few))


def schemes(found: Results, models: list[str]) -> None:
    """Print what each scheme gives beyond uniform choice of as many cells, over all levels."""
    print("\n## Does diversity help? A scheme less uniform choice, mean over equal numbers of cells\n")
    heads("model, scheme", found.measures)
    others = [s for s in found.frame["scheme"].dropna().unique() if s != "uniform"]
    for model in models:
        for scheme in others:
            cells = []
            for measure in found.measures:
                rows = found.of(*measure, model)
                rows = rows[np.isfinite(rows["n_cells_level"])]
                a, b = (rows[rows["scheme"] == name] for name in (scheme, "uniform"))
                b = b[b["n_cells_level"].isin(a["n_cells_level"])]
                cells.append(signed(*found.difference(measure, a, b)) if len(a) and len(b) else "")
            if any(cells):
                print(f"| {model}, {SHORT.get(scheme, scheme)} | {' | '.join(cells)} |")


def diversity(folder: Path) -> None:
    """Print the diversities of what was chosen."""
    frame = Table.read(folder).frame.drop_duplicates("trial")
    names = [c for c in ("shannon", "gini_simpson", "inverse_simpson", "vendi") if c in frame]
    print("\n## How diverse is what was chosen\n")
    print(frame.groupby(["scheme", "n_cells_level"], dropna=False)[names].mean().round(2).to_string())


def against(found: Results, models: list[str], one: str, what: str) -> None:
    """Print every model less one of them, with all cells."""
    print(f"\n## {one} ({what}): each model less it, with all cells\n")
    heads("model", found.measures)
    for model in models:
        if model == one:
            continue
        pairs = ((found.whole(m, model), found.whole(m, one)) for m in found.measures)
        cells = [signed(*found.difference(m, a, b)) if len(a) and len(b) else ""
                 for m, (a, b) in zip(found.measures, pairs, strict=True)]  # fmt: skip
        print(f"| {model} | {' | '.join(cells)} |")


def saturated(folder: Path, on: str) -> None:
    """Print where curves saturate by each rule, as shares of all training cells, and the law's verdict."""
    frame = pd.read_csv(folder / "saturation.csv")
    frame = frame[frame["evaluated_on"] == on]
    print("\n## Where it saturates, % of all cells: published rule, mean, gain; the law\n")
    for score, metric in MEASURES:
        rows = frame[(frame["score"] == score) & (frame["metric"] == metric)]
        for _, row in rows.iterrows():
            shares = [share(row[rule], row["whole"]) for rule in ("published", "mean")]
            gain = share(row["gain"], row["whole"]) if row["gained"] == "gain" else row["gained"]
            verdict = str(row["law_verdict"]).split(":")[0]
            scheme = SHORT.get(row["scheme"], row["scheme"])
            print(f"| {score} {metric} | {row['model']} | {scheme} | {shares[0]} | {shares[1]} | {gain} | {verdict} |")


def share(level: float, whole: float) -> str:
    """Return a level as a share of all cells."""
    return "none" if not math.isfinite(level) else f"{100 * level / whole:.0f}"


def agreed(folder: Path) -> None:
    """Print rank correlations of losses and information with what tasks give."""
    frame = pd.read_csv(folder / "agreement.csv")
    print("\n## Loss to task: Spearman's rho over all trials, and within models\n")
    for _, row in frame[frame["model"].isin(["all", "within models"])].iterrows():
        if row["first_metric"] in ("loss", "gain", "information") and row["second_metric"] != row["first_metric"]:
            print(f"{row['first_metric']} ({row['first_score']}, {row['first_evaluated_on']}) | {row['second_metric']} "
                  f"({row['second_score']}, {row['second_evaluated_on']}) | {row['model']} | {row['rho']:+.2f} "
                  f"({row['low']:+.2f} to {row['high']:+.2f}) | {row['n_trials']} | {row['verdict']}")  # fmt: skip


def heads(first: str, measures: list[tuple[str, str]]) -> None:
    """Print the head of a table in Markdown."""
    names = [f"{metric} ({score.split('(')[0]})" for score, metric in measures]
    print(f"| {first} | {' | '.join(names)} |\n|{'---|' * (len(names) + 1)}")


def signed(value: float, half: float) -> str:
    """Return a difference and half of its interval, in bold where that leaves out zero."""
    text = f"{value:+.3f} ± {half:.3f}"
    return f"**{text}**" if abs(value) > half else text


# ── figure ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def figure(found: Results, on: str) -> Any:
    """Return a panel a measure: means of replicates against cells, a colour a model, solid where uniformly chosen,
    dashed re-weighted, dotted sketched; across: untrained.
    """
    shown = pd.DataFrame(_points(found))
    models = list(dict.fromkeys(shown["model"]))
    colour = alt.Color("model:N").scale(domain=models, scheme="tableau10").title(None)
    names = [name for name in dict.fromkeys(shown["scheme"]) if name != "untrained"]
    dash = alt.StrokeDash("scheme:N", legend=None).scale(domain=names, range=DASHES[: len(names)])
    x = alt.X("cells:Q").scale(type="log", nice=False).title("training cells").axis(format="~s", values=[100, 1e3, 1e4])
    panels = []
    for measure in dict.fromkeys(shown["measure"]):
        rows = shown[shown["measure"] == measure]
        y = alt.Y("value:Q").scale(zero=False).title(measure)
        lines = alt.Chart(rows[rows["scheme"] != "untrained"]).mark_line(point={"size": 18}, strokeWidth=1.4)
        flat = alt.Chart(rows[rows["scheme"] == "untrained"]).mark_rule(strokeDash=[2, 3], opacity=0.7)
        both = lines.encode(x=x, y=y, color=colour, strokeDash=dash) + flat.encode(y=y, color=colour)
        panels.append(both.properties(width=270, height=200))
    return alt.concat(*panels, columns=3).configure_axis(gridColor="#eee").configure_view(stroke="#ccc")


def _points(found: Results) -> Iterator[dict[str, Any]]:
    for measure in found.measures:
        rows = found.of(*measure)
        rows = rows[~rows["model"].str.removesuffix(" untrained").isin([s for s in SIZES if s != "scvi"])]
        named = f"{measure[1]} ({measure[0].split('(')[0]})"
        for model, own in rows.groupby("model", sort=False):
            if model == "hvg" or "untrained" in model:
                yield {"measure": named, "model": model.replace(" untrained", ""), "scheme": "untrained",
                       "cells": None, "value": own["value"].mean()}  # fmt: skip
                continue
            whole = own[np.isinf(own["n_cells_level"])]
            for scheme in ("uniform", *(s for s in own["scheme"].dropna().unique() if s in SHOWN)):
                levels = pd.concat([own[(own["scheme"] == scheme) & np.isfinite(own["n_cells_level"])], whole])
                for _, some in levels.groupby("n_cells_level"):
                    yield {"measure": named, "model": model, "scheme": SHORT.get(scheme, scheme),
                           "cells": float(some["n_cells"].mean()), "value": float(some["value"].mean())}  # fmt: skip


if __name__ == "__main__":
    main()
