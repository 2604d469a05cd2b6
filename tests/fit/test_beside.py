"""What a law says beside a rule: the right law on the right curve, and where it comes to a share of its limit."""

import math

import numpy as np
import pandas as pd
import pytest

from sclaws import fit
from sclaws.errors import FitError
from sclaws.fit import Fits, beside
from sclaws.fit.targets import near
from sclaws.table import Table

CELLS = np.geomspace(100, 1e5, 10)


def curve(model, values, metric="f1", sd=0.002, seed=0):
    noise = sd * np.random.default_rng(seed).standard_normal((3, len(CELLS)))
    return pd.DataFrame([
        {"model": model, "metric": metric, "n_cells": n, "replicate": r, "value": v + noise[r, i]}
        for r in range(3) for i, (n, v) in enumerate(zip(CELLS, values, strict=True))
    ])  # fmt: skip


RISING = 2 - (CELLS / 500) ** -0.6
FALLING = 3 * CELLS**-0.4 + 0.5
# .95 of the limit 2 leaves .1: (N/500)^-.6 = .1. The floor .5 over .95 is .5263: 3·N^-.4 = .0263.
TRUTH = {"rising": 500 * 0.1 ** (-1 / 0.6), "falling": (0.5 / 0.95 - 0.5) ** (-1 / 0.4) * 3 ** (1 / 0.4)}


def judged(rows, by=("model", "metric"), falling=(), share=0.95):
    fits = beside.fitted(Table(rows), "n_cells", "value", list(by), "replicate", falling)
    frame = rows[list(by)].drop_duplicates().assign(x="n_cells").reset_index(drop=True)
    return beside.beside(frame, fits, share).set_index(list(by))


def test_where_a_law_comes_to_a_share_of_its_limit():
    rows = pd.concat([curve("pca", RISING), curve("scvi", FALLING, "loss", seed=1)], ignore_index=True)
    found = judged(rows, falling=[{"model": "scvi", "metric": "loss"}])
    for (model, metric, truth), law in zip(
        [("pca", "f1", TRUTH["rising"]), ("scvi", "loss", TRUTH["falling"])],
        ["saturating-power", "power-with-floor"], strict=True,
    ):  # fmt: skip
        row = found.loc[(model, metric)]
        assert row["law"] == law
        assert row["law_verdict"].startswith(("follows", "saturated"))
        assert row["law_low"] < truth < row["law_high"]
        assert row["law_at"] == pytest.approx(truth, rel=0.3)


def test_a_flat_curve_is_called_flat_and_short_ones_stay_blank():
    rows = pd.concat([curve("flat", np.full(10, 0.9)), curve("short", RISING).iloc[:2]], ignore_index=True)
    found = judged(rows)
    assert found.loc[("flat", "f1"), "law_verdict"].startswith("flat")
    short = found.loc[("short", "f1")]
    assert "underpowered" in short["law_verdict"] and math.isnan(short["law_at"])


def test_a_limit_of_f1_is_not_in_bits():
    """Slow and noisy, so that the end cannot be seen: the verdict names the limit that there is of it."""
    found = judged(curve("pca", 1 - (CELLS / 5) ** -0.1, sd=0.03))
    verdict = found.loc[("pca", "f1"), "law_verdict"]
    assert "i_inf > " in verdict and "bits" not in verdict


def test_without_a_curve_with_points_enough_all_is_blank():
    row = judged(curve("short", RISING).iloc[:2]).iloc[0]
    assert (row["law"], row["law_verdict"]) == ("", "") and math.isnan(row["law_at"])


def test_fits_of_ones_own_are_joined_by_curve_and_input():
    """Of several laws the best, and no fit of another curve or along another axis."""
    rows = pd.concat([curve("pca", RISING), curve("scvi", np.full(10, 0.9))], ignore_index=True)
    several = fit.fit(rows, ["constant", "saturating-power"], "n_cells", by=["model"], replicate="replicate")
    frame = pd.DataFrame({"model": ["pca", "scvi", "esm2", "pca"], "x": ["n_cells"] * 3 + ["depth"]})
    found = beside.beside(frame, several, 0.95)
    assert list(found["law"][:1]) == ["saturating-power"]
    assert list(found["law"][2:]) == ["", ""]
    assert list(beside.beside(frame, Fits(), 0.95)["law"]) == [""] * 4


def test_a_constant_comes_to_no_share_and_neither_does_a_limit_of_nothing():
    (one,) = fit.fit(curve("pca", RISING), "constant", "n_cells", replicate="replicate")
    with pytest.raises(FitError, match="Constant with a limit"):
        near(one, 0.95)
    (one,) = fit.fit(curve("pca", RISING - 3), "saturating-power", "n_cells", replicate="replicate")
    with pytest.raises(FitError, match="SaturatingPower with a limit of -"):
        near(one, 0.95)
