"""6,400 evaluations of tiny models: what sclaws itself costs a run, the size of the store, how long a look at it takes.

    OMP_NUM_THREADS=1 python benchmarks/overhead.py [--cells 20] [--engine serial]

Time within ``fit``, ``embed`` and a score's call is the model's and the score's; everything else is overhead, and is
measured: each instant counts for the innermost function of the list below that it is spent in. One process, serial, or
``--engine processes`` for the wall clock and the memory of workers (there nothing inside a worker is taken apart).
Afterwards fresh processes look at the finished study: ``status``, ``run`` again, ``report``; the time that a process
takes to load the same modules is told beside them.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sclaws import grid, sweep
from sclaws.models import pca, random_projection
from sclaws.scores import gaussian
from sclaws.signals import obsm
from sclaws.store import Stage, Store, documents, leases
from sclaws.study import Study, collect
from sclaws.trial import data, scoring

TOML = """
name = "overhead"
replicates = {replicates}
dataset = {{ use = "simulated-tissue", n_cells = 600, n_genes = 100, n_programmes = 2, n_proteins = 2 }}
split = {{ test = 0.4, valid = 0.1 }}
models = [{{ use = "random-projection", dim = 4 }}, {{ use = "pca", dim = 4 }}]
signals = {{ use = "obsm", key = "protein" }}
scores = ["gaussian", {{ use = "gaussian", margins = "as-is" }}]
levels.n_cells = {{ log = [30, 300, {cells}] }}
levels.umis_per_cell = {{ log = [100, 1500, {depths}] }}
engine = {engine}
"""
ENGINES = {"serial": '"serial"', "processes": '{ use = "processes", workers = 2 }'}
FUNCTIONS: dict[str, list[tuple[Any, str]]] = {
    "fit": [(random_projection.RandomProjection, "fit"), (pca.PCA, "fit")],
    "embed": [(random_projection.TrainedProjection, "embed"), (pca.TrainedPCA, "embed")],
    "score": [(gaussian.Gaussian, "__call__")],
    "cells: split, thin, choose, measure": [(data, "cells"), (data, "tested"), (data, "parts"), (data, "_measure")],
    "signals": [(obsm.Obsm, "pairs")],
    "store: reads": [(Store, name) for name in ("_get", "_marker", "array")],
    "store: writes": [(Store, "_put"), (Store, "_publish"), (Stage, "save_array"), (Store, "forget_failure")],
    "store: syncs of the disk": [(documents, "sync")],
    "store: leases, locks": [(leases, "lease"), (leases, "locked")],
    "store: opening": [(Store, "open")],
    "records": [(scoring, "record")],
}
MODELS = ("fit", "embed", "score")


class Clock:
    """Seconds and calls by name; an instant counts for the innermost name."""

    def __init__(self) -> None:
        self.seconds: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self.stack = ["the rest"]
        self.since = time.perf_counter()

    def turn(self) -> None:
        """Book the time since the last turn."""
        now = time.perf_counter()
        self.seconds[self.stack[-1]] += now - self.since
        self.since = now

    @contextmanager
    def within(self, name: str) -> Iterator[None]:
        """Book the block on a name."""
        self.turn()
        self.stack.append(name)
        self.calls[name] += 1
        try:
            yield
        finally:
            self.turn()
            self.stack.pop()

    def wrapped(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function on the clock; a context manager is on it when it is entered and left."""

        @contextmanager
        def entering(made: Any) -> Iterator[Any]:
            with self.within(name):
                value = made.__enter__()
            try:
                yield value
            finally:
                with self.within(name):
                    made.__exit__(None, None, None)

        def timed(*args: Any, **more: Any) -> Any:
            with self.within(name):
                made = function(*args, **more)
            return entering(made) if hasattr(made, "__enter__") and "lock" in name else made

        return timed


def watch(clock: Clock) -> None:
    """Put every function of the list on the clock."""
    for name, places in FUNCTIONS.items():
        for owner, function in places:
            found = vars(owner)[function]
            plain = found.__func__ if isinstance(found, classmethod) else found
            made = clock.wrapped(name, plain)
            setattr(owner, function, classmethod(made) if isinstance(found, classmethod) else made)


def timed(what: str, do: Callable[[], Any], n: int) -> Any:
    """Do it; print the seconds, and milliseconds a run."""
    began = time.perf_counter()
    found = do()
    took = time.perf_counter() - began
    print(f"{what:<42}{took:9.2f} s {1000 * took / n:9.2f} ms a run", flush=True)
    return found


def look(file: Path, n: int) -> None:
    """Time the verbs on a finished study, each in a fresh process."""
    start = (
        "from sclaws import cli; import sclaws.study, anndata; from sclaws.plugins import names, load; "
        "[load(family, name) for family, name in (('datasets', 'simulated-tissue'), ('models', 'pca'), "
        "('models', 'random-projection'), ('axes', 'n_cells'), ('axes', 'umis_per_cell'), ('signals', 'obsm'), "
        "('scores', 'gaussian'), ('laws', 'noise'))]"
    )
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "check": True}
    timed("start of Python, modules loaded", lambda: subprocess.run([sys.executable, "-c", start], **quiet), n)
    for verb in (["status"], ["run", "--dry-run"], ["keys"], ["run"], ["report"]):
        command = [sys.executable, "-m", "sclaws", verb[0], str(file), *verb[1:]]
        timed(f"sclaws {' '.join(verb)}, finished", lambda command=command: subprocess.run(command, **quiet), n)


def size(folder: Path) -> tuple[int, int, int]:
    """Return files, bytes, and bytes on the disk."""
    found = [path.stat() for path in folder.rglob("*") if path.is_file()]
    return len(found), sum(f.st_size for f in found), sum(f.st_blocks * 512 for f in found)


def sweep_it(study: Study, engine: str) -> None:
    """Run every step of a study by itself, timed."""
    runs = timed("words -> runs", lambda: study.runs, 1)
    n = len(runs)
    print(f"{n} runs of {len({r.trial.key for r in runs})} trials")
    timed("check", study.check, n)
    store = timed("opening the store", lambda: Store.open(study.out), n)
    for key, info in study._infos.items():
        store.put_dataset(key, info)
    todo = timed("plan of an empty store", study.plan, n)
    clock = Clock()
    if engine == "serial":
        watch(clock)
    clock.since = time.perf_counter()
    began = time.perf_counter()
    done = timed("sweep", lambda: sweep.run(todo, study.engine, store, lambda *_: None), n)
    wall = time.perf_counter() - began
    clock.turn()
    print(f"trained {len(done.trained)}, scored {len(done.scored)}, failed {len(done.failed)}, items {len(todo.items)}")
    if engine == "serial":
        for name, seconds in clock.seconds.most_common():
            print(f"  {name:<40}{seconds:9.2f} s {1000 * seconds / n:9.2f} ms a run {clock.calls[name]:9} calls")
        own = wall - sum(clock.seconds[name] for name in MODELS)
        print(f"  {'sclaws itself: all but fit, embed, score':<40}{own:9.2f} s {1000 * own / n:9.2f} ms a run")
    timed("plan of a finished store", lambda: sweep.plan(runs, store, study.settings(), study._sizes()), n)
    timed("store.runs(), every byte verified", store.runs, n)
    table = timed("table", lambda: collect.table(runs, store), n)
    timed("table written", lambda: table.write(study.out), n)
    files, content, disk = size(store.folder)
    print(f"store: {files} files, {content / 1e6:.1f} MB in {disk / 1e6:.1f} MB of disk")


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=20)
    parser.add_argument("--depths", type=int, default=20)
    parser.add_argument("--replicates", type=int, default=4)
    parser.add_argument("--engine", choices=ENGINES, default="serial")
    parser.add_argument("--folder", type=Path, help="results stay here, and are looked at if they are there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        folder.mkdir(exist_ok=True, parents=True)
        file = folder / "overhead.toml"
        levels = {name: getattr(given, name) for name in ("cells", "depths", "replicates")}
        file.write_text(TOML.format(engine=ENGINES[given.engine], **levels))
        sweep_it(Study.read(file), given.engine)
        for who, name in ((resource.RUSAGE_SELF, "driver"), (resource.RUSAGE_CHILDREN, "largest worker")):
            print(f"peak memory, {name}: {resource.getrusage(who).ru_maxrss / 1024:.0f} MB")
        look(file, len(grid.runs(Study.read(file).words)))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
