"""Are verdicts right? Curves of known shape, and what is said of them: a confusion table.

    python benchmarks/verdicts.py --curves 300

Ten depths from 10 to 2,500 and three replicates, errors of .02 to .1 bit, of which a share of 0, .3 or .7 is common to
a replicate. Kinds, each with parameters drawn at random:

- true: the noise law, most of whose transition the depths cover (I_max 1 to 3 bits, ū 60 to 900);
- flat: no information is gained at all, whatever the depth (a constant, 0 to 2 bits);
- saturated: the law is at its ceiling before the smallest depth (ū .001 to .02 of it, what is left below .01 bit);
- non-monotone: rises, then falls again by .4 to .8 of what it rose;
- too narrow: the noise law seen over a quarter to two fifths of its transition, far below its ceiling;
- no law: two straight pieces in log depth, flat, then steep without an end (as no saturating law is).

A *false follows* is a curve of another kind than "true" of which is said that it follows the law, "saturated" (which
follows it, too) being right for the saturated ones.
"""

import argparse
import re
from collections.abc import Callable

import numpy as np
import pandas as pd

from sclaws.fit import fit
from sclaws.laws.noise import Noise

DEPTHS = np.geomspace(10, 2500, 10)
LOGS = np.linspace(0, 1, 10)
WORDS = ("follows the law", "saturated", "flat", "underpowered", "not identifiable", "no law: not monotone", "no law")
Generator = np.random.Generator


def law(i_max: float, u_bar: float) -> np.ndarray:
    """The noise law at the depths."""
    return np.asarray(Noise().predict({"depth": DEPTHS}, {"i_max": np.array(i_max), "u_bar": np.array(u_bar)}))


def narrow(rng: Generator) -> np.ndarray:
    """The noise law of which a quarter to two fifths is seen."""
    i_max, share = rng.uniform(2.5, 5), rng.uniform(0.25, 0.4)
    low, high = Noise().transition({"i_max": np.array(i_max), "u_bar": np.array(1.0)})
    top = np.exp(np.log(low) + share * np.log(high / low))
    return law(i_max, DEPTHS[-1] / top)


def hump(rng: Generator) -> np.ndarray:
    """Up, then down again."""
    top, rise, fall = rng.uniform(0.4, 0.65), rng.uniform(0.5, 1.5), rng.uniform(0.4, 0.8)
    down = np.where(LOGS > top, fall * ((LOGS - top) / (1 - top)) ** 2, 0.0)
    return rise * (np.sin(np.pi / 2 * np.minimum(LOGS / top, 1)) - down)


def bent(rng: Generator) -> np.ndarray:
    """Flat at some height, then steep to the end."""
    knee = rng.uniform(0.5, 0.7)
    return rng.uniform(0.3, 1) + rng.uniform(2, 4) * np.maximum(LOGS - knee, 0)


KINDS: dict[str, Callable[[Generator], np.ndarray]] = {
    "true": lambda rng: law(rng.uniform(1, 3), np.exp(rng.uniform(np.log(60), np.log(900)))),
    "flat": lambda rng: np.full(10, rng.uniform(0, 2)),
    "saturated": lambda rng: law(rng.uniform(0.5, 3), 10 * rng.uniform(0.001, 0.02)),
    "non-monotone": hump,
    "too narrow": narrow,
    "no law": bent,
}


def simulated(kind: str, curves: int) -> pd.DataFrame:
    """Return curves of one kind."""
    rng = np.random.default_rng([3, *map(ord, kind)])
    means = np.stack([KINDS[kind](rng) for _ in range(curves)])[:, None, :]
    shape = (curves, 3, 10)
    sd = np.exp(rng.uniform(np.log(0.02), np.log(0.1), (curves, 1, 1)))
    rho = rng.choice([0.0, 0.3, 0.7], (curves, 1, 1))
    shift = np.sqrt(rho) * rng.standard_normal((curves, 3, 1))
    values = means + sd * (shift + np.sqrt(1 - rho) * rng.standard_normal(shape))
    curve, replicate, level = (index.ravel() for index in np.indices(shape))
    return pd.DataFrame({"curve": curve, "replicate": replicate, "umi": DEPTHS[level], "mi": values.ravel()})


def advised(curves: int) -> tuple[int, list[bool]]:
    """Return how many narrow curves are advised to add depths, and whether adding those settles each."""
    table = simulated("too narrow", curves)
    rng = np.random.default_rng([3, *map(ord, "too narrow")])
    means = [narrow(rng) for _ in range(curves)]
    advice = re.compile(r"(one|two|three|four) more depths? (above|below) .* would settle it, if")
    done = []
    fits = fit(table, Noise(), x="umi", y="mi", by="curve", replicate="replicate")
    for one in fits:
        if not (found := advice.search(one.verdict)):
            continue
        rows = table[table["curve"] == one.curve["curve"]]
        more = ("one", "two", "three", "four").index(found[1]) + 1
        step = DEPTHS[1] / DEPTHS[0]
        new = (
            DEPTHS[-1] * step ** np.arange(1, more + 1)
            if found[2] == "above"
            else DEPTHS[0] / step ** np.arange(1, more + 1)
        )
        # the law that made the curve, at the new depths, with the errors of the old ones
        truth = fit(pd.DataFrame({"umi": DEPTHS, "mi": means[one.curve["curve"]]}), Noise(), x="umi", y="mi")[0].value
        mean = Noise().predict({"depth": np.tile(new, 3)}, {k: np.array(v) for k, v in truth.items()})
        mi = mean + one.sigma * rng.standard_normal(3 * more)
        extra = pd.DataFrame({"replicate": np.repeat(range(3), more), "umi": np.tile(new, 3), "mi": mi})
        both = pd.concat([rows, extra])
        done.append("identifiable" not in fit(both, Noise(), "umi", "mi", replicate="replicate")[0].verdict)
    return len(done), done


def said(verdict: str) -> str:
    """Return the kind of a verdict."""
    return next((word for word in WORDS if verdict.startswith(word)), verdict)


def main() -> None:
    """Print a table in the form that stands in docs/laws.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curves", type=int, default=300)
    parser.add_argument("--show", default="", help="print the false verdicts of this kind")
    args = parser.parse_args()
    print(f"| shape | {' | '.join(WORDS)} |\n|---{'|---' * len(WORDS)}|")
    for kind in KINDS:
        fits = fit(simulated(kind, args.curves), Noise(), x="umi", y="mi", by="curve", replicate="replicate")
        counts = fits.frame["verdict"].map(said).value_counts(normalize=True)
        print(f"| {kind} | {' | '.join(f'{100 * counts.get(word, 0):.1f} %' for word in WORDS)} |", flush=True)
        if kind == args.show:
            print(fits.frame[["verdict", "r2", "aicc", "constant_aicc"]].to_string())
    number, settled = advised(args.curves)
    print(f"\n{number} of {args.curves} narrow curves are told that up to four more depths would settle them; "
          f"with these, {100 * np.mean(settled):.0f} % are")  # fmt: skip


if __name__ == "__main__":
    main()
