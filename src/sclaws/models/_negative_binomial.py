"""The likelihood of counts under a variational autoencoder, negative binomial with or without extra zeros: a sum over
genes whose gradient is written out.

Most counts are zero, and of a zero the likelihood needs one logarithm; the three log-gamma functions of the formula,
and the digammas of its gradient, are needed where there is a molecule, or once a gene. So a step costs a fraction of
what automatic differentiation of the formula does, and differences of large log-gammas can be taken in float64.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

EPSILON = 1e-8  # inside logarithms, as in scvi-tools


def nats(logits: Any, log_r: Any, counts: Any, library: Any, extra: Any | None = None) -> Any:
    """Return (M, B) -log probability of counts (M, B, g) of M models' cells, summed over genes.

    A count has mean library (M, B) times the softmax over genes of ``logits`` (M, B, g), and variance mean + mean²/r;
    ``log_r`` (M, g). ``extra`` (M, B, g): logits of the share of zeros on top of those (Lopez et al. 2018).
    Differentiable in ``logits``, ``log_r`` and ``extra``. Memory: some six arrays of (M, B, g).
    """
    return _likelihood().apply(logits, log_r, counts, library, extra)


@functools.cache
def _likelihood() -> Any:
    import torch

    class Likelihood(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, logits: Any, log_r: Any, counts: Any, library: Any, extra: Any) -> Any:
            r = log_r.exp()[:, None]
            share = torch.softmax(logits, -1)
            ratio = (share * library[..., None]).div_(r + EPSILON)  # of the mean to r
            log = torch.log1p(ratio)
            some = _Some(counts, r, ratio)
            terms = log * r if extra is None else _zeros(log * r, extra, counts)
            some.add(terms, some.terms(some.of(log)))
            ctx.save_for_backward(log_r, counts, extra, share, ratio, log)
            ctx.some = some
            return terms.sum(-1)

        @staticmethod
        def backward(ctx: Any, *upstream: Any) -> Any:
            log_r, counts, extra, share, ratio, log = ctx.saved_tensors
            r, weight = log_r.exp()[:, None], upstream[0]
            part = ratio / (1 + ratio)  # of the mean in mean + r
            by_mean, by_r = part * r, (log - part).mul_(r)
            by_extra = None
            if extra is not None:  # of an entry: the chance to be of the binomial, which a molecule certainly is
                kept = torch.where(counts > 0, 1.0, torch.sigmoid(-log * r - extra))
                by_mean, by_r = by_mean * kept, by_r * kept
                by_extra = (kept - torch.sigmoid(-extra)) * weight[..., None]
            for whole, more in zip((by_mean, by_r), ctx.some.derivatives(ctx.some.of(part)), strict=True):
                ctx.some.add(whole, more)
            by_mean.mul_(weight[..., None])
            by_logits = torch.addcmul(by_mean, share, by_mean.sum(-1, keepdim=True), value=-1)
            return by_logits, torch.matmul(weight[:, None], by_r)[:, 0], None, None, by_extra

    return Likelihood


def _zeros(terms: Any, extra: Any, counts: Any) -> Any:
    """Return -log of the chance of a zero; where there is a molecule, of not being an extra zero, plus ``terms``."""
    import torch

    meant, chance = -terms - extra, torch.nn.functional.softplus
    return chance(-extra) + torch.where(counts > 0, chance(-meant), 0.0) - chance(meant)


class _Some:
    """The counts above zero, or, on a GPU, all of them: there it costs less to compute than to wait for how many.

    Mostly float64: of nearly Poisson counts r is large, and so are the log-gammas that are taken from each other.
    """

    def __init__(self, counts: Any, r: Any, ratio: Any) -> None:
        import torch

        m, cells, genes = counts.shape
        self.at = None
        if counts.device.type == "cpu":  # numpy finds them five times as fast
            self.at = torch.from_numpy(np.flatnonzero(counts.numpy().reshape(-1) > 0))
            self.gene = self.at % genes if m == 1 else self.at // (cells * genes) * genes + self.at % genes
        self.shape, self.r = counts.shape, r.double()
        self.x, self.own = self.of(counts).double(), self.of_gene(self.r)
        self.mean = self.of(ratio).double() * (self.own + EPSILON)

    def of(self, values: Any) -> Any:
        """Return what of (M, B, g) values belongs to them."""
        return values.reshape(-1) if self.at is None else values.view(-1).index_select(0, self.at)

    def of_gene(self, values: Any) -> Any:
        """Return their genes' of (M, 1, g) values."""
        if self.at is None:
            return values.expand(self.shape).reshape(-1)
        return values.reshape(-1).index_select(0, self.gene)

    def add(self, whole: Any, more: Any) -> None:
        """Add to (M, B, g), in place, what is theirs."""
        flat = whole.view(-1)
        flat.add_(more.to(flat.dtype)) if self.at is None else flat.scatter_add_(0, self.at, more.to(flat.dtype))

    def terms(self, log: Any) -> Any:
        """Return what a molecule adds to -log of the chance of a zero."""
        x, r = self.x, self.own
        odds = x * ((self.mean + EPSILON).log() - (r + EPSILON).log() - log.double())
        return (x.float() + 1).lgamma() + (self.of_gene(self.r.lgamma()) - (x + r).lgamma() - odds)

    def derivatives(self, part: Any) -> tuple[Any, Any]:
        """Return what it adds to the derivatives by log mean and by log r."""
        x, r, own = self.x, self.own, part.double()
        by_r = x * (1 - own) - r * ((x + r).digamma() - self.of_gene(self.r.digamma()))
        return x * (own - self.mean / (self.mean + EPSILON)), by_r
