"""What a head learns that turns an embedding of control cells into the expression of perturbed cells.

The published head is a network trained by squared error on pairs: a control cell, and a perturbed cell of the same
context drawn anew each time. A partner drawn at random tells nothing of the cell beside it, so the expected loss of
such a pair is that of the context's mean, plus a constant: the mean is what is learnt, without the noise of the draw.
Means of S contexts span S - 1 directions, and squared error never leads out of them, so the network has as many
outputs and not one for each gene. Its prediction lies, but for extrapolation, between the means of the contexts that
it has seen: with one context it *is* their mean, whatever the embedding, and there is nothing to train.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sclaws.protocols import Floats, Ints
from sclaws.scores import _estimate, _networks

_HIDDEN = 128
_SCHEDULE = _networks.Schedule(steps=300, rate=3e-3, decay=0.0, batch=128, every=10, patience=6)
_TOGETHER = 64  # heads
_WATCHED = 2000  # cells on which training is stopped, at most


@dataclass(frozen=True)
class Lesson:
    """What one head learns: of the control cells in ``seen[s]`` and ``aside[s]`` the mean (p,) of context s.

    ``means`` (S, p) are learnt, and training is stopped by ``held`` (S, p), the means of perturbed cells set aside.
    ``asked`` are the control cells of another context, over which the prediction is averaged.
    """

    asked: Ints
    seen: Sequence[Ints]
    aside: Sequence[Ints]
    means: Floats
    held: Floats

    def coordinates(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Return coordinates (S, k) of the means and of those set aside, and the directions (k, p) they belong to."""
        apart = self.means - self.means.mean(axis=0)
        _, size, directions = np.linalg.svd(apart, full_matrices=False)
        directions = directions[: len(apart) - 1][size[: len(apart) - 1] > 1e-9 * np.abs(self.means).max()]
        at, held = (values @ directions.T for values in (apart, self.held - self.means.mean(axis=0)))
        scale = float(np.sqrt(np.mean(at**2))) if at.size else 1.0
        return at / scale, held / scale, scale * directions


def cut(rows: Ints) -> tuple[Ints, Ints]:
    """Return the nine tenths of an arm's control cells that are learnt from, and the tenth that is set aside."""
    end = round(0.9 * len(rows))
    return rows[:end], rows[end:]


def predicted(x: Floats, lessons: Sequence[Lesson], seed: int) -> list[NDArray[np.float64]]:
    """Return for each head the mean prediction (p,) over the cells it is asked for.

    ``x`` (n, d) embedding, which is standardised first. Many heads are trained as one; time grows with heads ×
    contexts × hidden units, and hardly with cells and genes.
    """
    found = [lesson.coordinates() for lesson in lessons]
    points = _standardised(x, lessons)
    out = [lesson.means.mean(axis=0) for lesson in lessons]
    able = [m for m, (_, _, directions) in enumerate(found) if len(directions)]
    for start in range(0, len(able), _TOGETHER):
        some = able[start : start + _TOGETHER]
        placed = _learnt(points, [lessons[m] for m in some], [found[m] for m in some], 1000 * seed + start)
        for m, at in zip(some, placed, strict=True):
            directions = found[m][2]
            out[m] = out[m] + at[: len(directions)] @ directions
    return out


def _standardised(x: Floats, lessons: Sequence[Lesson]) -> NDArray[np.float32]:
    """Return the embedding (n, d) in standard deviations of the control cells; zeros where these are all one."""
    rows = np.unique(np.concatenate([part for lesson in lessons for part in (lesson.asked, *lesson.seen)]))
    kept = x[:, _estimate.varying(x[rows])]
    if not kept.shape[1]:
        return np.zeros((len(x), 1), dtype=np.float32)
    return np.asarray((kept - kept[rows].mean(axis=0)) / kept[rows].std(axis=0), dtype=np.float32)


def _learnt(
    x: NDArray[np.float32], lessons: Sequence[Lesson], found: Sequence[tuple[Floats, Floats, Floats]], seed: int
) -> list[NDArray[np.float64]]:
    """Return the mean outputs (k,) of each trained network over the cells that it is asked for."""
    import torch

    with _estimate.one_thread(), _networks.one_thread() as device:
        points, seeds = torch.as_tensor(x, device=device), [seed + m for m in range(len(lessons))]
        learnt, held = (torch.as_tensor(_padded([of[place] for of in found]), device=device) for place in (0, 1))
        context = torch.as_tensor(_contexts(lessons, len(x)), device=device)
        net = _networks.Stack((x.shape[1], _HIDDEN, learnt.shape[2]), seeds, device, 0.1)

        def loss(rows: Any, means: Any) -> Any:
            own = torch.take_along_dim(means, torch.take_along_dim(context, rows, 1)[..., None], 1)
            return ((net(points[rows]) - own) ** 2).mean((-1, -2))

        watched = [_balanced(lesson.aside) for lesson in lessons]
        size = min(_WATCHED, *map(len, watched))
        look = torch.as_tensor(np.stack([rows[:size] for rows in watched]), device=device)
        rows = _networks.batches([_balanced(lesson.seen) for lesson in lessons], _SCHEDULE.batch, seeds)
        _networks.train(net.parameters, lambda at: loss(at, learnt), lambda: loss(look, held), rows, _SCHEDULE)
        out = []
        with torch.no_grad():
            for m, lesson in enumerate(lessons):
                asked = points[torch.as_tensor(lesson.asked, device=device)][None]
                made = net.some(slice(m, m + 1))(asked).mean((0, 1))
                out.append(np.asarray(made.cpu().numpy(), dtype=np.float64))
        return out


def _padded(tables: Sequence[Floats]) -> NDArray[np.float32]:
    """Return tables of unequal shapes as one (M, S, k), zeros around them."""
    out = np.zeros((len(tables), *np.max([table.shape for table in tables], axis=0)), dtype=np.float32)
    for m, table in enumerate(tables):
        out[m, : table.shape[0], : table.shape[1]] = table
    return out


def _contexts(lessons: Sequence[Lesson], n: int) -> NDArray[np.int64]:
    """Return the number (M, n) of the context, among those of each lesson, that a cell belongs to."""
    out = np.zeros((len(lessons), n), dtype=np.int64)
    for m, lesson in enumerate(lessons):
        for parts in (lesson.seen, lesson.aside):
            for s, rows in enumerate(parts):
                out[m, rows] = s
    return out


def _balanced(parts: Sequence[Ints]) -> Ints:
    """Return rows in which every context comes equally often, in turn; cells of small contexts come again."""
    largest = max(map(len, parts))
    return np.stack([np.resize(rows, largest) for rows in parts], axis=1).ravel()
