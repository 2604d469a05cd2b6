"""Information between two arrays that a user brings: the verb ``score``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sclaws.errors import DataError, ScoreError, did_you_mean
from sclaws.plugins import Spec


def estimate(x: Path, y: Path | None, score: str, seed: int) -> dict[str, Any]:
    """Return value, low, high, stderr, unit, n, estimator, verdict and details of a score on two files."""
    left, right = _two(x, y)
    built = Spec.of("scores", score, Path.cwd()).build()
    if getattr(built, "needs", "signal") == "model" or not hasattr(built, "estimate"):
        raise ScoreError(f"score {score!r} reads a model, not two arrays; use gaussian, ksg or probe")
    left = left[:, None] if left.ndim == 1 else left
    found = built.estimate(left.astype(float), right, seed=seed)
    names = ("value", "low", "high", "stderr", "unit", "n", "verdict", "details")
    return {"estimator": score, "seed": seed, **{name: getattr(found, name) for name in names}}


def _two(x: Path, y: Path | None) -> tuple[NDArray[Any], NDArray[Any]]:
    if y is not None:
        return _read(x), _read(y)
    both = _read(x)
    if not isinstance(both, dict):
        raise DataError(f"{x} is one array: give a second file, or an .npz that holds x and y")
    for name in ("x", "y"):
        if name not in both:
            raise DataError(f"{x} has no array {name!r}; {did_you_mean(name, both)}")
    return both["x"], both["y"]


def _read(path: Path) -> Any:
    """Return the array of an .npy file, or {name: array} of an .npz; nothing pickled is ever loaded."""
    try:
        found = np.load(path, allow_pickle=False)
        if not isinstance(found, np.lib.npyio.NpzFile):
            return found
        with found:
            return dict(found)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path} is not an array that numpy.save wrote without objects: {error}") from error
