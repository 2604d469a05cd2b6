"""A sweep that is killed at random moments and run again: nothing lost, nothing done twice, the same table."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

MORE = 'levels.n_cells = [40, 80, "all"]\n'


def start(study: Path, out: Path) -> subprocess.Popen:
    """Start a sweep in two workers, in a process group of its own."""
    words = [sys.executable, "-m", "sclaws", "run", str(study), "--out", str(out)]
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)


def finish(study: Path, out: Path) -> str:
    """Run a sweep to its end; return what it said."""
    sweep = start(study, out)
    said = sweep.communicate()[1].decode()
    assert sweep.returncode == 0, said
    return said


def results(out: Path) -> dict[str, tuple[int, int]]:
    """Return {result: (inode, time of last change)} of everything that is published."""
    found = [*out.glob("trials/*/trial.json"), *out.glob("runs/*.json")]
    return {str(p.relative_to(out)): (p.stat().st_ino, p.stat().st_mtime_ns) for p in found}


@pytest.mark.parametrize("kills", [3, pytest.param(10, marks=pytest.mark.slow)])
@pytest.mark.timeout(400)
def test_kill_9_at_random_moments(study: Path, kills: int) -> None:
    text = study.read_text().replace('engine = "serial"', 'engine = { use = "processes", workers = 2 }')
    # so many trials that some are left for the last kill, however fast the machine
    study.write_text(text.replace("replicates = 2", f"replicates = {max(2, kills)}") + MORE)
    alone, killed = study.parent / "alone", study.parent / "killed"
    finish(study, alone)
    chance = random.Random(kills)
    seen: dict[str, tuple[int, int]] = {}
    interrupted = 0
    for _ in range(kills):
        sweep = start(study, killed)
        some_more = len(seen) + chance.randint(0, 2 * len(results(alone)) // (3 * kills))
        while sweep.poll() is None and len(results(killed)) <= some_more:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.3))
        interrupted += sweep.poll() is None
        sweep.kill()  # SIGKILL to the driver alone: its workers must go by themselves
        sweep.communicate()
        now = results(killed)
        assert {name: now.get(name) for name in seen} == seen, "a finished result was lost or made again"
        seen = now
    assert interrupted == kills
    finish(study, killed)
    now = results(killed)
    assert {name: now.get(name) for name in seen} == seen, "a finished result was lost or made again"
    assert set(now) == set(results(alone))
    assert (killed / "table.csv").read_bytes() == (alone / "table.csv").read_bytes()
    assert (killed / "fits.csv").read_bytes() == (alone / "fits.csv").read_bytes()
    assert not list((killed / "staging").iterdir())


def test_running_again_does_nothing(study: Path) -> None:
    out = study.parent / "out"
    finish(study, out)
    before = results(out)
    table = (out / "table.csv").read_bytes()
    finish(study, out)
    assert results(out) == before
    assert (out / "table.csv").read_bytes() == table


def test_ctrl_c_stops_calmly_and_keeps_what_is_finished(study: Path) -> None:
    study.write_text(study.read_text() + MORE)
    out = study.parent / "out"
    sweep = start(study, out)
    deadline = time.monotonic() + 60
    while not results(out) and time.monotonic() < deadline:
        time.sleep(0.02)
    sweep.send_signal(signal.SIGINT)
    said = sweep.communicate(timeout=30)[1].decode()
    assert sweep.returncode == 130, said
    assert "stopped; everything finished is kept" in said
    assert "Traceback" not in said
    finish(study, out)
