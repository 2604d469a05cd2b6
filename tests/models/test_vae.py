"""The network against scvi-tools' own: the same weights there give the same latents, losses and gradients."""

import numpy as np
import pytest
from scipy import stats

from sclaws.models import _vae
from sclaws.models._vae import Form

torch = pytest.importorskip("torch")

CASES = [Form(30, 3, 16, 1, "nb"), Form(30, 3, 16, 2, "zinb")]
forms = pytest.mark.parametrize("form", CASES, ids=["nb", "zinb, two layers"])


@pytest.fixture
def stack(request):
    def make(form, models=3):
        generator = torch.Generator().manual_seed(5)
        counts = torch.poisson(torch.rand(models, 12, form.genes, generator=generator) * 2, generator).double()
        log_r = np.random.default_rng(0).normal(size=(models, form.genes))
        weights = _vae.start(form, range(models), log_r, "cpu")
        with torch.no_grad():  # away from where all start, each elsewhere
            for name, w in weights.items():
                if "norm" in name:
                    w.add_(torch.rand(w.shape, generator=generator) * 0.3)
        weights = {n: w.detach().double().requires_grad_(w.requires_grad) for n, w in weights.items()}
        noise = torch.randn(models, 12, form.latent, generator=generator).double()
        return weights, counts, noise

    return make


def their_losses(network, counts, noise, monkeypatch):
    monkeypatch.setattr("torch.distributions.Normal.rsample", lambda law: law.loc + law.scale * noise)
    none = torch.zeros(len(counts), 1, dtype=torch.long)
    return network({"X": counts, "batch": none, "labels": none}, loss_kwargs={"kl_weight": 0.3})


@forms
def test_latents_and_losses_are_those_of_scvi_tools(form, stack, scvi_tools, monkeypatch):
    weights, counts, noise = stack(form)
    with torch.no_grad():
        mean, variance = _vae.posterior(weights, counts)
        nats, divergence = _vae.losses(weights, counts, counts.sum(-1), noise)
        for m in range(3):
            inferred, _, found = their_losses(
                scvi_tools.holding(form, weights, m).eval(), counts[m], noise[m], monkeypatch
            )
            close = {"rtol": 1e-6, "atol": 1e-6}
            torch.testing.assert_close(mean[m], inferred["qz"].loc, **close)
            torch.testing.assert_close(variance[m], inferred["qz"].variance, **close)
            (reconstruction,), (of_library, of_latent) = found.reconstruction_loss.values(), found.kl_local.values()
            torch.testing.assert_close(nats[m], reconstruction, **close)
            torch.testing.assert_close(divergence[m], of_library + of_latent, **close)


@forms
def test_a_step_of_training_has_their_gradients_and_moving_averages(form, stack, scvi_tools, monkeypatch):
    weights, counts, noise = stack(form)
    networks = [scvi_tools.holding(form, weights, m).train() for m in range(3)]
    nats, divergence = _vae.losses(weights, counts, counts.sum(-1), noise, learning=True)
    (nats + 0.3 * divergence).mean(1).sum().backward()
    for m, network in enumerate(networks):
        their_losses(network, counts[m], noise[m], monkeypatch)[2].loss.backward()
        found = dict(network.named_parameters()) | dict(network.named_buffers())
        for own, their in scvi_tools.names(form).items():
            w = weights[own]
            mine, other = (w.grad[m], found[their].grad) if w.requires_grad else (w[m], found[their])
            torch.testing.assert_close(mine, other.T if other.ndim == 2 else other, rtol=1e-5, atol=1e-6, msg=own)
        idle = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()}
        assert {name for name in idle if name in scvi_tools.names(form).values()} == set()


@forms
def test_weights_start_as_in_scvi_tools(form, scvi_tools):
    """Two samples of each matrix and each shift: their laws cannot be told apart, and reach equally far."""
    wide = Form(200, 8, 64, form.layers, form.likelihood)
    mine = _vae.start(wide, range(4), np.zeros((4, 200)), "cpu")
    torch.manual_seed(0)
    states = [scvi_tools.network(wide).state_dict() for _ in range(4)]
    for own, their in scvi_tools.names(wide).items():
        if own == "log_r":
            continue
        one = mine[own].detach().numpy().ravel()
        two = np.concatenate([s[their].numpy().ravel() for s in states])
        if "norm" in own:
            np.testing.assert_array_equal(one, two, err_msg=own)
        else:
            assert stats.ks_2samp(one, two).pvalue > 1e-3, own
            assert np.abs(one).max() == pytest.approx(np.abs(two).max(), rel=0.1), own


def test_a_seed_gives_the_same_weights_in_any_company():
    alone, among = (_vae.start(CASES[1], seeds, np.zeros((len(seeds), 30)), "cpu") for seeds in ([7], [3, 7]))
    assert all(torch.equal(alone[name][0], among[name][1]) for name in alone)
    assert not torch.equal(among["share.weight"][0], among["share.weight"][1])


def test_draws_are_normal_and_go_with_the_cell():
    ids = np.arange(20_000, dtype=np.uint64)
    found = _vae.draws(ids, 3, 4)
    assert stats.kstest(found.ravel(), "norm").pvalue > 1e-3
    correlation = np.corrcoef(np.column_stack([found, _vae.draws(ids, 4, 4)]).T)
    assert np.abs(correlation - np.eye(8)).max() < 0.04
    np.testing.assert_array_equal(_vae.draws(ids[[5, 2]], 3, 4), found[[5, 2]])
    assert _vae.draws(ids[:0], 3, 4).shape == (0, 4)
