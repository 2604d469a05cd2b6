"""Two sweeps on one store at once: between them every trial is trained once, and the table is that of one alone."""

import json
import subprocess
import sys
from pathlib import Path

from sclaws.study import Study

MANY = """
replicates = 3
dataset = { use = "h5ad", path = "cells.h5ad" }
engine = "serial"
models = ["random-projection", { use = "random-projection", dim = 4 }]
signals = [{ use = "obsm", key = "protein" }]
scores = ["gaussian", { use = "gaussian", margins = "as-is" }]
split = { test = 0.5, valid = 0.1 }
levels.umis_per_cell = [20, 60, 150, "all"]
levels.n_cells = { log = [40, 150, 10] }
"""
SWEEP = """
import json, sys
from sclaws import sweep
from sclaws.store import Store
from sclaws.study import Study
study = Study.read(sys.argv[1], out=sys.argv[2])
study.check()
todo, store = study.plan(), Store.open(study.out)
print("ready", flush=True)
sys.stdin.readline()
done = sweep.run(todo, study.engine, store, lambda *_: None)
print(json.dumps([done.trained, done.scored, done.failed]))
"""


def started(study: Path, out: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SWEEP, str(study), str(out)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_two_sweeps_at_once(study: Path) -> None:
    """240 trials and 480 runs; both have planned all of them before either begins."""
    study.write_text(MANY)
    out = study.parent / "out"
    both = [started(study, out) for _ in range(2)]
    for each in both:
        assert each.stdout.readline() == "ready\n"
    for each in both:
        each.stdin.write("go\n")
        each.stdin.flush()
    said = [json.loads(each.communicate()[0]) for each in both]
    trained, scored = ([key for one in said for key in one[place]] for place in (0, 1))
    assert min(len(one[0]) for one in said) > 0, "one did all the work, and nothing was tested"
    assert len(trained) == len({*trained}) == 240
    assert len(scored) == len({*scored}) == 480
    assert not any(one[2] for one in said)
    opened = Study.read(study, out=out)
    assert (opened.plan().items, opened.store.check()) == ((), [])
    alone = started(study, study.parent / "alone")
    alone.communicate("go\n")
    tables = [Study.read(study, out=study.parent / name).table().frame for name in ("out", "alone")]
    assert len(tables[0]) == 480
    assert tables[0].equals(tables[1])
