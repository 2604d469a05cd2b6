"""The arms of a perturbation screen: which cells had which target in which context, and their mean expression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from sclaws.counts import log_normalised
from sclaws.errors import ScoreError, did_you_mean
from sclaws.hashing import ranked
from sclaws.protocols import Ids, Ints, Values, View

FEWEST = 20  # cells of an arm below which its mean is mostly noise
CONTROL = ""  # the target of the cells that were left alone; no target has this name


@dataclass(frozen=True)
class Arms:
    """Rows of a view by (target, context), in the order of a hash, so that any part of an arm is a random sample.

    ``small`` is the number of arms that were left out because they have fewer than 20 cells.
    """

    rows: Mapping[tuple[str, str], Ints]
    small: int

    @property
    def contexts(self) -> list[str]:
        """Names of the contexts, sorted; each has control cells."""
        return sorted(context for target, context in self.rows if target == CONTROL)

    @property
    def targets(self) -> list[str]:
        """Names of the targets, sorted."""
        return sorted({target for target, _ in self.rows} - {CONTROL})

    @property
    def note(self) -> str:
        """A sentence if arms were left out."""
        every = self.small + len(self.rows)
        return f"{self.small} of {every} arms left out: fewer than {FEWEST} cells" if self.small else ""

    def parts(self, target: str, context: str) -> tuple[Ints, Ints]:
        """Return the two parts of an arm: halves of the control cells, nine tenths and one of the others."""
        rows = self.rows[target, context]
        cut = round((0.5 if target == CONTROL else 0.9) * len(rows))
        return rows[:cut], rows[cut:]


def arms(
    obs: pd.DataFrame, ids: Ids, target: str, control: Sequence[str], context: str | None, most: int, seed: int
) -> Arms:
    """Return the arms, at most ``most`` cells of each; cells whose target or context is missing are in none.

    Without a ``context`` all cells are of one, "". Arms of fewer than 20 cells are left out, and contexts that have
    not so many control cells. ``ScoreError``: no such column, no control cells, or too few of all.
    """
    named, known = _names(obs, target)
    where = np.full(len(obs), "", dtype=object)
    if context is not None:
        where, there = _names(obs, context)
        known = known & there
    targets = set(named[known])
    if absent := [name for name in control if name not in targets]:
        raise ScoreError(
            f"no control cells: obs[{target!r}] is {absent[0]!r} for no cell; {did_you_mean(absent[0], targets)}"
        )
    order = ranked(ids, seed)
    order = order[known[order]]
    frame = pd.DataFrame({"target": np.where(np.isin(named, control), CONTROL, named)[order], "context": where[order]})
    every = {
        (str(of), str(at)): order[rows][:most]
        for (of, at), rows in frame.groupby(["target", "context"]).indices.items()
    }
    large = {key: rows for key, rows in every.items() if len(rows) >= FEWEST}
    kept = {(of, at): rows for (of, at), rows in large.items() if (CONTROL, at) in large}
    if not kept:
        most_controls = max(len(rows) for (of, _), rows in every.items() if of == CONTROL)
        where_said = "" if context is None else " in every context"
        raise ScoreError(f"{most_controls} control cells are too few{where_said}: {FEWEST} are needed")
    if all(of == CONTROL for of, _ in kept):
        raise ScoreError(f"obs[{target!r}] names no target with {FEWEST} cells beside the control cells")
    return Arms(kept, len(every) - len(kept))


def _names(obs: pd.DataFrame, column: str) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the names (n,) in a column as text, and whether there is one; "nan" and "" are none."""
    if column not in obs:
        raise ScoreError(f"obs has no column {column!r}; {did_you_mean(column, obs.columns)}")
    text = obs[column].astype(str).to_numpy(dtype=object)
    return text, obs[column].notna().to_numpy() & ~np.isin(text.astype(np.str_), ("nan", "NaN", ""))


@dataclass(frozen=True)
class Means:
    """Mean expression of the arms and of their two parts, from sums (2 × arms, p), numbers and squared norms."""

    place: Mapping[tuple[str, str], int]
    sums: NDArray[np.float64]
    sizes: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, view: View, found: Arms) -> Means:
        """Return the means of a view's arms, read block by block. Memory: two rows of genes an arm."""
        part = np.full(view.n_obs, -1, dtype=np.int64)
        for i, key in enumerate(found.rows):
            for which, rows in enumerate(found.parts(*key)):
                part[rows] = 2 * i + which
        chosen = np.flatnonzero(part >= 0)
        count = 2 * len(found.rows)
        sums, squares, done = np.zeros((count, view.n_vars)), np.zeros(count), 0
        for block in view.take(chosen).batches():
            values = expression(block.values)
            codes = part[chosen[done : done + values.shape[0]]]
            done += len(codes)
            pick = sparse.csr_matrix((np.ones(len(codes)), (codes, np.arange(len(codes)))), (count, len(codes)))
            sums += (pick @ values).toarray()
            squares += pick @ np.asarray(values.multiply(values).sum(axis=1)).ravel()
        sizes = np.bincount(part[chosen], minlength=count).astype(np.float64)
        return cls({key: i for i, key in enumerate(found.rows)}, sums, sizes, squares)

    def __call__(self, target: str, context: str, which: int | None = None) -> NDArray[np.float64]:
        """Return the mean (p,) of an arm, or of its first or second part."""
        at = self._at(target, context, which)
        return np.asarray(self.sums[at].sum(axis=0) / self.sizes[at].sum())

    def noise(self, target: str, context: str) -> float:
        """Return the squared standard error of an arm's mean, on average over genes."""
        at = self._at(target, context, None)
        n = self.sizes[at].sum()
        spread = self.squares[at].sum() / n - np.sum(self(target, context) ** 2)
        return float(spread / (n - 1) / self.sums.shape[1])

    def _at(self, target: str, context: str, which: int | None) -> slice:
        start = 2 * self.place[target, context]
        return slice(start, start + 2) if which is None else slice(start + which, start + which + 1)


def expression(values: Values) -> sparse.csr_matrix:
    """Return counts (n, p) as log(1 + counts per 10,000 of the cell's own), and measurements as they are.

    ``ScoreError`` for codes, such as residues, which have no mean, and for values that are not finite.
    """
    if not sparse.issparse(values):
        if np.asarray(values).dtype.kind != "f":
            raise ScoreError("perturbation averages expression, and these values are codes: use a data set of counts")
        values = np.asarray(values, dtype=np.float64)
    scaled = sparse.csr_matrix(values, dtype=np.float64)
    if not np.isfinite(scaled.data).all():
        raise ScoreError("some expression values are not finite: leave those cells out")
    return scaled.copy() if isinstance(values, np.ndarray) else log_normalised(scaled)
