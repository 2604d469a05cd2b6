"""How models are written to a folder: arrays in one ``.npz``, no pickle, the same bytes for the same model."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sclaws.errors import ModelError


def write(folder: Path, name: str, features: pd.Index, **arrays: Any) -> None:
    """Write arrays and the features' names to ``folder/name.npz``."""
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / f"{name}.npz", features=np.asarray(features, dtype=np.str_), **arrays)


def read(folder: Path, name: str) -> tuple[pd.Index, dict[str, NDArray[Any]]]:
    """Return the features' names and the arrays by name; raise ``ModelError`` when they are not there."""
    file = Path(folder) / f"{name}.npz"
    try:
        with open(file, "rb") as opened, np.load(opened, allow_pickle=False) as stored:
            arrays = {key: stored[key] for key in stored.files}
        features = pd.Index(arrays.pop("features").astype(object))
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ModelError(f"{file} holds no {name} model ({error}); train it again") from error
    return features, arrays
