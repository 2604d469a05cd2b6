"""The perceptrons against torch's own modules with the same weights; what is trained on."""

import itertools
from types import SimpleNamespace

import anndata
import numpy as np
import pytest
from scipy import sparse

from sclaws.counts import log_normalised
from sclaws.errors import ModelError, PluginError
from sclaws.models import _mlp
from sclaws.models._normalise import read_counts, totals
from sclaws.view import View

torch = pytest.importorskip("torch")
nn = torch.nn
WIDTHS = (7, 5, 4, 3)


def weights_of(module):
    """Return a torch module's weights by our names, and its linear layers' inputs and outputs turned around."""
    weights, layer = {}, -1
    for part in module:
        own = {}
        if isinstance(part, nn.Linear):
            layer += 1
            own = {"weight": part.weight.T, "bias": part.bias}
        if isinstance(part, nn.BatchNorm1d):
            own = {"norm.weight": part.weight, "norm.bias": part.bias}
            own |= {"norm.mean": part.running_mean, "norm.variance": part.running_var}
        if isinstance(part, nn.PReLU):
            own = {"slope": part.weight}
        weights |= {f"net.{layer}.{name}": w.detach().clone()[None] for name, w in own.items()}
    return weights


def reference(normalised):
    layers = []
    for i, (a, b) in enumerate(itertools.pairwise(WIDTHS)):
        layers.append(nn.Linear(a, b))
        if i < len(WIDTHS) - 2:
            layers += [nn.BatchNorm1d(b), nn.PReLU()] if normalised else [nn.SELU()]
    module = nn.Sequential(*layers)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(torch.randn(p.shape, generator=generator))
    return module, torch.randn(20, WIDTHS[0], generator=generator)


@pytest.mark.parametrize("normalised", [False, True])
def test_outputs_are_those_of_torch(normalised):
    module, x = reference(normalised)
    weights = weights_of(module)
    np.testing.assert_allclose(
        _mlp.forward(weights, "net", x[None])[0], module.eval()(x).detach(), rtol=1e-4, atol=1e-5
    )
    learning = _mlp.forward(weights, "net", x[None], learning=True)[0]
    np.testing.assert_allclose(learning, module.train()(x).detach(), rtol=1e-4, atol=1e-5)
    after = weights_of(module)
    assert after.keys() == weights.keys()
    for name, w in after.items():  # moving averages have followed the batch
        np.testing.assert_allclose(weights[name], w, rtol=1e-5, atol=1e-6)
    if normalised:
        assert not np.allclose(weights["net.0.norm.mean"], 0)


@pytest.mark.parametrize("normalised", [False, True])
def test_as_many_weights_as_torch_has(normalised):
    module, _ = reference(normalised)
    forms = _mlp.shapes("net", WIDTHS, normalised=normalised)
    started = _mlp.start(forms, [0], "cpu")
    assert sum(np.prod(form) for form in forms.values()) == sum(p.numel() for p in module.parameters())
    learned = {name for name, w in started.items() if w.requires_grad}
    assert learned == set(forms)
    assert set(started) == set(weights_of(module))
    assert {name: tuple(w.shape[1:]) for name, w in started.items() if w.requires_grad} == forms
    assert _mlp.flop(forms) == 2 * (7 * 5 + 5 * 4 + 4 * 3)


@pytest.mark.parametrize(("normalised", "times"), [(False, 2), (True, 1)])
def test_dropout_follows_activations_as_published(normalised, times):
    """Not the input, not the output; and, where there is batch normalisation, not what enters the last layer."""
    dropped = []
    weights = _mlp.start(_mlp.shapes("net", WIDTHS, normalised=normalised), [0], "cpu")
    _mlp.forward(weights, "net", torch.ones(1, 4, 7), drop=lambda x: dropped.append(x.shape[-1]) or x)
    assert dropped == [5, 4][:times]


def test_it_trains_on_normalised_counts_of_variable_genes(parts):
    data = _mlp.prepared("it", parts.train, parts.valid, 30, 0)
    counts = read_counts(parts.train, "it")
    np.testing.assert_array_equal(data.counts.toarray(), counts.toarray()[:, data.genes])
    np.testing.assert_array_equal(data.total, totals(counts))
    assert len(data.genes) == 30
    assert data.valid.n_obs == data.held.shape[0] == 80
    (values, block), *more = _mlp.blocks("it", parts.test, data.features, data.genes, "cpu")
    expected = log_normalised(read_counts(parts.test, "it"), parts.test.totals).toarray()[:, data.genes]
    np.testing.assert_allclose(values[0], expected, rtol=1e-5)
    np.testing.assert_array_equal(block.feature_ids, parts.test.feature_ids[data.genes])
    assert not more


def test_other_cells_are_another_run(parts):
    one, same, other = (_mlp.prepared("it", parts.train.take(rows), parts.valid, 30, 0).fingerprint for rows in (
        np.arange(100), np.arange(100), np.arange(100, 200)
    ))  # fmt: skip
    assert one == same != other


def test_at_most_a_thousand_validation_cells_decide():
    adata = anndata.AnnData(sparse.csr_matrix(np.random.default_rng(0).poisson(1, (1300, 4)).astype(np.float32)))
    valid = View.of(adata)
    data = _mlp.prepared("it", valid.take(np.arange(9)), valid, "all", 5)
    assert data.held.shape == (1000, 4)
    turned = _mlp.prepared("it", valid.take(np.arange(9)), valid.take(np.arange(1300)[::-1]), "all", 5)
    assert set(turned.valid.cell_ids) == set(data.valid.cell_ids)  # whatever order they come in


def test_what_cannot_be_is_named(parts):
    with pytest.raises(ModelError, match="it: 1 training cells; 2 are needed"):
        _mlp.prepared("it", parts.train.take([0]), parts.valid, 30, 0)


FIELDS = {"dim": 2, "max_updates": 9, "lr": 1.0, "check_every": 1, "patience": 1, "weight_decay": 0.0, "dropout": 0.0,
          "widths": (4,), "n_genes": "all", "margin": 1.0, "l1": 0.0, "rate": 0.0}  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("lr", 0, "lr = 0 must be above 0"),
        ("margin", float("nan"), "margin = nan must be above 0"),
        ("weight_decay", -1, "weight_decay = -1 must not be below 0"),
        ("l1", float("nan"), "l1 = nan must not be below 0"),
        ("dropout", -0.1, "dropout = -0.1 must lie between 0 and 1"),
        ("rate", 1.0, "rate = 1.0 must lie between 0 and 1"),
        ("widths", (4, 0), r"widths = \(4, 0\) must be at least one layer"),
        ("n_genes", 0, 'n_genes = 0 must be above 0, or "all"'),
    ],
)
def test_fields_that_cannot_be_are_named(field, value, told):
    kinds = {"above": ("margin",), "not_below": ("l1",), "shares": ("rate",)}
    _mlp.refuse("it", SimpleNamespace(**FIELDS), **kinds)
    with pytest.raises(PluginError, match=f"it: {told}"):
        _mlp.refuse("it", SimpleNamespace(**FIELDS | {field: value}), **kinds)


def test_a_look_at_validation_cells_is_an_epoch_at_least():
    assert _mlp.checks(25, 5000, 128) == 40
    assert _mlp.checks(25, 100, 128) == 25
