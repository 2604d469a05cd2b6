"""Held-out lower bounds from learnt critics: a Gaussian and clusters to start with, and networks to bend them.

A critic T(x, y) says how much likelier a pair is than a chance meeting. Whatever the critic, E[T] less the log-mean of
exp T over chance meetings is at most I(X; Y), when it is evaluated on cells that it has not seen, and equal for the log
density ratio. Ours is the log of a mixture. One part is Gaussian channels, -½ |F(x) - G(y)|² + u(x) + v(y): with F and
G linear it is the log density ratio of a Gaussian *exactly*, and a small network is added to each of F, G, u and v.
The other part says how often soft clusters of x meet soft clusters of y. So jointly normal coordinates and cell types
cost nothing to learn, bent coordinates are learnt as what they are, and a few thousand cells suffice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sclaws.protocols import Floats, Ints
from sclaws.scores import _baselines, _coordinates, _estimate, _networks
from sclaws.scores._bounds import Bound, Bounds, Task, bound, judged, tasks_of

_START = (2.0, -2.0, -2.0)  # logits of the shares of channels, clusters, and chance
_BENT = 8  # channels that networks may bend
_HIDDEN = (64, 64)
_CLUSTERS = (8, 16, 32)
_SCHEDULE = _networks.Schedule(steps=500, rate=3e-3, decay=0.1, batch=256, every=10, patience=10)


def contrast(x: Floats, y: Floats, fold: Ints, seed: int) -> Bounds:
    """Return the bounds between x (n, d) and y (n, k), each fold (n,) judged by critics that never saw it."""
    with _estimate.one_thread(), _networks.one_thread() as device:
        tasks = tasks_of(fold, seed)
        critics = _Critics(_Side.of(x, seed), _Side.of(y, seed), tasks, seed, device)
        critics.train()
        plain = critics.gaussian(False)
        gained = plain.value - critics.gaussian(True).value
        return Bounds(critics.judged(False), critics.judged(True), plain, gained)


@dataclass(frozen=True)
class _Side:
    """One side as critics see it: ``coordinates`` (n, m), ``distance`` (n, 1), memberships (n, K) by number."""

    coordinates: NDArray[np.float64]
    distance: NDArray[np.float64]
    clusters: list[NDArray[np.float64]]

    @classmethod
    def of(cls, values: Floats, seed: int) -> _Side:
        found = _coordinates.principal(values)
        counts = [count for count in _CLUSTERS if count * 20 <= len(found)] or [2]
        return cls(found, _coordinates.distance(values), [_coordinates.clusters(found, c, seed) for c in counts])


class _Critics:
    """M critics on the tasks, trained as one."""

    def __init__(self, x: _Side, y: _Side, tasks: Sequence[Task], seed: int, device: str) -> None:
        self.tasks, self.device, self.n = tasks, device, len(x.distance)
        met = list(zip(x.clusters, y.clusters, strict=True))
        self.channels = [_baselines.channels(x.coordinates, y.coordinates, t.train, t.valid) for t in tasks]
        self.meetings = [_baselines.meetings(met, t.train, t.valid) for t in tasks]
        self.x, self.y = x, y
        kept = len(self.channels[0].rho)
        self.bent = min(_BENT, max(kept, 2))
        rho = np.zeros((len(tasks), 1, max(kept, self.bent)))
        rho[:, 0, :kept] = [found.rho for found in self.channels]
        self.rho = self._tensor(rho)
        self.width = (self.rho / (1 - self.rho**2)).sqrt()
        self.seen = [self._seen(x, "left"), self._seen(y, "right")]
        widest = max(found.right.shape[1] for found in self.meetings)
        self.met = [self._padded([getattr(m, name) for m in self.meetings], widest) for name in ("left", "right")]
        self.seeds = [1000 * seed + 2 * i for i in range(len(tasks))]
        sizes = [(seen.shape[2], *_HIDDEN, self.bent + 1) for seen in self.seen]
        self.nets = [_networks.Stack(s, [k + i for k in self.seeds], device, 0.1) for i, s in enumerate(sizes)]
        self.scale = self.width[..., : self.bent].clamp(min=0.3).log().requires_grad_()
        self.balance = self._tensor(np.tile(_START, (len(tasks), 1))).requires_grad_()
        self.kind = np.full(len(tasks), "networks", dtype=object)

    def _tensor(self, values: NDArray[Any]) -> Any:
        import torch

        return torch.tensor(values, dtype=torch.float32, device=self.device)

    def _padded(self, values: list[NDArray[np.float64]], width: int) -> Any:
        return self._tensor(np.stack([np.pad(v, ((0, 0), (0, width - v.shape[1]))) for v in values]))

    def _seen(self, side: _Side, name: str) -> Any:
        """Return canonical coordinates, at least as many as are bent, and the distance: (M, n, m + 1)."""
        turned = [side.coordinates @ getattr(found, name) for found in self.channels]
        width = max(turned[0].shape[1], self.bent)
        return self._padded(
            [np.column_stack([np.pad(t, ((0, 0), (0, width - t.shape[1]))), side.distance]) for t in turned], width + 1
        )

    def _placed(self, side: int, rows: Any) -> tuple[Any, Any]:
        """Return F(x) or G(y), (M, b, m), and u(x) or v(y), (M, b)."""
        import torch

        seen = torch.take_along_dim(self.seen[side], rows[..., None], 1)
        at, out, k = seen[..., :-1], self.nets[side](seen), self.bent
        first = ((self.rho[..., :k] > 0) * at[..., :k] + out[..., :k]) * self.scale.exp()
        rho = self.rho
        own = (0.5 * rho / (1 + rho) * at**2 - 0.25 * torch.log1p(-(rho**2))).sum(-1) + out[..., k]
        placed = torch.cat([first, at[..., k:] * self.width[..., k:]], -1)
        return placed, own - 0.5 * (placed**2).sum(-1)

    def scores(self, rows: Any) -> Any:
        """Return T (M, b, b) of every x with every y of a batch of rows (M, b)."""
        import torch

        (f, u), (g, v) = (self._placed(side, rows) for side in (0, 1))
        channels = torch.bmm(f, g.transpose(1, 2)) + u[:, :, None] + v[:, None, :]
        p, q = (torch.take_along_dim(met, rows[..., None], 1) for met in self.met)
        share = torch.log_softmax(self.balance, -1)[:, None, :]
        met = torch.bmm(p, q.transpose(1, 2)) * share[..., 1:2].exp() + share[..., 2:].exp()
        return torch.logaddexp(channels + share[..., :1], met.log())

    def train(self) -> None:
        """Train all; a model whose networks do not beat what they started from goes back to that."""
        import torch

        size = min(len(task.valid) for task in self.tasks)
        valid = torch.as_tensor(np.stack([task.valid[:size] for task in self.tasks]), device=self.device)
        parameters = [*self.nets[0].parameters, *self.nets[1].parameters, self.scale, self.balance]
        rows = _networks.batches([task.train for task in self.tasks], _SCHEDULE.batch, self.seeds)
        _networks.train(parameters, lambda r: -_nce(self.scores(r)), lambda: -_nce(self.scores(valid)), rows, _SCHEDULE)
        for model, task in enumerate(self.tasks):
            kinds = ("gaussian", "clusters", "networks")
            worth = [bound(self._table(model, task.valid, kind)).value for kind in kinds]
            self.kind[model] = kinds[int(np.argmax(np.nan_to_num(worth, nan=-np.inf)))]

    def _table(self, model: int, rows: Ints, kind: str) -> NDArray[np.float64]:
        if kind == "gaussian":
            return self.channels[model].table(self.x.coordinates[rows], self.y.coordinates[rows])
        if kind == "clusters":
            return self.meetings[model].table(rows)
        import torch

        with torch.no_grad():  # every model sees the rows: wasteful, and simple
            at = torch.as_tensor(np.broadcast_to(rows, (len(self.tasks), len(rows))).copy(), device=self.device)
            return np.asarray(self.scores(at)[model].cpu().numpy(), dtype=np.float64)

    def judged(self, half: bool) -> Bound:
        """Return the bound over all folds of the critics of one size."""
        return judged(lambda model, rows: self._table(model, rows, self.kind[model]), self.tasks, half, self.n)

    def gaussian(self, half: bool) -> Bound:
        """Return the same of the plain Gaussian critics, whatever was chosen."""
        return judged(lambda model, rows: self._table(model, rows, "gaussian"), self.tasks, half, self.n)


def _nce(scores: Any) -> Any:
    """Return the (M,) contrastive bounds in nats of tables (M, b, b), the mean of both directions."""
    import torch

    own = torch.diagonal(scores, dim1=1, dim2=2)
    both = torch.logsumexp(scores, 1) + torch.logsumexp(scores, 2)
    return (own - 0.5 * both).mean(1) + math.log(scores.shape[1])
