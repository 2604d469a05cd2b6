"""Every estimator on problems of exactly known information: the 40 published tasks, and our own.

    python benchmarks/mi_tasks.py ../shared/mi_tasks            # the 40 tasks of cbg-ethz/bmi, as sampled there
    python benchmarks/mi_tasks.py own                           # problems of _problems.py, 3,000 cells each
    python benchmarks/mi_tasks.py labels --scores probe,ksg,lmi,infonce,auto
    python benchmarks/mi_tasks.py ../shared/mi_tasks --cells 2500 --part 1 --seed 3      # other cells, another seed

Prints nats: the truth, every estimator's error, and auto's interval. About 40 s a task on one core.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from sclaws.errors import ScoreError
from sclaws.scores.auto import Auto
from sclaws.scores.gaussian import Gaussian
from sclaws.scores.infonce import InfoNCE
from sclaws.scores.ksg import KSG
from sclaws.scores.lmi import LMI
from sclaws.scores.probe import LabelProbe

BIT = np.log(2)
CONTINUOUS = "gaussian,ksg,lmi,infonce,auto"
SCORES = {
    "gaussian": Gaussian(), "ksg": KSG(), "lmi": LMI(), "infonce": InfoNCE(), "probe": LabelProbe(), "auto": Auto(),
}  # fmt: skip


def tasks(where: str, cells: int, part: int, seed: int):
    """Yield (name, x, y, nats)."""
    if where in ("own", "labels"):
        from _problems import LABELS, PROBLEMS

        for name, (draw, nats) in (PROBLEMS if where == "own" else LABELS).items():
            yield name, *draw(np.random.default_rng([7, seed]), cells or 3000), nats
        return
    for path in sorted(Path(where).glob("*.npz")):
        given = np.load(path)
        rows = slice(part * cells, (part + 1) * cells) if cells else slice(None)
        yield path.stem, given["x"][rows], given["y"][rows], float(given["mi_nats"])


def measured(x, y, scores, seed):
    found = {}
    for name in scores:
        start = time.process_time()
        try:
            got = SCORES[name].estimate(x, y, seed=seed)
        except ScoreError as error:
            print(f"    {name}: {error}")
            continue
        found[name] = {
            "value": got.value * BIT, "low": got.low * BIT, "high": got.high * BIT, "stderr": got.stderr * BIT,
            "verdict": got.verdict, "details": dict(got.details), "seconds": time.process_time() - start,
        }  # fmt: skip
    return found


def main() -> None:
    parse = argparse.ArgumentParser()
    parse.add_argument("where")
    parse.add_argument("--scores", default=CONTINUOUS)
    parse.add_argument("--only", default="")
    parse.add_argument("--cells", type=int, default=0)
    parse.add_argument("--part", type=int, default=0)
    parse.add_argument("--seed", type=int, default=0)
    parse.add_argument("--json", type=Path)
    given = parse.parse_args()
    scores = given.scores.split(",")
    print(f"{'task':<48} {'nats':>6} " + " ".join(f"{name:>8}" for name in scores) + "   auto's interval")
    rows = {}
    for name, x, y, nats in tasks(given.where, given.cells, given.part, given.seed):
        if given.only not in name:
            continue
        found = measured(x, y, scores, given.seed)
        rows[name] = {"nats": nats, **found}
        errors = " ".join(f"{found[s]['value'] - nats:>8.3f}" if s in found else f"{'-':>8}" for s in scores)
        print(f"{name:<48} {nats:>6.3f} {errors}   {interval(found, nats)}", flush=True)
        if given.json:
            given.json.write_text(json.dumps(rows))
    summary(rows, scores)


def interval(found, nats) -> str:
    if "auto" not in found:
        return ""
    auto = found["auto"]
    inside = "" if auto["low"] <= nats <= auto["high"] else "MISSED "
    return f"{inside}{auto['low']:.3f} to {auto['high']:.3f} by {auto['details']['chosen']}: {auto['verdict']}"


def summary(rows, scores) -> None:
    for name in scores:
        got = [(row[name], row["nats"]) for row in rows.values() if name in row]
        error = np.array([g["value"] - nats for g, nats in got])
        inside = np.mean([g["low"] <= nats <= g["high"] for g, nats in got])
        width = np.median([g["high"] - g["low"] for g, _ in got])
        seconds = np.mean([g["seconds"] for g, _ in got])
        size = np.abs(error)
        told = f"mean |error| {size.mean():.3f} nats, median {np.median(size):.3f}, mean {error.mean():+.3f}"
        print(f"{name:<9} {len(got)} tasks: {told}; covered {inside:.0%}, median width {width:.3f}; {seconds:.1f} s")


if __name__ == "__main__":
    main()
