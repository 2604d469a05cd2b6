"""Plans for a study's results, or for a table that a user brings (the verb ``design``); a study that plans itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sclaws import fit
from sclaws.design.designing import Designs, design
from sclaws.design.next_runs import loop
from sclaws.design.optimum import Plan
from sclaws.design.prices import Prices
from sclaws.errors import DesignError
from sclaws.fit import Fit, Fits
from sclaws.protocols import Floats
from sclaws.study import fitting
from sclaws.study.study import Study
from sclaws.study.tables import names
from sclaws.table import Table

AXES = ("umis_per_cell", "n_cells")


def plan(
    source: Path, prices: Path, out: Path | None, *, budget: float | None, target: str | None, law: str, x: str, y: str,
    by: str, replicate: str | None, k: int, seed: int,
) -> tuple[Designs, Path]:  # fmt: skip
    """Return the designs of all curves in a study's folder or a table, and the folder where they were written.

    A study's folder knows its curves, its replicates, and that y is information; a table must be told ``x`` and ``y``.
    Raises ``DesignError``, ``TableError`` or ``FitError``, each naming what was wrong.
    """
    priced = Prices.read(prices)
    table = Table.read(source)
    columns = names(x) or list(AXES)
    if source.is_dir():
        asked = {"law": names(law), "x": columns, "y": y or "information"} | ({"by": names(by)} if by else {})
        fits, notes = fitting.fitted(table, [asked], source)
        if notes:
            raise DesignError("; ".join(notes))
    else:
        fits = _of_table(table, columns, law, y, by, replicate, seed)
    designs = design(fits, priced, budget, target, k)
    return designs, designs.write(out or (source / "design" if source.is_dir() else Path("sclaws-design")))


def _of_table(table: Table, columns: list[str], law: str, y: str, by: str, replicate: str | None, seed: int) -> Fits:
    if not y:
        raise DesignError("--y is missing: name the column that the law explains, such as --y mi")
    return fit.fit(table, names(law), x=columns, y=y, by=names(by), replicate=replicate, seed=seed)


def follow(
    words: Mapping[str, Any],
    first: pd.DataFrame,
    candidates: pd.DataFrame,
    prices: Prices,
    budget: float,
    *,
    money: float,
    regret: float,
    cost: Callable[[pd.DataFrame], Floats] | None = None,
    folder: str | Path = ".",
    law: str = "noise-and-cells",
    at_once: int = 4,
    said: Callable[[str], None] = print,
) -> tuple[Fit, Plan, pd.DataFrame]:
    """Run a study's levels as they are suggested, until the plan's regret is small or the money is spent.

    ``words`` are a study with one model, signal and score, without levels; ``first`` and ``candidates`` have a column
    an axis, in the order of the law's inputs, and a row a run. ``cost`` (default: the prices) is what rows cost, in the
    unit of ``money``. Returns the last fit, its plan, and the rows of the table. What was trained is never trained
    again, so the same call goes on where it was stopped. Raises ``DesignError`` when the study has several curves.
    """
    columns = list(candidates)
    run_so_far: list[pd.DataFrame] = []

    def run(levels: pd.DataFrame) -> pd.DataFrame:
        run_so_far.append(levels[columns])
        paired = pd.concat(run_so_far).drop_duplicates().to_dict("list")
        found = Study.of({**words, "levels": paired, "design": "zip"}, folder).run(progress=False).table.frame
        new = levels[columns].drop_duplicates().rename(columns={c: f"{c}_level" for c in columns})
        return found[found["metric"] == "information"].merge(new, on=list(new))

    def refit(rows: pd.DataFrame) -> Fit:
        asked = {"law": [law], "x": columns, "y": "information"}
        fits, notes = fitting.fitted(Table(rows), [asked], Path(folder))
        if notes or len(fits) != 1:
            raise DesignError(
                "; ".join(notes) or f"the study has {len(fits)} curves: follow one model, signal and score"
            )
        return fits[0]

    def paid(rows: pd.DataFrame) -> Floats:
        return np.asarray(prices.cost({c: rows[c].to_numpy(float) for c in columns}))

    return loop(
        run,
        refit,
        first,
        candidates,
        cost or paid,
        prices,
        budget,
        money=money,
        regret=regret,
        at_once=at_once,
        again=False,
        said=said,
    )
