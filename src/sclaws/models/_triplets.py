"""Triplets of cells: an anchor, a positive of its type from another study, a negative of another type.

As in SCimilarity (Heimberg et al. 2024), which paper C trains. Which types may be negatives of which is read from a
table of parents; which triplets of a batch are learned from is a matter of distances.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from sclaws.errors import ModelError, did_you_mean
from sclaws.protocols import Ints, View


@dataclass(frozen=True, eq=False)
class Kinds:
    """What is known of cells: ``types`` and ``studies`` (n,) codes, and ``apart`` (K, K), which types may be negatives.

    A type of -1 is unknown: such a cell is in no triplet. ``across``: positives come from another study.
    """

    types: Ints
    studies: Ints
    apart: NDArray[np.bool_]
    across: bool

    def positives(self, rows: Ints) -> NDArray[np.bool_]:
        """Return (B, B): whether the second of these cells is a positive of the first."""
        types, studies = self.types[rows], self.studies[rows]
        same = (types[:, None] == types) & (types >= 0)
        other = studies[:, None] != studies if self.across else rows[:, None] != rows
        return np.asarray(same & other)

    def negatives(self, rows: Ints) -> NDArray[np.bool_]:
        """Return (B, B): whether the second of these cells is a negative of the first."""
        types = self.types[rows]
        known = (types[:, None] >= 0) & (types >= 0)
        return np.asarray(self.apart[types[:, None], types] & known)

    def of(self, rows: Ints) -> Kinds:
        """Return what is known of some of the cells."""
        return Kinds(self.types[rows], self.studies[rows], self.apart, self.across)

    def groups(self) -> tuple[NDArray[np.int64], Ints]:
        """Return the (G, 2) types and studies that occur together, and which of these each of the (n,) cells is of."""
        width = int(self.studies.max(initial=0)) + 2  # a study of -1 is unknown
        codes, group = np.unique(self.types.astype(np.int64) * width + self.studies + 1, return_inverse=True)
        return np.column_stack([codes // width, codes % width - 1]), group.ravel()

    def balance(self) -> NDArray[np.float64]:
        """Return (n,) rising shares: types are equally likely, so are the studies of a type, and cells of both."""
        pairs, group = self.groups()
        studies_of = np.bincount(pairs[:, 0])
        weight = 1 / (np.bincount(group) * studies_of[pairs[:, 0]])
        rising = np.cumsum(weight[group])
        return np.asarray(rising / rising[-1])


def drawn(balance: NDArray[np.float64], batch: int, seed: int, step: int) -> Ints:
    """Return the (batch,) cells of a step, drawn with replacement."""
    at = np.searchsorted(balance, np.random.default_rng([seed, step]).random(batch), side="right")
    return np.minimum(at, len(balance) - 1)


# ── annotations ──────────────────────────────────────────────────────────────────────────────────────────────────────
def kinds(name: str, view: View, label: str, study: str | None, ontology: str | None) -> tuple[Kinds, pd.Index]:
    """Return what is known of training cells and the types' names; raise ``ModelError`` where no triplet can be."""
    codes, types = column(name, view, label, "label")
    if len(types) < 2:
        raise ModelError(
            f"{name}: the {view.n_obs} training cells are of {len(types)} types in obs[{label!r}], and there is "
            "nothing to tell apart; train on more cells"
        )
    studies = np.zeros(view.n_obs, dtype=np.int64) if study is None else column(name, view, study, "study")[0]
    across = len(np.unique(studies)) > 1
    if across and np.unique(np.column_stack([codes, studies]), axis=0).shape[0] == len(types):
        raise ModelError(
            f"{name}: no type of obs[{label!r}] was seen in two studies of obs[{study!r}], so that no cell has a "
            "positive; leave study out"
        )
    apart = ~np.eye(len(types), dtype=bool)
    if ontology is not None:
        apart &= ~related(name, types, Path(ontology))
    if not apart.any():
        raise ModelError(
            f"{name}: every type of obs[{label!r}] is an ancestor or a descendant of every other in {ontology}, so "
            "that there are no negatives; leave ontology_path out"
        )
    return Kinds(codes, studies, apart, across), types


def others(view: View, known: Kinds, types: pd.Index, label: str, study: str | None) -> Kinds:
    """Return the same of validation cells; one without a known type, or without annotations at all, has type -1."""
    nothing = np.full(view.n_obs, -1)
    codes = types.get_indexer(pd.Index(view.obs[label].astype("string"))) if label in view.obs else nothing
    if known.across and study in view.obs:
        studies = view.obs[study].astype("string").fillna("")
        return Kinds(codes, _named(*pd.factorize(studies))[0], known.apart, True)
    return Kinds(codes, nothing, known.apart, False)


def column(name: str, view: View, key: str, field: str) -> tuple[Ints, pd.Index]:
    """Return a column of annotations as codes (n,) of sorted names; ``ModelError`` when it is not there or has gaps."""
    if key not in view.obs:
        raise ModelError(f"{name}: {field} = {key!r} is not a column of obs; {did_you_mean(key, view.obs)}")
    found, values = pd.factorize(view.obs[key])  # no text for each of twenty million cells
    if missing := int((found < 0).sum()):
        raise ModelError(
            f"{name}: {missing} of {view.n_obs} training cells have no value in obs[{key!r}], and it cannot be known "
            "what they are like; leave them out of the data, or give them one"
        )
    return _named(found, values)


def _named(found: Ints, values: pd.Index) -> tuple[Ints, pd.Index]:
    texts = [str(value) for value in values]
    names = pd.Index(sorted(set(texts)))
    return names.get_indexer(texts)[found], names


def related(name: str, types: pd.Index, path: Path) -> NDArray[np.bool_]:
    """Return (K, K): whether one type is an ancestor of the other, by a table of columns child and parent (.csv, .tsv).

    A term may have several parents, and need not occur among the types. A loop makes all its terms each other's
    ancestors.
    """
    parents = _parents(name, path)
    if not set(types) & {*parents, *(p for of in parents.values() for p in of)}:
        raise ModelError(
            f"{name}: {path} knows none of the {len(types)} types, the first is {types[0]!r}; its columns child and "
            "parent must hold names as the labels do"
        )
    above = np.array([types.isin(_ancestors(parents, kind)) for kind in types])
    return np.asarray(above | above.T)


def _parents(name: str, path: Path) -> dict[str, set[str]]:
    try:
        table = pd.read_csv(path, sep="," if path.suffix == ".csv" else "\t", dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise ModelError(f"{name}: {path} cannot be read ({error}); give a table with columns child, parent") from error
    if missing := [c for c in ("child", "parent") if c not in table]:
        there = ", ".join(map(str, table.columns))
        raise ModelError(f"{name}: {path} has no column {missing[0]!r}, but {there}; give a table of child, parent")
    out: dict[str, set[str]] = {}
    for child, parent in zip(table["child"], table["parent"], strict=True):
        out.setdefault(child, set()).add(parent)
    return out


def _ancestors(parents: dict[str, set[str]], term: str) -> set[str]:
    found: set[str] = set()
    todo = [term]
    while todo:
        new = parents.get(todo.pop(), set()) - found
        found |= new
        todo += new
    return found


# ── distances ────────────────────────────────────────────────────────────────────────────────────────────────────────
def semi_hard(z: Any, positive: Any, negative: Any, margin: float, uniform: Any) -> tuple[Any, Any, Any]:
    """Return (T,) anchors, positives and negatives: for each pair of a batch one semi-hard negative, if it has one.

    ``z`` (B, d) embedding, ``positive`` and ``negative`` (B, B) of which pairs may be, ``uniform`` (B, B) in [0, 1)
    which of a pair's semi-hard negatives it gets. Semi-hard is 0 < |a−p|² − |a−n|² + margin < margin: farther than the
    positive, but not by the margin. A pair is looked at once, the cell that comes first is the anchor. The negatives of
    a pair are neighbours among those of its anchor in the order of distance: time B² log B, memory B².
    """
    import torch

    with torch.no_grad():
        squared = (z * z).sum(1)
        far = (squared[:, None] + squared - 2 * z @ z.T).clamp(min=0)
        ordered, at = torch.where(negative, far, torch.inf).sort(dim=1, stable=True)
        first = torch.searchsorted(ordered, far, right=True)
        number = torch.searchsorted(ordered, far + margin) - first
        one = first + torch.minimum((uniform * number).long(), number - 1)
        anchor, other = (positive & (number > 0)).triu(1).nonzero(as_tuple=True)
        return anchor, other, at[anchor, one[anchor, other]]


def hinge(z: Any, triplets: tuple[Any, Any, Any], margin: float) -> Any:
    """Return the mean of max(0, |a−p| − |a−n| + margin) over triplets, distances not squared; 0 where there are none.

    As published: what is mined by squared distances is learned by distances.
    """
    import torch

    anchor, positive, negative = triplets
    if not len(anchor):
        return z.sum() * 0.0
    return torch.nn.functional.triplet_margin_loss(z[anchor], z[positive], z[negative], margin=margin)


def some(kinds: Kinds, seed: int) -> tuple[Ints, Ints, Ints]:
    """Return (T,) triplets, whatever their distances: one positive and one negative of each cell that has both."""
    rng = np.random.default_rng(seed)
    rows = np.arange(len(kinds.types))
    drawn = rng.random((2, len(rows), len(rows)))
    may = [kinds.positives(rows), kinds.negatives(rows)]
    anchor = np.flatnonzero(may[0].any(axis=1) & may[1].any(axis=1)) if len(rows) else rows
    positive, negative = (
        np.where(allowed, chance, -1.0)[anchor].argmax(axis=1) if len(rows) else rows
        for allowed, chance in zip(may, drawn, strict=True)
    )
    return anchor, positive, negative
