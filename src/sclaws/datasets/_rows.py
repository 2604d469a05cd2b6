"""Some cells of a file: those whose annotations say so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pandas as pd

from sclaws.errors import DataError, did_you_mean


def kept(obs: pd.DataFrame, keep: Sequence[str], drop: Sequence[str]) -> np.ndarray:
    """Return the mask (n,) of cells that are kept: "column=value" each, one value of every column that is named.

    ``drop`` takes away what has any of its values; an empty value is a missing one. Raises ``DataError`` for what is no
    "column=value", an unknown column or value, and when fewer than two cells are left.
    """
    mask = np.ones(len(obs), dtype=bool)
    wanted: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(len(obs), dtype=bool))
    for condition in keep:
        column, found = _one(obs, condition, "keep")
        wanted[column] |= found
    for found in wanted.values():
        mask &= found
    for condition in drop:
        mask &= ~_one(obs, condition, "drop")[1]
    if mask.sum() < 2:
        raise DataError(f"keep = {list(keep)} and drop = {list(drop)} leave {mask.sum()} of {len(obs)} cells")
    return mask


def _one(obs: pd.DataFrame, condition: str, word: str) -> tuple[str, np.ndarray]:
    column, equals, value = (part.strip() for part in condition.partition("="))
    if not equals or not column:
        raise DataError(f'{word}: {condition!r} is not "column=value"')
    if column not in obs:
        raise DataError(f"{word}: obs has no column {column!r}; {did_you_mean(column, obs)}")
    there = obs[column].astype(str)
    if not value:  # as in signals, the texts that a missing value becomes in many a file are missing, too
        return column, obs[column].isna().to_numpy() | there.isin(("nan", "NaN", "")).to_numpy()
    found = (there == value).to_numpy() & obs[column].notna().to_numpy()
    if not found.any():
        raise DataError(f"{word}: no cell has obs[{column!r}] = {value!r}; {did_you_mean(value, there.unique())}")
    return column, found
