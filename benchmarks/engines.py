"""One study on each engine of this machine, same run: seconds, what an engine costs at its start and for each item.

    OMP_NUM_THREADS=1 python benchmarks/engines.py

The study is the demo's grid (63 trials, 126 runs on 6,000 simulated cells), in bundles as a sweep makes them; timed is
the sweep, from the plan to the last result, without fits and report. This process has everything loaded by then: that
is ``serial``'s advantage; workers load it for themselves. Start-up: until the first of two trivial items is back, in a
session of its own. An item: 500 trivial ones, the first two apart. The tables are compared byte by byte.
"""

import argparse
import math
import os
import tempfile
import time
from importlib.resources import files
from pathlib import Path

from sclaws import sweep
from sclaws import trial as trials
from sclaws.plugins import Spec
from sclaws.protocols import Engine
from sclaws.store import Store
from sclaws.study import Study

ENGINES = ("serial", "processes", "ray")


def swept(engine: Engine, text: str, out: Path) -> tuple[float, bytes]:
    """Return the seconds that a sweep takes, and its table."""
    study = Study.parse(text, name="engines", folder=out)
    store = Store.open(study.out)
    study.check()
    todo = study.plan()
    trials.forget()
    began = time.perf_counter()
    done = sweep.run(todo, engine, store, lambda cost, done: None)
    seconds = time.perf_counter() - began
    assert len(done.trained) == todo.n_trials
    study.table().write(study.out)
    return seconds, (study.out / "table.csv").read_bytes()


def trivial(engine: Engine, items: int) -> tuple[float, float]:
    """Return seconds until the first result, and for each later item."""
    began = time.perf_counter()
    results = engine.map(math.sqrt, range(items + 2))
    next(results)
    first = time.perf_counter() - began
    next(results)
    began = time.perf_counter()
    assert all(result == math.sqrt(item) for item, result in results)
    return first, (time.perf_counter() - began) / items


def main() -> None:
    """Print a table in the form that stands in docs/cluster.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=500)
    args = parser.parse_args()
    text = files("sclaws.studies").joinpath("demo.toml").read_text(encoding="utf-8")
    print(f"{os.cpu_count()} cores\n")
    print("| engine | start-up, s | an item, ms | the study, s | over serial's |\n|---|---|---|---|---|")
    tables, reference = set(), math.nan
    with tempfile.TemporaryDirectory() as folder:
        small = text.replace("replicates = 3", "replicates = 1").replace("n_cells = 6000", "n_cells = 600")
        swept(Spec.of("engines", "serial").build(), small.replace("300, 1000", "50, 100"), Path(folder))  # load all
        for name in ENGINES:
            engine = Spec.of("engines", name).build()
            first, each = trivial(engine, args.items)
            (out := Path(folder) / name).mkdir()
            seconds, table = swept(engine, text, out)
            reference = seconds if name == "serial" else reference
            tables.add(table)
            ratio = f"{seconds / reference:.2f}"
            print(f"| `{name}` | {first:.2f} | {1e3 * each:.2f} | {seconds:.1f} | {ratio} |", flush=True)
    print(f"\nthe tables are {'the same, byte for byte' if len(tables) == 1 else 'NOT the same'}")


if __name__ == "__main__":
    main()
