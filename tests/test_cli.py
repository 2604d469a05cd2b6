"""The command line: every verb has help with an example, says what it did, and ends with the right status."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from sclaws import Study, cli

VERBS = ["demo", "run", "check", "status", "list", "keys", "trial", "score", "fit", "design", "report"]


def outcome(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr("sys.argv", ["sclaws", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example(verb: str, monkeypatch, capsys) -> None:
    assert outcome(monkeypatch, verb, "--help") == 0
    assert re.search(rf"Examples?: sclaws\s+{verb}", capsys.readouterr().out)


def test_an_unknown_verb_is_refused(monkeypatch, capsys) -> None:
    assert outcome(monkeypatch, "fti") != 0


def test_a_named_study_is_looked_at_by_its_file(monkeypatch, capsys) -> None:
    assert outcome(monkeypatch, "status", "gowri-2025") == 2
    assert "gowri-2025 is the name of a study: give the file that sclaws run wrote" in capsys.readouterr().err


def test_list_names_every_member_with_a_line(monkeypatch, capsys) -> None:
    assert outcome(monkeypatch, "list", "laws") == 0
    said = capsys.readouterr().out
    for name in ("noise", "saturating-power", "power-with-floor", "constant"):
        assert re.search(rf"^  {name} +\S+", said, flags=re.MULTILINE)
    assert outcome(monkeypatch, "list", "modles") == 2
    assert "did you mean 'models'" in capsys.readouterr().err


def table(path, separator: str = ",") -> pd.DataFrame:
    """Two curves of the noise law without noise: i_max 3 and 2 bits, ū 300 and 900 UMI."""
    u = np.geomspace(20, 20000, 10)
    rows = [
        pd.DataFrame({"umi": u, "model": m, "mi": i - 0.5 * np.log2((1 + u / ub) / (u / ub + 2 ** (-2 * i)))})
        for m, i, ub in (("a", 3.0, 300.0), ("b", 2.0, 900.0))
    ]
    frame = pd.concat(rows)
    frame.to_csv(path, index=False, sep=separator)
    return frame


@pytest.mark.parametrize("name", ["t.csv", "t.tsv", "t.parquet"])
def test_fit_of_a_table_of_ones_own(name: str, tmp_path, monkeypatch, capsys) -> None:
    frame = table(tmp_path / name, "\t" if name.endswith("tsv") else ",")
    if name.endswith("parquet"):
        frame.to_parquet(tmp_path / name)
    out = tmp_path / "fits"
    words = ["fit", tmp_path / name, "--law", "noise", "--x", "umi", "--y", "mi", "--by", "model", "--out", out]
    assert outcome(monkeypatch, *words, "--json") == 0
    found = pd.DataFrame(json.loads(capsys.readouterr().out)["fits"]).set_index("model")
    written = pd.read_csv(out / "fits.csv").set_index("model")
    for model, i_max, u_bar in (("a", 3.0, 300.0), ("b", 2.0, 900.0)):
        for source in (found, written):
            assert source.loc[model, "i_max"] == pytest.approx(i_max, rel=1e-5)
            assert source.loc[model, "u_bar"] == pytest.approx(u_bar, rel=1e-5)
    assert len(pd.read_csv(out / "predictions.csv")) == 20
    assert (out / "report.html").stat().st_size > 10_000


def test_a_law_and_a_model_of_ones_own(tmp_path, monkeypatch, capsys) -> None:
    """About 16 lines that import nothing of ours, named by file in a study and on the command line."""
    readme = (cli.Path(__file__).parents[1] / "README.md").read_text()
    code = next(block for block in re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL) if "class" in block)
    assert "sclaws" not in code
    (tmp_path / "mine.py").write_text(code)
    model, law = re.findall(r"class (\w+)", code)
    study = f"""
engine = "serial"
dataset = {{ use = "simulated-tissue", n_cells = 400, n_genes = 80 }}
split = {{ test = 0.4 }}
models = [{{ use = "mine.py:{model}" }}]
signals = {{ use = "obsm", key = "protein" }}
scores = "gaussian"
levels.umis_per_cell = [50, 150, 500, 1500]
[[fit]]
law = "mine.py:{law}"
x = "umis_per_cell"
"""
    (tmp_path / "mine.toml").write_text(study)
    assert outcome(monkeypatch, "run", tmp_path / "mine.toml") == 0
    fits = pd.read_csv(tmp_path / "mine.sclaws" / "fits.csv")
    assert set(fits["law"]) == {law.lower()}
    assert np.isfinite(fits["r2"]).all()


SMALL = """
engine = "serial"
dataset = { use = "simulated-tissue", n_cells = 400, n_genes = 80 }
split = { test = 0.4 }
models = ["random-projection"]
signals = { use = "obsm", key = "protein" }
scores = "gaussian"
levels.umis_per_cell = [50, 150, 500]
"""


def test_keys_and_trial_do_a_study_piece_by_piece(tmp_path, monkeypatch, capsys) -> None:
    """What an array job does, then the table that one sweep would have written."""
    (tmp_path / "s.toml").write_text(SMALL)
    assert outcome(monkeypatch, "run", tmp_path / "s.toml", "--dry-run") == 0
    said = capsys.readouterr().out
    assert "0 of 3 trained, 3 to train" in said
    assert "MB" in said
    assert not (tmp_path / "s.sclaws" / "table.csv").exists()
    assert outcome(monkeypatch, "keys", tmp_path / "s.toml") == 0
    keys = capsys.readouterr().out.split()
    assert len(keys) == 3
    for key in keys:
        assert outcome(monkeypatch, "trial", tmp_path / "s.toml", key) == 0
        assert "1 trial: 1 trained, 1 scored, 0 failed" in capsys.readouterr().out
    assert outcome(monkeypatch, "keys", tmp_path / "s.toml") == 0
    assert capsys.readouterr().out == ""
    assert outcome(monkeypatch, "status", tmp_path / "s.toml") == 0
    assert "3 of 3 trained, 0 to train; runs: 3 of 3 scored" in capsys.readouterr().out
    assert outcome(monkeypatch, "report", tmp_path / "s.toml") == 0
    assert outcome(monkeypatch, "run", tmp_path / "s.toml", "--out", tmp_path / "other") == 0
    assert (tmp_path / "other" / "table.csv").read_bytes() == (tmp_path / "s.sclaws" / "table.csv").read_bytes()
    assert outcome(monkeypatch, "trial", tmp_path / "s.toml", "0" * 16) == 2
    assert "is not in this study" in capsys.readouterr().err


def test_trial_takes_a_line_of_keys_or_none(tmp_path, monkeypatch, capsys) -> None:
    """A line are the trials that one sweep would give a worker; an array job beyond the last line has nothing to do."""
    (tmp_path / "s.toml").write_text(SMALL)
    assert outcome(monkeypatch, "keys", tmp_path / "s.toml") == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert len(line.split()) == 3
    assert outcome(monkeypatch, "trial", tmp_path / "s.toml") == 0
    assert "0 trials: 0 trained" in capsys.readouterr().out
    assert outcome(monkeypatch, "trial", tmp_path / "s.toml", *line.split()) == 0
    assert "3 trials: 3 trained, 3 scored, 0 failed" in capsys.readouterr().out
    assert outcome(monkeypatch, "trial", tmp_path / "s.toml", *line.split()) == 0
    assert "3 trials: 0 trained, 0 scored, 0 failed" in capsys.readouterr().out


def test_a_trial_that_fails_or_is_held_is_told_by_the_status(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "bad.py").write_text(
        "class Bad:\n  def fit(self, train, valid, *, seed): raise ValueError('no luck')\n"
    )
    (tmp_path / "s.toml").write_text(SMALL.replace('["random-projection"]', '["random-projection", "bad.py:Bad"]'))
    study = Study.read(tmp_path / "s.toml")
    keys = [key for line in study.missing_trials() for key in line]
    assert outcome(monkeypatch, "trial", tmp_path / "s.toml", *keys) == 1
    said = capsys.readouterr()
    assert "6 trials: 3 trained, 3 scored, 3 failed" in said.out
    assert said.err == "ValueError: no luck\n" * 3
    (held, *_) = [key for line in study.missing_trials() for key in line]
    with study.store.lease(held) as mine:
        assert mine
        assert outcome(monkeypatch, "trial", tmp_path / "s.toml", held) == 1
    assert capsys.readouterr().err == f"{held}: another process is working on this trial\n"


def test_check_says_what_it_found(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "s.toml").write_text(SMALL)
    assert outcome(monkeypatch, "check", tmp_path / "s.toml") == 0
    said = capsys.readouterr().out
    assert "400 cells x 80 features" in said
    assert "3 runs: nothing wrong" in said
