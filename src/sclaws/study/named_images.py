"""A named study of images: where the pixels are in the data, which classes there are, and the levels they allow."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sclaws.errors import DataError, StudyError
from sclaws.plugins import Spec
from sclaws.study.toml_text import levels, place, stem, toml
from sclaws.trial import whole

ARRAYS = (("images", "labels"), ("x_train", "y_train"), ("X", "y"), ("x", "y"))
_SIDE = 64  # pixels, to which the images of a folder are brought
_MOST = 6000  # images
_ONE_VS_REST = 2  # classes that are asked for by themselves, the largest
_TRAINED = 0.65


def words(data: Path, signals: Sequence[str], by: str | None) -> dict[str, str]:
    """Return what the template of a study of images leaves open, as TOML. One load of the images."""
    if signals or by:
        raise StudyError(
            "a study of images asks for the label, all classes and one against the rest: no --signal, --by"
        )
    dataset: dict[str, Any] = {"use": "images", "name": stem(data), "path": place(data)} | _where(data)
    found = dataset | {"path": str(data.absolute())}
    loaded = whole(Spec.of("datasets", found)).source.adata  # which a check of the study then has at hand
    if "label" not in loaded.obs or loaded.obs["label"].nunique() < 2:
        raise DataError(f"{data}: images of at least two classes are needed: a sub-folder each, or an array of labels")
    side = int(min(loaded.var["y"].max(), loaded.var["x"].max())) + 1
    largest = loaded.obs["label"].value_counts().index[:_ONE_VS_REST]
    asked: list[dict[str, Any]] = [{"use": "obs", "column": "label", "kind": "label", "name": "class"}]
    asked += (
        [{**asked[0], "positive": str(name), "name": f"{name} or not"} for name in largest]
        if loaded.obs["label"].nunique() > 2
        else []
    )
    cells = loaded.n_obs * _TRAINED
    return {
        "dataset": toml(dataset),
        "flip": toml(data.is_dir()),  # photographs may be mirrored, digits may not
        "signals": "[\n" + "".join(f"  {toml(each)},\n" for each in asked) + "]",
        "resolutions": levels(np.geomspace(2, side, 7)[:-1], whole=True),
        "some_resolutions": levels(np.geomspace(2, side, 7)[[1, 3]], whole=True),
        "cells": levels(np.geomspace(min(100.0, cells / 8), cells, 4)[:-1], whole=True),
    }


def _where(data: Path) -> dict[str, Any]:
    """Return the fields of the data set that say where its images are, and how many are taken."""
    if data.is_dir():
        return {"size": _SIDE, "limit": _MOST}
    try:
        with np.load(data, allow_pickle=False) as stored:
            there = set(stored.files)
            pair = next((pair for pair in ARRAYS if set(pair) <= there), None)
            shape = stored[pair[0]].shape if pair else ()
    except (OSError, ValueError) as error:
        raise DataError(f"{data} is neither a folder of images nor an .npz of arrays ({error})") from error
    if pair:
        colour = "grey" if len(shape) == 3 or shape[-1:] == (1,) else "rgb"
        return {"images": pair[0], "labels": pair[1], "colour": colour, "limit": _MOST}
    pairs = ", ".join(f"{a} and {b}" for a, b in ARRAYS)
    raise DataError(
        f"{data} has the arrays {', '.join(sorted(there))}; name them {pairs}, or write a study of your own"
    )
