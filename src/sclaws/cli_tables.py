"""The verbs that run no experiment: on arrays, on a table, on a study's results."""

from __future__ import annotations

import json as text
import math
from pathlib import Path
from typing import Any, Literal


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
    print(as_json(found) if json else told.format(chosen=chosen, **found))
    return 0


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
    where: str | None = None,
    train: str | None = None,
    test: str | None = None,
    baseline: str | None = None,
    ceiling: str | None = None,
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
    where
        conditions for the rows that are looked at, such as 'signal==protein,umi_test==umi'
    train
        conditions for the rows that are fitted, such as 'cells<=0.11*max,umi<=300'; joined by and, max is per curve
    test
        conditions for the rows that are predicted; rows in neither are dropped
    baseline
        a column: levels that are worse are shown and not fitted (default: "baseline" if there is one; or none)
    ceiling
        a column: what y cannot exceed, such as the entropy of a label; bounds the law's own ceiling from above
    target
        depth, cells or size needed for gap, fraction or a value of y, by commas: writes targets.csv
    pool
        fit all curves as one population, with priors: how the joint laws are fitted if nothing is said
    """
    from sclaws.study.tables import fit_file

    done = fit_file(
        table, out, law=law, x=x, y=y, by=by, replicate=replicate, criterion=criterion, weights=weights, loss=loss,
        delta=delta, where=where, train=train, test=test, baseline=baseline, ceiling=ceiling, target=target, pool=pool,
        seed=seed,
    )  # fmt: skip
    if json:
        print(as_json(done.plain))
    else:
        from sclaws.study.told import fitted

        print(f"{fitted(done.fits.frame)}\n\nreport: {done.report}")
    return 0


def saturation(
    table: Path,
    *,
    x: str = "n_cells",
    y: str = "value",
    by: str = "",
    replicate: str = "replicate",
    where: str | None = None,
    share: float = 0.95,
    whole: float | None = None,
    lower: bool | None = None,
    seed: int = 0,
    out: Path = Path("sclaws-saturation"),
    json: bool = False,
) -> int:
    """Say from which level on a metric no longer rises: three rules side by side, with intervals, and a law beside.

    Examples: sclaws saturation study.sclaws;
    sclaws saturation micro_f1.csv --x percent --y micro_f1 --by model,scheme --replicate seed --whole 100

    Parameters
    ----------
    table
        a CSV, TSV or Parquet file, or the folder of a study's results
    x
        the column of levels: cells or percent; rows at 0 are the untrained model
    y
        the column of the metric
    by
        columns that tell one curve from another, by commas; a study knows its own
    replicate
        the column that numbers replicates
    where
        conditions for the rows that are looked at, such as 'metric==micro_f1'
    share
        of the best, that counts as saturated
    whole
        the level at which nothing is taken away, whose rows are then every scheme's; a study knows its own
    lower
        a smaller metric is better (default: if its name has a word such as loss, mse or error)
    seed
        fixes the resamples behind the intervals
    """
    from sclaws.study.saturating import saturate_file

    done = saturate_file(
        table, out, x=x, y=y, by=by, replicate=replicate, where=where, share=share, whole=whole, lower=lower, seed=seed,
    )  # fmt: skip
    print(as_json(done.plain) if json else done)
    return 0


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
    seed
        fixes the draws of a table's fits; those of a study's folder are fixed as its own fits are
    out
        where tables and figure go (default: SOURCE/design, or sclaws-design)
    """
    from sclaws.study.planning import plan

    designs, folder = plan(
        source, prices, out, budget=budget, target=target, law=law, x=x, y=y, by=by, replicate=replicate, k=next,
        seed=seed,
    )  # fmt: skip
    if json:
        print(as_json(designs.plain | {"folder": str(folder)}))
    else:
        print(f"{designs}\n\nfigure: {folder / 'design.svg'}")
    return 0


def as_json(value: Any) -> str:
    """Return JSON without NaN: what is not a finite number is null."""

    def plain(v: Any) -> Any:
        if isinstance(v, dict):
            return {str(k): plain(w) for k, w in v.items()}
        if isinstance(v, (list, tuple)):
            return [plain(w) for w in v]
        v = v.item() if hasattr(v, "item") else v
        return None if isinstance(v, float) and not math.isfinite(v) else v

    return text.dumps(plain(value), indent=1)
