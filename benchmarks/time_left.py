"""How right the time left is that a run shows: predicted against actual at 10, 25 and 50 % of two studies.

    OMP_NUM_THREADS=1 python benchmarks/time_left.py [demo | mixed]

``demo`` is the study of ``sclaws demo``: many short trials. ``mixed`` has pca, scvi and a small transformer, whose
costs differ a hundredfold, as they were measured elsewhere. Two workers, an empty store, nothing calibrated.
"""

import sys
import tempfile
import time
from importlib.resources import files
from pathlib import Path

from sclaws import sweep
from sclaws.store import Store
from sclaws.study import Study

MIXED = """
name = "mixed"
replicates = 3
dataset = { use = "simulated-tissue", n_cells = 2000, n_genes = 150 }
split = { test = 0.4, valid = 0.1 }
models = [
  { use = "pca", dim = 8 },
  { use = "scvi", n_latent = 8, n_hidden = 32, max_updates = 1200 },
  { use = "masked-reconstruction", size = "TINY", n_genes = 100, max_updates = 500 },
]
signals = { use = "obsm", key = "protein" }
scores = ["gaussian", "ksg"]
engine = { use = "processes", workers = 2 }
levels.n_cells = [200, 400, 900]
levels.umis_per_cell = [100, 400, 1500]
"""


def main(which: str) -> None:
    """Run a study and print the table."""
    text = MIXED if which == "mixed" else files("sclaws.studies").joinpath("demo.toml").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        study = Study.parse(text, name=which, folder=Path(folder))
        study.check()
        store = Store.open(study.out)
        for key, info in study._infos.items():
            store.put_dataset(key, info)
        todo = study.plan()
        began = time.time()
        said = [(0.0, todo.seconds / (getattr(study.engine, "workers", None) or 1))]
        done = sweep.run(todo, study.engine, store, lambda left, _: said.append((time.time() - began, left)))
    whole = said[-1][0]
    print(f"{which}: {len(done.trained)} trials, {len(done.scored)} runs, {len(todo.items)} items, {whole:.0f} s")
    print("failed:", len(done.failed))
    for share in (0.0, 0.1, 0.25, 0.5, 0.75):
        passed, left = next(each for each in said if each[0] >= share * whole)
        came = whole - passed
        print(f"at {passed / whole:4.0%}: {left:6.0f} s predicted, {came:6.0f} s came: {left / came:.2f}")


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["demo"]))
