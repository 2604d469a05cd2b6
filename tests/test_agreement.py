"""Known relations between two measures, none at all, and one that is only between models."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sclaws.agreement import ALL, COLUMNS, WITHIN, agreement, correlation
from sclaws.table import Table


def table(loss, f1, model="pca", cluster=None, **named):
    """A trial each: its loss and its F1; trials of a cluster train on the same cells."""
    n = len(loss)
    common = pd.DataFrame({
        "trial": [f"{model}{i}" for i in range(n)], "model": model,
        "replicate": range(n) if cluster is None else cluster,
    } | named)  # fmt: skip
    measures = {("heldout-loss", "none", "loss"): loss, ("classification", "type", "f1"): f1}
    return pd.concat([
        common.assign(score=score, signal=signal, metric=metric, value=value)
        for (score, signal, metric), value in measures.items()
    ], ignore_index=True)  # fmt: skip


def rows(frame, **asked):
    return agreement(Table(frame), **asked).set_index("model")


# ── known relations ──────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("sign", "helpful", "verdict"), [
    (-1, True, "better together"), (1, False, "one at the cost of the other"),
])  # fmt: skip
def test_a_monotone_relation(sign, helpful, verdict):
    x = np.arange(12.0)
    row = rows(table(x, sign * np.exp(x))).loc[ALL]
    assert row["rho"] == pytest.approx(sign)
    assert min(abs(row["low"]), abs(row["high"])) > 0.99
    assert (bool(row["helpful"]), row["verdict"], row["n_trials"], row["n_clusters"]) == (helpful, verdict, 12, 12)
    assert (row["first_metric"], row["second_metric"], row["second_signal"]) == ("loss", "f1", "type")


def test_of_two_measures_that_are_better_when_larger_the_sign_is_as_it_is():
    x = np.arange(10.0)
    one = table(x, 2 * x).replace({"metric": {"loss": "information"}})
    assert bool(rows(one).loc[ALL, "helpful"])
    assert not rows(one, lower={"f1"}).loc[ALL, "helpful"]


def test_it_is_spearmans_with_ties():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, size=(2, 40)).astype(float)
    found = correlation(x, y, np.zeros(40, dtype=int), np.arange(40), rng)
    assert found[0] == pytest.approx(stats.spearmanr(x, y).statistic)


def test_models_differ_in_both_and_within_them_is_nothing():
    """Simpson's paradox: over all trials a strong correlation, within models none."""
    rng = np.random.default_rng(0)
    parts = [table(k + 0.1 * rng.random(30), k + 0.1 * rng.random(30), f"model {k}") for k in range(4)]
    found = rows(pd.concat(parts, ignore_index=True).replace({"metric": {"loss": "gain"}}))
    assert found.loc[ALL, "verdict"] == "better together" and found.loc[ALL, "rho"] > 0.9
    assert found.loc[WITHIN, "low"] < 0 < found.loc[WITHIN, "high"] and abs(found.loc[WITHIN, "rho"]) < 0.2
    each = found.drop([ALL, WITHIN])
    assert list(each.index) == [f"model {k}" for k in range(4)]
    assert (each["low"] < 0).all() and (each["high"] > 0).all()


def test_models_may_hide_what_is_within_them():
    """The other way round: within each model the loss says all, and over all nothing."""
    x = np.linspace(0, 1, 20)
    parts = [table(x + k, 1 - x + k, f"model {k}") for k in range(8)]
    found = rows(pd.concat(parts, ignore_index=True).replace({"metric": {"loss": "gain"}}))
    assert found.loc[WITHIN, "rho"] == pytest.approx(-1)
    assert found.loc[ALL, "rho"] > 0.5


def test_losses_of_several_models_are_not_ranked_together():
    """One in bits of a count, one of a density: over both, the worse may have the smaller number."""
    x = np.arange(12.0)
    parts = [table(-x, x, "counts"), table(-x - 100, x, "density"), table(x[:3], x[:3], "few")]
    assert list(rows(pd.concat(parts, ignore_index=True)).index) == [WITHIN, "counts", "density"]
    assert list(rows(pd.concat(parts[1:], ignore_index=True)).index) == [WITHIN, "density"]
    assert list(rows(parts[0]).index) == [ALL]


def test_a_precise_nothing_is_told_from_not_knowing():
    rng = np.random.default_rng(1)
    many, few = (rng.random((2, n)) for n in (800, 10))
    assert rows(table(*many)).loc[ALL, "verdict"] == "weak or none: |ρ| < 0.3"
    assert rows(table(*few)).loc[ALL, "verdict"] == "cannot tell"


# ── intervals ────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("n", "rho"), [(12, 0.0), (40, 0.0), (40, 0.6)])
def test_intervals_hold_the_truth(n, rho):
    """Of normal pairs, ρ_S = 6/π·asin(r/2); 300 simulations know a share of .95 to .0126."""
    rng = np.random.default_rng(n)
    truth, held = 6 / np.pi * np.arcsin(rho / 2), []
    for _ in range(300):
        x, e = rng.standard_normal((2, n))
        y = rho * x + np.sqrt(1 - rho**2) * e
        _, low, high = correlation(x, y, np.zeros(n, dtype=int), np.arange(n), rng, draws=200)
        held.append(low <= truth <= high)
    assert 0.91 <= np.mean(held) <= 0.995


def test_trials_on_the_same_cells_are_drawn_together():
    """Five models share what a sample of cells is worth: 100 trials tell no more than 20 clusters."""
    rng = np.random.default_rng(2)
    groups, cluster = np.tile(np.arange(5), 20), np.repeat(np.arange(20), 5)
    held = {"clusters": [], "trials": []}
    for _ in range(200):
        u, v = rng.standard_normal((2, 20, 1))
        x, y = ((w + 0.3 * rng.standard_normal((20, 5))).ravel() for w in (u, v))
        for name, units in (("clusters", cluster), ("trials", np.arange(100))):
            _, low, high = correlation(x, y, groups, units, rng, draws=100)
            held[name].append(low <= 0 <= high)
    assert np.mean(held["clusters"]) > 0.9
    assert np.mean(held["trials"]) < 0.75


# ── which rows ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_too_few_trials_constant_measures_and_untrained_models_say_nothing():
    x = np.arange(12.0)
    assert rows(table(x[:7], x[:7])).empty
    assert rows(table(x, np.ones(12))).empty
    assert rows(table(x, x, "pca untrained")).empty
    assert list(agreement(Table(pd.DataFrame({"value": [1.0]}))).columns) == list(COLUMNS)


def test_a_baseline_of_the_data_is_no_measure_of_the_models():
    """What all trials of a replicate have in common varies with the replicate alone."""
    x = np.arange(12.0)
    frame = table(x, x, cluster=np.arange(12) % 2)
    shift = frame[frame["metric"] == "f1"].assign(metric="shift_f1", value=lambda rows: 0.2 + 0.1 * rows["replicate"])
    found = agreement(Table(pd.concat([frame, shift], ignore_index=True)))
    assert set(found["second_metric"]) == {"f1"} and len(found)


def test_loss_and_gain_of_one_score_are_no_finding():
    x = np.arange(12.0)
    both = table(x, -x).replace({"metric": {"f1": "gain"}}).assign(score="heldout-loss", signal="none")
    assert rows(both).empty


def test_each_data_set_that_was_evaluated_on_is_a_measure_of_its_own():
    x = np.arange(12.0)
    own = table(x, -x).assign(evaluated_on="corpus")
    lung = own[own["metric"] == "f1"].assign(evaluated_on="lung", value=lambda f: -f["value"])
    found = agreement(Table(pd.concat([own, lung], ignore_index=True)))
    said = found.set_index(["first_evaluated_on", "first_metric", "second_evaluated_on", "second_metric"])["rho"]
    assert said["corpus", "loss", "corpus", "f1"] == pytest.approx(-1)
    assert said["corpus", "loss", "lung", "f1"] == pytest.approx(1)
    assert said["corpus", "f1", "lung", "f1"] == pytest.approx(-1)


def test_failed_rows_and_test_levels():
    x = np.arange(12.0)
    whole = table(x, -x).assign(umi_test_level=np.inf, umi_level=np.inf, status="ok")
    degraded = whole.assign(umi_test_level=5.0, value=whole["value"] + 100)
    row = rows(pd.concat([whole, degraded], ignore_index=True)).loc[ALL]
    assert (row["n_trials"], row["n_clusters"]) == (24, 12)
    failed = whole.assign(status=lambda f: f["status"].where(f["replicate"] > 1, "failed"))
    assert rows(failed).loc[ALL, "n_trials"] == 10
