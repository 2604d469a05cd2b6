"""A named study of counts: which signals a file of cells offers, and the grid that its depth and size allow."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sclaws.errors import DataError, PluginError, StudyError, did_you_mean
from sclaws.plugins import Spec
from sclaws.study.toml_text import levels, listing, place, stem, toml
from sclaws.trial import whole
from sclaws.view import View

KINDS: Mapping[str, str] = {
    "protein": "a matrix of obsm",
    "label": "a column of obs",
    "time": "a column of obs with numbers",
    "clone": "a column of obs",
    "neighbour": "coordinates in obsm",
}
_LAYER = "counts"  # where they are if X is something else
_BLOCKS = 12  # squares a side into which a tissue is cut, so that neighbours train or are tested together
_PAIRS = 3000  # of neighbours that are scored
_SHARES = {"test": 0.25, "valid": 0.1}
_SHALLOWEST = 10.0  # UMI per cell: the published end of the grid


def words(data: Path, signals: Sequence[str], by: str | None) -> dict[str, str]:
    """Return what the template of a study of counts leaves open, as TOML. One load of the file.

    ``signals`` are KIND=KEY (:data:`KINDS`); without any, what the file's names suggest.
    """
    loaded, dataset = load_counts(data)
    asked = _asked(signals, loaded) if signals else _suggested(loaded)
    special = sorted({each.kind for each in asked} & {"clone", "neighbour"})
    if special and (len(special) > 1 or any(each.kind not in special for each in asked)):
        raise StudyError(
            f"a {special[0]} needs a split of its own: give it a study of its own, with --signal {special[0]}=… alone"
        )
    split: dict[str, Any] = dict(_SHARES)
    if by:
        _check_by(by, loaded, special)
        split["by"] = by
    elif special == ["clone"]:
        split |= {"test": 0.5, "by": asked[0].key}  # as published: clones are few, and each gives one pair
    elif special == ["neighbour"]:
        dataset |= {"name": stem(data), "blocks": _blocks(asked[0].key, loaded)}
        split["by"] = "block"
    labels = [each.kind == "label" for each in asked]
    return _grids(float(View.of(loaded).totals.mean()), trained_cells(split, loaded)) | {
        "signal_words": listing([each.said for each in asked]),
        "dataset": toml(dataset),
        "split": toml(split),
        "signals": "[\n" + "".join(f"  {toml(each.words(split.get('by')))},\n" for each in asked) + "]",
        "quick": "gaussian" if not any(labels) else "probe" if all(labels) else "ksg",
        "ceiling": '\nceiling = "bound"' if any(labels) else "",
    }


def load_counts(data: Path) -> tuple[Any, dict[str, Any]]:
    """Return the checked data, and the words that a study file has for them: an h5ad file, or a corpus on disk.

    Counts are in X, or in the layer "counts" where X holds something else.
    """
    where = {"use": "corpus" if data.is_dir() else "h5ad", "path": str(data.absolute())}
    words = where | {"path": place(data)}
    try:
        return whole(Spec.of("datasets", where)).source.adata, words  # which a check of the study then has at hand
    except DataError as first:
        try:
            return whole(Spec.of("datasets", where | {"layer": _LAYER})).source.adata, words | {"layer": _LAYER}
        except (DataError, PluginError):
            raise first from None


def _check_by(by: str, adata: Any, special: Sequence[str]) -> None:
    """Raise before anything is written for groups that a split cannot keep whole."""
    if special == ["clone"]:
        raise StudyError("a study of clones keeps clones whole, and no other groups: leave --by out")
    if by not in adata.obs:
        raise DataError(f"--by {by}: obs has no such column; {did_you_mean(by, adata.obs)}")
    if missing := int(adata.obs[by].isna().sum()):
        raise DataError(f"--by {by}: it is missing for {missing} cells, which are in no group; fill or drop them")


def _blocks(key: str, adata: Any) -> int:
    """Return into how many strips a tissue is cut each way: 12, or so many that a block has twenty cells."""
    if key != "spatial" or "block" in adata.obs:
        why = f"not of {key!r}" if key != "spatial" else "and obs has a column 'block' already"
        raise StudyError(f"blocks are cut of obsm['spatial'], {why}: say --by COLUMN, blocks or slides of your own")
    return max(2, min(_BLOCKS, math.isqrt(adata.n_obs // 20)))


# ── levels ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def trained_cells(split: Mapping[str, Any], adata: Any) -> float:
    """Return how many cells a split leaves for training; with whole groups of unequal sizes, the fewest it may."""
    cells = adata.n_obs * (1 - split["test"] - split["valid"])
    largest = adata.obs[split["by"]].value_counts().iloc[0] if split.get("by") in adata.obs else 0
    return float(max(cells - 2 * largest, cells / 4))


def _grids(depth: float, cells: float) -> dict[str, str]:
    """Return the grids as TOML: depths from 10 UMI per cell over a tenth to all, cells from 100 to all."""
    tenth = depth / 10
    low = min(_SHALLOWEST, tenth / 4)
    below, above = np.geomspace(low, tenth, 3)[:-1], np.geomspace(tenth, depth, 4)[:-1]
    return {
        "depths": levels([*below, *above]),
        "some_depths": levels([below[-1], tenth, above[-1]]),
        "cells": levels(np.geomspace(min(100.0, cells / 8), cells, 5)[:-1], whole=True),
        "few_cells": levels(np.geomspace(min(100.0, cells / 8), cells, 4)[:-1], whole=True),
        "paper_depths": levels(np.geomspace(low, depth, 10)[:-1]),
        "paper_cells": levels(np.geomspace(min(100.0, cells / 8), cells, 10)[:-1], whole=True),
    }


# ── signals ──────────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Asked:
    """A signal of a kind, under a key of the data."""

    kind: str
    key: str

    @property
    def said(self) -> str:
        """What it is, in words."""
        return {
            "protein": f"proteins ({self.key})",
            "neighbour": "a spatial neighbour",
            "clone": "a clone's other cell",
        }.get(self.kind, self.key)

    def words(self, by: str | None) -> dict[str, Any]:
        """Return the component's words; ``by`` is the column whose groups the split keeps whole."""
        if self.kind == "clone":
            return {"use": "clone", "column": self.key, "name": "clone"}
        if self.kind == "neighbour":
            return {"use": "neighbour", "key": self.key, "by": by, "n": _PAIRS, "name": "neighbour"}
        name = {"group": by, "name": self.key} if by else {"name": self.key}
        if self.kind == "protein":
            return {"use": "obsm", "key": self.key, **name}
        return {"use": "obs", "column": self.key, "kind": "label" if self.kind == "label" else "continuous", **name}


def _asked(signals: Sequence[str], adata: Any) -> list[Asked]:
    found = []
    for text in signals:
        kind, _, key = text.partition("=")
        if kind not in KINDS or not key:
            raise StudyError(
                f"--signal {text!r} is not KIND=KEY; kinds: " + ", ".join(f"{k} ({v})" for k, v in KINDS.items())
            )
        where = "obsm" if kind in ("protein", "neighbour") else "obs"
        there = getattr(adata, where)
        if key not in there:
            raise DataError(f"--signal {text}: there is no {where}[{key!r}]; {did_you_mean(key, there)}")
        found.append(Asked(kind, key))
    return found


def _suggested(adata: Any) -> list[Asked]:
    """Return the signals that the names in a file suggest; one with a split of its own only if there is no other."""
    plain = [Asked("protein", key) for key in adata.obsm if "protein" in key.lower() or key.lower().startswith("adt")]
    plain += [Asked(kind, name) for name in adata.obs if (kind := kind_of(name, adata.obs[name]))]
    special = [Asked("clone", name) for name in adata.obs if name.lower() in ("clone", "clone_id", "clonal_id")]
    special += [Asked("neighbour", "spatial")] if "spatial" in adata.obsm else []
    if found := _different(plain, adata) or special[:1]:
        return found
    raise DataError(
        f"nothing in these data is called like a signal (obs: {', '.join(adata.obs) or 'none'}; obsm: "
        f"{', '.join(adata.obsm) or 'none'}): name it with --signal KIND=KEY, kinds: {', '.join(KINDS)}"
    )


def _different(asked: Sequence[Asked], adata: Any) -> list[Asked]:
    """Return the signals without labels that only rename the classes of one before (a cell type, and its number)."""
    found: dict[Any, Asked] = {}
    for each in asked:
        label = each.kind == "label"
        found.setdefault(pd.factorize(adata.obs[each.key])[0].tobytes() if label else (each.kind, each.key), each)
    return list(found.values())


def kind_of(name: str, column: pd.Series[Any]) -> str | None:
    """Return "label" or "time" for a column of obs that is called like one, and has values like one."""
    low = re.sub("[^a-z]", "", name.lower())
    if low.startswith(("celltype", "cluster")):
        return "label" if 1 < column.nunique() <= column.count() / 10 else None
    number = pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)
    return "time" if "time" in low and number and column.nunique() > 1 else None
