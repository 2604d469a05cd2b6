"""The forecast of what would settle a curve: it comes true more often than not, and says so when nothing will do."""

import re

import numpy as np
import pandas as pd

from sclaws.fit import fit
from sclaws.laws.noise import Noise

X = np.geomspace(10, 1000, 8)
STEP = X[1] / X[0]


def curve(theta, x, sd, rng):
    mean = Noise().predict({"depth": np.tile(x, 3)}, theta)
    return pd.DataFrame({"umi": np.tile(x, 3), "mi": mean + sd * rng.standard_normal(3 * len(x))})


def test_most_forecasts_come_true():
    rng = np.random.default_rng(0)
    theta, told, true = {"i_max": 3.0, "u_bar": 6000.0}, 0, 0
    for _ in range(40):
        rows = curve(theta, X, 0.06, rng)
        found = re.search(
            r"(one|two|three|four) more depths? above 1,000 umi \(up to", fit(rows, Noise(), "umi", "mi")[0].verdict
        )
        if found:
            told += 1
            new = X[-1] * STEP ** np.arange(1, 2 + ("one", "two", "three", "four").index(found[1]))
            both = pd.concat([rows, curve(theta, new, 0.06, rng)])
            true += not fit(both, Noise(), "umi", "mi")[0].verdict.startswith("not identifiable")
    assert told >= 8
    assert true >= 0.5 * told


def test_depths_below_settle_a_curve_that_is_seen_from_above_only():
    """At the ceiling all along: what is missing is how it got there."""
    rows = curve({"i_max": 2.0, "u_bar": 3.0}, np.geomspace(30, 3000, 8), 0.02, np.random.default_rng(4))
    verdict = fit(rows, Noise(), "umi", "mi")[0].verdict
    assert not re.search(r"more depths? above", verdict)


def test_far_from_the_transition_nothing_is_promised():
    rows = curve({"i_max": 6.0, "u_bar": 1e9}, X, 0.001, np.random.default_rng(5))
    verdict = fit(rows, Noise(), "umi", "mi")[0].verdict
    assert not verdict.startswith("follows")
    assert "would settle it, if" not in verdict
