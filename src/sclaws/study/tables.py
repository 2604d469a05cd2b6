"""Laws for a table that a user brings: the verb ``fit``. No model, no cell, no experiment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sclaws import fit, report
from sclaws.errors import FitError, TableError
from sclaws.fit import Fits, targets
from sclaws.table import Table, write_csv


@dataclass(frozen=True)
class Fitted:
    """What came of a file: fits, the rows of ``targets.csv``, and where the report is."""

    fits: Fits
    targets: Any
    report: Path

    @property
    def plain(self) -> dict[str, Any]:
        """The same as lists and numbers, for JSON."""
        return {
            "fits": self.fits.frame.to_dict("records"),
            "predictions": self.fits.predictions.to_dict("records"),
            "targets": self.targets.to_dict("records"),
            "report": str(self.report),
        }


def fit_file(path: Path, out: Path, *, law: str, x: str, y: str, by: str = "", target: str = "", **how: Any) -> Fitted:
    """Fit laws to a file; write ``fits.csv``, ``predictions.csv``, ``targets.csv`` and the report to ``out``.

    Names are joined by commas; ``how`` are the other arguments of :func:`sclaws.fit.fit`.
    """
    table = Table.read(path)
    rules = wanted(target)
    fits = fit.fit(table, names(law), x=names(x), y=y.strip(), by=names(by), **how)
    found = fits.targets(rules)
    try:
        out.mkdir(parents=True, exist_ok=True)
        fits.write(out)
        if rules:
            write_csv(found, out / "targets.csv")
        else:
            (out / "targets.csv").unlink(missing_ok=True)
        page = report.write(out, table, fits, title=path.stem, rules=rules)
    except OSError as error:
        raise TableError(f"{out} cannot be written: {error.strerror or error}; choose another --out") from error
    return Fitted(fits, found, page)


def names(text: str) -> list[str]:
    """Return the names in a comma-separated list."""
    return [name.strip() for name in text.split(",") if name.strip()]


def wanted(text: str) -> list[str | float]:
    """Return the targets in a comma-separated list: rules by name, values of y as numbers."""
    rules: list[str | float] = []
    for name in names(text):
        try:
            rules.append(name if name in targets.RULES else float(name))
        except ValueError as error:
            raise FitError(f"--target {name!r} is unknown: give {', '.join(targets.RULES)} or a number") from error
        if isinstance(rules[-1], float) and not math.isfinite(rules[-1]):
            raise FitError(f"--target {name!r} is no finite number: give {', '.join(targets.RULES)} or a value of y")
    return rules
