"""Ray: what every engine promises, workers that are killed, a driver that is killed or interrupted."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from sclaws import testing
from sclaws.engines.ray import Ray
from sclaws.errors import PluginError
from sclaws.protocols import Failure

HERE = Path(__file__).parent
SRC = HERE.parents[1] / "src"
PATHS = os.pathsep.join([str(SRC), str(HERE)])


def until(condition, seconds: float = 60.0) -> bool:
    deadline = time.monotonic() + seconds
    while not (met := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(met)


def running(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


# ── without Ray ──────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"cpus": 0}, "cpus = 0 must be above 0"),
        ({"gpus": 1.5}, "gpus = 1.5 0, a part of 1, or a whole number"),
        ({"retries": -1}, "retries = -1 must be at least 0"),
        ({"address": "head"}, 'address = \'head\' must be "local", "auto" or "HOST:PORT"'),
        ({"address": "ray://head:10001"}, "address = 'ray://head:10001' must be"),
    ],
)
def test_fields_that_make_no_sense(fields, told):
    with pytest.raises(PluginError, match=told):
        Ray(**fields)


def test_threads_are_the_cores_of_an_item():
    assert [Ray(cpus=cpus).threads for cpus in (0.25, 1, 4)] == [1, 1, 4]


def test_without_ray_the_remedy_is_named(monkeypatch, jobs):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PluginError, match=r"pip install 'sclaws\[ray\]'"):
        list(Ray().map(jobs.double, [1]))


def test_nobody_at_the_address_is_told_at_once(jobs):
    pytest.importorskip("ray", reason="the engine ray is an extra: pip install 'sclaws[ray]'")
    taken = []
    started = time.monotonic()
    with pytest.raises(PluginError, match=r"no cluster answers at address = '127.0.0.1:1' .*refused"):
        list(Ray("127.0.0.1:1").map(jobs.double, (taken.append(item) for item in range(3))))
    assert time.monotonic() - started < 10
    assert not taken


# ── a session of the calling program ─────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def session():
    """Ray on this machine with two cores and two pretended GPUs, opened by the calling program."""
    ray = pytest.importorskip("ray", reason="the engine ray is an extra: pip install 'sclaws[ray]'")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray.init("local", num_cpus=2, num_gpus=2, include_dashboard=False, object_store_memory=128 << 20,
             log_to_driver=False, logging_level="error", runtime_env={"env_vars": {"PYTHONPATH": PATHS}})  # fmt: skip
    yield ray
    ray.shutdown()


def test_promises_are_kept_and_workers_may_be_killed(session, jobs, tmp_path):
    """One test, for one start of Ray among the quick ones."""
    testing.conforms("engines", Ray())
    once, always = tmp_path / "once", tmp_path / "always"
    assert dict(Ray(retries=1).map(jobs.die_once, [str(once)])) == {str(once): "lived"}
    [(_, lost)] = Ray(retries=1).map(jobs.count_and_die, [str(always)])
    assert lost.error == "WorkerLost"
    assert lost.message.startswith("begun 2 times and lost with its worker, at last by WorkerCrashedError")
    assert always.read_text() == "..", "begun once, and once again"
    assert session.is_initialized(), "a session of the calling program is left open"


@pytest.mark.slow
def test_results_and_failures_of_every_item(session, jobs):
    found = dict(Ray().map(jobs.describe, range(7)))
    assert {item: found[item] for item in (0, 2, 4, 6)} == {i: {"item": i, "half": i / 2} for i in (0, 2, 4, 6)}
    assert [(found[i].error, found[i].message) for i in (1, 3)] == [("ValueError", f"{i} is odd") for i in (1, 3)]
    assert "in describe" in found[5].traceback


@pytest.mark.slow
def test_a_lost_worker_costs_its_item_only(session, jobs):
    found = dict(Ray(retries=0).map(jobs.die, [0, 1, -9, 2, -103, 3]))
    assert {item: result for item, result in found.items() if item >= 0} == {i: i for i in range(4)}
    assert {found[-9].error, found[-103].error} == {"WorkerLost"}
    assert "begun once" in found[-9].message


@pytest.mark.slow
def test_work_that_calls_exit_fails_its_item_alone(session, jobs):
    found = dict(Ray().map(jobs.give_up, ["a", "b"]))
    assert {name: (f.error, f.message) for name, f in found.items()} == {
        "a": ("SystemExit", "no more at a"), "b": ("SystemExit", "no more at b")
    }  # fmt: skip


@pytest.mark.slow
def test_items_are_taken_as_they_are_needed(session, jobs):
    taken = []

    def endless():
        while True:
            taken.append(len(taken))
            yield taken[-1]

    results = Ray().map(jobs.double, endless())
    first = [next(results) for _ in range(5)]
    results.close()
    assert all(result == 2 * item for item, result in first)
    assert len(taken) <= 5 + 2 * (2 + 2)  # two cores, two that wait; and as many that have finished meanwhile


@pytest.mark.slow
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_of_the_items_is_not_swallowed(session, jobs, error):
    def items():
        yield 1
        raise error("the list ends here")

    with pytest.raises(error, match="the list ends here"):
        list(Ray().map(jobs.double, items()))


@pytest.mark.slow
def test_what_cannot_be_sent_or_read_fails_its_item_alone(session, jobs):
    lock = threading.Lock()
    found = dict(Ray().map(jobs.double, [1, lock, 2]))
    assert (found[1], found[2]) == (2, 4)
    assert "the work or the item cannot be sent to another process" in found[lock].message
    for work, told in [(jobs.unsendable, "cannot be sent to another process"), (jobs.unreadable, "cannot be read in")]:
        [(_, result)] = Ray().map(work, [1])
        assert isinstance(result, Failure)
        assert f"the result {told}" in result.message


@pytest.mark.slow
def test_big_results_come_back(session, jobs):
    [(_, result)] = Ray().map(jobs.big, [60])
    assert len(result) == 60 << 20


@pytest.mark.slow
def test_cores_and_parts_of_gpus(session, jobs):
    """Two pretended GPUs: halves of them go to four items, each of which sees one GPU."""
    found = Counter(result for _, result in Ray(cpus=0.5, gpus=0.5).map(jobs.gpu, range(12)))
    assert set(found) == {"0", "1"}
    [(_, limits)] = Ray(cpus=2).map(jobs.limits, [1])
    assert set(limits.values()) == {"2"}


@pytest.mark.slow
@pytest.mark.parametrize(("fields", "asks"), [({"gpus": 3}, "cpus = 1 and gpus = 3"), ({"cpus": 40}, "cpus = 40")])
def test_what_no_machine_has_room_for_is_refused(session, jobs, fields, asks):
    taken = []
    with pytest.raises(PluginError, match=f"no machine has room for an item of {asks}.*: they have 2 and 2; ask for"):
        list(Ray(**fields).map(jobs.double, (taken.append(item) for item in range(3))))
    assert not taken


@pytest.mark.slow
def test_closing_early_lets_items_clean_up(session, jobs, tmp_path):
    results = Ray().map(jobs.stay_awake, ["", str(tmp_path), str(tmp_path)])
    assert next(results) == ("", None)
    assert until(lambda: len(list(tmp_path.iterdir())) == 2)
    pids = [int(path.name) for path in tmp_path.iterdir()]
    results.close()
    assert until(lambda: not list(tmp_path.iterdir()), 10), "the work was not given the time to tidy up"
    assert all(map(running, pids)), "Ray keeps its workers, for the next items"


# ── a session of its own ─────────────────────────────────────────────────────────────────────────────────────────────
def driver(code: str, folder: Path, **more) -> subprocess.Popen[str]:
    """Start a script that drives the engine, as a user's would be: a file, without a main guard."""
    path = folder / "script.py"
    path.write_text(
        f"import sys; sys.path.insert(0, {str(HERE)!r})\nimport engine_jobs as jobs\n"
        f"from sclaws.engines.ray import Ray\n{textwrap.dedent(code)}"
    )
    return subprocess.Popen(
        [sys.executable, str(path)], env=os.environ | {"PYTHONPATH": PATHS}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, **more,
    )  # fmt: skip


STAY = """
try:
    print("began", flush=True)
    list(Ray(cpus=0.5).map(jobs.stay_awake, [{folder!r}] * 6))
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


def at_work(folder: Path) -> list[int]:
    """Return the numbers of two processes at work."""
    assert until(lambda: len(list(folder.iterdir())) >= 2, 90), "workers did not start"
    return [int(path.name) for path in folder.iterdir()]


@pytest.mark.slow
def test_it_is_closed_when_it_was_not_open(tmp_path):
    pytest.importorskip("ray", reason="the engine ray is an extra: pip install 'sclaws[ray]'")
    code = "import ray; print(dict(Ray().map(jobs.double, [1, 2])), ray.is_initialized())"
    out, said = driver(code, tmp_path).communicate(timeout=120)
    assert out in {"{1: 2, 2: 4} False\n", "{2: 4, 1: 2} False\n"}, said


@pytest.mark.slow
def test_no_worker_outlives_a_killed_driver(tmp_path):
    pytest.importorskip("ray", reason="the engine ray is an extra: pip install 'sclaws[ray]'")
    (folder := tmp_path / "at_work").mkdir()
    with driver(STAY.format(folder=str(folder)), tmp_path) as drives:
        pids = at_work(folder)
        drives.kill()
        assert drives.wait() == -signal.SIGKILL
        assert until(lambda: not any(map(running, pids)), 30)


@pytest.mark.slow
def test_interrupt_stops_calmly(tmp_path):
    """As at a terminal, where Ctrl-C reaches all processes of the group."""
    pytest.importorskip("ray", reason="the engine ray is an extra: pip install 'sclaws[ray]'")
    (folder := tmp_path / "at_work").mkdir()
    drives = driver(STAY.format(folder=str(folder)), tmp_path, start_new_session=True)
    pids = at_work(folder)
    os.killpg(drives.pid, signal.SIGINT)
    out, said = drives.communicate(timeout=30)
    assert (out, said) == ("began\ninterrupted\n", "")
    assert not any(map(running, pids))
    assert list(folder.iterdir()) == [], "the work was not given the time to tidy up"
