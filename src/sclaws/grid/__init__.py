"""The words of a study -> trials (trained once) and runs (scored once)."""

from __future__ import annotations

from sclaws.grid.blocks import BLOCK, runs
from sclaws.grid.levels import levels, listed, table, unknown_words
from sclaws.grid.trials import Run, Setting, Trial

__all__ = [
    "BLOCK", "Run", "Setting", "Trial", "levels", "listed", "runs", "table", "unknown_words",
]  # fmt: skip
