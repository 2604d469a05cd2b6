"""Information between two arrays that a user brings: the verb ``score``."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sclaws.errors import DataError, ScoreError, did_you_mean
from sclaws.plugins import Spec


def estimate(x: Path, y: Path | None, score: str, seed: int) -> dict[str, Any]:
    """Return value, low, high, stderr, unit, n, estimator, verdict and details of a score on two files."""
    built = Spec.of("scores", score, Path.cwd()).build()
    if getattr(built, "needs", "signal") == "model" or not hasattr(built, "estimate"):
        raise ScoreError(f"score {score!r} reads a model, not two arrays; see sclaws list scores")
    left, right = _two(x, y)
    found = built.estimate(left, right, seed=seed)
    names = ("value", "low", "high", "stderr", "unit", "n", "verdict", "details")
    return {"estimator": score, "seed": seed, **{name: getattr(found, name) for name in names}}


def _two(x: Path, y: Path | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return x as (n, d) floats and y as (n,) or (n, k) numbers, or (n,) labels as text."""
    both = _read(x) if y is None else {"x": _single(x), "y": _single(y)}
    if not isinstance(both, dict):
        raise DataError(f"{x} is one array: give a second file, or an .npz that holds x and y")
    for name in ("x", "y"):
        if name not in both:
            raise DataError(f"{x} has no array {name!r}; {did_you_mean(name, both)}")
    left = _numbers(both["x"], f"{x}: x", (1, 2)).astype(float)
    right = both["y"]
    text = right.dtype.kind == "U" and right.ndim == 1 and right.size
    return left[:, None] if left.ndim == 1 else left, right if text else _numbers(right, f"{y or x}: y", (1, 2))


def _single(path: Path) -> NDArray[Any]:
    if isinstance(found := _read(path), dict):
        raise DataError(f"{path} holds several arrays ({', '.join(found)}): give it alone, with arrays called x and y")
    return found  # type: ignore[no-any-return]


def _numbers(values: NDArray[Any], what: str, ndim: tuple[int, ...]) -> NDArray[Any]:
    if values.dtype.kind not in "biuf":
        raise DataError(f"{what} holds {values.dtype}, and numbers are needed; give labels as whole numbers")
    if values.ndim not in ndim or not values.size:
        raise DataError(f"{what} has shape {values.shape}; (n,) or (n, d) with n above 0 is needed")
    return values.astype(int) if values.dtype.kind == "b" else values


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
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not an array that numpy.save wrote without objects: {error}") from error
