"""Whether the loss of a study's trials tells anything about use: its file, and a few lines for the command line."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from sclaws.agreement import ALL, FIRST, agreement
from sclaws.report import agreed
from sclaws.table import Table, write_csv

FILE = "agreement.csv"
MOST = 6  # lines on the command line


def agreeing(table: Table) -> pd.DataFrame:
    """Return the rank correlations of a study's measures; none where trials have one kind of metric."""
    metrics = {str(m) for m in table.frame["metric"].dropna()} if "metric" in table.frame else set()
    several = len(metrics - {"gain"}) > 1 or {"gain", "information"} <= metrics
    return agreement(table if several else Table(table.frame[:0]))


def write(folder: Path, frame: pd.DataFrame) -> None:
    """Write ``agreement.csv``, or remove what was there before."""
    if len(frame):
        write_csv(frame, folder / FILE)
    else:
        (folder / FILE).unlink(missing_ok=True)


def sentences(frame: pd.DataFrame) -> list[str]:
    """Return a line for each pair of a loss or information and a task: its correlation, and what that says."""
    lines = []
    found = [p for p in agreed.pairs(frame) if p["one"]["first_metric"] in FIRST]
    for pair in (p for p in found if p["one"]["second_metric"] not in FIRST[:2]):
        one, whole = pair["one"], pair["models"].get(ALL)
        where = "" if one is whole else f" within models, {agreed.said(whole)} over all" if whole else " within models"
        lines.append(
            f"{pair['first']} and {pair['second']}: rank correlation {agreed.said(one)}{where}: {one['verdict']}"
        )
    more = len(lines) - MOST
    return [*lines[:MOST], *([f"… and {more} more, in {FILE}"] if more > 0 else [])]
