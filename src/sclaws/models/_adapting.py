"""Fine-tuning of any torch model: a copy of its network with a head that gives classes, frozen or not."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from sclaws import heads
from sclaws.errors import ModelError
from sclaws.heads import PUBLISHED, Features, Head, Recipe
from sclaws.models import _training
from sclaws.protocols import Context, Ints, View

Read: TypeAlias = Callable[[View], Callable[[Ints], Any]]
Embed: TypeAlias = Callable[[Any, Any], Any]


@dataclass(frozen=True, eq=False)
class AdaptedNetwork:
    """A network and the head on it; satisfies ``protocols.Adapted``."""

    network: Any
    read: Read
    embed: Embed
    head: Head
    recipe: Recipe
    context: Context

    def probabilities(self, view: View) -> NDArray[np.float64]:
        """Return (n, K) probabilities of the classes."""
        with _apart(self.context, 0):
            found = _features(self.network, self.read(view), self.embed)
            return self.head.probabilities(found, view.n_obs, self.recipe.batch)


def adapted(
    network: Any, read: Read, embed: Embed, view: View, y: Ints, *, seed: int, frozen: bool, context: Context,
    recipe: Recipe = PUBLISHED,
) -> AdaptedNetwork:  # fmt: skip
    """Return a copy of ``network`` with a head trained on the view's cells and their codes ``y`` (n,), 0..K-1.

    ``network`` is a torch module, or tensors by name; those that need no gradient stay as they are. ``read(view)``
    returns a function from positions of cells to what ``embed(network, those)`` makes (b, d) coordinates of, on the
    context's device. ``frozen``: coordinates are taken once and the head alone is trained.

    Otherwise all of the network's tensors that the coordinates depend on learn, at ``recipe.rate_below``. Its
    normalisations keep the statistics they have, and nothing is dropped out below the head. ``ModelError`` for an ``y``
    of another length, or that diverged.
    """
    import torch

    y = np.asarray(y)
    if y.shape != (view.n_obs,) or not view.n_obs:
        raise ModelError(f"fine-tuning: {view.n_obs} cells and labels of shape {y.shape}; one label a cell is needed")
    with _apart(context, seed):
        own = _evaluating(copy.deepcopy(network))
        found, below = _features(own, read(view), embed), {} if frozen else _learning(own)
        if frozen:
            with torch.no_grad():
                known = torch.cat([found(rows) for rows in heads.parts(view.n_obs, recipe.batch)])
            found = known.__getitem__
        head = heads.fit(found, y, view.cell_ids, seed=seed, recipe=recipe, device=context.device, below=below)
    return AdaptedNetwork(own, read, embed, head, recipe, context)


def _features(network: Any, batch: Callable[[Ints], Any], embed: Embed) -> Features:
    return lambda rows: embed(network, batch(rows)).float()


def _evaluating(network: Any) -> Any:
    return network.eval() if hasattr(network, "eval") else network


def _learning(network: Any) -> dict[str, Any]:
    named = network.named_parameters() if hasattr(network, "named_parameters") else network.items()
    return {name: weight for name, weight in named if weight.requires_grad}


@contextlib.contextmanager
def _apart(context: Context, seed: int) -> Iterator[None]:
    """Use the context's threads and device; the process's random numbers stay as they were."""
    import torch

    with _training.quiet(context, "fine-tuning"):
        devices = [torch.cuda.current_device()] if context.device.startswith("cuda") else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(seed)
            yield
