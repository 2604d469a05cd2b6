from pathlib import Path

import numpy as np
import pytest

from sclaws.errors import ModelError, PluginError
from sclaws.models import _stack, _training
from sclaws.models import masked_autoencoder as module
from sclaws.models._batches import hidden
from sclaws.models.masked_autoencoder import MaskedAutoencoder
from sclaws.protocols import Context, Job
from sclaws.thinning import Thin

torch = pytest.importorskip("torch")
SMALL = {"widths": (64,), "dim": 8, "n_genes": "all", "max_updates": 300, "batch_size": 64, "lr": 1e-2}


@pytest.fixture(scope="module")
def learned(parts):
    return MaskedAutoencoder(**SMALL).fit(parts.train, parts.valid, seed=1)


def values_of(view):
    counts = view.to_adata().X.toarray()
    return np.log1p(counts / counts.sum(axis=1, keepdims=True) * 1e4)


def known_of_states(embedding, view):
    """Return the share of the variance of the cells' true states that half of the cells' ridge tells of the others."""
    x = np.column_stack([(embedding - embedding.mean(axis=0)) / embedding.std(axis=0), np.ones(len(embedding))])
    y, half = view.obsm("state"), len(x) // 2
    slopes = np.linalg.solve(x[:half].T @ x[:half] + np.eye(x.shape[1]), x[:half].T @ y[:half])
    return 1 - ((y[half:] - x[half:] @ slopes) ** 2).sum() / ((y[half:] - y[half:].mean(axis=0)) ** 2).sum()


def test_the_published_number_of_weights():
    model = MaskedAutoencoder(**MaskedAutoencoder.presets["paper-C"])
    assert _stack.count(model.shapes(19_331)) == 20_767_683


def test_it_learns_the_state_of_cells(learned, parts):
    untrained = MaskedAutoencoder(**SMALL).untrained(parts.train, seed=1)
    before, after = (known_of_states(m.embed(parts.all), parts.all) for m in (untrained, learned))
    assert after > before + 0.1
    assert untrained.n_params == learned.n_params


def test_it_foretells_better_than_the_mean(learned, parts):
    gain = learned.baseline_losses(parts.test, seed=0) - learned.losses(parts.test, seed=0)
    assert gain.mean() > 5 * gain.std() / np.sqrt(len(gain))
    assert "log(1 + 10,000 count/total over all genes)" in learned.loss_measure


def by_hand(trained, view, seed, counted=None):
    """Return both losses from their definition, cell by cell, with the network as torch modules."""
    layers = []
    for part in ("down", "up"):
        linear = []
        for i in range(2):
            weight, bias = (torch.from_numpy(trained.weights[f"{part}.{i}.{w}"]) for w in ("weight", "bias"))
            linear.append(torch.nn.Linear(*weight.shape))
            linear[-1].load_state_dict({"weight": weight.T, "bias": bias})
        layers += [linear[0], torch.nn.SELU(), linear[1]]
    network, values, losses = torch.nn.Sequential(*layers), values_of(view), []
    hide = hidden(view.cell_ids, view.feature_ids, seed, 0.5)
    for x, h in zip(values, hide, strict=True):
        with torch.no_grad():
            out = network(torch.from_numpy(np.where(h, 0, 2 * x).astype(np.float32))).numpy()
        asked = h if counted is None else h & counted
        pairs = [
            0.5 * np.log2(2 * np.pi * v) + ((guess - x)[asked] ** 2).mean() / (2 * v * np.log(2))
            for guess, v in zip((out, trained.mean), trained.variance, strict=True)
        ]
        losses.append(pairs)
    return np.array(losses).T


def test_losses_are_bits_of_a_normal_density_at_hidden_genes(learned, parts):
    expected = by_hand(learned, parts.test, 7)
    np.testing.assert_allclose(learned.losses(parts.test, seed=7), expected[0], rtol=1e-4)
    np.testing.assert_allclose(learned.baseline_losses(parts.test, seed=7), expected[1], rtol=1e-4)
    counted = np.arange(80) % 2 == 0
    some = by_hand(learned, parts.test, 7, counted)
    genes = parts.test.feature_names[counted]
    np.testing.assert_allclose(learned.losses(parts.test, seed=7, genes=genes), some[0], rtol=1e-4)
    np.testing.assert_allclose(learned.baseline_losses(parts.test, seed=7, genes=genes), some[1], rtol=1e-4)


def test_the_variances_are_those_of_errors_at_hidden_entries_of_validation_cells(learned, parts):
    hide, values = hidden(parts.valid.cell_ids, parts.valid.feature_ids, 1, 0.5), values_of(parts.valid)
    mean = values_of(parts.train).mean(axis=0)
    np.testing.assert_allclose(learned.mean, mean, rtol=1e-5)
    assert learned.variance[1] == pytest.approx(((values - mean)[hide] ** 2).mean(), rel=1e-4)
    # the best validation loss is the mean over all entries of the same errors: the weights that were kept are the best
    best = min(look["valid_loss"] for look in learned.history)
    assert learned.variance[0] * hide.mean() == pytest.approx(best, rel=1e-4)


def test_a_batch_is_masked_scaled_and_judged_at_hidden_entries(parts):
    """The first step's loss: dropout off, so that what is random is the masks and the batch."""
    model = MaskedAutoencoder(**SMALL | {"dropout": 0.0})
    data = module._mlp.prepared("it", parts.train, parts.valid, "all", 3)
    weights = module._mlp.start(model.shapes(80), [3], "cpu")
    loss, _ = model._losses([data], weights, [3], "cpu")
    x = torch.from_numpy(values_of(parts.train)[_training.rows(300, 64, 3, 1)].astype(np.float32))[None]
    hide = _training.Random([3], 1, "cpu").uniform(64, 80) < 0.5
    assert float(hide.float().mean()) == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(64 * 80))
    z = module._mlp.forward(weights, "down", torch.where(hide, 0.0, 2 * x))
    errors = (module._mlp.forward(weights, "up", z) - x).square()
    assert float(loss(1).detach()) == pytest.approx(float(torch.where(hide, errors, 0.0).mean().detach()), rel=1e-4)


def test_training_stops_and_a_small_gain_is_none(parts):
    told = []
    model = MaskedAutoencoder(**SMALL | {"max_updates": 3000, "min_delta": 0.05, "patience": 3, "check_every": 5})
    trained = model.fit(parts.train, parts.valid, seed=0, context=Context(Path(), progress=told.append))
    losses = [look["valid_loss"] for look in trained.history]
    assert len(told) == len(losses) < 600
    start = MaskedAutoencoder(**SMALL).untrained(parts.train, seed=0)
    assert start.history == ()
    lowest, since = losses[0] + 1, 0
    for value in losses:
        lowest, since = (value, 0) if value < lowest - 0.05 else (lowest, since + 1)
    assert since == 3


def test_without_validation_cells_the_last_weights_are_kept(parts):
    trained = MaskedAutoencoder(**SMALL | {"max_updates": 20}).fit(parts.train, parts.valid.take(np.arange(0)), seed=0)
    assert [set(look) for look in trained.history] == [{"update", "cells", "train_loss"}]
    assert trained.variance[0] == trained.variance[1]
    assert np.isfinite(trained.losses(parts.test, seed=0)).all()


def test_a_width_sweep_changes_the_size(parts):
    sizes = [
        MaskedAutoencoder(**SMALL | {"widths": widths}).untrained(parts.train, seed=0).n_params
        for widths in ((8,), (16,), (16, 16))
    ]
    assert sizes == [
        (80 * 8 + 8) + (8 * 8 + 8) + (8 * 8 + 8) + (8 * 80 + 80),
        (80 * 16 + 16) + (16 * 8 + 8) + (8 * 16 + 16) + (16 * 80 + 80),
        (80 * 16 + 16) + 2 * (16 * 16 + 16) + (16 * 8 + 8) + (8 * 16 + 16) + (16 * 80 + 80),
    ]


def test_diverged_training_says_so(parts):
    with pytest.raises(ModelError, match="training diverged; lower lr"):
        MaskedAutoencoder(**SMALL | {"lr": 1e30}).fit(parts.train, parts.valid, seed=0)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"mask_rate": 0.0}, "masked-autoencoder: mask_rate = 0.0 must lie between 0 and 1"),
        ({"mask_rate": 1.0}, "mask_rate = 1.0 must lie between 0 and 1"),
        ({"dropout": 1.0}, "dropout = 1.0 must lie between 0 and 1"),
        ({"widths": ()}, r"widths = \(\) must be at least one layer"),
        ({"patience": 0}, "patience = 0 must be above 0"),
        ({"min_delta": -1.0}, "min_delta = -1.0 must not be below 0"),
    ],
)
def test_what_cannot_be_is_named(fields, told):
    with pytest.raises(PluginError, match=told):
        MaskedAutoencoder(**fields)


def test_a_device_that_is_not_there_is_told(parts):
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="device 'cuda' was asked for and there is none"):
            MaskedAutoencoder(**SMALL).fit(parts.train, parts.valid, seed=0, context=Context(None, device="cuda"))


def test_models_side_by_side_are_those_that_are_trained_alone(parts):
    """Other cells, depths and seeds beside it change nothing; one that cannot be trained fails alone."""
    model = MaskedAutoencoder(**SMALL | {"max_updates": 40})
    thin = Thin.keep(0.4, 2)
    jobs = [
        Job(parts.train, parts.valid, 0),
        Job(parts.train.take(np.arange(90)), parts.valid, 1),
        Job(parts.train.take(np.arange(1)), parts.valid, 2),
        Job(parts.train.corrupt(thin), parts.valid.corrupt(thin), 3),
    ]
    together = model.fit_many(jobs)
    assert isinstance(together[2], ModelError)
    for job, found in [(jobs[i], together[i]) for i in (0, 1, 3)]:
        alone = model.fit(job.train, job.valid, seed=job.seed)
        np.testing.assert_allclose(found.embed(parts.test), alone.embed(parts.test), rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found.losses(parts.test, seed=0), alone.losses(parts.test, seed=0), rtol=1e-4)
        assert len(found.history) == len(alone.history)
    data = {i: module._mlp.prepared("it", jobs[i].train, jobs[i].valid, "all", jobs[i].seed) for i in (0, 1, 3)}
    assert model._groups(data, "cpu") == [[0, 1, 3]]
