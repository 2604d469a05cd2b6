"""The searches of ``neighbours`` on a GPU: every distance, in blocks of rows. The numbers are the same to the last bit.

Time n² d, memory of a block: a quarter of a gigabyte. Worth it where a GPU is and points are many.
"""

from __future__ import annotations

import importlib.util

import numpy as np
from numpy.typing import NDArray

from sclaws.protocols import Floats

_WORTH = 20_000  # points below which the cores are done before a GPU has begun
_BLOCK = 2**25  # distances that are held at a time


def device(n: int) -> str | None:
    """Return "cuda" where torch sees one and n points are worth it."""
    if n < _WORTH or importlib.util.find_spec("torch") is None:
        return None
    import torch

    return "cuda" if torch.cuda.is_available() else None


def kth_distance(points: Floats, k: int, device: str) -> NDArray[np.float64]:
    """Return the (n,) maximum-norm distance of each point (n, d) to its k-th neighbour, itself left out."""
    import torch

    at = torch.as_tensor(points, device=device)
    rows = max(1, _BLOCK // len(at))
    found = [torch.cdist(block, at, p=torch.inf).kthvalue(k + 1, dim=1).values for block in at.split(rows)]
    return np.asarray(torch.cat(found).cpu().numpy())


def count_within(points: Floats, radius: Floats, device: str) -> NDArray[np.int64]:
    """Return how many other points lie strictly within ``radius`` (n,) of each point (n, d)."""
    import torch

    at, bound = torch.as_tensor(points, device=device), torch.as_tensor(radius, device=device)
    rows = max(1, _BLOCK // len(at))
    blocks = zip(at.split(rows), bound.split(rows), strict=True)
    found = [(torch.cdist(block, at, p=torch.inf) < near[:, None]).sum(dim=1) for block, near in blocks]
    return np.asarray((torch.cat(found) - (bound > 0).long()).cpu().numpy())
