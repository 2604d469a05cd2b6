"""How many reads a number of UMI costs: the saturation curve of a library, inverted, and fitted to a table.

A cell's library holds M molecules that are equally likely to be read; of r reads a share ``usable`` falls on them. Then
u = M·(1 − exp(−usable·r/M)) different ones are seen (Lander & Waterman 1988, equation of coverage, for molecules).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sclaws.design._amounts import check_amount
from sclaws.errors import DesignError, TableError
from sclaws.protocols import Floats
from sclaws.table import Table

COLUMNS = ("reads", "umis")
_STRAIGHT = 500.0  # times the deepest row: as many molecules look like a straight line
_KNOWN = 10.0  # the interval of the molecules may span this factor
_ROWS = 3


@dataclass(frozen=True)
class Saturation:
    """The curve of one library: ``molecules`` (M, UMI a cell at any depth), ``usable`` (share of reads, 0 to 1).

    ``told`` says in a sentence where the two come from. Raises ``DesignError`` for values that cannot be.
    """

    molecules: float
    usable: float
    told: str = ""

    def __post_init__(self) -> None:
        check_amount("molecules", self.molecules, positive=True)
        check_amount("usable", self.usable, positive=True, most=1.0)
        if not self.told:
            said = f"{self.molecules:,.6g} molecules and {self.usable:.3g} of its reads are usable"
            object.__setattr__(self, "told", f"A cell's library holds {said}: as given, not measured on this sample.")

    def reads(self, umis: Floats) -> NDArray[np.float64]:
        """Return the reads a cell that show so many UMI a cell; infinite from ``molecules`` on."""
        share = np.asarray(umis, dtype=float) / self.molecules
        with np.errstate(divide="ignore", invalid="ignore"):
            reads = -self.molecules / self.usable * np.log1p(-share)
        return np.where(share < 1, reads, np.inf)

    def umis(self, reads: Floats) -> NDArray[np.float64]:
        """Return the UMI a cell that so many reads a cell show."""
        return -self.molecules * np.expm1(-self.usable * np.asarray(reads, dtype=float) / self.molecules)

    @classmethod
    def read(cls, path: Path) -> Saturation:
        """Return the curve fitted to a table with columns reads and umis, both a cell; raises ``DesignError``."""
        try:
            frame = Table.read(path).frame
        except TableError as error:
            raise DesignError(str(error)) from error
        for column in COLUMNS:
            if column not in frame:
                raise DesignError(f"{path}: column {column!r} is missing; it needs reads and umis, both per cell")
        try:
            reads, umis = (frame[column].to_numpy(dtype=float) for column in COLUMNS)
        except (TypeError, ValueError) as error:
            raise DesignError(f"{path}: reads and umis must be numbers: {error}") from error
        try:
            return cls.fit(reads, umis, path.name)
        except DesignError as error:
            raise DesignError(f"{path}: {error}") from error

    @classmethod
    def fit(cls, reads: Floats, umis: Floats, name: str = "the table") -> Saturation:
        """Return the curve of least squares in the square root of UMI; reads and UMI a cell (rows,).

        Raises ``DesignError`` when rows are too few or impossible, or do not bend: then the molecules are not known.
        """
        _check_rows(reads, umis)
        log_molecules, log_usable, error = _least_squares(np.asarray(reads, dtype=float), np.asarray(umis, dtype=float))
        molecules, spread = np.exp(log_molecules), np.exp(error)
        deepest = float(np.max(umis))
        if molecules > _STRAIGHT * deepest or not spread**2 <= _KNOWN:
            raise DesignError(
                "UMI rise nearly in proportion to reads, so how many molecules there are cannot be told; "
                "add deeper rows, or give molecules and usable of a similar library"
            )
        told = (
            f"A cell's library holds {_count(molecules)} molecules ({_count(molecules / spread)} to "
            f"{_count(molecules * spread)}) and {np.exp(log_usable):.3g} of its reads are usable: fitted to "
            f"{len(umis)} rows of {name}; beyond {_count(deepest)} UMI per cell that is extrapolation."
        )
        return cls(float(molecules), float(np.exp(log_usable)), told)


def _count(value: float) -> str:
    return f"{float(f'{value:.3g}'):,.0f}"


def _check_rows(reads: Floats, umis: Floats) -> None:
    for row, (read, umi) in enumerate(zip(reads, umis, strict=True), start=1):
        if not 0 < umi <= read < np.inf:
            raise DesignError(f"row {row}: {umi:g} UMI from {read:g} reads per cell cannot be; 0 < umis <= reads")
    if len(np.unique(reads)) < _ROWS:
        raise DesignError(f"{len(np.unique(reads))} different numbers of reads; a curve needs {_ROWS} at least")


def _least_squares(reads: Floats, umis: Floats) -> tuple[float, float, float]:
    """Return log molecules, log usable, and half the 95 % interval of the former, rows taken as independent.

    The scatter of a count grows with its square root, so that in square roots all rows weigh the same.
    """
    from scipy.optimize import least_squares
    from scipy.stats import t

    def residuals(theta: Floats) -> Floats:
        molecules, usable = np.exp(theta)
        return np.sqrt(-molecules * np.expm1(-usable * reads / molecules)) - np.sqrt(umis)

    deepest = np.max(umis)
    low, high = [np.log(deepest / 2), np.log(1e-6)], [np.log(2 * _STRAIGHT * deepest), 0.0]
    start = [np.log(2 * deepest), min(np.log(np.max(umis / reads)), -1e-3)]
    found = least_squares(residuals, start, bounds=(low, high), xtol=1e-14, ftol=1e-14, gtol=1e-14, jac="3-point")
    free = len(umis) - 2
    covariance = np.linalg.pinv(found.jac.T @ found.jac) * (2 * found.cost / free)
    return float(found.x[0]), float(found.x[1]), float(t.ppf(0.975, free) * np.sqrt(covariance[0, 0]))
