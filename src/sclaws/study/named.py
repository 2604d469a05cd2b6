"""Studies that have a name: settled on a user's data, and written out as a study file like any other."""

from __future__ import annotations

import json
import os
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from sclaws.errors import DataError, StudyError, did_you_mean
from sclaws.plugins import Spec

KINDS: Mapping[str, str] = {
    "protein": "a matrix of obsm",
    "label": "a column of obs",
    "time": "a column of obs with numbers",
    "clone": "a column of obs",
    "neighbour": "coordinates in obsm",
}
_BLOCKS = 12  # squares a side into which a tissue is cut, so that neighbours train or are tested together
_PAIRS = 3000  # of neighbours that are scored
_SHARES = {"test": 0.25, "valid": 0.1}
_SHALLOWEST = 10.0  # UMI per cell: the published end of the grid


def names() -> list[str]:
    """Return the names of the studies that come with the package and want data, sorted."""
    found = (Path(file.name) for file in files("sclaws.studies").iterdir())
    return sorted(file.stem for file in found if file.suffix == ".toml" and file.stem != "demo")


def lines() -> list[str]:
    """Return one line for each named study: its name, and what it is."""
    return [f"{name}  {_template(name).splitlines()[0].removeprefix('# ').partition(':')[0]}" for name in names()]


def write(name: str, data: Path | None, signals: Sequence[str] = (), by: str | None = None) -> Path:
    """Settle a named study on data, write it to the working folder, and return the study file.

    ``signals`` are KIND=KEY (:data:`KINDS`); without any, what the file's names suggest. ``by`` is a column of ``obs``
    whose groups (donors) the split keeps whole. A file that is there already must say the same. Raises ``StudyError``
    or ``DataError``; costs one load of the data.
    """
    if name not in names():
        raise StudyError(f"{name}: no such study file, and no study has this name; {did_you_mean(name, names())}")
    if data is None:
        raise StudyError(f"{name} is a study of your data: add --data cells.h5ad")
    text = settled(name, data, signals, by)
    file = Path(f"{_stem(data)}-{name}.toml")
    if file.exists() and file.read_text(encoding="utf-8") != text:
        raise StudyError(f"{file} is there and says something else: run it as it is (sclaws run {file}), or remove it")
    file.write_text(text, encoding="utf-8")
    return file


def settled(name: str, data: Path, signals: Sequence[str] = (), by: str | None = None) -> str:
    """Return the text of a named study for these data."""
    loaded = Spec.of("datasets", {"use": "h5ad", "path": str(data.absolute())}).build().load()
    asked = _asked(signals, loaded) if signals else _suggested(loaded)
    special = sorted({each.kind for each in asked} & {"clone", "neighbour"})
    if special and (len(special) > 1 or any(each.kind not in special for each in asked)):
        raise StudyError(
            f"a {special[0]} needs a split of its own: give it a study of its own, with --signal {special[0]}=… alone"
        )
    dataset: dict[str, Any] = {"use": "h5ad", "path": os.path.relpath(data) if not data.is_absolute() else str(data)}
    split: dict[str, Any] = dict(_SHARES)
    if by:
        split["by"] = by
    elif special == ["clone"]:
        split |= {"test": 0.5, "by": asked[0].key}  # as published: clones are few, and each gives one pair
    elif special == ["neighbour"]:
        dataset["blocks"], split["by"] = _BLOCKS, "block"
    labels = [each.kind == "label" for each in asked]
    words = {
        "name": f"{_stem(data)}-{name}",
        "data": data.name,
        "signal_words": _listing([each.said for each in asked]),
        "dataset": _toml(dataset),
        "split": _toml(split),
        "signals": "[\n" + "".join(f"  {_toml(each.words(split.get('by')))},\n" for each in asked) + "]",
        "quick": "gaussian" if not any(labels) else "probe" if all(labels) else "ksg",
        "ceiling": '\nceiling = "bound"' if any(labels) else "",
    }
    depth, cells = float(loaded.X.sum() / loaded.n_obs), loaded.n_obs * (1 - sum(_SHARES.values()))
    return string.Template(_template(name)).substitute(words | _grids(depth, cells))


def _template(name: str) -> str:
    return files("sclaws.studies").joinpath(f"{name}.toml").read_text(encoding="utf-8")


def _stem(data: Path) -> str:
    return data.name.split(".")[0]


# ── levels ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def _grids(depth: float, cells: float) -> dict[str, str]:
    """Return the grids as TOML: depths from 10 UMI per cell over a tenth to all, cells from 100 to all."""
    tenth = depth / 10
    low = min(_SHALLOWEST, tenth / 4)
    below, above = np.geomspace(low, tenth, 3)[:-1], np.geomspace(tenth, depth, 4)[:-1]
    few = [c for c in (100, 1000) if c < cells / 2]
    return {
        "depths": _levels([*below, *above]),
        "some_depths": _levels([below[-1], tenth, above[-1]]),
        "cells": _levels(np.geomspace(min(100.0, cells / 8), cells, 5)[:-1], whole=True),
        "few_cells": _levels(few or [cells / 4], whole=True),
        "paper_depths": _levels(np.geomspace(low, depth, 10)[:-1]),
        "paper_cells": _levels(np.geomspace(min(100.0, cells / 8), cells, 10)[:-1], whole=True),
    }


def _levels(values: Any, *, whole: bool = False) -> str:
    plain = [round(v) if whole else float(f"{v:.3g}") for v in values]
    return _toml([*plain, "all"])


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
            return {"use": "clone", "column": self.key}
        if self.kind == "neighbour":
            return {"use": "neighbour", "key": self.key, "by": by, "n": _PAIRS}
        group = {"group": by} if by else {}
        if self.kind == "protein":
            return {"use": "obsm", "key": self.key, **group}
        return {"use": "obs", "column": self.key, "kind": "label" if self.kind == "label" else "continuous", **group}


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
    plain += [Asked(kind, name) for name in adata.obs if (kind := _kind(name, adata.obs[name]))]
    special = [
        Asked("clone", name)
        for name in adata.obs
        if name.lower() in ("clone", "clone_id", "clonal_id", "barcode_clone")
    ]
    special += [Asked("neighbour", key) for key in adata.obsm if key.lower() in ("spatial", "x_spatial")]
    if found := plain or special[:1]:
        return found
    raise DataError(
        f"nothing in these data is called like a signal (obs: {', '.join(adata.obs) or 'none'}; obsm: "
        f"{', '.join(adata.obsm) or 'none'}): name it with --signal KIND=KEY, kinds: {', '.join(KINDS)}"
    )


def _kind(name: str, column: pd.Series[Any]) -> str | None:
    low = name.lower()
    if low.startswith(("cell_type", "celltype", "cluster")):
        return "label" if 1 < column.nunique() <= len(column) / 10 else None
    if "time" in low and pd.api.types.is_float_dtype(column.dtype):
        return "time"
    return None


# ── words ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{k} = {_toml(v)}" for k, v in value.items() if v is not None) + " }"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _listing(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
