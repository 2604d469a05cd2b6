"""Do 95 % intervals of the compute-optimal size hold the truth at 10 and 100 times the data's compute, and what do
errors cost?

    OMP_NUM_THREADS=1 python benchmarks/frontier.py law --simulations 2000
    OMP_NUM_THREADS=1 python benchmarks/frontier.py isoflop --simulations 1000
    OMP_NUM_THREADS=1 python benchmarks/frontier.py published --folder FOLDER

Runs of a known L(P, D) with errors of the loss (normal, on the log scale; with Huber's loss of Student's t of 3 degrees
of freedom). "law" fits L(P, D) and asks ``frontier``; "isoflop" reads minima of parabolas and of cubics. Regret is the
loss of the size that was found, given the whole budget, above the least loss that is possible: mean, and what 95 % of
simulations stay below. Widths are in decades. The binomial error of a coverage of .95 is .005 in 2,000 simulations,
.007 in 1,000. "published" asks chinchilla_245.csv and isoflops.csv of the folder.
"""

import argparse
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from sclaws.design.frontier import Estimate, Frontier, compare, frontier, isoflop
from sclaws.fit import fit
from sclaws.laws.chinchilla import Chinchilla

LAW = Chinchilla()
TRUTHS = {
    "Besiroglu": {"e": 1.817, "a": 482.0, "b": 2085.0, "alpha": 0.348, "beta": 0.366},  # 2404.10102
    "Hoffmann": {"e": 1.69, "a": 406.4, "b": 410.7, "alpha": 0.34, "beta": 0.28},  # 2203.15556, approach 3
    "lopsided": {"e": 3.169, "a": 215886.0, "b": 4750.0, "alpha": 0.684, "beta": 0.439},  # SODA, as in 2603.22339
}
BEYOND = np.array([1.0, 10.0, 100.0])
CHUNK = 250


@dataclass(frozen=True)
class Case:
    """Runs: ``budgets`` x ``sizes`` over a factor ``wide`` either side of ``off`` times the best size, drifting by
    ``drift`` over the budgets; ``budgets`` 0 is a grid of sizes x data between the best of 6e18 and of 3e21 FLOP.
    """

    truth: str
    sd: float
    budgets: int = 5
    sizes: int = 7
    wide: float = 6.0
    off: float = 1.0
    drift: float = 1.0
    loss: str = "squares"

    @property
    def theta(self) -> dict[str, float]:
        return TRUTHS[self.truth]

    @property
    def runs(self) -> tuple[np.ndarray, np.ndarray]:
        """Sizes and data."""
        if not self.budgets:
            size, data = (np.geomspace(*v, self.sizes) for v in LAW.frontier(np.array([6e18, 3e21]), self.theta))
            return tuple(v.ravel() for v in np.meshgrid(size, data))
        flop = np.geomspace(6e18, 3e21, self.budgets)
        centre = LAW.frontier(flop, self.theta)[0] * self.off * np.geomspace(1, self.drift, self.budgets)
        size = centre[:, None] * np.geomspace(1 / self.wide, self.wide, self.sizes)
        return size.ravel(), (flop[:, None] / 6 / size).ravel()

    @property
    def said(self) -> str:
        if not self.budgets:
            return f"{self.sizes} sizes x {self.sizes} data"
        place = f", off {self.off:g}x" if self.off != 1 else f", drifts {self.drift:g}x" if self.drift != 1 else ""
        return f"{self.budgets} budgets x {self.sizes} sizes, {self.wide:g}x either side{place}"

    def losses(self, simulations: int) -> np.ndarray:
        """(simulations, runs)."""
        rng = np.random.default_rng([*map(ord, self.truth + self.said + self.loss), round(1e4 * self.sd)])
        size, data = self.runs
        shape = (simulations, len(size))
        noise = rng.standard_normal(shape) if self.loss == "squares" else rng.standard_t(3, shape)
        return LAW.predict({"size": size, "data": data}, self.theta) * np.exp(self.sd * noise)

    @property
    def best(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Budgets of 1, 10 and 100 times the largest run's, the best sizes there, and the least losses."""
        size, data = self.runs
        flop = 6 * (size * data).max() * BEYOND
        return flop, LAW.frontier(flop, self.theta)[0], self.loss_of(LAW.frontier(flop, self.theta)[0], flop)

    def loss_of(self, size: np.ndarray, flop: np.ndarray) -> np.ndarray:
        return LAW.predict({"size": size, "data": flop / 6 / size}, self.theta)


LAWS = [
    *[Case(truth, sd) for truth in TRUTHS for sd in (0.005, 0.02)],
    *[Case(truth, 0.005, budgets=0, sizes=6) for truth in TRUTHS],
    Case("Besiroglu", 0.005, budgets=3, sizes=5),
    Case("Besiroglu", 0.05, budgets=3, sizes=5),
    Case("Besiroglu", 0.005, loss="huber"),
]
ISOFLOPS = [
    replace(Case(truth, 0.002, sizes=9), **how)
    for truth in TRUTHS
    for how in ({}, {"wide": 2.5}, {"off": 2.0}, {"drift": 3.0})
] + [Case(truth, 0.01, sizes=9) for truth in TRUTHS]


# ── one case ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def by_law(case: Case, losses: np.ndarray) -> pd.DataFrame:
    """Return a row a simulation and budget: flop, size, low, high, a_low, a_high, open."""
    size, data = case.runs
    flop, rows = case.best[0], []
    for first in range(0, len(losses), CHUNK):
        some = losses[first : first + CHUNK]
        curve, run = (index.ravel() for index in np.indices(some.shape))
        table = pd.DataFrame({"curve": curve, "size": size[run], "data": data[run], "loss": some.ravel()})
        how = {"criterion": "log", "loss": case.loss, "held_out": np.zeros(len(table), bool)}
        for one in fit(table, LAW, ["size", "data"], "loss", by="curve", **how):
            found = frontier(one, flop)
            rows.append(found.frame.assign(a_low=found.a.low, a_high=found.a.high, open=not one.closed))
    return pd.concat(rows)


def by_reading(case: Case, losses: np.ndarray, degree: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the same of the line through minima, and (simulations, budgets) whether each minimum's interval holds."""
    size, data = case.runs
    flop, rows, held = case.best[0], [], []
    for some in losses:
        found = isoflop(pd.DataFrame({"size": size, "data": data, "loss": some}), data="data", degree=degree)
        truth = LAW.frontier(found.frame["flop"].to_numpy(), case.theta)[0]
        read = found.frame["state"] == "read"
        inside = (found.frame["size_low"] <= truth) & (truth <= found.frame["size_high"])
        held.append(np.where(read, inside, np.nan))
        if found.a is not None:
            rows.append(found.at(flop).assign(a_low=found.a.low, a_high=found.a.high))
    return pd.concat(rows), np.array(held)


def told(case: Case, rows: pd.DataFrame) -> list[str]:
    """Return coverage of a, of the sizes at 1, 10 and 100 times; width of the latter; regret at 10 and 100 times."""
    flop, truth, least = case.best
    a = case.theta["beta"] / (case.theta["alpha"] + case.theta["beta"])
    low, high, size = (rows[c].to_numpy().reshape(-1, len(flop)) for c in ("size_low", "size_high", "size"))
    held = [((rows["a_low"] <= a) & (a <= rows["a_high"])).mean(), *((low <= truth) & (truth <= high)).mean(axis=0)]
    with np.errstate(divide="ignore"):
        width = np.median(np.log10(high) - np.log10(low), axis=0)
    regret = case.loss_of(size, flop) - least
    cost = [f"{regret[:, k].mean():.1g} ({np.quantile(regret[:, k], 0.95):.1g})" for k in (1, 2)]
    return [*(f"{v:.3f}" for v in held), f"{width[1]:.2f}", f"{width[2]:.2f}", *cost]


# ── published tables ─────────────────────────────────────────────────────────────────────────────────────────────────
EXPERIMENTS = {
    "Chinchilla (Epoch)": "epochai_chinchilla__massivetext__chinchilla",
    "Chinchilla (ml-scalefit)": "ml_scalefit__massivetext__chinchilla",
    "Llama 3": "llama_3__exp_loss",
    "Marin, Comma": "marin_202603__comma__llama_2",
    "Marin, DCLM": "marin_202603__dclm__llama_2",
    "Marin, Nemotron": "marin_202603__nemotron__llama_2",
}


def asked(rows: pd.DataFrame, flop: float, loss: str) -> Frontier:
    """The frontier of a fit of log losses."""
    rows = rows.reset_index(drop=True)
    how = {"criterion": "log", "loss": loss, "held_out": np.zeros(len(rows), bool), "n_draws": 1000}
    return frontier(fit(rows, LAW, ["params", "tokens"], "loss", **how)[0], flop)


def published(folder: Path) -> None:
    """Print both tables of what is published."""
    raw = pd.read_csv(folder / "chinchilla_245.csv").rename(columns={"Model Size": "params"})
    points = raw[["params", "loss"]].assign(tokens=raw["Training FLOP"] / 6 / raw["params"])
    points = points.iloc[np.argsort(points["tokens"] / points["params"])]
    print("| points | loss | a | b | P* at 5.76e23 FLOP | D* |\n|---|---|---|---|---|---|")
    for dropped in (5, 0):
        for loss in ("huber", "squares"):
            found = asked(points[dropped:], 5.76e23, loss)
            ends = [Estimate(*found.frame.loc[0, [n, f"{n}_low", f"{n}_high"]]) for n in ("size", "data")]
            print("|", " | ".join(map(str, [len(points) - dropped, loss, found.a, found.b, *ends])), "|", flush=True)
    print("\n| runs | rows | a by the law | degree | read | a read | lopsided p | sizes agree at 100x | cost there |")
    print("|---|---|---|---|---|---|---|---|---|")
    table = pd.read_csv(folder / "isoflops.csv")
    for name, experiment in EXPERIMENTS.items():
        every = table[table["experiment"] == experiment]
        for words, rows in ((name, every), (f"{name}, outliers left out", every[~every["outlier"]])):
            some = rows[["params", "tokens", "budget", "loss"]].drop_duplicates()
            law = asked(some, 100 * some["budget"].max(), "huber")
            for degree in (2, 3):
                read = isoflop(some, "params", flop="budget", degree=degree)
                row = compare(law, read).frame.iloc[0]
                share = f"{(read.frame['state'] == 'read').sum()} of {len(read.frame)}"
                said = [words, len(some), law.a, degree, share, read.a, f"{read.lopsided:.1g}"]
                print("|", " | ".join(map(str, [*said, "yes" if row["agree"] else "no", f"{row['cost']:.1g}"])), "|")


def main() -> None:
    """Print tables in the form that stands in docs/frontier.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["law", "isoflop", "published"])
    parser.add_argument("--simulations", type=int, default=2000)
    parser.add_argument("--folder", type=Path, default=Path("../shared/published/language"))
    args = parser.parse_args()
    if args.what == "published":
        published(args.folder)
        return
    more = " open |" if args.what == "law" else " degree | minima held | open |"
    print(f"| truth | runs | sd |{more} a | P* at 1x | 10x | 100x | width 10x | 100x | regret 10x | 100x |")
    print("|---" * (11 + more.count("|")) + "|")
    for case in LAWS if args.what == "law" else ISOFLOPS:
        losses, start = case.losses(args.simulations), time.perf_counter()
        words = [case.truth, case.said + (", t3, Huber" if case.loss == "huber" else ""), f"{case.sd:g}"]
        if args.what == "law":
            rows = by_law(case, losses)
            print("|", " | ".join([*words, f"{rows['open'].mean():.3f}", *told(case, rows)]), "|", flush=True)
        for degree in (2, 3) if args.what == "isoflop" else ():
            rows, held = by_reading(case, losses, degree)
            minima = [str(degree), f"{np.nanmean(held):.3f}", f"{np.isnan(held).mean():.3f}"]
            print("|", " | ".join([*words, *minima, *told(case, rows)]), "|", flush=True)
        print(f"{case.said}: {time.perf_counter() - start:.0f} s", file=sys.stderr)


if __name__ == "__main__":
    main()
