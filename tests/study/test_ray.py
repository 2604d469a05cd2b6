"""A study on Ray: the table of every other engine, whatever is killed; nothing lost, nothing done twice."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
HERE = Path(__file__).parent
SRC = HERE.parents[1] / "src"
ENVIRONMENT = os.environ | {
    "PYTHONPATH": str(SRC), "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"
}  # fmt: skip
MODEL = '''
import os, time
from pathlib import Path
import numpy as np

BOOK = Path(__file__).parent / "book"


class Noting:
    """Writes down who begins and who ends which training, and takes its time in between."""

    def cost(self, n_cells, n_features):
        return 10.0  # each is worth a worker's while

    def fit(self, train, valid, *, seed):
        name = f"{seed}.{int(train.to_adata().X.sum())}-{os.getpid()}-{time.time_ns()}"
        (BOOK / f"begun-{name}").touch()
        time.sleep(4.0)  # long beside what it takes to remove a machine, or to store what was trained
        (BOOK / f"ended-{name}").touch()
        return Sums(np.random.default_rng(seed).normal(size=(train.n_vars, 4)))


class Sums:
    def __init__(self, weights):
        self.weights = weights

    def embed(self, view):
        return np.asarray(view.to_adata().X @ self.weights)
'''


def until(condition, seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def start(study: Path, out: str, engine: str) -> subprocess.Popen[str]:
    """Start a sweep on an engine; all sweeps have the same words otherwise."""
    path = study.with_name(f"{out}.toml")
    path.write_text(study.read_text().replace('engine = "serial"', f"engine = {engine}"))
    words = [sys.executable, "-m", "sclaws", "run", str(path), "--out", str(study.parent / out)]
    return subprocess.Popen(words, env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(sweep: subprocess.Popen[str], out: Path) -> bytes:
    """Return the table of a sweep that ends well."""
    _, said = sweep.communicate(timeout=240)
    assert sweep.returncode == 0, said
    return (out / "table.csv").read_bytes()


class Cluster:
    """Machines with one core each, on loopback; see ``ray_cluster``."""

    def __init__(self) -> None:
        words = [sys.executable, str(HERE / "ray_cluster.py")]
        self.process = subprocess.Popen(
            words, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.engine = f'{{ use = "ray", address = "{self.process.stdout.readline().strip()}" }}'

    def tell(self, word: str) -> None:
        self.process.stdin.write(f"{word}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline()


@pytest.fixture(scope="module")
def cluster():
    pytest.importorskip("ray", reason="the engine ray is an extra: pip install 'sclaws[ray]'")
    found = Cluster()
    with found.process:  # it ends when there is nothing more to be told
        found.tell("add")
        found.tell("add")
        yield found


@pytest.fixture
def noting(study: Path) -> Path:
    """Eight trainings that write down when they begin and end."""
    (study.parent / "mine.py").write_text(MODEL)
    text = study.read_text()
    models = '["random-projection", { use = "pca", dim = 4 }]'
    assert models in text
    study.write_text(text.replace(models, '"mine.py:Noting"'))
    (study.parent / "book").mkdir()
    return study


def book(study: Path, what: str) -> Counter[str]:
    """Return {training: how often} of what was written down."""
    return Counter(path.name.split("-")[1] for path in (study.parent / "book").glob(f"{what}-*"))


def workers(study: Path) -> dict[str, int]:
    """Return {training: process} of those that have begun and not ended."""
    ended = book(study, "ended")
    begun = [path.name.split("-") for path in (study.parent / "book").glob("begun-*")]
    return {training: int(pid) for _, training, pid, _ in begun if training not in ended}


def alone(study: Path) -> bytes:
    """Return the table of one process, and clear the book."""
    table = finish(start(study, "serial", '"serial"'), study.parent / "serial")
    assert list(book(study, "ended").values()) == [1] * 8
    for path in (study.parent / "book").iterdir():
        path.unlink()
    return table


def results(out: Path) -> dict[str, tuple[int, int]]:
    """Return {result: (inode, time of last change)} of everything that is published."""
    found = [*out.glob("trials/*/trial.json"), *out.glob("runs/*.json")]
    return {str(p.relative_to(out)): (p.stat().st_ino, p.stat().st_mtime_ns) for p in found}


def test_every_engine_gives_the_same_table(study, cluster):
    more = '{ use = "pca", dim = 4 }, { use = "masked-autoencoder", widths = [16], dim = 4, max_updates = 20 }'
    study.write_text(study.read_text().replace('{ use = "pca", dim = 4 }', more))
    engines = {"one": '"serial"', "several": '{ use = "processes", workers = 2 }', "ray": cluster.engine}
    tables = {name: finish(start(study, name, engine), study.parent / name) for name, engine in engines.items()}
    assert tables["one"].count(b"\n") > 20
    assert tables["ray"] == tables["several"] == tables["one"]


def test_a_killed_worker_and_a_lost_machine_cost_nothing(noting, cluster):
    """A worker is killed in the middle of a training; then a machine is, and another one joins the cluster."""
    table = alone(noting)
    sweep = start(noting, "out", cluster.engine)
    until(lambda: workers(noting))
    killed, pid = next(iter(workers(noting).items()))
    os.kill(pid, signal.SIGKILL)
    until(lambda: book(noting, "begun")[killed] == 2 and len(workers(noting)) == 2)
    cluster.tell("remove")
    cluster.tell("add")
    assert finish(sweep, noting.parent / "out") == table
    assert list(book(noting, "ended").values()) == [1] * 8
    begun = book(noting, "begun")
    assert begun[killed] >= 2
    assert sum(begun.values()) == 8 + 2, "one was begun again for the worker, one for the machine, and no other"


def test_a_killed_driver_costs_nothing(noting, cluster):
    table = alone(noting)
    out = noting.parent / "out"
    sweep = start(noting, "out", cluster.engine)
    until(lambda: len(results(out)) >= 4 and len(workers(noting)) == 2)
    left = workers(noting)
    sweep.send_signal(signal.SIGKILL)
    sweep.communicate()
    seen = results(out)
    assert len(list(out.glob("trials/*/trial.json"))) < 8
    assert finish(start(noting, "out", cluster.engine), out) == table
    now = results(out)
    assert {name: now.get(name) for name in seen} == seen, "a finished result was lost or made again"
    assert list(book(noting, "ended").values()) == [1] * 8
    again = {training for training, times in book(noting, "begun").items() if times > 1}
    assert again <= set(left), "a training that had ended was begun again"
    assert not list((out / "leases").glob("*.lease"))
