"""How often do 95 % intervals hold the truth, how wide are they, and are they worth their width? Beside scipy's.

    python benchmarks/intervals.py --simulations 2000

Curves of known laws with normal errors, of which a share rho of the variance is common to the points of a replicate.
Ours: profile intervals of ``sclaws.fit.fit``, told the replicates. Beside them what is usually done: the estimate of
``scipy.optimize.curve_fit``, started at the truth, plus and minus 1.96 of its standard errors. Widths and scores of
parameters that are searched as logarithms (u_bar, n_sat, ...) are in decades. The interval score (Gneiting & Raftery
2007) is the width plus 40 times what the truth lies outside; an end beyond the stated range, or an open one, counts as
the end of the range, so that an open interval costs its whole range and a wide one wins nothing. The binomial error
of a coverage of .95 in 2,000 simulations is .005.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pandas as pd
from scipy import optimize

from sclaws.fit import fit
from sclaws.fit.problem import parameters
from sclaws.laws.noise import Noise
from sclaws.laws.power_with_floor import PowerWithFloor
from sclaws.laws.saturating_power import SaturatingPower
from sclaws.protocols import Law, Param

CHUNK = 250


@dataclass(frozen=True)
class PlainJoint:
    """The noise law with a ceiling that saturates with the number of cells and a depth that shifts with it."""

    inputs: ClassVar = ("depth", "cells")
    params: ClassVar = {
        "i_inf": Param(0.0, 20.0, "bits"),
        "n_sat": Param(1e-3, 1e6, "cells", log=True),
        "s": Param(0.05, 3.0, log=True),
        "u_ref": Param(1e-2, 1e6, "unit of the depth", log=True),
        "g": Param(-2.0, 2.0),
    }

    def predict(self, x, theta):
        ceiling = theta["i_inf"] * (1 - 1 / (1 + (x["cells"] / theta["n_sat"]) ** theta["s"]))
        depth = theta["u_ref"] * (x["cells"] / 1e4) ** theta["g"]
        return Noise().predict({"depth": x["depth"]}, {"i_max": ceiling, "u_bar": depth})


@dataclass(frozen=True)
class PlainChinchilla:
    """L = E + A·P^−α + B·D^−β."""

    inputs: ClassVar = ("size", "data")
    params: ClassVar = {
        "E": Param(0.0, 10.0, "nats", linear=True),
        "A": Param(1e-3, 1e7, log=True, linear=True),
        "alpha": Param(0.01, 2.0, log=True),
        "B": Param(1e-3, 1e7, log=True, linear=True),
        "beta": Param(0.01, 2.0, log=True),
    }

    def predict(self, x, theta):
        first = theta["A"] * np.exp(-theta["alpha"] * np.log(x["size"]))
        return theta["E"] + first + theta["B"] * np.exp(-theta["beta"] * np.log(x["data"]))


@dataclass(frozen=True)
class Case:
    """A law, its truth with the ranges in which ends are scored, where it is observed, how often, and the errors."""

    name: str
    law: Law
    truth: Mapping[str, float]
    ranges: Mapping[str, tuple[float, float]]
    x: Mapping[str, np.ndarray]
    replicates: int
    sd: float
    rho: float


def _grid(*axes):
    return [values.ravel() for values in np.meshgrid(*axes, indexing="ij")]


def cases() -> list[Case]:
    """Return all cases: designs of the published tables, errors of .05 to .4 bit."""
    depth, cells, sizes = np.geomspace(10, 2500, 10), np.geomspace(100, 1e7, 10), np.geomspace(533, 3.4e8, 7)
    bits, counts = (0.0, 8.0), (1e-3, 1e9)
    designs = [
        (Case("noise 10 × 3", Noise(), {"i_max": 2.0, "u_bar": 300.0}, {"i_max": bits, "u_bar": (1.0, 1e6)},
              {"depth": depth}, 3, 0, 0), (0.05, 0.2, 0.4)),
        (Case("power 7 × 3", PowerWithFloor(), {"a": 8.0, "alpha": 0.529, "c": 1.4666},
              {"a": (1e-2, 1e6), "alpha": (1e-3, 5.0), "c": (0.0, 2.0)}, {"size": sizes}, 3, 0, 0), (0.01, 0.05)),
        (Case("saturating 10 × 3", SaturatingPower(), {"i_inf": 2.003, "n_sat": 165.344, "s": 0.402},
              {"i_inf": bits, "n_sat": counts, "s": (0.01, 10.0)}, {"cells": cells}, 3, 0, 0), (0.05, 0.2, 0.4)),
        (Case("joint 10 × 10 × 3", PlainJoint(),
              {"i_inf": 2.5, "n_sat": 400.0, "s": 0.6, "u_ref": 300.0, "g": -0.1},
              {"i_inf": bits, "n_sat": counts, "s": (0.05, 3.0), "u_ref": (1.0, 1e6), "g": (-2.0, 2.0)},
              dict(zip(("depth", "cells"), _grid(depth, np.geomspace(100, 1e5, 10)), strict=True)), 3, 0, 0), (0.2,)),
    ]  # fmt: skip
    made = [replace(case, sd=sd, rho=rho) for case, sds in designs for sd in sds for rho in (0.0, 0.3, 0.7)]
    size, data = _grid(np.geomspace(1e6, 1e9, 6), np.geomspace(1e8, 1e11, 5))
    truth = {"E": 1.8, "A": 480.0, "alpha": 0.35, "B": 2100.0, "beta": 0.37}
    ranges = {"E": (0.0, 4.0), "A": (1.0, 1e6), "alpha": (0.01, 2.0), "B": (1.0, 1e6), "beta": (0.01, 2.0)}
    chinchilla = Case("Chinchilla 30", PlainChinchilla(), truth, ranges, {"size": size, "data": data}, 1, 0, 0)
    return [*made, *[replace(chinchilla, sd=sd) for sd in (0.01, 0.05)]]


def simulated(case: Case, simulations: int, seed: int = 0) -> np.ndarray:
    """Return (simulations, replicates, levels) values."""
    words = [seed, *map(ord, case.name), int(1000 * case.sd), int(100 * case.rho)]
    rng = np.random.default_rng(words)
    theta = {k: np.array(v) for k, v in case.truth.items()}
    clean = np.asarray(case.law.predict(case.x, theta))
    shape = (simulations, case.replicates, len(clean))
    shift = np.sqrt(case.rho) * rng.standard_normal(shape[:2])[..., None]
    return clean + case.sd * (shift + np.sqrt(1 - case.rho) * rng.standard_normal(shape))


def ours(case: Case, values: np.ndarray) -> dict[str, np.ndarray]:
    """Return {parameter: (simulations, 2)} ends of our intervals."""
    found = []
    for first in range(0, len(values), CHUNK):
        some = values[first : first + CHUNK]
        curve, replicate, level = (index.ravel() for index in np.indices(some.shape))
        columns = {name: x[level] for name, x in case.x.items()}
        table = pd.DataFrame({"curve": curve, "replicate": replicate, **columns, "value": some.ravel()})
        several = {"replicate": "replicate"} if case.replicates > 1 else {}
        no_test = np.zeros(len(table), bool)
        fits = fit(table, case.law, x=list(case.x), by="curve", held_out=no_test, n_draws=2, **several)
        found.append(fits.frame)
    frame = pd.concat(found)
    return {name: frame[[f"{name}_low", f"{name}_high"]].to_numpy() for name in case.truth}


def theirs(case: Case, values: np.ndarray) -> dict[str, np.ndarray]:
    """Return the same of curve_fit's standard errors; without an answer, the whole line."""
    names, x = list(case.truth), np.tile(np.stack(list(case.x.values())), case.replicates)
    params = parameters(case.law)
    low, high = (np.array([getattr(params[n], end) for n in names]) for end in ("low", "high"))

    def model(inputs, *theta):
        given = {name: np.array(v) for name, v in zip(names, theta, strict=True)}
        return case.law.predict(dict(zip(case.x, inputs, strict=True)), given)

    out = np.empty((len(values), len(names), 2))
    for i, value in enumerate(values):
        try:
            best, covariance = optimize.curve_fit(
                model, x, value.ravel(), p0=list(case.truth.values()), bounds=(low, high), maxfev=2000
            )
            half = 1.96 * np.sqrt(np.diag(covariance))
            out[i] = np.stack([best - half, best + half], axis=1)
        except RuntimeError:
            out[i] = [-np.inf, np.inf]
    return {name: out[:, k] for k, name in enumerate(names)}


def told(case: Case, ends: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float, float]]:
    """Return {parameter: coverage, median width, mean interval score}."""
    out = {}
    for name, true in case.truth.items():
        low, high = ends[name].T
        covered = float(((low <= true) & (true <= high)).mean())
        least, most = case.ranges[name]
        low, high = (np.clip(np.nan_to_num(end, nan=least), least, most) for end in (low, high))
        if parameters(case.law)[name].log:
            low, high, true = np.log10(low), np.log10(high), np.log10(true)
        outside = np.maximum(low - true, 0) + np.maximum(true - high, 0)
        out[name] = covered, float(np.median(high - low)), float(np.mean(high - low + 40 * outside))
    return out


def main() -> None:
    """Print a table in the form that stands in docs/laws.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--only", default="", help="cases whose name contains this")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| case | sd | ρ | parameter | cover | width | score | curve_fit: cover | width | score |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for case in cases():
        if args.only not in case.name:
            continue
        values = simulated(case, args.simulations)
        start = time.perf_counter()
        mine, his = told(case, ours(case, values)), {}
        spent = time.perf_counter() - start
        his = told(case, theirs(case, values))
        for name in case.truth:
            numbers = " | ".join(f"{a:.3f} | {b:.3g} | {c:.3g}" for a, b, c in (mine[name], his[name]))
            print(f"| {case.name} | {case.sd:g} | {case.rho:g} | `{name}` | {numbers} |", flush=True)
        print(f"{case.name} {case.sd} {case.rho}: {spent:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
