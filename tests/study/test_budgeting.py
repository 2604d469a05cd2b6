"""Budgets of a study: what is left is said, what is finished is kept, and running again goes on."""

import itertools
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from sclaws import cli, trial
from sclaws.errors import DesignError, StudyError
from sclaws.store import Store
from sclaws.study import Study, budgeting
from sclaws.trial import Item, training

PRICES = """
currency = "EUR"
[cells]
price = 0
[training]
gpu_hour = 3.0
flop_per_second = 1e13
flop_per_cell = 1e9
"""


def outcome(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    monkeypatch.setattr("sys.argv", ["sclaws", *map(str, words)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def test_a_spent_budget_is_told_and_running_again_goes_on(study: Path, monkeypatch, capsys) -> None:
    """On the worker's clock each trial takes ten minutes, which nobody expected: six or seven fit into an hour."""
    whole = study.parent / "whole"
    study.write_text(study.read_text().replace('use = "pca"', 'use = "random-projection"'))  # none trained together
    assert outcome(monkeypatch, "run", study, "--out", whole) == 0
    began, passed = time.time(), itertools.count()
    clock = SimpleNamespace(time=lambda: began + 600 * next(passed), perf_counter=time.perf_counter)
    monkeypatch.setattr(training, "time", clock)
    assert outcome(monkeypatch, "run", study, "--hours", 1) == 3
    said = capsys.readouterr()
    assert "trials are left, about" in said.err
    assert "the same command goes on from here" in said.err
    assert "the budget left" in said.out
    monkeypatch.undo()
    results = study.parent / "small.sclaws"
    done = {path.name: path.stat().st_mtime_ns for path in (results / "runs").iterdir()}
    assert 6 <= len(done) <= 7
    assert outcome(monkeypatch, "run", study, "--hours", 1) == 0
    assert {name: (results / "runs" / name).stat().st_mtime_ns for name in done} == done
    assert (results / "table.csv").read_bytes() == (whole / "table.csv").read_bytes()


def test_a_budget_into_which_nothing_fits_starts_nothing(study: Path, monkeypatch, capsys) -> None:
    assert outcome(monkeypatch, "run", study, "--hours", 1e-9) == 3
    assert "the budget is spent: 16 trials are left" in capsys.readouterr().err
    assert not list((study.parent / "small.sclaws" / "trials").iterdir())


def test_a_worker_begins_nothing_when_its_time_is_up(study: Path) -> None:
    opened = Study.read(study)
    (found,) = opened.plan().items[:1]
    Store.open(Path(found.folder))
    done = trial.work(Item(found.bundle, found.work, found.folder, found.settings, until=time.time() - 1))
    assert (done.trained, sorted(done.left)) == ([], sorted(t.key for t, _ in found.work))


def test_the_dry_run_says_what_a_budget_covers(study: Path, monkeypatch, capsys) -> None:
    study.write_text(study.read_text() + "budget = { money = 5, price = 2.0 }\n")
    assert outcome(monkeypatch, "run", study, "--dry-run") == 0
    said = capsys.readouterr().out
    assert "in money" in said
    assert "the budget of 2 h 30 min covers 16 of these 16 trials" in said
    assert outcome(monkeypatch, "run", study, "--dry-run", "--hours", 1e-9) == 0
    assert "covers 0 of these 16 trials" in capsys.readouterr().out


def test_calibration_keeps_what_it_trains_and_sets_the_estimate_right(study: Path, monkeypatch, capsys) -> None:
    assert outcome(monkeypatch, "run", study, "--dry-run") == 0
    assert "a rough guess" in capsys.readouterr().out
    assert outcome(monkeypatch, "run", study, "--dry-run", "--calibrate") == 0
    said = capsys.readouterr().out
    assert "by what was measured" in said
    kept = len(list((study.parent / "small.sclaws" / "trials").iterdir()))
    assert f"{kept} of 16 trained" in said
    assert 2 <= kept <= 4
    assert outcome(monkeypatch, "run", study) == 0
    assert outcome(monkeypatch, "run", study, "--out", study.parent / "plain") == 0
    tables = [study.parent / name / "table.csv" for name in ("small.sclaws", "plain")]
    assert tables[0].read_bytes() == tables[1].read_bytes()


def test_a_price_file_says_what_an_hour_of_a_device_costs(tmp_path, monkeypatch) -> None:
    (tmp_path / "prices.toml").write_text(PRICES)
    said = {"money": 6, "price": "prices.toml"}
    assert budgeting.budget(said, tmp_path, cuda=False).seconds == 2 * 3600
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert budgeting.budget(said, tmp_path, cuda=True).seconds == 3600
    with pytest.raises(DesignError, match="absent.toml"):
        budgeting.budget(said | {"price": "absent.toml"}, tmp_path, cuda=False)
    (tmp_path / "cells.toml").write_text(PRICES.partition("[training]")[0])
    with pytest.raises(StudyError, match="says nothing of gpu_hour"):
        budgeting.budget(said | {"price": "cells.toml"}, tmp_path, cuda=False)
    with pytest.raises(StudyError, match="unknown key 'hour'"):
        budgeting.budget({"hour": 3}, tmp_path, cuda=False)


def test_with_ray_a_price_is_a_number_and_the_time_that_of_one_worker(study: Path) -> None:
    (study.parent / "prices.toml").write_text(PRICES)
    text = study.read_text()
    study.write_text(text + 'budget = { money = 6, price = "prices.toml" }\n')
    assert Study.read(study).budget().seconds == 2 * 3600
    other = Study.read(study)
    words = {**other.words, "engine": "ray"}
    with pytest.raises(StudyError, match="'prices.toml' is a file.*give a number, what an hour of all machines costs"):
        replace(other, words=words).budget()
    said = replace(other, words={**words, "budget": {"money": 6, "price": 3.0}})
    assert said.budget().seconds == 2 * 3600
    assert "of one worker's time" in said.listing()
    assert "covers at least 16 of these 16 trials" in said.listing()


def test_the_command_line_comes_before_the_study(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert budgeting.words(2.0, None, None) == {"hours": 2.0}
    assert budgeting.words(None, 50.0, "2.5") == {"money": 50.0, "price": 2.5}
    assert budgeting.words(None, 50.0, "p.toml") == {"money": 50.0, "price": str(tmp_path / "p.toml")}
