"""The command line: verbs, and nothing but verbs."""

from __future__ import annotations

import json
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import cyclopts
from cyclopts import App, Parameter

from sclaws.errors import SclawsError, StudyError

if TYPE_CHECKING:
    from sclaws.study import Result, Study

app = App(
    name="sclaws",
    help="What limits a model of cells: too few cells, too shallow a measurement, too few genes, too small a network?",
    version_flags=["--version"],
    help_format="plaintext",  # a star is a star: 0.3*max
    suppress_keyboard_interrupt=False,  # main says what is kept
)
Profile = Annotated[str | None, Parameter(help="a profile of the study, such as smoke or laptop")]
Out = Annotated[Path | None, Parameter(help="the folder for results, instead of the study's own")]


def main() -> None:
    """Run a verb. Exit status: 0 done, 1 some runs failed, 2 a mistake that the message explains, 130 stopped."""
    try:
        sys.exit(app(sys.argv[1:]))
    except SclawsError as error:
        print(f"sclaws: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("\nsclaws: stopped; everything finished is kept, the same command goes on from here", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.exit(0)


@app.command
def demo(*, out: Out = None) -> int:
    """Run the whole chain on simulated tissue whose law is known, and show the fitted law beside the truth.

    Example: sclaws demo
    """
    from sclaws.study import Study

    text = files("sclaws.studies").joinpath("demo.toml").read_text(encoding="utf-8")
    study = Study.parse(text, name="demo", folder=Path.cwd(), out=out or Path("sclaws-demo"))
    print("simulated tissue -> fewer cells, fewer molecules -> three models -> bits about proteins -> noise law\n")
    status = _told(study.run())
    print(
        "\ni_max: bits at unlimited depth; u_bar: UMI per cell at which half a bit of them is missing.\n"
        "The truth is that of an ideal observer: no model can pass its i_max, and one that learns needs more UMI."
    )
    return status


@app.command
def run(study: Path, *, profile: Profile = None, out: Out = None, dry_run: bool = False) -> int:
    """Run a study, or what is missing of it: stop it any way you like, and run it again.

    Examples: sclaws run study.toml; sclaws run study.toml --dry-run; sclaws run study.toml --profile smoke

    Parameters
    ----------
    study
        the study's TOML file
    dry_run
        list what would run, with estimates of time and disk, and start nothing
    """
    opened = _study(study, profile, out)
    if dry_run:
        opened.check()
        print(opened.listing())
        return 0
    return _told(opened.run())


@app.command
def check(study: Path, *, profile: Profile = None) -> int:
    """Find out everything that can be wrong with a study before any work is lost; trains nothing.

    Example: sclaws check study.toml
    """
    opened = _study(study, profile, None)
    for sentence in opened.check():
        print(sentence)
    print(f"{len(opened.runs):,} runs: nothing wrong")
    return 0


@app.command
def status(study: Path, *, profile: Profile = None, out: Out = None) -> int:
    """Say how far a study is: trials and runs done, missing, failed and damaged.

    Example: sclaws status study.toml
    """
    print(_study(study, profile, out).status())
    return 0


@app.command(name="list")
def list_(family: str | None = None) -> int:
    """List what can be used in a study: models, scores, laws and so on, with a line about each.

    Examples: sclaws list; sclaws list models

    Parameters
    ----------
    family
        one of datasets, axes, signals, models, scores, laws, engines
    """
    from sclaws import plugins
    from sclaws.errors import did_you_mean

    if family is not None and family not in plugins.FAMILIES:
        raise StudyError(f"unknown family {family!r}; {did_you_mean(family, plugins.FAMILIES)}")
    for name in [family] if family else plugins.FAMILIES:
        print(f"{name}\n" + "\n".join(f"  {line}" for line in plugins.lines(name)))
    return 0


@app.command
def keys(study: Path, *, profile: Profile = None, out: Out = None) -> int:
    """Print the keys of the trials that are still missing, one a line: for Slurm arrays, Snakemake or xargs.

    Example: sclaws keys study.toml | xargs -r -n 1 sclaws trial study.toml
    """
    for key in _study(study, profile, out).missing_trials():
        print(key)
    return 0


@app.command
def trial(study: Path, key: str, *, profile: Profile = None, out: Out = None) -> int:
    """Train and score one trial of a study, in this process; does nothing when it is there already.

    Example: sclaws trial study.toml 3f2a90c41d7be658

    Parameters
    ----------
    study
        the study's TOML file
    key
        a key that ``sclaws keys`` printed
    """
    opened = _study(study, profile, out)
    done = opened.run_trial(key)
    print(f"{key}: {len(done.trained)} trained, {len(done.scored)} scored, {len(done.failed)} failed")
    for failed in done.failed:
        print("{error}: {message}".format(**opened.store.failures()[failed]), file=sys.stderr)
    if done.busy:
        print("another process is working on this trial", file=sys.stderr)
    return 1 if done.failed or done.busy else 0


@app.command
def score(x: Path, y: Path | None = None, *, score: str = "auto", seed: int = 0, json: bool = False) -> int:
    """Measure the information between two arrays, in bits with a 95 % interval.

    Examples: sclaws score X.npy Y.npy; sclaws score both.npz --score gaussian --json

    Parameters
    ----------
    x
        .npy of shape (n, d), or .npz that holds x and y
    y
        .npy of shape (n,) labels, whole numbers or text, or (n,) or (n, k) floats
    score
        an information score, see sclaws list scores; auto, lmi and infonce need torch (sclaws[learnt])
    seed
        deals folds, draws weights: the same seed gives the same number
    """
    from sclaws.study.arrays import estimate

    found = estimate(x, y, score, seed)
    chosen = f" ({found['details']['chosen']})" if "chosen" in found["details"] else ""
    told = "{value:.4g} {unit} ({low:.4g} to {high:.4g}), {estimator}{chosen}, n = {n}: {verdict}"
    print(_json(found) if json else told.format(chosen=chosen, **found))
    return 0


@app.command
def fit(
    table: Path,
    *,
    law: str,
    x: str,
    y: str,
    by: str = "",
    replicate: str | None = None,
    criterion: Literal["log", "linear"] = "linear",
    weights: Literal["none", "replicates"] = "none",
    loss: Literal["squares", "huber"] = "squares",
    delta: float = 1e-3,
    train: str | None = None,
    test: str | None = None,
    baseline: str | None = None,
    target: str = "",
    pool: bool | None = None,
    seed: int = 0,
    out: Path = Path("sclaws-fit"),
    json: bool = False,
) -> int:
    """Fit laws to a table of your own (CSV, TSV or Parquet); writes fits.csv, predictions.csv and a report.

    Examples: sclaws fit results.csv --law noise,constant --x umi --y mi --by model,signal;
    sclaws fit results.csv --law auto --x umi --y mi --train 'umi<=0.3*max' --test 'umi>=0.9*max' --target gap

    Parameters
    ----------
    law
        one or several, by commas (see sclaws list laws), or auto: all that suit, and a constant
    x
        columns of the law's inputs, in its order, by commas
    y
        the column that the law explains
    by
        columns that tell one curve from another, by commas
    replicate
        the column that numbers replicates
    criterion
        least squares of y (linear) or of log y (log)
    weights
        none: plain least squares; replicates: levels weighed by the spread of their rows
    loss
        squares, or huber: residuals beyond delta count by their size alone
    delta
        where Huber's loss stops squaring, on the scale of the criterion
    train
        conditions for the rows that are fitted, such as 'cells<=0.11*max,umi<=300'; joined by and, max is per curve
    test
        conditions for the rows that are predicted; rows in neither are dropped
    baseline
        a column: levels that are worse are shown and not fitted (default: "baseline" if there is one; or none)
    target
        depth, cells or size needed for gap, fraction or a value of y, by commas: writes targets.csv
    pool
        fit all curves as one population, with priors: how the joint laws are fitted if nothing is said
    """
    from sclaws.study.tables import fit_file

    done = fit_file(
        table, out, law=law, x=x, y=y, by=by, replicate=replicate, criterion=criterion, weights=weights, loss=loss,
        delta=delta, train=train, test=test, baseline=baseline, target=target, pool=pool, seed=seed,
    )  # fmt: skip
    if json:
        print(_json(done.plain))
    else:
        from sclaws.study.told import fitted

        print(f"{fitted(done.fits.frame)}\n\nreport: {done.report}")
    return 0


@app.command
def design(
    source: Path,
    *,
    prices: Path,
    budget: float | None = None,
    target: str | None = None,
    law: str = "noise-and-cells",
    x: str = "",
    y: str = "",
    by: str = "",
    replicate: str | None = None,
    next: int = 4,  # noqa: A002 - the flag's name
    seed: int = 0,
    out: Path | None = None,
    json: bool = False,
) -> int:
    """Say what limits a model, what to buy for a budget or a target, and what to run next; writes tables and a figure.

    Examples: sclaws design proteins.sclaws --prices prices.toml --budget 50000 --target 90%;
    sclaws design mi.csv --x umi,cells --y mi --by model,signal --prices prices.toml --budget 50000

    Parameters
    ----------
    source
        the folder of a study's results, or a table (CSV, TSV or Parquet)
    prices
        what cells, depth and training cost: a TOML file, see docs/prices.md
    budget
        money, in the currency of the prices
    target
        the y to be reached in the cheapest way: a value such as 1.5, or a share of the model's ceiling such as 90%
    law
        a law of one to three inputs (see sclaws list laws)
    x
        columns of the law's inputs, in its order, by commas (default: umis_per_cell,n_cells)
    y
        the column that the law explains; of a study, the metric (default: information)
    by
        columns that tell one curve from another, by commas; a study knows its own
    replicate
        the column that numbers replicates; a study knows its own
    next
        how many runs to suggest
    out
        where tables and figure go (default: SOURCE/design, or sclaws-design)
    """
    from sclaws.study.planning import plan

    designs, folder = plan(
        source, prices, out, budget=budget, target=target, law=law, x=x, y=y, by=by, replicate=replicate, k=next,
        seed=seed,
    )  # fmt: skip
    if json:
        tables = {"design": designs.frame, "limits": designs.limits, "front": designs.front}
        print(_json({name: frame.to_dict("records") for name, frame in tables.items()} | {"folder": str(folder)}))
    else:
        print(f"{designs}\n\nfigure: {folder / 'design.svg'}")
    return 0


@app.command
def report(study: Path, *, profile: Profile = None, out: Out = None) -> int:
    """Write table, fits and report anew from what is stored; trains nothing.

    Example: sclaws report study.toml
    """
    return _told(_study(study, profile, out).result())


def _study(path: Path, profile: str | None, out: Path | None) -> Study:
    from sclaws.study import Study

    return Study.read(path, profile=profile, out=out)


def _told(result: Result) -> int:
    """Print what a run found and where it is; 1 when something failed or is missing."""
    print(result)
    if result.failed:
        print(f"{result.failed} trials or runs failed; the report says which and why", file=sys.stderr)
    return 1 if result.failed or result.missing else 0


def _json(value: Any) -> str:
    """JSON without NaN: what is not a finite number is null."""
    import math

    def plain(v: Any) -> Any:
        if isinstance(v, dict):
            return {str(k): plain(w) for k, w in v.items()}
        if isinstance(v, (list, tuple)):
            return [plain(w) for w in v]
        v = v.item() if hasattr(v, "item") else v
        return None if isinstance(v, float) and not math.isfinite(v) else v

    return json.dumps(plain(value), indent=1)


__all__ = ["app", "cyclopts", "main"]
