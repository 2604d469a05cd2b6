"""Plans for a study's results, or for a table that a user brings: the verb ``design``."""

from __future__ import annotations

from pathlib import Path

from sclaws import fit
from sclaws.design.designing import Designs, design
from sclaws.design.prices import Prices
from sclaws.errors import DesignError
from sclaws.fit import Fits
from sclaws.study import fitting
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
