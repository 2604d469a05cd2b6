"""Held-out lower bounds on a label's information from small classifiers: H(Y) less the cross-entropy of unseen cells.

The network starts from nothing but a linear map and sees what the critics see: principal coordinates, a distance, and
soft clusters. It is trained on all cells outside the fold and on half of them, as one batch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sclaws.protocols import Floats, Ints
from sclaws.scores import _coordinates, _estimate, _networks
from sclaws.scores._bounds import Bound, Bounds, tasks_of

_HIDDEN = (64, 64)
_CLUSTERS = 16
_SCHEDULE = _networks.Schedule(steps=500, rate=3e-3, decay=0.1, batch=256, every=10, patience=10)


def contrast(x: Floats, codes: Ints, fold: Ints, seed: int) -> Bounds:
    """Return the bounds between x (n, d) and label codes (n,), each fold (n,) judged by classifiers that never saw it.

    ``gaussian`` is the bound of the class frequencies, zero.
    """
    with _estimate.one_thread(), _networks.one_thread() as device:
        seen = _seen(x, seed)
        tasks = tasks_of(fold, seed)
        logits = _trained(seen, codes, tasks, seed, device)
        found = {}
        frequency = np.log(np.bincount(codes)[codes] / len(codes))
        for name, half in (("full", False), ("half", True)):
            influence = np.empty(len(codes))
            for model, task in enumerate(tasks):
                if task.half == half:
                    influence[task.test] = _log_probability(logits[model, task.test], codes[task.test], len(codes))
            influence = influence - frequency
            found[name] = Bound(float(influence.mean()), influence)
        return Bounds(**found, gaussian=Bound(0.0, np.zeros(len(codes))), gaussian_gain=0.0)


def _seen(x: Floats, seed: int) -> NDArray[np.float64]:
    principal = _coordinates.principal(x)
    count = max(2, min(_CLUSTERS, len(x) // 20))
    grouped = _coordinates.clusters(principal, count, seed)
    return np.column_stack([principal, _coordinates.distance(x), grouped])


def _log_probability(logits: Floats, codes: Ints, n: int) -> NDArray[np.float64]:
    """Return the log-probability of each cell's class; a uniform share of 1 / (n + 1) bounds what one cell can cost."""
    from scipy.special import logsumexp

    found = logits[np.arange(len(codes)), codes] - logsumexp(logits, axis=1)
    return np.asarray(np.logaddexp(found + np.log(n / (n + 1)), -np.log((n + 1) * logits.shape[1])))


def _trained(seen: Floats, codes: Ints, tasks: Any, seed: int, device: str) -> NDArray[np.float64]:
    """Return the (M, n, K) logits of all cells under every model."""
    import torch

    x = torch.tensor(seen, dtype=torch.float32, device=device)
    y = torch.as_tensor(codes, device=device)
    seeds = [1000 * seed + i for i in range(len(tasks))]
    classes = int(codes.max()) + 1
    net = _networks.Stack((seen.shape[1], *_HIDDEN, classes), seeds, device, 0.1)
    linear = torch.zeros(len(tasks), seen.shape[1], classes, device=device, requires_grad=True)
    share = np.log(
        np.stack([(np.bincount(codes[t.train], minlength=classes) + 1) / (len(t.train) + classes) for t in tasks])
    )
    prior = torch.tensor(share[:, None, :], dtype=torch.float32, device=device)
    size = min(len(task.valid) for task in tasks)
    valid = torch.as_tensor(np.stack([task.valid[:size] for task in tasks]), device=device)

    def logits(rows: Any) -> Any:
        return net(x[rows]) + torch.bmm(x[rows], linear) + prior

    def loss(rows: Any) -> Any:
        chosen = torch.log_softmax(logits(rows), -1).gather(-1, y[rows][..., None])
        return -chosen.mean((-1, -2))

    rows = _networks.batches([task.train for task in tasks], _SCHEDULE.batch, seeds)
    _networks.train([*net.parameters, linear], loss, lambda: loss(valid), rows, _SCHEDULE)
    with torch.no_grad():
        every = torch.arange(len(seen), device=device).expand(len(tasks), -1)
        return np.asarray(logits(every).cpu().numpy(), dtype=np.float64)
