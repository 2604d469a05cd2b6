"""Curves without noise, whose saturating level is known; with noise: how often intervals hold it, what luck does."""

import math

import numpy as np
import pytest

from sclaws import saturation_rules
from sclaws.multiplier import DRAWS
from sclaws.saturation_rules import Curve, Level

ATS = (1.0, 10.0, 25.0, 50.0, 75.0, 100.0)


def level(at, values, names=(), draws=None):
    values = np.atleast_1d(np.asarray(values, dtype=float))
    return Level(at, values, names, np.zeros((len(values), DRAWS)) if draws is None else draws)


def judged(means, untrained=None, share=0.95, falls=False, replicates=3, sd=0.0, seed=0, together=False):
    rng = np.random.default_rng(seed)

    def made(at, mean):
        names = tuple(f"{'' if together else at}{r}" for r in range(replicates))
        return level(at, mean + sd * rng.standard_normal(replicates), names)

    levels = tuple(made(at, mean) for at, mean in zip(ATS, means, strict=False))
    start = None if untrained is None else made(0.0, untrained)
    return Curve(levels, start, falls).judged(share, np.random.default_rng(seed))[0]


# ── without noise ────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_a_curve_that_saturates_between_two_levels(scale):
    """.95 of the best lies between the third and the fourth level; of the gain over .5, beyond the fourth."""
    row = judged([scale * v for v in (0.6, 0.8, 0.9, 0.96, 0.99, 1.0)], untrained=0.5 * scale)
    assert (row["published"], row["mean"], row["gain"]) == (50, 50, 75)
    assert (row["mean_low"], row["mean_high"]) == (50, 50)
    assert row["gained"] == "gain"
    assert row["largest_gain"] == pytest.approx(row["gain_at_least"]) == pytest.approx(0.5 * scale)
    assert (row["levels"], row["whole"], row["best"], row["replicates"]) == (6, 100, scale, 3)


def test_exactly_the_share_is_enough_for_means_and_not_for_the_published_rule():
    row = judged([0.75, 1.0, 1.0], share=0.75)
    assert (row["published"], row["mean"]) == (10, 1)


def test_a_loss_is_turned_round():
    """The best is 1, and 1/.95 = 1.053; the gain over 3 is 2, of which .95 is 1.9: a loss of 1.1."""
    row = judged([2.0, 1.2, 1.09, 1.05, 1.02, 1.0], untrained=3.0, falls=True)
    assert (row["published"], row["mean"], row["gain"], row["best"]) == (50, 50, 25, 1.0)
    assert row["largest_gain"] == pytest.approx(2)


def test_a_high_floor_saturates_at_once_by_the_published_rule_though_nothing_is_gained():
    row = judged([0.9] * 6, untrained=0.9)
    assert row["published"] == row["mean"] == 1
    assert row["gained"] == "no gain"
    assert math.isnan(row["gain"]) and math.isnan(row["gain_low"])


def test_a_high_floor_hides_where_the_gain_saturates():
    """From .90 to 1: every level is within .95 of the best, but half of what was gained comes with the last."""
    row = judged([0.96, 0.96, 0.96, 0.96, 0.96, 1.0], untrained=0.92)
    assert (row["published"], row["mean"], row["gain"]) == (1, 1, 100)


def test_training_that_harms_gains_nothing():
    assert judged([0.5, 0.6, 0.7], untrained=0.9)["gained"] == "no gain"


@pytest.mark.parametrize("falls", [False, True])
def test_no_share_of_what_is_not_positive(falls):
    row = judged([-0.3, -0.2, -0.1], falls=falls)
    assert math.isnan(row["published"]) and math.isnan(row["mean"])


def test_one_replicate_without_draws_has_no_interval_and_the_gain_is_taken_as_it_is():
    row = judged([0.6, 0.8, 1.0], untrained=0.5, replicates=1)
    assert row["covers"] == ""
    assert math.isnan(row["mean_low"]) and math.isnan(row["gain_at_least"])
    assert row["mean"] == 25 and row["gained"] == "gain"


# ── with noise ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_one_lucky_replicate_makes_the_published_rule_early(monkeypatch):
    """The truth saturates at 50, with .94 of the best at 25; more replicates help the mean alone."""
    monkeypatch.setattr(saturation_rules, "RESAMPLES", 2)  # intervals are not looked at
    means = [0.80, 0.88, 0.94, 0.97, 0.99, 1.0]
    early = {}
    for replicates in (2, 10):
        rows = [judged(means, replicates=replicates, sd=0.02, seed=s) for s in range(200)]
        early[replicates] = [np.mean([row[rule] < 50 for row in rows]) for rule in ("published", "mean")]
    assert early[10][0] > 2 * early[10][1]
    assert early[10][1] < early[2][1]  # a mean gets better


@pytest.mark.parametrize(("replicates", "together"), [(3, False), (3, True), (5, False)])
def test_intervals_hold_the_truth(replicates, together, monkeypatch):
    """The mean's true level is 50, the gain's 75: 95 % of intervals hold them, or more, for levels are few."""
    monkeypatch.setattr(saturation_rules, "RESAMPLES", 200)
    means = [0.9 - 0.4 * at**-0.35 for at in ATS]
    rows = [judged(means, 0.4, replicates=replicates, sd=0.02, seed=s, together=together) for s in range(150)]
    assert np.mean([r["mean_low"] <= 50 <= r["mean_high"] for r in rows]) > 0.92
    assert np.mean([r["gain_low"] <= 75 <= r["gain_high"] for r in rows]) > 0.92
    assert np.mean([r["mean_low"] < r["mean_high"] for r in rows]) > 0.5  # noise is seen


@pytest.mark.parametrize("replicates", [2, 5])
def test_intervals_of_means_hold_the_truth(replicates, monkeypatch):
    """900 intervals know a share of .95 to .007; two replicates resampled, widened or not, hold at most .61."""
    monkeypatch.setattr(saturation_rules, "RESAMPLES", 2)
    means, rng, held = [0.9 - 0.4 * at**-0.35 for at in ATS], np.random.default_rng(replicates), []
    for _ in range(150):
        levels = [level(at, m + 0.01 * rng.standard_normal(replicates)) for at, m in zip(ATS, means, strict=True)]
        points = Curve(tuple(levels), None, False).judged(0.95, rng)[1]
        held += [point["low"] <= mean <= point["high"] for point, mean in zip(points, means, strict=True)]
    assert 0.92 < np.mean(held) < 0.98


def test_a_gain_that_is_not_there_is_rarely_seen_though_the_largest_of_six_is_looked_at(monkeypatch):
    monkeypatch.setattr(saturation_rules, "RESAMPLES", 200)
    rows = [judged([0.7] * 6, 0.7, replicates=5, sd=0.02, seed=s) for s in range(300)]
    assert np.mean([row["largest_gain"] > 0 for row in rows]) > 0.8
    assert np.mean([row["gained"] == "gain" for row in rows]) < 0.08  # 1 in 40 for many replicates
    assert np.mean([judged([0.7] * 5 + [0.9], 0.7, sd=0.02, seed=s)["gained"] == "gain" for s in range(50)]) > 0.95


# ── test cells ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_what_replicates_share_of_their_test_cells_is_the_draws_common_part():
    rng = np.random.default_rng(0)
    same = rng.standard_normal(DRAWS)
    assert level(1.0, [1, 2], draws=np.stack([same, same])).common == pytest.approx(same)
    assert level(1.0, [1], draws=same[None]).common == pytest.approx(same)
    apart = np.linalg.qr(rng.standard_normal((DRAWS, 3)))[0].T  # three replicates on cells of their own
    assert level(1.0, [1, 2, 3], draws=apart).common == pytest.approx(np.zeros(DRAWS), abs=1e-7)


def test_an_error_that_all_levels_share_moves_no_gain():
    """The same test cells at every level, and of the untrained model: their error cancels in the gain alone."""
    error = 0.05 * np.random.default_rng(0).standard_normal((1, DRAWS))
    levels = tuple(level(at, v, ("0",), error) for at, v in zip(ATS[:4], (0.6, 0.7, 0.8, 0.81), strict=True))
    row, points = Curve(levels, level(0.0, 0.5, ("0",), error), False).judged(0.95, np.random.default_rng(0))
    assert row["covers"] == "test cells"
    assert row["gain_low"] == row["gain_high"] == row["gain"] == 25
    assert row["gain_at_least"] == pytest.approx(0.31)
    assert points[1]["high"] - points[1]["low"] == pytest.approx(2 * 1.96 * np.sqrt((error**2).mean()))
