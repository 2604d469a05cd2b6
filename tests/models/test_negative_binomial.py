"""The likelihood of counts against scvi-tools' own, against scipy, and its written-out gradient against differences."""

import warnings

import numpy as np
import pytest
from scipy import stats

from sclaws.models import _negative_binomial

torch = pytest.importorskip("torch")


def example(models, cells=5, genes=7, zeros=False, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*form):
        return torch.randn(form, generator=generator, dtype=torch.float64)

    counts = torch.poisson(torch.rand(models, cells, genes, generator=generator, dtype=torch.float64) * 3, generator)
    counts[:, 0] = 0  # a cell without molecules
    learned = [normal(models, cells, genes), normal(models, genes), normal(models, cells, genes) if zeros else None]
    return [w if w is None else w.requires_grad_() for w in learned], counts, counts.sum(-1)


def scvi_tools(learned, counts, library):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from scvi.distributions import NegativeBinomial, ZeroInflatedNegativeBinomial
    logits, log_r, extra = learned
    means = {"mu": torch.softmax(logits, -1) * library[..., None], "theta": log_r.exp()[:, None]}
    law = NegativeBinomial(**means) if extra is None else ZeroInflatedNegativeBinomial(**means, zi_logits=extra)
    return -law.log_prob(counts).sum(-1)


@pytest.mark.parametrize("zeros", [False, True], ids=["nb", "zinb"])
@pytest.mark.parametrize("models", [1, 3])
def test_values_and_gradients_are_those_of_scvi_tools(models, zeros):
    learned, counts, library = example(models, zeros=zeros)
    weight = torch.rand(counts.shape[:2], generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    wanted = [w for w in learned if w is not None]
    logits, log_r, extra = learned
    mine = _negative_binomial.nats(logits, log_r, counts, library, extra)
    theirs = scvi_tools(learned, counts, library)
    # differences of 1e-7 are log-gammas of whole numbers, which are taken in float32
    torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=1e-6)
    for one, two in zip(*(torch.autograd.grad((n * weight).sum(), wanted) for n in (mine, theirs)), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("zeros", [False, True], ids=["nb", "zinb"])
def test_where_all_entries_are_taken_as_on_a_gpu_nothing_changes(zeros, monkeypatch):
    learned, counts, library = example(2, zeros=zeros)
    wanted = [w for w in learned if w is not None]

    def found():
        nats = _negative_binomial.nats(learned[0], learned[1], counts, library, learned[2])
        return [nats, *torch.autograd.grad(nats.square().sum(), wanted)]

    some = found()
    real = _negative_binomial._Some.__init__

    class Elsewhere:
        def __init__(self, values):
            self.values, self.shape, self.device = values, values.shape, torch.device("meta")

        def reshape(self, *form):
            return self.values.reshape(*form)

    monkeypatch.setattr(_negative_binomial._Some, "__init__", lambda own, x, r, q: real(own, Elsewhere(x), r, q))
    for one, two in zip(some, found(), strict=True):
        torch.testing.assert_close(one, two, rtol=1e-6, atol=1e-6)


def test_nearly_poisson_counts_lose_nothing_to_rounding():
    """r = 10,000 in float32: the formula itself, in float32, is off by hundredths of a nat a gene."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(2.0, (1, 4, 50)).astype(np.float32)
    library = counts.sum(-1)
    found = _negative_binomial.nats(
        torch.zeros(1, 4, 50), torch.full((1, 50), np.log(1e4)), torch.from_numpy(counts), torch.from_numpy(library)
    )
    mean = library[..., None].astype(np.float64) / 50
    expected = -stats.nbinom.logpmf(counts, 1e4, 1e4 / (1e4 + mean)).sum(-1)
    np.testing.assert_allclose(found.numpy(), expected, rtol=2e-6)
