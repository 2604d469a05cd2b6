"""A finished study is not made anew, unless anything that its results are made of has changed."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sclaws import cli, fit
from sclaws.study import Study, unchanged

LAW = """
class Straight:
    inputs = ("depth",)
    params = {"at_0": (-20, 20), "slope": (-2, 2)}
    def predict(self, x, theta):
        return theta["at_0"] + theta["slope"] * x["depth"]
"""


@pytest.fixture
def fitted(monkeypatch) -> list[object]:
    """What is fitted while a test runs."""
    calls: list[object] = []
    true = fit.fit

    def counted(*args, **more):
        calls.append(args[1])
        return true(*args, **more)

    monkeypatch.setattr(fit, "fit", counted)
    return calls


@pytest.fixture
def command(monkeypatch) -> Callable[..., int]:
    """Runs a command and returns its exit status."""

    def run(*words: object) -> int:
        monkeypatch.setattr(sys, "argv", ["sclaws", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    return run


def contents(study: Path) -> dict[str, bytes]:
    """The files of the results, but the store's own."""
    return {path.name: path.read_bytes() for path in (study.parent / "small.sclaws").glob("*.*")}


def test_a_finished_study_is_not_fitted_again_and_says_the_same(study: Path, fitted, command, capsys) -> None:
    assert command("run", study) == 0
    first, files, count = capsys.readouterr().out, contents(study), len(fitted)
    assert count and unchanged.FILE in files
    assert command("run", study, "--hours", "5") == 0
    assert capsys.readouterr().out == first
    assert contents(study) == files
    assert len(fitted) == count


def test_what_it_found_is_made_when_it_is_asked_for(study: Path, fitted) -> None:
    first = Study.read(study).run(progress=False)
    count = len(fitted)
    again = Study.read(study).run(progress=False)
    assert repr(again) == repr(first) and again.warnings == first.warnings and len(fitted) == count
    assert again.fits.frame.equals(first.fits.frame)
    assert again.fits is again.fits
    assert len(again.lost.frame) == len(first.lost.frame) and again.agreement.equals(first.agreement)
    assert len(fitted) == 2 * count


def _file(study: Path, name: str) -> Path:
    return study.parent / "small.sclaws" / name


def change_words(study: Path) -> None:
    study.write_text(study.read_text() + '\n[[fit]]\nlaw = "constant"\nx = "umis_per_cell"\n')


def change_report(study: Path) -> None:
    _file(study, "report.html").write_text("nothing")


def remove_fits(study: Path) -> None:
    _file(study, "fits.csv").unlink()


def damage(study: Path) -> None:
    _file(study, unchanged.FILE).write_text('{"made_of": ')


def lose_a_run(study: Path) -> None:
    sorted(_file(study, "runs").iterdir())[0].unlink()


@pytest.mark.parametrize("change", [change_words, change_report, remove_fits, damage])
def test_what_changed_is_made_anew(change, study: Path, fitted) -> None:
    Study.read(study).run(progress=False)
    files, count = contents(study), len(fitted)
    change(study)
    Study.read(study).run(progress=False)
    assert len(fitted) > count
    if change is not change_words:
        assert contents(study) == files


def test_another_table_is_fitted_anew(study: Path, fitted) -> None:
    Study.read(study).run(progress=False)
    count = len(fitted)
    lose_a_run(study)
    result = Study.read(study).result(anew=False)
    assert result.missing == 1 and len(fitted) > count
    count = len(fitted)
    assert Study.read(study).result(anew=False).warnings == result.warnings
    assert len(fitted) == count


def test_other_code_makes_it_anew(study: Path, fitted, monkeypatch) -> None:
    Study.read(study).run(progress=False)
    count = len(fitted)
    monkeypatch.setattr(unchanged, "code", lambda: "other code")
    Study.read(study).run(progress=False)
    assert len(fitted) > count


def test_report_is_always_made_anew(study: Path, fitted, command) -> None:
    Study.read(study).run(progress=False)
    count = len(fitted)
    assert command("report", study) == 0
    assert len(fitted) > count


@pytest.mark.parametrize("law", ["mine.py:Straight", "mine.py:Broken"])
def test_laws_of_the_users_are_fitted_each_time(law: str, study: Path, fitted) -> None:
    """They may read what nobody knows, or fail for a reason that passes."""
    broken = LAW.replace("Straight", "Broken").replace('return theta["at_0"]', "raise OSError(0)")
    (study.parent / "mine.py").write_text(LAW + broken)
    study.write_text(study.read_text() + f'\n[[fit]]\nlaw = "{law}"\nx = "umis_per_cell"\n')
    Study.read(study).run(progress=False)
    count = len(fitted)
    assert not _file(study, unchanged.FILE).exists()
    Study.read(study).run(progress=False)
    assert len(fitted) > count


def test_times_of_files_say_nothing(study: Path, fitted) -> None:
    Study.read(study).run(progress=False)
    count = len(fitted)
    for path in (study.parent / "small.sclaws").glob("*.csv"):
        os.utime(path, (1, 1))
    Study.read(study).run(progress=False)
    assert len(fitted) == count
    kept = json.loads(_file(study, unchanged.FILE).read_text())
    assert set(kept["files"]) >= {"fits.csv", "report.html"}
