"""The verb ``fit`` as a script would use it: what it writes, what it prints, and what it says of a bad table."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from sclaws import cli

X = np.geomspace(10, 2500, 8)
MODELS = {"a": (2.0, 300.0), "b": (3.0, 90.0)}


def bits(u, i_max, u_bar):
    """The noise law as it is printed."""
    return i_max - 0.5 * np.log2((1 + u / u_bar) / (u / u_bar + 2 ** (-2 * i_max)))


def good(sd=0.0, replicates=1):
    rng = np.random.default_rng(0)
    parts = [
        pd.DataFrame({"model": m, "umi": X, "mi": bits(X, *theta) + sd * rng.standard_normal(8), "seed": r})
        for m, theta in MODELS.items()
        for r in range(replicates)
    ]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Run ``sclaws fit`` on a frame; returns the exit status, what was printed, and what was complained."""

    def command(frame, *words, law="noise", x="umi", y="mi", by="model"):
        if frame is not None:
            frame.to_csv(tmp_path / "t.csv", index=False)
        line = [
            "fit",
            tmp_path / "t.csv",
            "--law",
            law,
            "--x",
            x,
            "--y",
            y,
            "--by",
            by,
            "--out",
            tmp_path / "out",
            *words,
        ]
        monkeypatch.setattr("sys.argv", ["sclaws", *map(str, line)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        said = capsys.readouterr()
        return int(stop.value.code or 0), said.out, said.err

    return command


def test_columns_in_the_order_of_the_contract(run, tmp_path):
    words = ["--replicate", "seed", "--train", "umi<=0.3*max", "--test", "umi>=0.9*max", "--seed", "3", "--json"]
    status, printed, _ = run(good(0.02, 3), *words, law="noise,constant")
    assert status == 0
    fits, shown = (pd.read_csv(tmp_path / "out" / name) for name in ("fits.csv", "predictions.csv"))
    start = ["model", "law", "i_max", "i_max_low", "i_max_high", "u_bar", "u_bar_low", "u_bar_high"]
    start += ["value", "value_low", "value_high", "r2", "rmse", "aicc", "verdict", "note"]
    assert list(fits)[: len(start)] == start
    assert fits["law"].tolist() == ["noise", "constant"] * 2
    assert {"criterion", "constant_aicc", "best", "loo", "held_out", "held_out_rmse", "held_out_coverage"} < set(fits)
    assert {"model", "law", "umi", "y", "predicted", "low", "high", "held_out"} <= set(shown)
    assert shown["held_out"].sum() == 2 * 2 * 3  # models × laws × replicates at the largest depth
    assert len(shown) == 2 * 2 * 3 * (np.sum(X <= 0.3 * 2500) + 1)
    told = json.loads(printed)
    assert set(told) == {"fits", "predictions", "targets", "report"}
    assert len(told["fits"]) == len(fits)
    assert len(told["predictions"]) == len(shown)
    assert (tmp_path / "out" / "report.html").is_file()
    assert not (tmp_path / "out" / "targets.csv").exists()


def test_the_same_seed_gives_the_same_files(run, tmp_path):
    read = []
    for seed in (1, 1, 2):
        assert run(good(0.02, 3), "--replicate", "seed", "--seed", seed)[0] == 0
        read.append([(tmp_path / "out" / name).read_bytes() for name in ("fits.csv", "predictions.csv")])
    assert read[0] == read[1] != read[2]


def test_targets_are_written(run, tmp_path):
    assert run(good(), "--target", "gap,fraction,1.5")[0] == 0
    found = pd.read_csv(tmp_path / "out" / "targets.csv")
    assert found["rule"].tolist() == ["gap", "fraction", "value"] * 2
    gap = found[found["rule"] == "gap"].set_index("model")
    for model, (i_max, u_bar) in MODELS.items():
        y = i_max + np.log2(0.95)
        assert gap.loc[model, "needed"] == pytest.approx(u_bar * (4**y - 1) / (4**i_max - 4**y), rel=1e-4)
    text = (tmp_path / "out" / "report.html").read_text()
    assert "What is needed" in text
    assert run(good())[0] == 0
    assert not (tmp_path / "out" / "targets.csv").exists()  # those of another question do not stay


def test_the_report_shows_the_tests_and_the_collapse(run, tmp_path):
    assert run(good(0.02, 3), "--replicate", "seed", law="auto")[0] == 0
    text = (tmp_path / "out" / "report.html").read_text()
    for words in (
        "Rivals and larger scales",
        "the largest quarter of the levels",
        "All curves on one",
        "What is needed",
    ):
        assert words in text


def test_weights_loss_and_criterion_are_stated(run, tmp_path):
    words = ["--weights", "replicates", "--criterion", "log"]
    assert run(good(0.01, 3), *words)[0] == 0
    found = pd.read_csv(tmp_path / "out" / "fits.csv").iloc[0]
    assert (found["criterion"], found["weights"], found["loss"]) == ("log", "replicates", "squares")
    assert found["note"] == "criterion log; weights replicates"
    assert run(good(0.01, 3), "--loss", "huber", "--delta", "0.01")[0] == 0
    assert pd.read_csv(tmp_path / "out" / "fits.csv")["loss"].unique().tolist() == ["huber, delta 0.01"]


# ── bad tables ───────────────────────────────────────────────────────────────────────────────────────────────────────
def changed(row, column, value):
    frame = good().astype({column: object})
    frame.loc[row, column] = value
    return frame


BAD = {
    "text in y": (
        changed(3, "mi", "high"),
        r"column 'mi', row 4: 'high' is not a number; correct it or remove the row",
    ),
    "text in x": (changed(3, "umi", "deep"), r"column 'umi', row 4: 'deep' is not a number"),
    "nothing": (changed(1, "mi", np.nan), r"column 'mi', row 2: empty \(NaN\); .* remove these rows"),
    "infinite": (changed(1, "mi", np.inf), r"column 'mi', row 2: inf; .* a finite number is needed"),
    "negative": (changed(1, "umi", -5), r"column 'umi', row 2: -5 is negative; .*is it a logarithm\?"),
    "repeated": (pd.concat([good(), good().iloc[[2]]]), r"row 17 repeats an earlier row in every column .* remove it"),
    "one level": (good().assign(umi=10.0), r"no curve can be fitted: underpowered: one level of umi only"),
    "no rows": (good().iloc[:0], r"the table has no rows that did not fail"),
}


@pytest.mark.parametrize(("frame", "message"), BAD.values(), ids=BAD)
def test_bad_rows(frame, message, run):
    status, _, complaint = run(frame)
    assert status == 2
    assert re.search(message, complaint)


def test_two_models_in_one_curve_are_refused_with_the_by_that_mends_it(run):
    status, _, complaint = run(good(), by="")
    assert status == 2
    remedy = re.search(r"several curves are mixed in one: .* differ in 'model' .*; add --by (\S+),", complaint)
    assert remedy
    assert run(good(), by=remedy[1])[0] == 0


ASKED = {
    "missing x": ({"x": "depth"}, [], "the table has no column 'depth': valid: mi, model, seed, umi"),
    "missing y": ({"y": "m"}, [], "the table has no column 'm'"),
    "missing by": ({"by": "modle"}, [], "the table has no column 'modle': did you mean 'model'"),
    "missing replicate": ({}, ["--replicate", "rep"], "the table has no column 'rep'"),
    "missing baseline": ({}, ["--baseline", "mean"], "the table has no column 'mean'"),
    "no x": ({"x": ""}, [], "x names no column"),
    "no y": ({"y": ""}, [], "y names no column"),
    "no law": ({"law": ""}, [], "no law is named: give one, several, or auto"),
    "unknown law": ({"law": "nois"}, [], "unknown law 'nois': did you mean 'noise'"),
    "y is x": ({"y": "umi"}, [], "column 'umi' is both y and an input"),
    "bad train": ({}, ["--train", "umi<"], "--train: 'umi<' is not a condition; give COLUMN<=NUMBER"),
    "bad share": ({}, ["--test", "umi<=0.3*mx"], "--test: '0.3.mx' in 'umi<=0.3.mx' is not a number or a share of max"),
    "unknown column": ({}, ["--train", "umis<=3"], "the table has no column 'umis': did you mean 'umi'"),
    "text compared": ({}, ["--train", "model<=3"], "condition on 'model': 'a' is not a number; compare it with =="),
    "overlap": ({}, ["--train", "umi<=300", "--test", "umi>=200"], r"1 row\(s\) are in both --train and --test"),
    "nothing to test": ({}, ["--test", "umi>=1e9"], "--test: no row of any curve fulfils it"),
    "nothing to train": ({}, ["--train", "umi<=1"], "--train: no row of any curve fulfils it"),
    "unknown target": ({}, ["--target", "depth"], "--target 'depth' is unknown: give fraction, gap or a number"),
    "delta": ({}, ["--loss", "huber", "--delta", "-1"], "delta -1.0 of Huber's loss must be a positive number"),
    "nothing to weigh": ({}, ["--weights", "replicates"], "weights replicates: no level has several rows"),
    "no such file": ({"law": "file.py:Two"}, [], "file.py does not exist: give .file.py:Class."),
}


@pytest.mark.parametrize(("how", "words", "message"), ASKED.values(), ids=ASKED)
def test_questions_that_cannot_be_answered(how, words, message, run):
    status, _, complaint = run(good(), *words, **how)
    assert status == 2
    assert re.search(message, complaint)
    assert "Traceback" not in complaint


def test_a_file_that_is_no_table(run, tmp_path):
    assert re.search("t.csv does not exist: give a CSV, TSV or Parquet file", run(None)[2])
    (tmp_path / "t.csv").write_text("")
    assert re.search(r"t.csv cannot be read as a table", run(None)[2])
