"""The store under ill treatment: what it returns is whole and what was put in, or it is absent and said to be so."""

import errno
import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sclaws.errors import StoreError
from sclaws.store import Store, documents, leases
from sclaws.store.documents import DamagedError

FAILURE = {"error": "ModelError", "message": "it diverged", "traceback": ""}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "out")


def stage(store: Store, key: str, *names: str, size: int = 100) -> None:
    """Stage a trial whose arrays can be told from their names alone."""
    with store.stage_trial(key) as staged:
        staged.record = {"made": key}
        for name in names:
            staged.save_array(name, expected(name, size))


def expected(name: str, size: int = 100) -> np.ndarray:
    return np.random.default_rng(sum(name.encode())).normal(size=(size, 3))


def python(code: str, *arguments: object, **more) -> subprocess.Popen[str]:
    """Start a fresh Python; its code finds the arguments in ``sys.argv``."""
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


# ── documents ────────────────────────────────────────────────────────────────────────────────────────────────────────
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters()).filter(lambda s: "float:" not in s),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def same(a: object, b: object) -> bool:
    """Equal to the bit: nan is nan, -0.0 is not 0.0, 1 is not 1.0 and True is not 1."""
    return repr(a) == repr(b)


@given(values)
def test_document_comes_back_to_the_bit(record):
    assert same(documents.decode(documents.encode(record)), record)


@given(st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)))
def test_document_is_json_that_anybody_can_read(record):
    assert json.loads(documents.encode(record))["record"] == record


def test_numbers_that_are_not_finite_stand_as_text():
    body = json.loads(documents.encode({"low": -math.inf, "high": np.float32("inf"), "stderr": math.nan}))["record"]
    assert body == {"low": "float:-inf", "high": "float:inf", "stderr": "float:nan"}


def test_numpy_becomes_plain():
    record = {"a": np.arange(3), "b": np.float32(0.5), 3: (np.bool_(True), Path("x"))}
    assert documents.decode(documents.encode(record)) == {"a": [0, 1, 2], "b": 0.5, "3": [True, "x"]}


def test_what_json_cannot_hold_is_refused():
    with pytest.raises(StoreError, match=r"\(set\) cannot be stored: use numbers, text, lists, tables"):
        documents.encode({"x": {1, 2}})


def test_every_cut_and_every_changed_byte_is_noticed():
    whole = documents.encode({"name": "ünïcode", "value": 1 / 3, "low": -math.inf})
    for length in range(len(whole)):
        with pytest.raises(DamagedError):
            documents.decode(whole[:length])
    for place in range(len(whole)):
        with pytest.raises(DamagedError):
            documents.decode(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])


# ── runs, failures, and the rest ─────────────────────────────────────────────────────────────────────────────────────
def test_run_comes_back_with_its_key(store):
    assert store.run("r1") is None
    assert store.put_run("r1", {"value": 0.1 + 0.2, "stderr": math.nan})
    found = Store.open(store.folder).run("r1")
    assert found["value"] == 0.1 + 0.2
    assert math.isnan(found["stderr"])
    assert found["key"] == "r1"
    assert store.runs() == {"r1"}


def test_first_run_of_a_key_stays(store):
    store.put_run("r1", {"value": 1.0})
    assert not store.put_run("r1", {"value": 2.0})
    assert store.run("r1")["value"] == 1.0


def test_failure_is_cleared_by_success(store):
    store.put_failure("r1", FAILURE)
    store.put_failure("t1", FAILURE)
    assert store.failures() == {"r1": FAILURE, "t1": FAILURE}
    store.put_run("r1", {})
    stage(store, "t1")
    assert store.failures() == {}


def test_bundle_keeps_its_first_composition(store):
    store.put_bundle("b", ["t1", "t2"])
    store.put_bundle("b", ["t2"])
    assert store.bundles() == {"b": ["t1", "t2"]}


def test_dataset_is_renewed(store):
    assert store.dataset("d") is None
    store.put_dataset("d", {"cells": 3})
    store.put_dataset("d", {"cells": 4})
    assert store.dataset("d") == {"cells": 4}


def test_file_is_written_beside_the_results(store):
    assert store.write_file("table.csv", b"a,b\n").read_bytes() == b"a,b\n"


# ── trials ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_trial_comes_back(store):
    assert store.trial("t1") is None
    assert not store.has_trial("t1")
    assert store.arrays("t1") == []
    stage(store, "t1", "embedding-x", "losses")
    assert store.trial("t1") == {"made": "t1", "key": "t1"}
    assert store.trials() == {"t1"}
    assert store.arrays("t1") == ["embedding-x", "losses"]
    found = store.array("t1", "embedding-x")
    assert isinstance(found, np.memmap)
    np.testing.assert_array_equal(found, expected("embedding-x"))
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 0


def test_files_of_the_model_are_kept_with_the_trial(store):
    with store.stage_trial("t1") as staged:
        (staged.weights() / "layer.bin").write_bytes(b"123")
    assert (store.weights("t1") / "layer.bin").read_bytes() == b"123"
    (store.folder / "trials" / "t1" / "weights" / "layer.bin").write_bytes(b"124")
    assert store.weights("t1") is None


def test_held_weights_wait_for_their_runs(store):
    with store.stage_trial("t1") as staged:
        staged.save_array("a", np.ones(3))
        (staged.weights(until=["one", "two"]) / "layer.bin").write_bytes(b"123")
    assert store.arrays("t1") == ["a"]
    store.hold_weights("t1", ["three"])
    for run in ("one", "two", "three"):
        store.drop_weights("t1")
        assert store.has_weights("t1") and (store.weights("t1") / "layer.bin").read_bytes() == b"123"
        store.put_run(run, {})
    store.drop_weights("t1")
    assert (store.has_weights("t1"), store.weights("t1"), store.arrays("t1")) == (False, None, ["a"])
    store.drop_weights("t1")  # and of one without any, nothing
    assert not list((store.folder / "staging").iterdir())


def test_weights_held_anew_take_the_place_of_damaged_ones(store):
    for content in (b"123", b"456"):
        with store.stage_trial("t1") as staged:
            (staged.weights(until=["one"]) / "layer.bin").write_bytes(content)
        file = store.weights("t1") / "layer.bin"
        assert file.read_bytes() == content
        file.write_bytes(b"0")
        assert store.weights("t1") is None and store.has_trial("t1") and not store.has_weights("t1")
    assert store.check() == []
    store.drop_weights("t1")
    assert not file.exists()


def test_trial_that_fails_while_it_is_staged_leaves_nothing(store):
    with pytest.raises(RuntimeError, match="diverged"), store.stage_trial("t1") as staged:  # noqa: PT012
        staged.save_array("x", np.ones(3))
        raise RuntimeError("diverged")
    assert not store.has_trial("t1")
    assert os.listdir(store.folder / "staging") == []


def test_trial_gains_arrays_and_keeps_those_it_has(store):
    stage(store, "t1", "a")
    with store.stage_trial("t1") as staged:
        staged.record = {"made": "later"}
        staged.save_array("a", np.zeros(5))
        staged.save_array("b", expected("b"))
    assert store.trial("t1")["made"] == "t1"
    np.testing.assert_array_equal(store.array("t1", "a"), expected("a"))
    np.testing.assert_array_equal(store.array("t1", "b"), expected("b"))
    assert store.check() == []


@pytest.mark.parametrize("shape", [(), (0, 4), (3, 2, 2)])
def test_array_of_any_shape(store, shape):
    with store.stage_trial("t1") as staged:
        staged.save_array("x", np.ones(shape, dtype=np.float32))
    assert store.array("t1", "x").shape == shape


def test_objects_are_refused(store):
    with pytest.raises(StoreError, match="'x' holds Python objects"), store.stage_trial("t1") as staged:
        staged.save_array("x", np.array([{}]))


def test_array_that_is_not_there(store):
    stage(store, "t1", "a")
    for key, name in (("t1", "b"), ("t2", "a")):
        with pytest.raises(StoreError, match=f"trial {key} has no array '{name}'.*run again"):
            store.array(key, name)


# ── opening ──────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(StoreError, match="out is a file: name a folder"):
        Store.open(tmp_path / "out")
    with pytest.raises(StoreError, match="part of the path is a file"):
        Store.open(tmp_path / "out" / "deeper")


def test_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(StoreError, match=r"holds other things \(thesis.tex\).*name a new or an empty folder"):
        Store.open(tmp_path)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_store_of_a_newer_version(store):
    (store.folder / "store.json").write_bytes(documents.encode({"version": 99}))
    with pytest.raises(StoreError, match=r"newer sclaws \(format 99\)"):
        Store.open(store.folder)


def test_store_whose_mark_is_damaged(store):
    (store.folder / "store.json").write_bytes(b"{")
    with pytest.raises(StoreError, match=r"store.json is damaged.*remove this one file"):
        Store.open(store.folder)


def test_many_may_open_a_new_folder_at_once(tmp_path):
    code = "import sys; from sclaws.store import Store; sys.stdin.read(1); Store.open(sys.argv[1]).put_run('r', {})"
    openers = [python(code, tmp_path / "out", stdin=subprocess.PIPE) for _ in range(4)]
    for opener in openers:
        opener.stdin.write("x")
        opener.stdin.close()
    assert [(opener.wait(), opener.stderr.read()) for opener in openers] == [(0, "")] * 4
    for opener in openers:
        opener.stdout.close()
        opener.stderr.close()
    assert Store.open(tmp_path / "out").runs() == {"r"}


def test_only_what_the_dead_left_is_swept(store):
    dead = python("from sclaws.store import leases; print(leases.owned_name())")
    left = dead.communicate()[0].strip()
    foreign = f"00000000-1-2-{left[-8:]}"
    living = leases.owned_name()
    for name in (left, foreign, living):
        (store.folder / "staging" / name).mkdir()
        (store.folder / "staging" / name / "half.npy").write_bytes(b"1")
    Store.open(store.folder)
    assert set(os.listdir(store.folder / "staging")) == {foreign, living}
    long_ago = time.time() - 2 * 86400
    for name in (foreign, living):
        os.utime(store.folder / "staging" / name, (long_ago, long_ago))
    Store.open(store.folder)
    assert os.listdir(store.folder / "staging") == [living]


def test_folder_that_another_process_makes_meanwhile(tmp_path, monkeypatch):
    def overtaken(path):
        monkeypatch.undo()
        found = documents.read(path)
        Store.open(tmp_path / "out").put_run("r", {})
        return found

    monkeypatch.setattr(documents, "read", overtaken)
    assert Store.open(tmp_path / "out").runs() == {"r"}


@contextmanager
def somebody_else():
    """Files are opened as a user who is not the administrator."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_folder_without_permission(tmp_path):
    shut = tmp_path / "shut"
    store = Store.open(shut / "out")
    for folder in (shut / "out" / "runs", shut / "out", shut):
        folder.chmod(0o555)
    for folder in tmp_path.parents:  # pytest's own folders are private
        if folder.owner() == tmp_path.owner() and folder.is_relative_to("/tmp"):
            folder.chmod(folder.stat().st_mode | 0o111)
    tmp_path.chmod(0o755)
    try:
        with somebody_else():
            for folder in (shut / "out", shut / "new"):
                with pytest.raises(StoreError, match=f"{folder}.*permission is denied.*choose another"):
                    Store.open(folder)
            with pytest.raises(StoreError, match=r"r1\.json cannot be written: permission is denied"):
                store.put_run("r1", {})
    finally:
        for folder in (shut, shut / "out", shut / "out" / "runs"):
            folder.chmod(0o755)


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "disk is full: free some space"), (errno.EDQUOT, "quota"), (errno.EROFS, "read-only: mount it")],
)
def test_disk_errors_come_with_path_and_remedy(tmp_path, number, remedy):
    with pytest.raises(StoreError, match=f"{tmp_path}.*{remedy}"), documents.told(tmp_path):
        raise OSError(number, os.strerror(number))


SMALL_DISK = """
import sys
from pathlib import Path
import numpy as np
from sclaws.errors import StoreError
from sclaws.store import Store
store, put, staged = Store.open(Path(sys.argv[1]) / "out"), [], []
def until_full(write, done):
    try:
        while len(done) < 10_000:
            write(f"{len(done):04}")
            done.append(f"{len(done):04}")
    except StoreError as error:
        return str(error)
def stage(key):
    with store.stage_trial(key) as stage:
        stage.save_array("x", np.ones(5000))
said = [until_full(stage, staged), until_full(lambda key: store.put_run(key, {"text": "x" * 3000}), put)]
assert len(put) < 10_000 and staged, (put, staged)
assert all("cannot be written: the disk is full: free some space; then run again" in text for text in said), said
assert store.runs() == set(put) and store.trials() == set(staged) and store.check() == []
assert not list((store.folder / "staging").iterdir())
(Path(sys.argv[1]) / "ballast").unlink()
again = Store.open(store.folder)
stage("again")
assert again.put_run("again", {"text": "x" * 3000}) and again.has_trial("again") and len(again.runs()) == len(put) + 1
"""


def on_a_disk_of_its_own(tmp_path: Path, command: str, code: str) -> None:
    """Run code in a mount namespace of its own, after a shell command has made the disk; skip where that is barred."""
    rights = [] if os.geteuid() == 0 else ["--map-root-user"]
    unshare = [shutil.which("unshare") or "unshare", *rights, "--mount"]
    if not shutil.which("unshare") or subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a disk for a test")
    script = f'{command} && exec "$1" -c "$2" "$0"'
    done = subprocess.run(
        [*unshare, "sh", "-c", script, str(tmp_path), sys.executable, code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_full_disk_loses_nothing_and_is_told(tmp_path):
    disk = 'mount -t tmpfs -o size=600k none "$0" && head -c 100k /dev/zero > "$0/ballast"'
    on_a_disk_of_its_own(tmp_path, disk, SMALL_DISK)


READ_ONLY = """
import sys
from pathlib import Path
from sclaws.errors import StoreError
from sclaws.store import Store
for name in ("out", "new"):
    try:
        Store.open(Path(sys.argv[1]) / name)
    except StoreError as error:
        assert "the file system is read-only: mount it for writing, or choose another folder" in str(error), error
    else:
        raise AssertionError("nothing was said")
"""


def test_read_only_disk_is_told(tmp_path):
    Store.open(tmp_path / "out")
    on_a_disk_of_its_own(tmp_path, 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0"', READ_ONLY)


# ── damage ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("spoil", [cut, flip, lambda path: os.truncate(path, 0)])
@pytest.mark.parametrize("ask", [lambda s: s.runs() == {"good"}, lambda s: s.run("bad") is None, lambda s: s.check()])
def test_damaged_run_is_absent_and_is_made_anew(store, spoil, ask):
    for key in ("good", "bad"):
        store.put_run(key, {"value": [1.5, 2.5]})
    spoil(store.folder / "runs" / "bad.json")
    assert ask(store)
    assert store.check() == [
        f"{store.folder}/runs/bad.json was cut short or changed, and is in 'damaged' now: run again, to make it anew"
    ]
    assert store.put_run("bad", {"value": [1.5, 2.5]})
    assert store.check() == []
    assert store.runs() == {"good", "bad"}


@pytest.mark.parametrize("name", ["x.npy", "trial.json"])
@pytest.mark.parametrize("spoil", [cut, flip, Path.unlink])
def test_damaged_trial_is_set_aside_and_is_made_anew(store, name, spoil):
    stage(store, "t1", "x")
    spoil(store.folder / "trials" / "t1" / name)
    assert store.check() == [
        f"{store.folder}/trials/t1 was cut short or changed, and is in 'damaged' now: run again, to make it anew"
    ]
    assert not store.has_trial("t1")
    stage(store, "t1", "x")
    assert store.check() == []
    np.testing.assert_array_equal(store.array("t1", "x"), expected("x"))


def test_cut_array_makes_its_trial_absent(store):
    stage(store, "t1", "x")
    cut(store.folder / "trials" / "t1" / "x.npy")
    assert not store.has_trial("t1")
    stage(store, "t1", "x")
    assert store.has_trial("t1")


def test_changed_array_is_never_returned(store):
    stage(store, "t1", "x")
    flip(store.folder / "trials" / "t1" / "x.npy")
    with pytest.raises(StoreError, match=r"x\.npy.*set aside: run again"):
        store.array("t1", "x")
    assert not store.has_trial("t1")


# ── crashes ──────────────────────────────────────────────────────────────────────────────────────────────────────────
STEPS = """
import json, os, shutil, sys
from pathlib import Path
import numpy as np
from sclaws.store import Store
folder, do, prepared = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

def run(store):
    store.put_run("r", {"value": 1.5})

def trial(store):
    with store.stage_trial("t") as stage:
        stage.record = {"made": "now"}
        stage.save_array("a", np.arange(9.0))
        stage.save_array("b", np.arange(9.0))

def hold(store):
    with store.stage_trial("t") as stage:
        stage.record = {"made": "now"}
        stage.save_array("a", np.arange(9.0))
        (stage.weights(until=["r"]) / "layer.bin").write_bytes(b"123")

def drop(store):
    store.drop_weights("t")

def prepare(how):
    with (store := Store.open(folder)).stage_trial("t") as stage:
        stage.record = {"made": "before"}
        stage.save_array("a", np.arange(5.0))
        if how == "held":
            (stage.weights(until=["r"]) / "layer.bin").write_bytes(b"123")
            run(store)

CHANGES = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.link", "os.utime"}

def crash_at(step):
    count = 0
    def hook(event, arguments):
        nonlocal count
        count += event in CHANGES
        if event in CHANGES and count == step:
            os._exit(77)
    sys.addaudithook(hook)

def state(code):
    store = Store.open(folder)
    return {
        "finished": code == 0, "problems": store.check(), "staging": os.listdir(folder / "staging"),
        "run": store.run("r"), "trial": store.trial("t"),
        "arrays": {name: store.array("t", name).tolist() for name in store.arrays("t")},
        "weights": (there := store.weights("t")) and [path.name for path in there.iterdir()],
    }

code = step = 1
while code:
    shutil.rmtree(folder, ignore_errors=True)
    if prepared:
        prepare(prepared)
    if not (child := os.fork()):
        crash_at(step)
        globals()[do](Store.open(folder))
        os._exit(0)
    code, step = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), step + 1
    assert code in (0, 77)
    print(json.dumps(state(code)))
"""


def crashed_at_each_step(folder: Path, do: str, prepared: str = "", least: int = 11) -> list[dict]:
    """Return what is in the store after a crash at the first, second, … change of a file, and after none at last."""
    out, said = python(STEPS, folder, do, prepared).communicate()
    states = [json.loads(line) for line in out.splitlines()]
    assert said == ""
    assert [found["finished"] for found in states] == [False] * (len(states) - 1) + [True]
    assert len(states) >= least
    assert all(found["problems"] == [] and found["staging"] == [] for found in states)
    return states


def test_crash_at_each_step_of_a_run(tmp_path):
    found = [state["run"] for state in crashed_at_each_step(tmp_path / "out", "run")]
    whole = found.count({"value": 1.5, "key": "r"})
    assert 0 < whole < len(found)
    assert found == [None] * (len(found) - whole) + [{"value": 1.5, "key": "r"}] * whole


def test_crash_at_each_step_of_a_trial(tmp_path):
    found = [(state["trial"], state["arrays"]) for state in crashed_at_each_step(tmp_path / "out", "trial")]
    numbers = list(map(float, range(9)))
    stored = ({"made": "now", "key": "t"}, {"a": numbers, "b": numbers})
    whole = found.count(stored)
    assert 0 < whole < len(found)
    assert found == [(None, {})] * (len(found) - whole) + [stored] * whole


def test_crash_at_each_step_of_an_addition_to_a_trial(tmp_path):
    states = crashed_at_each_step(tmp_path / "out", "trial", prepared="plain")
    assert all(state["trial"] == {"made": "before", "key": "t"} for state in states)
    before = {"a": list(map(float, range(5)))}
    after = before | {"b": list(map(float, range(9)))}
    added = [state["arrays"] == after for state in states]
    assert added == sorted(added)
    assert not added[0]
    assert added[-1]
    assert all(state["arrays"] in (before, after) for state in states)


def test_crash_at_each_step_of_a_trial_whose_weights_are_held(tmp_path):
    """Both are there or neither; where the trial was there before, it gains them in one step."""
    for prepared in ("", "plain"):
        states = crashed_at_each_step(tmp_path / f"out{prepared}", "hold", prepared)
        found = [state["weights"] for state in states]
        assert found == sorted(found, key=bool)
        assert [found[0], found[-1]] == [None, ["layer.bin"]]
        assert all(bool(state["trial"]) == bool(prepared or state["weights"]) for state in states)


def test_crash_at_each_step_of_dropping_weights(tmp_path):
    """The trial is whole throughout, its weights are there or not, and nothing of them is left lying about."""
    states = crashed_at_each_step(tmp_path / "out", "drop", prepared="held", least=4)
    found = [state["weights"] for state in states]
    assert found == sorted(found, key=bool, reverse=True)
    assert [found[0], found[-1]] == [["layer.bin"], None]
    assert all(state["trial"] == {"made": "before", "key": "t"} for state in states)
    assert all(state["arrays"] == {"a": list(map(float, range(5)))} for state in states)


WRITER = """
import itertools, sys
import numpy as np
from sclaws.store import Store
store, start = Store.open(sys.argv[1]), int(sys.argv[2])
for i in itertools.count(start):
    with store.stage_trial(f"t{i}") as stage:
        stage.record = {"i": i}
        for name in "ab":
            stage.save_array(name, np.full(3000, i))
    store.put_run(f"r{i}", {"i": i, "draws": [i / 7] * 500})
    print(i, flush=True)
"""


def test_writer_killed_at_random_moments(tmp_path):
    """Two writers at a time, eleven times: what they said was stored is there; the rest is whole or absent."""
    chance, said, start = random.Random(0), set(), 0
    for _ in range(11):
        writers = [python(WRITER, tmp_path / "out", start + 1000 * n) for n in (1, 2)]
        start += 2000
        for writer in writers:
            writer.stdout.readline()  # it is at work
        time.sleep(chance.uniform(0, 0.03))
        for writer in writers:
            writer.kill()
            said |= {int(line) for line in writer.communicate()[0].split()}
            assert writer.returncode == -signal.SIGKILL
        store = Store.open(tmp_path / "out")
        assert os.listdir(store.folder / "staging") == []
        assert store.check() == []
        assert {f"r{i}" for i in said} <= store.runs()
        assert {f"t{i}" for i in said} <= store.trials()
    assert said
    for key in store.runs():
        i = int(key[1:])
        assert store.run(key) == {"i": i, "draws": [i / 7] * 500, "key": key}
    for key in store.trials():
        i = store.trial(key)["i"]
        assert key == f"t{i}"
        for name in "ab":
            np.testing.assert_array_equal(store.array(key, name), np.full(3000, i))


def test_many_writers_of_one_trial_leave_one_whole(store):
    def write(value: int) -> None:
        with Store.open(store.folder).stage_trial("t") as staged:
            staged.record = {"value": value}
            staged.save_array("x", np.full(1000, value))

    writers = [threading.Thread(target=write, args=(value,)) for value in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert (store.array("t", "x") == store.trial("t")["value"]).all()
    assert store.check() == []


# ── leases ───────────────────────────────────────────────────────────────────────────────────────────────────────────
HOLDER = """
import sys, time
from sclaws.store import Store
with Store.open(sys.argv[1]).lease("b") as mine:
    print(mine, flush=True)
    time.sleep(60)
"""


def test_lease_is_held_once_and_given_back(store):
    with store.lease("b") as mine:
        assert mine
        with store.lease("b") as again, store.lease("other") as other:
            assert not again
            assert other
    with store.lease("b") as mine:
        assert mine


def test_lease_is_given_back_after_an_error(store):
    with pytest.raises(RuntimeError, match="lost"), store.lease("b"):
        raise RuntimeError("lost")
    with store.lease("b") as mine:
        assert mine


def test_lease_of_a_living_process_is_respected_and_of_a_killed_one_taken_at_once(store):
    holder = python(HOLDER, store.folder)
    assert holder.stdout.readline() == "True\n"
    long_ago = time.time() - 10 * leases.STALE
    os.utime(store.folder / "leases" / "b.lease", (long_ago, long_ago))  # on one machine the process counts
    with store.lease("b") as mine:
        assert not mine
    holder.kill()
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)  # dead, but not yet buried by its parent
    started = time.monotonic()
    with store.lease("b") as mine:
        assert mine
    assert time.monotonic() - started < leases.BEAT
    holder.communicate()


def test_number_given_to_another_process_deceives_nobody(store):
    where, pid, start, rest = leases.owned_name().split("-")
    (store.folder / "leases" / "b.lease").write_text(f"{where}-{pid}-{int(start) - 1}-{rest}")
    with store.lease("b") as mine:
        assert mine


@pytest.mark.parametrize("holder", ["00000000-1-2-abcdef01", "", "\0\0\0"])
def test_holder_elsewhere_is_judged_by_its_heartbeat(store, holder):
    path = store.folder / "leases" / "b.lease"
    path.write_text(holder)
    with store.lease("b") as mine:
        assert not mine
    for age, free in ((leases.STALE - 20, False), (leases.STALE + 20, True)):
        os.utime(path, (time.time() - age,) * 2)
        with store.lease("b") as mine:
            assert mine is free


def test_waiting_for_holders_ends_as_soon_as_they_are_known_to_live_or_die(store, monkeypatch):
    """One lives here, one beats elsewhere, one is silent elsewhere, one is free; the silent one is waited for."""
    monkeypatch.setattr(leases, "STALE", 1.0)
    monkeypatch.setattr(leases, "BEAT", 0.1)
    folder, stop = store.folder / "leases", threading.Event()
    for name in ("beats", "silent"):
        (folder / f"{name}.lease").write_text("00000000-1-2-abcdef01")

    def beat():
        while not stop.wait(0.05):
            os.utime(folder / "beats.lease")

    beating = threading.Thread(target=beat)
    with store.lease("here"):
        assert store.freed(["here", "free"]) == {"free"}
        beating.start()
        started = time.monotonic()
        assert store.freed(["here", "beats", "free"]) == {"free"}
        assert time.monotonic() - started < 0.9, "a sign of life is enough"
        assert store.freed(["here", "beats", "silent", "free"]) == {"free", "silent"}
        assert time.monotonic() - started > 0.9, "its silence could be that of a long kernel"
    stop.set()
    beating.join()


def test_a_folder_that_somebody_else_should_have_made_is_not_made(tmp_path):
    with pytest.raises(StoreError, match=f"{tmp_path / 'out'} is not there on the machine .*all machines share"):
        Store.open(tmp_path / "out", new=False)
    assert not (tmp_path / "out").exists()
    Store.open(tmp_path / "out")
    assert Store.open(tmp_path / "out", new=False).folder == tmp_path / "out"


def test_heart_beats_and_only_for_its_own_lease(store, monkeypatch):
    monkeypatch.setattr(leases, "BEAT", 0.01)
    path = store.folder / "leases" / "b.lease"

    def beats() -> bool:
        os.utime(path, (1, 1))
        deadline = time.monotonic() + 1.0
        while path.stat().st_mtime == 1 and time.monotonic() < deadline:
            time.sleep(0.01)
        return path.stat().st_mtime > 1

    with store.lease("b") as mine:
        assert mine
        assert beats()
        path.write_text("00000000-1-2-abcdef01")  # somebody took it while this machine slept
        assert not beats()
    assert path.exists(), "the lease of another was given back"


def test_start_of_a_process_tells_it_from_others(store):
    with python("input()", stdin=subprocess.PIPE) as later:
        mine, its = leases.started(os.getpid()), leases.started(later.pid)
        assert int(its) > int(mine)
        later.communicate("\n")
    assert leases.started(later.pid) == ""


def test_lease_of_the_dead_is_taken_by_one(store, monkeypatch):
    def slowly(path, lock):
        judged = held(path, lock)
        time.sleep(0.05)  # time enough for all others to judge the same
        return judged

    def take() -> None:
        with store.lease("b") as mine:
            taken.append(mine)
            everybody.wait(timeout=30)

    held, taken, everybody = leases._held, [], threading.Barrier(4)
    monkeypatch.setattr(leases, "_held", slowly)
    where, pid, start, rest = leases.owned_name().split("-")
    (store.folder / "leases" / "b.lease").write_text(f"{where}-{pid}-{int(start) - 1}-{rest}")
    takers = [threading.Thread(target=take) for _ in range(4)]
    for taker in takers:
        taker.start()
    for taker in takers:
        taker.join()
    assert sorted(taken) == [False, False, False, True]


RACER = """
import os, sys
from sclaws.store import Store
store, inside = Store.open(sys.argv[1]), sys.argv[2]
sys.stdin.read(1)
won = 0
for _ in range(60):
    with store.lease("b") as mine:
        if mine:
            os.close(os.open(inside, os.O_CREAT | os.O_EXCL))  # fails if another is inside
            won += 1
            os.unlink(inside)
            if won == 5:
                os.kill(os.getpid(), 9)  # dies with the lease
print(won)
"""


def test_lease_has_one_holder_under_a_race_for_what_the_dead_left(store, tmp_path):
    racers = [python(RACER, store.folder, tmp_path / "inside", stdin=subprocess.PIPE) for _ in range(4)]
    said = [racer.communicate("x")[1] for racer in racers]
    assert said == [""] * 4
    with store.lease("b") as mine:
        assert mine


# ── scratch of trainings ─────────────────────────────────────────────────────────────────────────────────────────────
def interrupted(store, *keys) -> Path:
    """Leave a file in the scratch of a training that is interrupted."""
    return stopped(store, KeyboardInterrupt(), *keys)[0]


def stopped(store, ending: BaseException, *keys) -> tuple[Path, list[str]]:
    """Enter the scratch, look, leave a file and end in this way; return the folder and what was in it."""
    try:
        with store.scratch(*keys) as folder:
            there = os.listdir(folder)
            (folder / "half").write_text("1")
            raise ending
    except type(ending):
        return folder, there


def test_scratch_outlives_an_interruption_and_not_its_trial(store):
    assert interrupted(store, "t1") == store.folder / "training" / "t1"
    interrupted(store, "t2")
    stage(store, "t2", "a")
    Store.open(store.folder)
    assert os.listdir(store.folder / "training") == ["t1"]  # t2 is finished, t1 is not
    with store.scratch("t1") as folder:
        assert (folder / "half").read_text() == "1"
    assert os.listdir(store.folder / "training") == []


def test_scratch_goes_with_an_error(store):
    stopped(store, ValueError("diverged"), "t1")
    assert os.listdir(store.folder / "training") == []


def test_scratch_of_several_trials_is_theirs_in_any_order_until_all_are_there(store):
    folder = interrupted(store, "t1", "t2")
    assert folder.name not in ("t1", "t2")
    stage(store, "t1", "a")
    Store.open(store.folder)
    assert stopped(store, KeyboardInterrupt(), "t2", "t1") == (folder, ["half"])
    stage(store, "t2", "a")
    Store.open(store.folder)
    assert os.listdir(store.folder / "training") == []


def test_scratch_of_a_trial_that_is_trained_again_at_this_moment_stays(store):
    """A finished trial without weights is trained anew for another question: opening the store elsewhere spares it."""
    stage(store, "t1", "a")
    with store.lease("t1"), store.scratch("t1") as folder:
        (folder / "half").write_text("1")
        Store.open(store.folder)
        assert (folder / "half").exists()
