"""The parts add up, what is shared cancels, and intervals hold the truth of simulated studies."""

import math

import numpy as np
import pandas as pd
import pytest

from sclaws.decomposition import PARTS, Cell, Spread, decompose
from sclaws.errors import TableError
from sclaws.multiplier import draws
from sclaws.table import Table

INF = math.inf
RESULTS = {(INF, INF): 2.0, (10.0, INF): 1.7, (INF, 10.0): 1.1, (10.0, 10.0): 0.9}


def rows(results=RESULTS, replicates=2, sd=0.0, **named):
    rng = np.random.default_rng(0)
    return [
        {
            "run": f"{'-'.join(map(str, named.values()))}{r}{train}{test}", "metric": "information", "model": "pca",
            "replicate": r, "umi_level": train, "umi_test_level": test, "umi_test": min(test, 98.0 + r), "unit": "bits",
            "value": value + sd * rng.standard_normal(),
        } | named
        for r in range(replicates) for (train, test), value in results.items()
    ]  # fmt: skip


def parts(found):
    return found.frame.set_index("part")["value"].to_dict()


def with_draws(frame, sd, shared):
    """Errors of sd, of which all results have ``shared`` of the variance in common; draws that say so."""
    rng = np.random.default_rng(1)
    common = rng.standard_normal(64)
    made = [sd * (math.sqrt(shared) * common + math.sqrt(1 - shared) * rng.standard_normal(64)) for _ in frame.index]
    return Table(frame, pd.DataFrame(made, index=pd.MultiIndex.from_frame(frame[["run", "metric"]])))


# ── arithmetic ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_parts_of_a_loss():
    found = decompose(Table(pd.DataFrame(rows())))
    assert parts(found) == pytest.approx({"model": 0.3, "measurement": 0.9, "interaction": -0.1, "both": 1.1})
    row = found.frame.iloc[0]
    assert (row["axis"], row["level"], row["full"], row["unit"], row["replicates"]) == ("umi", 10, 2.0, "bits", 2)
    assert row["share"] == pytest.approx(10 / 98.5)
    assert (found.frame["low"] == found.frame["high"]).all()  # exact results have exact parts
    assert set(found.frame["verdict"]) == {"measurement"}
    assert found and not found.skipped


def test_parts_add_up_whatever_the_results():
    frame = decompose(Table(pd.DataFrame(rows(sd=0.3, replicates=3)))).frame
    value = frame.set_index("part")["value"]
    assert value["both"] == pytest.approx(value["model"] + value["measurement"] + value["interaction"])


def test_every_axis_and_condition_is_taken_apart():
    other = {key: value / 2 for key, value in RESULTS.items()}
    frame = pd.DataFrame([*rows(), *rows(other, signal="cd3"), *rows(other, n_cells_level=100.0)])
    frame["signal"] = frame["signal"].fillna("cd4")
    frame["n_cells_level"] = frame["n_cells_level"].fillna(INF)
    snr = pd.DataFrame(rows(signal="cd5", n_cells_level=INF)).rename(columns=lambda c: c.replace("umi", "snr"))
    frame = pd.concat([frame, snr]).fillna({f"{a}{b}_level": INF for a in ("umi", "snr") for b in ("", "_test")})
    found = decompose(Table(frame)).frame
    assert len(found) == 4 * len(PARTS)
    assert set(zip(found["axis"], found["signal"], found["n_cells_level"], strict=True)) == {
        ("umi", "cd4", INF), ("umi", "cd3", INF), ("umi", "cd4", 100.0), ("snr", "cd5", INF),
    }  # fmt: skip


def test_losses_and_failed_rows_are_left_out():
    frame = pd.DataFrame([*rows(), *rows(metric="loss"), *rows(dict.fromkeys(RESULTS, 9.0), status="failed")])
    found = decompose(Table(frame.fillna({"status": "ok"}))).frame
    assert set(found["metric"]) == {"information"}
    assert set(found["full"]) == {2.0}


def test_a_model_that_does_not_train_loses_by_the_measurement_alone():
    frozen = {key: value for key, value in RESULTS.items() if key[0] == INF}
    found = decompose(Table(pd.DataFrame(rows(frozen))), frozen=("pca",))
    assert parts(found) == pytest.approx({"model": 0, "measurement": 0.9, "interaction": 0, "both": 0.9})
    assert not decompose(Table(pd.DataFrame(rows(frozen))))


# ── what cannot be taken apart ───────────────────────────────────────────────────────────────────────────────────────
def test_a_study_without_the_kinds_gives_nothing():
    same = {key: value for key, value in RESULTS.items() if key[0] == key[1]}
    found = decompose(Table(pd.DataFrame(rows(same))))
    assert not found
    assert found.skipped == ()
    assert {"axis", "level", "part", "value", "verdict"} <= set(found.frame)
    assert not decompose(Table(pd.DataFrame({"value": [1.0], "n_cells_level": [5.0]})))


def test_levels_that_lack_a_kind_are_skipped_and_said():
    frame = pd.DataFrame(rows(RESULTS | {(30.0, INF): 1.9, (30.0, 30.0): 1.5}))
    found = decompose(Table(frame))
    assert set(found.frame["level"]) == {10.0}
    assert found.skipped == ("pca: umi = 30 lacks a result with test cells alone degraded",)


def test_replicates_that_lack_a_kind_are_not_averaged():
    frame = pd.DataFrame(rows())
    alone = frame.drop(frame.index[(frame["replicate"] == 1) & (frame["umi_test_level"] == INF)])
    found = decompose(Table(alone)).frame
    assert set(found["replicates"]) == {1}
    assert found["verdict"].iloc[0].endswith("(one replicate: only test cells vary)")


def test_two_results_in_one_place_are_refused():
    with pytest.raises(TableError, match="model = pca: replicate 0 has two results at umi = inf .test inf."):
        decompose(Table(pd.concat([pd.DataFrame(rows()), pd.DataFrame(rows(run="other"))]).drop(columns="metric")))


# ── intervals ────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_errors_that_results_share_cancel():
    """One replicate: .95 of 1.96·sqrt(2·(1 − shared))·sd; 64 draws know it to a tenth, and t has 64 degrees."""
    frame = pd.DataFrame(rows(replicates=1))
    for shared in (0.0, 0.96):
        found = decompose(with_draws(frame, 0.1, shared)).frame.set_index("part")
        wide = 2 * 1.998 * 0.1 * math.sqrt(2 * (1 - shared))
        assert found.loc["both", "high"] - found.loc["both", "low"] == pytest.approx(wide, rel=0.25)
    assert set(found["verdict"]) == {"measurement (one replicate: only test cells vary)"}


def test_nothing_known_of_errors_gives_no_interval():
    found = decompose(Table(pd.DataFrame(rows(replicates=1)))).frame
    assert found["low"].isna().all()
    assert set(found["verdict"]) == {"cannot tell (one replicate: only test cells vary)"}


def test_parts_that_do_not_differ_cannot_be_told():
    close = RESULTS | {(10.0, INF): 1.12}
    found = decompose(with_draws(pd.DataFrame(rows(close, replicates=1)), 0.1, 0.0))
    assert found.frame["verdict"].str.startswith("cannot tell").all()


def test_what_is_gained_is_no_loss_of_the_other_part():
    """A model that learns nothing, and test cells that tell more when blurred: nothing is lost by the model either."""
    full = RESULTS[(INF, INF)]
    better = {(INF, INF): full, (10.0, INF): full, (INF, 10.0): full + 0.5, (10.0, 10.0): full + 0.5}
    found = decompose(Table(pd.DataFrame(rows(better))))
    assert parts(found)["measurement"] == pytest.approx(-0.5)
    assert set(found.frame["verdict"]) == {"no loss is seen"}


@pytest.mark.parametrize("replicates", [2, 3, 6])
def test_without_sampling_errors_one_level_has_students_interval(replicates):
    value = np.random.default_rng(4).standard_normal(replicates)
    values = np.stack([value, *np.zeros((3, replicates))], axis=1)
    cell = Cell({}, 1.0, 1.0, "", tuple(range(replicates)), values, np.zeros((replicates, 4, 64)))
    half = Spread.of([cell], PARTS["model"]).half(0.0, replicates)
    quantile = {2: 12.706, 3: 4.303, 6: 2.571}[replicates]
    assert half == pytest.approx(quantile * value.std(ddof=1) / math.sqrt(replicates), rel=0.03)


def simulated(rng, replicates, effect):
    """A study with four levels; 200 test cells of their own in each replicate; every result moved by ``effect``."""
    levels = [1.0, 3.0, 10.0, 30.0]
    kinds = [(INF, INF), *[pair for q in levels for pair in ((q, INF), (INF, q), (q, q))]]
    made, deviations = [], []
    for r in range(replicates):
        cells = 0.7 * rng.standard_normal((200, 1)) + 0.7 * rng.standard_normal((200, len(kinds)))
        ids = rng.integers(0, 2**63, 200).astype(np.uint64)
        value = cells.mean(axis=0) + effect * rng.standard_normal(len(kinds))
        made += rows(dict(zip(kinds, value, strict=True)), 1, replicate=r)
        deviations += [draws(column, ids) for column in cells.T]
    frame = pd.DataFrame(made)
    return Table(frame, pd.DataFrame(deviations, index=pd.MultiIndex.from_frame(frame[["run", "metric"]])))


@pytest.mark.parametrize("replicates", [2, 3, 5])
@pytest.mark.parametrize("effect", [0.0, 0.1])
def test_intervals_hold_the_truth(replicates, effect):
    """All parts are 0. At least .92 of 16 intervals in 60 studies: three binomial errors, were each study 3 of them.

    Above .95 nothing is wrong: two replicates cannot tell that they differ in nothing but their cells.
    """
    rng = np.random.default_rng([replicates, round(10 * effect)])
    found = pd.concat([decompose(simulated(rng, replicates, effect)).frame for _ in range(60)])
    inside = ((found["low"] <= 0) & (0 <= found["high"])).mean()
    assert inside >= 0.92
    if replicates > 2 and effect:
        assert inside <= 0.995
