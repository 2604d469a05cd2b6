"""Gowri, Sadalski, Yin, Klein, arXiv 2503.02726: published fits of information against depth and cells come out."""

import lmfit
import numpy as np
import pandas as pd
import pytest

from sclaws.fit import fit
from sclaws.laws.noise import Noise
from sclaws.laws.saturating_power import SaturatingPower
from sclaws.table import Table

# First version: data set, column, method -> I_max (bits), ū (UMI per cell)
CELLS = {
    ("PBMC_CITEseq", "Protein MI"): {
        "VAE": (5.292018, 12518.3),
        "PCA": (5.289314, 19968.0),
        "nanoTxformer": (3.055194, 767.16),
        "RandomProjection": (2.680703, 1020.9),
    },
    ("PBMC_CITEseq", "Cell type fine MI"): {
        "VAE": (3.734469, 1766.23),
        "PCA": (3.450991, 1827.22),
        "nanoTxformer": (2.836534, 547.61),
        "RandomProjection": (2.376342, 538.29),
    },
    ("LARRY", "Clonal MI"): {
        "VAE": (2.166284, 1466.95),
        "PCA": (2.148482, 3259.79),
        "nanoTxformer": (0.270764, 193.92),
    },
    ("MERFISH", "Spatial neighborhood MI"): {"nanoTxformer": (0.367155, 95.53), "RandomProjection": (0.739661, 348.27)},
}
# corruption, column -> class -> ū (unit of u), I_max (bits); u = 1/σ² of Gaussian noise, 1/f of resolution
IMAGES = {
    ("Gaussian", "Scale"): {
        "all": (0.11916, 2.14911),
        "94": (0.41222, 0.98997),
        "5": (0.07534, 0.99897),
        "3": (0.03174, 0.97561),
        "1": (0.03940, 0.94283),
        "0": (0.15188, 1.01724),
    },
    ("resolution", "Factor"): {
        "all": (0.13581, 2.38064),
        "94": (0.22604, 1.20883),
        "5": (0.05740, 1.06777),
        "3": (0.05676, 1.06118),
        "1": (0.04105, 1.00095),
        "0": (0.08632, 1.07074),
    },
}
BY = ["dataset", "algorithm", "signal", "quality"]
EDGES = (10.0, 1e7)  # where the paper's search for N0 ends


def same(found, i_max, u_bar):
    return abs(found["i_max"] - i_max) <= 1e-3 and abs(found["u_bar"] / u_bar - 1) <= 0.01


# ── information against depth ────────────────────────────────────────────────────────────────────────────────────────
def full_size(shared, dataset):
    """All training cells, ten depths of each method."""
    return pd.read_csv(shared / "published" / "paper_B_v1" / f"{dataset}_scaling.csv").query("Fraction == 1")


@pytest.mark.parametrize(("dataset", "column"), CELLS)
def test_first_version(shared, dataset, column):
    published = CELLS[dataset, column]
    runs = full_size(shared, dataset)
    runs = runs[runs["Method"].isin(published)]
    fits = fit(runs, Noise(), "UMI per cell", column, "Method", n_draws=2)
    assert [f.curve["Method"] for f in fits if not same(f.value, *published[f.curve["Method"]])] == []
    assert len(fits) == len(published)


def test_first_version_where_ten_points_hardly_tell(shared):
    """The 14th curve is flat at its optimum: the published search stopped .00106 bit short of it."""
    runs = full_size(shared, "LARRY").query("Method == 'RandomProjection'")
    x, y = runs["UMI per cell"].to_numpy(), runs["Clonal MI"].to_numpy()
    found = fit(runs, Noise(), "UMI per cell", "Clonal MI", n_draws=2)[0]
    published = {"i_max": 2.450624, "u_bar": 53137.0}
    assert dict(found.value) == pytest.approx(published, rel=2e-3)
    misfit = {id(t): ((Noise().predict({"depth": x}, t) - y) ** 2).sum() for t in (found.value, published)}
    assert misfit[id(found.value)] < misfit[id(published)]
    assert found.verdict.startswith("not identifiable")

    model = lmfit.Model(lambda x, A, B: 0.5 * np.log2((1 + B * x) / (1 + A * x)))  # their form, start and method
    start = model.make_params(A={"value": 1e-2, "min": 0}, B={"value": 1e-2, "min": 0})
    theirs = model.fit(y, start, x=x).params
    assert 0.5 * np.log2(theirs["B"] / theirs["A"]) == pytest.approx(published["i_max"], rel=1e-6)
    assert 1 / theirs["A"] == pytest.approx(published["u_bar"], rel=1e-5)


@pytest.mark.parametrize(("corruption", "column"), IMAGES)
def test_images(shared, corruption, column):
    table = pd.read_csv(shared / "published" / "paper_B_v1" / f"Caltech101_{corruption}.csv")
    table["u"] = table[column] ** (-2.0 if corruption == "Gaussian" else -1.0)
    fits = fit(table, Noise(), "u", "MI", "Class label", n_draws=2)
    published = IMAGES[corruption, column]
    assert len(fits) == len(published) == 6
    for one in fits:
        u_bar, i_max = published[one.curve["Class label"]]
        assert same(one.value, i_max, u_bar)


def test_second_version(shared):
    folder = shared / "published" / "paper_B_v2"
    by = ["dataset", "algorithm", "signal", "size"]
    ours = fit(Table.read(folder / "mi_results.csv"), Noise(), "umis_per_cell", "mi_value", by, n_draws=2).frame
    theirs = pd.read_csv(folder / "noise_fits.csv").rename(columns={"method": "algorithm", "metric": "signal"})
    both = theirs.merge(ours, on=by, validate="one_to_one")
    assert len(both) == 120
    agree = (both["i_max"] - both["fitted_I_max"]).abs() <= 1e-3
    agree &= (both["u_bar"] / both["fitted_u_bar"] - 1).abs() <= 0.01
    assert agree.mean() >= 0.99


# ── information against cells ────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture
def results(shared):
    """Every point of the two deep models."""
    table = pd.read_csv(shared / "published" / "paper_B_v2" / "mi_results.csv")
    return table[table["algorithm"].isin(["Geneformer", "SCVI"])]


@pytest.fixture
def published_cells(shared):
    """Their 60 fits of the two deep models."""
    table = pd.read_csv(shared / "published" / "paper_B_v2" / "cell_fits.csv")
    table = table.rename(columns={"method": "algorithm", "metric": "signal", "s": "published_s"})
    return table[table["algorithm"].isin(["Geneformer", "SCVI"])]


def test_cells_where_the_search_did_not_end_at_its_edge(results, published_cells):
    ours = fit(results, SaturatingPower(), "size", "mi_value", BY, n_draws=2).frame
    both = published_cells.merge(ours, on=BY, validate="one_to_one")
    inside = both["N0"].between(EDGES[0] * 1.001, EDGES[1] * 0.999)
    some = both[inside & (both["N0"] != 9993009.995)]  # this one is 1e7 but for the last step of the search
    assert len(some) >= 25
    assert ((some["i_inf"] - some["I_inf"]).abs() <= 1e-3).all()
    assert ((some["s"] - some["published_s"]).abs() <= 1e-3).all()
    assert ((some["n_sat"] / some["N0"] - 1).abs() <= 0.01).all()


def test_cells_are_never_fitted_worse_than_published(results, published_cells):
    fits = fit(results, SaturatingPower(), "size", "mi_value", BY, n_draws=2)
    published = published_cells.set_index(BY)
    assert len(fits) == len(published) == 60
    for one in fits:
        theirs = published.loc[tuple(one.curve[name] for name in BY)]
        points = results[(results[BY] == list(one.curve.values())).all(axis=1)]
        theta = {"i_inf": theirs["I_inf"], "n_sat": theirs["N0"], "s": theirs["published_s"]}
        rest = SaturatingPower().predict({"cells": points["size"].to_numpy(float)}, theta) - points["mi_value"]
        assert one.rmse <= np.sqrt((rest**2).mean())


def test_cells_with_the_published_recipe(results, published_cells):
    """lmfit within their bounds from their one start, which at the edges decides what comes out."""
    model = lmfit.Model(lambda x, N0, s, I_inf: I_inf - (x / N0) ** -s)
    curves = dict(list(results.groupby(BY)))
    same = []
    for row in published_cells.itertuples():
        points = curves[tuple(getattr(row, name) for name in BY)]
        start = model.make_params(
            N0={"value": 2328676.073, "min": EDGES[0], "max": EDGES[1]},
            s={"value": 1.100, "min": 0.01, "max": 10},
            I_inf={"value": 3.141, "min": 0.1, "max": 10},
        )
        found = model.fit(points["mi_value"].to_numpy(), start, x=points["size"].to_numpy(float)).params.valuesdict()
        near = [abs(found["I_inf"] - row.I_inf) <= 1e-3, abs(found["s"] - row.published_s) <= 1e-3]
        same.append(all(near) and abs(found["N0"] / row.N0 - 1) <= 0.01)
    assert sum(same) >= 59  # one of 60 ends elsewhere along a valley at N0 = 10
