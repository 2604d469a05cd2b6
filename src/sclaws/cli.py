"""The command line: verbs, and nothing but verbs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from sclaws import cli_tables, interrupts
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
for verb in (cli_tables.score, cli_tables.fit, cli_tables.saturation, cli_tables.design):
    app.command(verb)
Profile = Annotated[str | None, Parameter(help="a profile of the study, such as smoke or laptop")]
Signals = Annotated[Sequence[str], Parameter(negative="")]
Files = Annotated[Sequence[Path], Parameter(negative="", consume_multiple=True)]
Data = Annotated[Path | None, Parameter(name=["--data", "--corpus"])]
Out = Annotated[Path | None, Parameter(help="the folder for results, instead of the study's own")]


def main() -> None:
    """Run a verb. Exit status: 0 done, 1 some runs failed, 2 a mistake that the message explains, 3 the budget is spent
    and something is left, 130 stopped.
    """
    try:
        with interrupts.kept():
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
def run(
    study: Path,
    *,
    data: Data = None,
    evaluate: Files = (),
    signal: Signals = (),
    by: str | None = None,
    profile: Profile = None,
    out: Out = None,
    hours: float | None = None,
    budget: float | None = None,
    price: str | None = None,
    dry_run: bool = False,
    calibrate: bool = False,
) -> int:
    """Run a study, or what is missing of it: stop it any way you like, and run it again.

    Examples: sclaws run study.toml; sclaws run study.toml --dry-run; sclaws run study.toml --profile smoke;
    sclaws run study.toml --hours 2; sclaws run study.toml --budget 50 --price 2.5;
    sclaws run gowri-2025 --data cells.h5ad --profile laptop;
    sclaws run denadel-2026 --corpus corpus.h5ad --evaluate lung.h5ad screen.h5ad --profile laptop

    Parameters
    ----------
    study
        the study's TOML file, or the name of a study that comes with sclaws (see sclaws list studies)
    data
        of a named study: your data; its study file is written to the working folder, to be read and changed
    evaluate
        of a study of what to learn from: the data whose cells are typed, integrated, or were perturbed
    signal
        of a named study: KIND=KEY, kinds protein, label, time, clone, neighbour, date of sequences, and, where cells
        are chosen to learn from, label, study, batch, perturbation; if nothing is said, what names in the data suggest
    by
        of a named study: the column of obs (donor) whose groups train or are tested as a whole
    hours
        begin nothing that does not fit into so many hours from now; what was begun is finished, all of it kept, and the
        same command goes on with a new budget
    budget
        the same in money, at a price
    price
        money an hour of all that works, or a price file (see docs/prices.md), whose gpu_hour is that of one device
    dry_run
        list what would run, with estimates of time and disk and what a budget covers, and start nothing
    calibrate
        first train two small trials of each model that was never timed, which are kept: estimates then rest on them
    """
    from sclaws.study import budgeting

    opened = _study(_written(study, data, signal, by, evaluate), profile, out)
    opened = opened.within(budgeting.words(hours, budget, price))
    if calibrate:
        opened.calibrate()
    if dry_run:
        opened.check()
        print(opened.listing())
        return 0
    return _told(result := opened.run()) or _left(opened, result)


@app.command
def ingest(recipe: Path, *, out: Path = Path("corpus.zarr")) -> int:
    """Join files of counts into one corpus on disk: genes under one kind of name, shuffled, of any size.

    Example: sclaws ingest corpus.toml --out corpus.zarr

    Parameters
    ----------
    recipe
        a TOML file with a [[file]] for each h5ad file, zarr folder or SOMA experiment: path (or soma, or census), name,
        genes or genes_path (other names of genes), columns (such as { cell_type = "celltype" }), keep and drop (such as
        ["donor=d1"])
    out
        the folder that is written, an AnnData in zarr: use = "corpus" in a study
    """
    from tqdm.auto import tqdm

    from sclaws.ingest import ingest

    with tqdm(unit=" cells", unit_scale=True) as bar:

        def progress(cells: int, what: str) -> None:
            bar.set_description_str(what, refresh=False)
            bar.update(cells)

        said = ingest(recipe, out, progress)
    for sentence in said:
        print(sentence)
    return 0


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
def status(study: Path, *, profile: Profile = None, out: Out = None, thorough: bool = False) -> int:
    """Say how far a study is: trials and runs done, missing, failed and damaged.

    Example: sclaws status study.toml

    Parameters
    ----------
    study
        the study's TOML file
    thorough
        read every byte of embeddings and weights, too, which are verified in any case when they are used
    """
    print(_study(study, profile, out).status(thorough=thorough))
    return 0


@app.command(name="list")
def list_(family: str | None = None) -> int:
    """List what can be used in a study: models, scores, laws and so on, with a line about each.

    Examples: sclaws list; sclaws list models

    Parameters
    ----------
    family
        one of datasets, axes, signals, models, scores, laws, engines, studies
    """
    from sclaws import plugins
    from sclaws.errors import did_you_mean
    from sclaws.study import named

    families = (*plugins.FAMILIES, "studies")
    if family is not None and family not in families:
        raise StudyError(f"unknown family {family!r}; {did_you_mean(family, families)}")
    for name in [family] if family else families:
        lines = named.lines() if name == "studies" else plugins.lines(name)
        print(f"{name}\n" + "\n".join(f"  {line}" for line in lines))
    return 0


@app.command
def keys(study: Path, *, profile: Profile = None, out: Out = None) -> int:
    """Print the keys of the trials that are still missing, a job a line: for Slurm arrays, Snakemake or xargs.

    Trials that are best done together share a line: small ones, and such as a model trains at once.

    Example: sclaws keys study.toml | xargs -r -L 1 sclaws trial study.toml
    """
    for together in _study(study, profile, out).missing_trials():
        print(*together)
    return 0


@app.command
def trial(study: Path, keys: Sequence[str] = (), /, *, profile: Profile = None, out: Out = None) -> int:
    """Train and score trials of a study, in this process; does nothing for those that are there already.

    Exit status: 0 all are there, 1 some failed or another process is working on them.

    Example: sclaws trial study.toml 3f2a90c41d7be658

    Parameters
    ----------
    study
        the study's TOML file
    keys
        what ``sclaws keys`` printed: a line of it, or several
    """
    opened = _study(study, profile, out)
    done = opened.run_trials(*keys)
    count = f"{len(done.trained)} trained, {len(done.scored)} scored, {len(done.failed)} failed"
    print(f"{len(keys)} trial{'s' * (len(keys) != 1)}: {count}")
    for failed in done.failed:
        print("{error}: {message}".format(**opened.store.failures()[failed]), file=sys.stderr)
    for busy in done.busy:
        print(f"{busy}: another process is working on this trial", file=sys.stderr)
    return 1 if done.failed or done.busy else 0


@app.command
def report(study: Path, *, profile: Profile = None, out: Out = None) -> int:
    """Write table, fits and report anew from what is stored; trains nothing.

    Example: sclaws report study.toml
    """
    return _told(_study(study, profile, out).result())


def _written(study: Path, data: Path | None, signal: Sequence[str], by: str | None, evaluate: Sequence[Path]) -> Path:
    """Return the file of a study; one that has a name is settled on the data and written first."""
    from sclaws.study import named

    if study.suffix == ".toml" or study.exists():
        if data is not None or signal or by or evaluate:
            raise StudyError(
                f"--data, --evaluate, --signal and --by are for studies that have a name; {study} says its own"
            )
        return study
    file = named.write(str(study), data, signal, by, evaluate)
    print(f"study: {file}")
    return file


def _study(path: Path, profile: str | None, out: Path | None) -> Study:
    from sclaws.study import Study, named

    if str(path) in named.STUDIES and not path.exists():
        raise StudyError(f"{path} is the name of a study: give the file that sclaws run wrote for your data")
    return Study.read(path, profile=profile, out=out)


def _told(result: Result) -> int:
    """Print what a run found and where it is; 1 when something failed, or is missing though there was a budget."""
    print(result)
    if result.failed:
        print(f"{result.failed} trials or runs failed; the report says which and why", file=sys.stderr)
    return 1 if result.failed or (result.missing and not result.done.left) else 0


def _left(study: Study, result: Result) -> int:
    """Say what a spent budget has left; 3 when there is something."""
    if result.done.left:
        print(study.undone(result.done), file=sys.stderr)
    return 3 if result.done.left else 0


__all__ = ["app", "main"]
