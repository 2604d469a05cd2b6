"""Cross-entropy of a large vocabulary, from states and weights, without ever holding all the logits.

Logits of a few hundred positions are made, turned into their own gradient and used up, then the next: the three matrix
products that there have to be, and no more memory than one block of logits.
"""

from __future__ import annotations

import functools
from typing import Any

_ON_GPU = 2**27  # logits at a time


def _rows(width: int, vocabulary: int, device: str) -> int:
    """Return how many positions make a block: on a CPU few enough for its caches, but enough to share out the cost of
    adding to the gradient of the weights, which is read and written once a block.
    """
    return max(_ON_GPU // vocabulary, 1) if device == "cuda" else max(32, 5 * width // 8)


def cross_entropy(states: Any, weight: Any, bias: Any, target: Any, share: Any, dtype: Any = None) -> Any:
    """Return (M,) sums of ``share`` x -log P(target) for M models, differentiable in states, weight and bias.

    ``states`` (M, Q, d), ``weight`` (M, V, d), ``bias`` (M, V), ``target`` and ``share`` (M, Q); the sum over a
    model is taken with weights ``share``, and 0 leaves a position out. ``dtype``: of the products (default float32).
    """
    import torch

    return _function().apply(states, weight, bias, target, share, dtype or torch.float32)


def nats(states: Any, weight: Any, bias: Any, target: Any) -> Any:
    """Return (Q,) -log P(target) of one model: ``states`` (Q, d), ``weight`` (V, d), ``bias`` (V,), ``target`` (Q,)."""
    import torch

    rows = _rows(weight.shape[1], len(weight), states.device.type)
    parts = [
        torch.nn.functional.cross_entropy(torch.addmm(bias, some, weight.t()), own, reduction="none")
        for some, own in zip(states.split(rows), target.split(rows), strict=True)
    ]
    return torch.cat(parts) if parts else states.new_zeros(0)


@functools.cache
def _function() -> Any:
    """Return the autograd function; made when first asked for, since importing torch takes a second."""
    import torch

    class CrossEntropy(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            found, gradients = _with_gradients(*inputs)
            ctx.save_for_backward(*gradients)
            return found

        @staticmethod
        def backward(ctx: Any, *grads: Any) -> Any:
            (grad,) = grads
            states, weight, bias = ctx.saved_tensors
            return states * grad[:, None, None], weight * grad[:, None, None], bias * grad[:, None], None, None, None

    return CrossEntropy


def _with_gradients(states: Any, weight: Any, bias: Any, target: Any, share: Any, dtype: Any) -> tuple[Any, list[Any]]:
    """Return the (M,) sums and the gradients of each with respect to states, weight and bias."""
    import torch

    sums = torch.zeros(len(states), device=states.device)
    gradients = [torch.zeros_like(t, dtype=torch.float32) for t in (states, weight, bias)]
    with torch.no_grad(), torch.autocast(states.device.type, enabled=False):
        for m in range(len(states)):
            mine = weight[m].to(dtype)
            rows = _rows(mine.shape[1], len(mine), states.device.type)
            for start in range(0, states.shape[1], rows):
                part = slice(start, start + rows)
                some = states[m, part].to(dtype)
                own, much = target[m, part][:, None], share[m, part]
                logits = torch.addmm(bias[m].to(dtype), some, mine.t()).float()
                top = logits.amax(1, keepdim=True)
                likely = logits.gather(1, own)[:, 0]
                p = logits.sub_(top).exp_()
                total = p.sum(1, keepdim=True)
                sums[m] += ((total.log() + top)[:, 0] - likely) @ much
                p.mul_(much[:, None] / total).scatter_add_(1, own, -much[:, None])
                gradients[2][m] += p.sum(0)
                p = p.to(dtype)
                gradients[0][m, part] = (p @ mine).float()
                if dtype == torch.float32:
                    gradients[1][m].addmm_(p.t(), some)
                else:
                    gradients[1][m] += (p.t() @ some).float()
    return sums, gradients
