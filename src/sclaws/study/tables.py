"""Laws for a table that a user brings: the verb ``fit``. No model, no cell, no experiment."""

from __future__ import annotations

from pathlib import Path

from sclaws import fit, report
from sclaws.errors import TableError
from sclaws.fit import Fits
from sclaws.plugins import Spec
from sclaws.table import Table


def fit_file(
    path: Path,
    law: str,
    x: str,
    y: str,
    by: str,
    replicate: str | None,
    criterion: fit.Criterion,
    seed: int,
    out: Path,
    *,
    pool: bool | None = None,
) -> tuple[Fits, Path]:
    """Fit laws to a file; write ``fits.csv``, ``predictions.csv`` and the report to ``out``; return fits and report."""
    table = Table.read(path)
    laws = [Spec.of("laws", name, Path.cwd()).build() for name in names(law)]
    fits = fit.fit(
        table, laws, x=names(x), y=y, by=names(by), replicate=replicate, criterion=criterion, pool=pool, seed=seed
    )  # fmt: skip
    try:
        out.mkdir(parents=True, exist_ok=True)
        fits.write(out)
        page = report.write(out, table, fits, title=path.stem)
    except OSError as error:
        raise TableError(f"{out} cannot be written: {error.strerror or error}; choose another --out") from error
    return fits, page


def names(text: str) -> list[str]:
    """Return the names in a comma-separated list."""
    return [name.strip() for name in text.split(",") if name.strip()]
