"""Workers that crash, hang, are killed; drivers that are killed, interrupted, closed."""

import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from sclaws.engines.processes import Processes
from sclaws.errors import PluginError
from sclaws.protocols import Failure

HERE = Path(__file__).parent


def running(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def until(condition, seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return bool(met)


def at_work(folder: Path, count: int) -> list[int]:
    """Return the numbers of the processes that do ``stay``, once there are so many."""
    assert until(lambda: len(list(folder.iterdir())) == count), "workers did not start"
    return [int(path.name) for path in folder.iterdir()]


def driver(code: str, *arguments: object, **more) -> subprocess.Popen[str]:
    """Start a script that drives an engine, as a user's script would be: a file, without a main guard."""
    path = Path(str(arguments[0])).parent / "script.py"
    path.write_text(
        f"import sys; sys.path.insert(0, {str(HERE)!r})\n"
        "import engine_jobs as jobs; from sclaws.engines.processes import Processes\n" + textwrap.dedent(code)
    )
    command = [sys.executable, str(path), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


# ── workers ──────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("item", "sentence"),
    [
        (-9, r"the worker was killed by signal 9 \(SIGKILL: out of memory\?\)"),
        (-11, r"the worker was killed by signal 11 \(SIGSEGV\)"),
        (-103, "the worker ended by itself with exit code 3, in the middle of this item"),
        (-100 - 256, "ended by itself with exit code 0"),
    ],
)
def test_a_lost_worker_costs_its_item_only(jobs, item, sentence):
    items = [0, 1, item, 2, 3, 4]
    found = dict(Processes(workers=2).map(jobs.die, items))
    assert set(found) == set(items)
    assert {i: r for i, r in found.items() if i >= 0} == {i: i for i in range(5)}
    assert isinstance(found[item], Failure)
    assert found[item].error == "WorkerLost"
    assert re.search(sentence, found[item].message)


def test_every_worker_may_be_lost_again_and_again(jobs):
    found = list(Processes(workers=2).map(jobs.die, [-9, -9, -9, -9, 5]))
    assert sorted(isinstance(result, Failure) for _, result in found) == [False, True, True, True, True]
    assert (5, 5) in found


def test_a_worker_killed_from_outside(jobs, tmp_path):
    results = Processes(workers=1).map(jobs.stay, [str(tmp_path)])
    killer = subprocess.Popen(["sh", "-c", f"while ! kill -9 $(ls {tmp_path}) 2>/dev/null; do sleep 0.05; done"])
    [(_, failure)] = results
    assert failure.message == "the worker was killed by signal 9 (SIGKILL: out of memory?), in the middle of this item"
    assert killer.wait() == 0


def test_a_worker_killed_while_it_waits_costs_nothing(jobs):
    def items():
        yield 0
        yield 1
        os.kill(pids[0], signal.SIGKILL)
        assert until(lambda: not running(pids[0]))
        yield 2

    pids: list[int] = []
    for _, pid in Processes(workers=1).map(jobs.process, items()):
        pids.append(pid)
    assert [type(pid) for pid in pids] == [int] * 3
    assert pids[0] == pids[1] != pids[2]


def test_an_item_that_a_dying_worker_took_is_given_to_another(jobs):
    """The worker is stopped while it waits, is sent an item that it never reads, and is then killed."""

    def items():
        yield 0
        yield 1
        os.kill(pids[0], signal.SIGSTOP)
        yield 2
        yield 3

    pids: list[int] = []
    for item, pid in Processes(workers=1).map(jobs.process, items()):
        pids.append(pid)
        if item == 1:  # by now the next item is on its way
            os.kill(pids[0], signal.SIGKILL)
    assert [type(pid) for pid in pids] == [int] * 4
    assert pids[0] == pids[1] != pids[2] == pids[3]


def test_an_item_that_was_begun_is_not_begun_again(jobs, tmp_path):
    [(_, failure)] = Processes(workers=1).map(jobs.count_and_die, [str(tmp_path / "begun")])
    assert failure.message.endswith("exit code 5, in the middle of this item")
    assert (tmp_path / "begun").read_text() == "."


def test_processes_that_cannot_start_are_given_up(jobs, tmp_path, monkeypatch):
    broken = tmp_path / "python"
    broken.write_text(f"#!/bin/sh\nprintf . >> {tmp_path}/started\nexit 7\n")
    broken.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(broken))
    found = dict(Processes(workers=1).map(jobs.double, [1, 2]))
    told = Failure("WorkerLost", "the worker ended by itself with exit code 7, before it began with this item")
    assert found == {1: told, 2: told}
    assert (tmp_path / "started").read_text() == "." * 4, "two tries for each item"


def test_a_lost_worker_whose_child_lives_on_is_noticed(jobs):
    started = time.monotonic()
    [(_, failure)] = Processes(workers=1).map(jobs.die_with_a_child_left, [20])
    assert "signal 9" in failure.message
    assert time.monotonic() - started < 15


def test_workers_are_used_again_and_side_by_side(jobs):
    pids = [pid for _, pid in Processes(workers=2).map(jobs.process, range(20))]
    assert len(set(pids)) == 2
    assert os.getpid() not in pids
    assert not any(map(running, pids))


def test_threads_are_limited_before_anything_is_loaded(jobs, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    [(_, found)] = Processes(workers=1, threads=3).map(jobs.limits, [0])
    assert set(found.values()) == {"3"}
    assert os.environ["OMP_NUM_THREADS"] == "7"


def test_cores_are_shared_out(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    assert (Processes().workers, Processes().threads) == (8, 1)
    assert (Processes(3).workers, Processes(3).threads) == (3, 2)
    assert (Processes(20).workers, Processes(20).threads) == (20, 1)
    assert (Processes(2, 5).workers, Processes(2, 5).threads) == (2, 5)


@pytest.mark.parametrize("field", ["workers", "threads"])
def test_no_workers_or_threads(field):
    with pytest.raises(PluginError, match=f"processes: {field} = 0 must be at least 1; leave it out"):
        Processes(**{field: 0})


# ── what goes over ───────────────────────────────────────────────────────────────────────────────────────────────────
def test_big_items_and_results(jobs):
    [(_, result)] = Processes(workers=1).map(jobs.big, [60])
    assert len(result) == 60 << 20
    assert dict(Processes(workers=2).map(jobs.length, [result, b"1"])) == {result: 60 << 20, b"1": 1}


def test_what_cannot_be_sent_or_read_fails_its_item(jobs):
    engine = Processes(workers=2)
    [(_, result)] = engine.map(jobs.unsendable, [1])
    assert "the result cannot be sent to another process" in result.message
    [(_, result)] = engine.map(jobs.unreadable, [1])
    assert "the result cannot be read in this process" in result.message
    lock = threading.Lock()
    found = dict(engine.map(jobs.double, [1, lock, 2]))
    assert (found[1], found[2]) == (2, 4)
    assert "the work or the item cannot be sent to another process" in found[lock].message


def test_work_of_the_script_itself_is_told(tmp_path):
    code = """
    def mine(item):
        return item
    [(_, failure)] = Processes(1).map(mine, [1])
    print(failure.message)
    """
    out, said = driver(code, tmp_path / "x").communicate()
    assert said == ""
    assert "Can't get attribute 'mine'" in out
    assert "must come from a module that a fresh process can import, not from a script or notebook" in out


# ── the driver ───────────────────────────────────────────────────────────────────────────────────────────────────────
STAY = """
import traceback
try:
    print("began", flush=True)
    for _ in Processes(3).map(getattr(jobs, sys.argv[2]), [sys.argv[1]] * 9):
        pass
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


@pytest.mark.parametrize("job", ["stay", "stay_deaf"])
def test_no_worker_outlives_a_killed_driver(tmp_path, job):
    (folder := tmp_path / "at_work").mkdir()
    with driver(STAY, folder, job) as drives:
        pids = at_work(folder, 3)
        drives.kill()
        assert drives.wait() == -signal.SIGKILL
        assert until(lambda: not any(map(running, pids)), seconds=2.0)


def test_interrupt_stops_workers_at_once_and_quietly(tmp_path):
    """As at a terminal, where Ctrl-C reaches all processes of the group."""
    (folder := tmp_path / "at_work").mkdir()
    drives = driver(STAY, folder, "stay", start_new_session=True)
    pids = at_work(folder, 3)
    started = time.monotonic()
    os.killpg(drives.pid, signal.SIGINT)
    out, said = drives.communicate()
    assert time.monotonic() - started < 5
    assert (out, said) == ("began\ninterrupted\n", "")
    assert not any(map(running, pids))
    assert list(folder.iterdir()) == [], "the work was not given the time to tidy up"


def test_interrupt_while_workers_start_is_quiet(tmp_path):
    (folder := tmp_path / "at_work").mkdir()
    for delay in (0.0, 0.02, 0.05, 0.1):
        drives = driver(STAY, folder, "stay", start_new_session=True)
        assert drives.stdout.readline() == "began\n"
        time.sleep(delay)
        os.killpg(drives.pid, signal.SIGINT)
        assert drives.communicate() == ("interrupted\n", "")


def test_closing_early_stops_workers(jobs, tmp_path):
    results = Processes(workers=3).map(jobs.stay, ["", str(tmp_path), str(tmp_path)])
    assert next(results) == ("", None)
    pids = at_work(tmp_path, 2)
    results.close()
    assert not any(map(running, pids))
    assert list(tmp_path.iterdir()) == [], "the work was not given the time to tidy up"


def test_an_error_stops_workers_that_hear_nobody(jobs, tmp_path):
    def items():
        yield str(tmp_path)
        yield str(tmp_path)
        pids.extend(at_work(tmp_path, 2))
        raise RuntimeError("enough")

    pids: list[int] = []
    with pytest.raises(RuntimeError, match="enough"):
        list(Processes(workers=3).map(jobs.stay_deaf, items()))
    assert len(pids) == 2
    assert not any(map(running, pids))


# ── GPUs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
def seen(jobs, workers: int) -> list[str | None]:
    """Return what each worker sees, as many items as workers: each gets one."""
    return sorted((found for _, found in Processes(workers=workers).map(jobs.gpu, range(workers))), key=str)


def smi(folder: Path, monkeypatch: pytest.MonkeyPatch, says: str) -> None:
    """Put a program of that name before all others."""
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{says}\n")
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


TWO = "echo 'GPU 0: A (UUID: GPU-1)'; echo '  MIG 1g Device 0: (UUID: MIG-1)'; echo 'GPU 1: A (UUID: GPU-2)'"


def test_workers_share_the_gpus_that_are_visible(jobs, monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, GPU-5f")
    assert seen(jobs, 3) == ["2", "2", "GPU-5f"]
    assert seen(jobs, 1) == ["2, GPU-5f"]  # one worker alone sees all


def test_workers_share_the_gpus_of_the_machine(jobs, monkeypatch, tmp_path) -> None:
    smi(tmp_path, monkeypatch, TWO)
    assert seen(jobs, 4) == ["0", "0", "1", "1"]


@pytest.mark.parametrize("says", ["exit 9", "true", f"{TWO}; exit 1"], ids=["fails", "none", "half"])
def test_without_gpus_nothing_is_set(jobs, monkeypatch, tmp_path, says) -> None:
    smi(tmp_path, monkeypatch, says)
    assert seen(jobs, 2) == [None, None]


def test_gpus_that_are_hidden_stay_hidden(jobs, monkeypatch, tmp_path) -> None:
    smi(tmp_path, monkeypatch, TWO)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert seen(jobs, 2) == ["", ""]
