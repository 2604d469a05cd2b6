import json
import re

import numpy as np
import pandas as pd
import pytest

from sclaws import cli


def outcome(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr("sys.argv", ["sclaws", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def test_score_of_arrays(tmp_path, monkeypatch, capsys) -> None:
    """Correlation .8 in one of two columns: -log2(1 - .64) / 2 = .737 bits."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 2))
    y = 0.8 * x[:, 0] + 0.6 * rng.normal(size=3000)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    assert outcome(monkeypatch, "score", tmp_path / "x.npy", tmp_path / "y.npy", "--score", "gaussian", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["low"] < 0.737 < found["high"]
    assert (found["unit"], found["estimator"], found["n"]) == ("bits", "gaussian", 3000)
    np.savez(tmp_path / "both.npz", x=x, y=(y > 0).astype(int))
    assert outcome(monkeypatch, "score", tmp_path / "both.npz", "--score", "ksg") == 0
    assert "bits" in capsys.readouterr().out


def test_a_score_chosen_by_sclaws(tmp_path, monkeypatch, capsys) -> None:
    pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    np.savez(tmp_path / "both.npz", x=x, y=np.where(x[:, 0] + 0.5 * rng.normal(size=300) > 0, "T cell", "B cell"))
    said = []
    for _ in range(2):
        assert outcome(monkeypatch, "score", tmp_path / "both.npz", "--seed", "3", "--json") == 0
        said.append(json.loads(capsys.readouterr().out))
    assert said[0] == said[1]
    assert said[0]["estimator"] == "auto" and said[0]["details"]["chosen"]
    assert 0 <= said[0]["low"] <= said[0]["value"] <= said[0]["high"] <= said[0]["details"]["entropy"]
    assert outcome(monkeypatch, "score", tmp_path / "both.npz") == 0
    assert re.search(r"bits \(.* to .*\), auto \(.+\), n = 300: ", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["none.npy", "y.npy"], "none.npy: no such file"),
        (["text.npy", "y.npy"], "text.npy is not an array that numpy.save wrote"),
        (["pickled.npy", "y.npy"], "pickled.npy is not an array that numpy.save wrote without objects"),
        (["x.npy"], "x.npy is one array: give a second file"),
        (["odd.npz"], "odd.npz has no array 'x'"),
        (["x.npy", "y.npy", "--score", "gausian"], "unknown score 'gausian': did you mean 'gaussian'"),
        (["x.npy", "y.npy", "--score", "heldout-loss"], "reads a model, not two arrays"),
        (["x.npy", "short.npy"], "(length|rows|cells)"),
    ],
)
def test_arrays_that_cannot_be_scored(words: list[str], match: str, tmp_path, monkeypatch, capsys) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.normal(size=(100, 2)))
    np.save(tmp_path / "y.npy", rng.normal(size=100))
    np.save(tmp_path / "short.npy", rng.normal(size=60))
    np.save(tmp_path / "pickled.npy", np.array([{}, 1], dtype=object), allow_pickle=True)
    (tmp_path / "text.npy").write_text("x,y\n1,2\n")
    np.savez(tmp_path / "odd.npz", a=np.ones(3))
    monkeypatch.chdir(tmp_path)
    assert outcome(monkeypatch, "score", *words) == 2
    assert re.search(match, capsys.readouterr().err)


def test_design_of_a_table(tmp_path, monkeypatch, capsys) -> None:
    """Three bits of ceiling, and two noises that add: more of both helps."""
    rng = np.random.default_rng(0)
    depth, cells = (v.ravel() for v in np.meshgrid(np.geomspace(20, 2000, 5), np.geomspace(100, 10_000, 5)))
    bits = 0.5 * np.log2(1 + 63 / (1 + 300 / depth + (2000 / cells) ** 0.6)) + 0.02 * rng.normal(size=25)
    table = pd.DataFrame({"umis_per_cell": depth, "n_cells": cells, "mi": bits})
    table.to_csv(tmp_path / "mi.csv", index=False)
    prices = tmp_path / "prices.toml"
    prices.write_text('currency = "EUR"\n[cells]\nprice = 0.1\n[depth]\nprice_per_million_umis = 100\n')
    asked = ("design", tmp_path / "mi.csv", "--y", "mi", "--prices", prices, "--out", tmp_path / "out")
    assert outcome(monkeypatch, *asked, "--budget", "5000", "--target", "90%") == 0
    told = capsys.readouterr().out
    for said in (
        "Now (umis_per_cell = 2,000, n_cells = 10,000; mi ",
        "The best for 5,000 EUR",
        "The cheapest way",
        "design.svg",
    ):
        assert said in told
    assert outcome(monkeypatch, *asked, "--budget", "5000", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["design"][0]["question"] == "budget" and found["design"][0]["cost"] <= 5000.01
    for words, match in (
        (["--budget", "-3"], "budget = -3 must be a positive amount"),
        (["--budget", "0.1"], "buys nothing: the smallest plan"),
    ):
        assert outcome(monkeypatch, *asked, *words) == 2
        assert re.search(match, capsys.readouterr().err)
    prices.write_text('currency = "EUR"\n[cells]\nprice = -1\n')
    assert outcome(monkeypatch, *asked) == 2
    assert "price" in capsys.readouterr().err


# ── saturation ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_saturation_of_the_published_files(shared, tmp_path, monkeypatch, capsys) -> None:
    """The published points, from the published file, by options that name its columns."""
    file = shared / "published" / "paper_C" / "scVI_zeroshot_classification_hematopoiesis.csv"
    asked = ["saturation", file, "--x", "percent", "--y", "micro_f1", "--by", "scheme", "--replicate", "seed"]
    assert outcome(monkeypatch, *asked, "--out", tmp_path / "out") == 0
    told = capsys.readouterr().out
    for scheme, percent in {"celltype_reweighted": 1, "geometric_sketching": 10, "random": 1}.items():
        assert f"{scheme}: saturates at percent = {percent} by the published rule" in told
    assert len(pd.read_csv(tmp_path / "out" / "saturation.csv")) == 3
    assert (tmp_path / "out" / "saturation.svg").read_text().startswith("<svg")


def test_saturation_of_a_table_of_ones_own(tmp_path, monkeypatch, capsys) -> None:
    rows = [{"percent": p, "mse": v, "seed": s} for p, v in {0: 3, 1: 2, 10: 1.02, 100: 1}.items() for s in range(2)]
    pd.DataFrame(rows).to_csv(tmp_path / "mse.csv", index=False)
    asked = ["saturation", tmp_path / "mse.csv", "--y", "mse", "--out", tmp_path / "out"]
    bare, asked = asked, [*asked, "--x", "percent", "--replicate", "seed"]
    assert outcome(monkeypatch, *asked, "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["saturation"]
    assert (row["published"], row["mean"], row["gain"], row["untrained"]) == (10, 10, 10, 3)
    assert outcome(monkeypatch, *asked, "--no-lower", "--json") == 0
    (row,) = json.loads(capsys.readouterr().out)["saturation"]
    assert (row["mean"], row["gained"]) == (1, "no gain")
    for words, match in (
        (["--x", "percnt", "--replicate", "seed"], "no column 'percnt': did you mean 'percent'"),
        (
            ["--x", "percent", "--replicate", "seed", "--where", "percent<=10"],
            "no curve has 3 levels of percent above 0",
        ),
        (["--x", "percent", "--replicate", "seed", "--share", "95"], "share = 95.0 must lie between 0 and 1"),
        (["--x", "percent", "--replicate", "sed"], "no column 'sed'"),
    ):
        assert outcome(monkeypatch, *bare, *words) == 2
        assert re.search(match, capsys.readouterr().err)
