"""The script ./run, with a Python that only pretends: what it does when set-up goes well, badly, or was done before."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Pretends to be Python: answers the questions of ./run, "makes" a .venv with itself in it, and logs what it is asked.
PRETENDER = """#!/bin/sh
echo "$*" >> "{log}"
case "$*" in
    *"import sys, venv, ensurepip"*) exit {suits} ;;
    *"print("*) echo 3.11 ;;
    *"-m venv"*) rm -rf .venv; mkdir -p .venv/bin && cp "$0" .venv/bin/python && cp "$0" .venv/bin/uv ;;
    *"pip config"*) exit 1 ;;
    *"uv=="*) exit {uv} ;;
    *"-m pip install --retries 2 -"*) exit {pip} ;;
    *"-m mypy"*) exit {mypy} ;;
    *"-m sclaws"*) echo "sclaws was called in $(pwd) with: $*" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path):
    """A checkout with ./run alone, in a folder with a space in its name."""
    folder = tmp_path / "a checkout"
    folder.mkdir()
    for name in ("run", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def call(checkout, *words, cwd=None, **fails):
    """Run ./run with no Python on PATH but the pretender; return the finished process and what Python was asked.

    ``fails`` gives the exit status of what goes wrong: ``suits``, ``uv``, ``pip``, ``mypy``.
    """
    script = PRETENDER.format(log=checkout.parent / "log", **({"suits": 0, "uv": 0, "pip": 0, "mypy": 0} | fails))
    bin_ = checkout.parent / "bin"
    bin_.mkdir(exist_ok=True)
    log = checkout.parent / "log"
    log.write_text("")
    for tool in ("sh", "cat", "cksum", "cp", "dirname", "mkdir", "rm", "tail", "tr"):
        if not (bin_ / tool).exists():
            (bin_ / tool).symlink_to(str(shutil.which(tool)))
    pretenders = [bin_ / name for name in ("python3.11", "python3.12", "python3.13", "python3", "python")]
    made = [checkout / ".venv" / "bin" / name for name in ("python", "uv")]
    for path in [*pretenders, *(path for path in made if path.exists())]:
        path.write_text(script)
        path.chmod(0o755)
    done = subprocess.run(
        [str(checkout / "run"), *words],
        cwd=cwd or checkout,
        env={"PATH": str(bin_)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, log.read_text()


def test_first_call_sets_up_and_second_does_not(checkout):
    first, asked = call(checkout, "demo", "--seed", "1")
    assert first.returncode == 0, first.stderr
    assert "setting up .venv with Python 3.11, once" in first.stderr
    assert "with: -P -m sclaws demo --seed 1" in first.stdout
    assert "pip install --python" in asked
    assert "-c constraints.txt --editable .[all] --group dev" in asked

    second, asked = call(checkout, "demo")
    assert second.returncode == 0
    assert second.stderr == ""
    assert "install" not in asked


def test_without_a_gpu_the_cpu_build_of_torch_is_asked_for(checkout):
    _, asked = call(checkout, "demo")
    assert "--torch-backend=cpu" in asked


def test_runs_in_the_folder_it_was_called_from(checkout, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done, _ = call(checkout, "run", "study.toml", cwd=elsewhere)
    assert f"called in {elsewhere} with: -P -m sclaws run study.toml" in done.stdout
    assert (checkout / ".venv").is_dir()


@pytest.mark.parametrize("file", ["pyproject.toml", "constraints.txt"])
def test_sets_up_again_when_what_is_wanted_has_changed(checkout, file):
    call(checkout, "demo")
    with open(checkout / file, "a") as stream:
        stream.write("# changed\n")
    done, asked = call(checkout, "demo")
    assert "setting up" in done.stderr
    assert "-m venv" not in asked, "the environment itself is still good"


def test_sets_up_again_when_the_checkout_was_moved(checkout):
    call(checkout, "demo")
    moved = checkout.rename(checkout.parent / "moved")
    done, _ = call(moved, "demo")
    assert "setting up" in done.stderr


def test_falls_back_to_pip_without_uv(checkout):
    done, asked = call(checkout, "demo", uv=1)
    assert done.returncode == 0, done.stderr
    assert "uv could not do it; trying pip" in done.stderr
    assert "-m pip install --retries 2 -c constraints.txt --editable .[all] --group dev" in asked


def test_without_network_it_says_so_and_tries_again_next_time(checkout):
    done, _ = call(checkout, "demo", uv=1, pip=1)
    assert done.returncode == 1
    assert "packages could not be installed. Is there a network? Run this again" in done.stderr
    assert "sclaws was called" not in done.stdout
    again, _ = call(checkout, "demo")
    assert "setting up" in again.stderr
    assert again.returncode == 0


def test_without_a_suitable_python_it_says_which_is_needed(checkout):
    done, _ = call(checkout, "demo", suits=1)
    assert done.returncode == 1
    assert "Python 3.11, 3.12 or 3.13 is needed" in done.stderr
    assert not (checkout / ".venv").exists()


def test_a_broken_environment_is_made_anew(checkout):
    call(checkout, "demo")
    (checkout / ".venv" / "bin" / "python").unlink()
    (checkout / ".venv" / "bin" / "python").symlink_to("/nowhere/python3.9")
    done, asked = call(checkout, "demo")
    assert done.returncode == 0, done.stderr
    assert "making it anew" in done.stderr
    assert "-m venv --clear" in asked


def test_checks_fail_when_one_fails_and_all_run(checkout):
    done, asked = call(checkout, "test", "-k", "noise", mypy=1)
    assert done.returncode == 1
    assert "failed: types (mypy)" in done.stderr
    assert "-m pytest -n 2 -k noise" in asked, "the checks after the failed one run, too"


def test_constraints_pin_everything_that_is_asked_for():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())
    asked = [*wanted["project"]["dependencies"], *wanted["dependency-groups"]["dev"]]
    asked += [text for texts in wanted["project"]["optional-dependencies"].values() for text in texts]
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines), "pins, without local versions or addresses"
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines}
    names = {re.split(r"[^\w.-]", text)[0].lower().replace("_", "-") for text in asked}
    assert names - pinned <= {"sclaws"}
