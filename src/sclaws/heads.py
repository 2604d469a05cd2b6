"""A small classifier on top of coordinates, or of the network that makes them: what fine-tuning trains.

One hidden layer, early stopping on a tenth of the cells, the best weights kept. Nothing here touches torch's global
random state, and cells are taken in the order of a hash of their ids, so it does not matter in which order they come.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sclaws.errors import ModelError
from sclaws.hashing import ranked
from sclaws.protocols import Floats, Ids, Ints

Features: TypeAlias = Callable[[Ints], Any]  # positions of cells -> (b, d) tensor

_ASIDE = 10  # one cell in so many is kept aside to stop early


@dataclass(frozen=True)
class Recipe:
    """How a head is trained, and what is below it. The defaults are published (DenAdel et al., scvi_mlp.py).

    A hidden layer of ``hidden`` rectified units with ``dropout``; Adam at ``rate`` on batches of ``batch`` cells, at
    most ``epochs`` times through them. Training stops when the cells kept aside have not been foretold better for
    ``patience`` epochs (3 is what Lightning takes when nobody says otherwise, and they did not).

    What is below learns at ``rate_below``, with decoupled ``weight_decay``; both rates rise over ``warmup`` steps, or a
    fifth of all if that is fewer. The default is ours (theirs is frozen): in ``benchmarks/fine_tuning.py``, with 300
    labelled cells, a pre-trained encoder reaches 1.44 bits frozen, 1.99 at 1e-5, 1.91 at 1e-4 and 1.63 at 1e-3. An
    untrained one would like more: .11, 1.09, 1.57 and 1.65.
    """

    hidden: int = 128
    dropout: float = 0.2
    rate: float = 1e-4
    batch: int = 128
    epochs: int = 500
    patience: int = 3
    rate_below: float = 1e-5
    weight_decay: float = 0.0
    warmup: int = 0


PUBLISHED = Recipe()


@dataclass(frozen=True, eq=False)
class Head:
    """A trained head: coordinates are brought to mean 0 and variance 1 by (d,) ``centre`` and ``scale`` first.

    Theirs takes coordinates as they are, and so learns more slowly from those of a model whose unit is small.
    """

    centre: Any
    scale: Any
    weights: list[Any] = field(default_factory=list)

    def logits(self, x: Any, noise: Callable[[Any], Any] = lambda hidden: hidden) -> Any:
        """Return (b, K) of coordinates (b, d); ``noise`` is applied to the hidden units."""
        import torch

        first, bias, second, last = self.weights
        hidden = torch.relu(torch.addmm(bias, (x - self.centre) / self.scale, first))
        return torch.addmm(last, noise(hidden), second)

    def probabilities(self, features: Features, n: int, batch: int = PUBLISHED.batch) -> NDArray[np.float64]:
        """Return (n, K) probabilities of the classes of ``n`` cells, ``batch`` of them at a time."""
        import torch

        with torch.no_grad():
            logits = torch.cat([self.logits(features(rows)) for rows in parts(n, batch)]).double()
            return np.asarray(torch.softmax(logits, 1).cpu().numpy())


def parts(n: int, size: int) -> Iterator[Ints]:
    """Yield the positions of ``n`` cells, ``size`` at a time, none of them at least once."""
    for start in range(0, max(n, 1), size):
        yield np.arange(start, min(start + size, n))


def on_coordinates(
    x: Floats, y: Ints, ids: Ids, *, seed: int, recipe: Recipe = PUBLISHED
) -> Callable[[Floats], NDArray[np.float64]]:
    """Train a head on coordinates (n, d) and label codes (n,); return the function from (m, d) to (m, K).

    ``ids`` (n,) name the cells. On the CPU: batches are small. ``ModelError`` where training diverges.
    """
    import torch

    def tensor(values: Floats) -> Any:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))

    known = tensor(x)
    head = fit(lambda rows: known[torch.from_numpy(rows)], y, ids, seed=seed, recipe=recipe)
    return lambda values: head.probabilities(lambda rows: tensor(values[rows]), len(values), 4096)


def fit(
    features: Features,
    y: Ints,
    ids: Ids,
    *,
    seed: int,
    recipe: Recipe = PUBLISHED,
    device: str = "cpu",
    below: Mapping[str, Any] | None = None,
) -> Head:
    """Train a head on what ``features`` gives of n cells, and in place ``below``, the tensors that make it, by name.

    ``y`` (n,) codes 0..K-1, ``ids`` (n,) of the cells. A tenth of the cells, of all classes alike, is kept
    aside; without such cells (under ten in all, or classes of one) training goes on to the end. ``ModelError`` where
    the loss is no longer finite.
    """
    import torch

    order = ranked(ids, seed)
    learn, judge = set_aside(y, order)
    target = torch.from_numpy(np.asarray(y, dtype=np.int64)).to(device)
    head = _drawn(features, order, int(y.max()) + 1, recipe, seed, device)
    learned = {**(below or {}), **{f"head.{i}": weight for i, weight in enumerate(head.weights)}}
    optimiser = _optimiser(head.weights, below or {}, recipe)
    noise = _dropout(recipe.dropout, seed, device)
    steps = recipe.epochs * math.ceil(len(learn) / recipe.batch)
    lowest, waiting, step, best = math.inf, 0, 0, {name: w.detach().clone() for name, w in learned.items()}
    for epoch in range(recipe.epochs):
        for rows in _shuffled(learn, recipe.batch, seed, epoch):
            step += 1
            loss = torch.nn.functional.cross_entropy(head.logits(features(rows), noise), target[rows])
            _update(optimiser, loss, min(1.0, step / max(min(recipe.warmup, steps // 5), 1)))
        now = _judged(head, features, target, judge, recipe.batch) if len(judge) else -float(epoch)
        if not (math.isfinite(now) and math.isfinite(float(loss.detach()))):
            raise ModelError(f"fine-tuning diverged in epoch {epoch + 1}: the loss is no longer finite")
        waiting = 0 if now < lowest else waiting + 1
        if now < lowest:
            lowest, best = now, {name: w.detach().clone() for name, w in learned.items()}
        if waiting >= recipe.patience:
            break
    with torch.no_grad():
        for name, weight in learned.items():
            weight.copy_(best[name])
    return head


def set_aside(y: Ints, order: Ints) -> tuple[Ints, Ints]:
    """Return the cells that train and those that say when to stop: in ``order``, every tenth of those of a class.

    The first of a class always trains, so no class is without cells.
    """
    order = order[np.argsort(y[order], kind="stable")]
    first = np.r_[True, np.diff(y[order]) != 0]
    aside = (np.arange(len(order)) % _ASIDE == _ASIDE - 1) & ~first
    return order[~aside], order[aside]


def _shuffled(rows: Ints, batch: int, seed: int, epoch: int) -> list[Ints]:
    """Return the cells of an epoch in a new order, in batches of nearly equal size."""
    random = np.random.default_rng([seed, epoch])
    return np.array_split(random.permutation(rows), math.ceil(len(rows) / batch))


def _drawn(features: Features, order: Ints, classes: int, recipe: Recipe, seed: int, device: str) -> Head:
    """Return the head as it starts: uniform within 1 / sqrt(inputs), as torch does when nobody says otherwise."""
    import torch

    with torch.no_grad():
        x = torch.cat([features(order[rows]) for rows in parts(len(order), recipe.batch)])
        centre, spread = x.mean(0), x.std(0, correction=0)
        moving = spread > 1e-6 * x.abs().amax(0)  # what hardly moves but by rounding is not blown up
        scale = torch.where(moving, spread, torch.ones_like(spread) * math.inf)
    generator = torch.Generator().manual_seed(seed)
    weights = []
    for wide, narrow in ((x.shape[1], recipe.hidden), (recipe.hidden, classes)):
        for form in ((wide, narrow), (narrow,)):
            drawn = (2 * torch.rand(form, generator=generator) - 1) / math.sqrt(wide)
            weights.append(drawn.to(device).requires_grad_())
    return Head(centre, scale, weights)


def _optimiser(head: list[Any], below: Mapping[str, Any], recipe: Recipe) -> Any:
    """Return Adam; biases and normalisations do not decay."""
    import torch

    plain = [name for name in below if name.endswith("bias") or "norm" in name]
    groups = [
        {"params": head, "highest": recipe.rate, "weight_decay": 0.0},
        {"params": [w for n, w in below.items() if n not in plain], "highest": recipe.rate_below},
        {"params": [below[n] for n in plain], "highest": recipe.rate_below, "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    return torch.optim.AdamW(groups, lr=recipe.rate, weight_decay=recipe.weight_decay, fused=True)


def _update(optimiser: Any, loss: Any, share: float) -> None:
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    for group in optimiser.param_groups:
        group["lr"] = group["highest"] * share
    optimiser.step()


def _dropout(rate: float, seed: int, device: str) -> Callable[[Any], Any]:
    import torch

    generator = torch.Generator(device).manual_seed(seed + 1)
    return lambda x: x * (torch.rand(x.shape, generator=generator, device=device) >= rate) / (1 - rate)


def _judged(head: Head, features: Features, target: Any, rows: Ints, batch: int) -> float:
    """Return the mean cross-entropy in nats of the cells kept aside."""
    import torch

    with torch.no_grad():
        sums = [
            torch.nn.functional.cross_entropy(head.logits(features(some)), target[some], reduction="sum")
            for some in (rows[part] for part in parts(len(rows), batch))
        ]
        return float(torch.stack(sums).sum()) / len(rows)
