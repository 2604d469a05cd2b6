from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sclaws import heads
from sclaws.errors import ModelError
from sclaws.models import _adapting, _sentences
from sclaws.models.geneformer import Geneformer
from sclaws.models.scvi import SCVI
from sclaws.protocols import Context
from sclaws.testing import counts

HERE = Context(Path())
QUICK = replace(heads.PUBLISHED, rate=3e-3, rate_below=3e-3, epochs=30)


class Encoder(torch.nn.Module):
    """A perceptron with what a network may have: a normalisation, dropout, and a part that no coordinate needs."""

    def __init__(self):
        super().__init__()
        self.up = torch.nn.Linear(60, 8)
        self.norm = torch.nn.BatchNorm1d(8)
        self.noise = torch.nn.Dropout(0.5)
        self.decoder = torch.nn.Linear(8, 60)

    def forward(self, x):
        return self.noise(torch.relu(self.norm(self.up(x))))


def read(view):
    values = torch.from_numpy(np.log1p(view.to_adata().X.toarray()))
    return lambda rows: values[torch.from_numpy(rows)]


def labels(view):
    return (view.obs["label"] == "high").to_numpy().astype(np.int64)


def adapted(network, view, **more):
    words = {"seed": 0, "frozen": False, "context": HERE, "recipe": QUICK}
    return _adapting.adapted(network, read, Encoder.__call__, view, labels(view), **(words | more))


@pytest.fixture(scope="module")
def view():
    return counts(400)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return Encoder()


def same(one, other):
    return {name: torch.equal(w, other[name]) for name, w in one.items()}


@pytest.mark.parametrize("frozen", [True, False])
def test_the_network_that_was_asked_is_not_changed(network, view, frozen):
    before = {name: w.clone() for name, w in network.state_dict().items()}
    found = adapted(network, view, frozen=frozen)
    assert all(same(before, network.state_dict()).values())
    assert network.training, "nor is how it was set"
    moved = {name for name, equal in same(before, found.network.state_dict()).items() if not equal}
    learned = {"up.weight", "up.bias", "norm.weight", "norm.bias"}
    assert moved == (set() if frozen else learned), "statistics stay, and so does what no coordinate depends on"


def test_it_learns_what_the_starting_weights_do_not_show(view):
    """A network that is blind to all but one gene's counts: frozen, only that gene is known."""
    torch.manual_seed(1)
    network = Encoder()
    with torch.no_grad():
        network.up.weight[:, 1:] = 0
    train, test = view.take(np.arange(200)), view.take(np.arange(200, 400))
    right = {
        frozen: np.mean(adapted(network, train, frozen=frozen).probabilities(test).argmax(1) == labels(test))
        for frozen in (True, False)
    }
    assert right[False] > right[True] + 0.1


def test_frozen_is_a_head_on_the_embedding(network, view):
    found = adapted(network, view, frozen=True).probabilities(view)
    with torch.no_grad():
        x = Encoder.__call__(network.eval(), read(view)(np.arange(view.n_obs))).numpy()
    network.train()
    ours = heads.on_coordinates(x, labels(view), view.cell_ids, seed=0, recipe=QUICK)(x)
    np.testing.assert_allclose(found, ours, atol=1e-5)


def test_tensors_by_name_are_a_network_too_and_some_may_be_left_as_they_are(view):
    generator = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(60, 4, generator=generator).requires_grad_() for name in ("a", "b")}
    weights["b"].requires_grad_(False)
    found = _adapting.adapted(
        weights, read, lambda own, x: torch.relu(x @ own["a"]) @ own["b"].T[:, :3],
        view, labels(view), seed=0, frozen=False, context=HERE, recipe=QUICK,
    )  # fmt: skip
    assert same(weights, found.network) == {"a": False, "b": True}


def test_nothing_random_is_left_behind(network, view):
    before = torch.random.get_rng_state()
    adapted(network, view).probabilities(view)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_one_label_a_cell_is_needed(network, view):
    with pytest.raises(ModelError, match=r"400 cells and labels of shape \(399,\); one label a cell is needed"):
        _adapting.adapted(network, read, Encoder.__call__, view, labels(view)[1:], seed=0, frozen=True, context=HERE)


# ── the models ───────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    "model", [SCVI(n_latent=4, n_hidden=16), Geneformer(size="16x3x2x2", context=64)], ids=["scvi", "geneformer"]
)
def test_a_model_starts_from_its_own_embedding(model, view):
    trained = model.untrained(view, seed=0)
    found = trained.adapt(view.take(np.arange(60)), labels(view)[:60], seed=0, frozen=True)
    rows = np.arange(60, 100)
    with torch.no_grad():
        x = found.embed(found.network, found.read(view)(rows)).numpy()
    np.testing.assert_allclose(x, trained.embed(view)[rows], rtol=1e-4, atol=1e-5)


def test_the_first_third_of_the_layers_of_geneformer_stays(view, monkeypatch):
    monkeypatch.setattr(_sentences, "FINE_TUNING", replace(_sentences.FINE_TUNING, epochs=1))
    trained = Geneformer(size="16x3x2x2", context=64).untrained(view, seed=0)
    found = trained.adapt(view.take(np.arange(60)), labels(view)[:60], seed=0, frozen=False)
    equal = {name: np.array_equal(w[0].detach().numpy(), trained.weights[name]) for name, w in found.network.items()}
    layers = [{equal[name] for name in equal if name.startswith(f"layers.{i}.") and "weight" in name} for i in range(3)]
    assert layers == [{True}, {False}, {False}]
    assert not equal["words"]
    assert equal["transform.weight"] and equal["decoder.bias"], "what foretells tokens is not asked"
