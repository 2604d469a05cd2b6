"""What a trained network says of cells: which entries are asked for, what is seen of the others, and in which unit."""

from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from scipy import sparse

from sclaws import bits
from sclaws.errors import ModelError
from sclaws.models import _likelihoods, _reconstruction
from sclaws.models._batches import hidden
from sclaws.models._reconstruction import Task, TrainedReconstruction
from sclaws.models._stack import Shape, drawn
from sclaws.protocols import Context
from sclaws.view import View

torch = pytest.importorskip("torch")

SHAPE = Shape(8, 2, 2, 16)


def network(view, genes, likelihood="nb", *, whole=True, offset=True, rate=0.15, seed=0):
    """A network with random weights, head and all, that knows the baseline of these cells' genes."""
    genes = np.asarray(genes)
    forms = _reconstruction.shapes(len(genes), SHAPE, _likelihoods.OUTPUTS[likelihood])
    weights = {n: w[0].detach().numpy() for n, w in drawn(forms, [seed], "cpu", normal=("mask",)).items()}
    counts = sparse.vstack([block.values for block in view.batches()]).tocsr()
    library = view.library if whole else np.asarray(counts[:, genes].sum(axis=1), dtype=float).ravel()
    known = _likelihoods.constants(likelihood, counts[:, genes], library)
    return TrainedReconstruction(
        Task(likelihood, offset), SHAPE, view.feature_names, genes, weights, known, (0.7, 1.3), whole, rate,
        Context(Path()),
    )  # fmt: skip


@pytest.fixture(scope="module")
def view(parts):
    return parts.test


def dense(view):
    return np.vstack([block.values.toarray() for block in view.batches()]).astype(float)


def by_hand(model, view, seed):
    """Losses cell by cell: hide, foretell every entry from the formula of the network, take the mean of the hidden."""
    view = view.choose(model.genes)
    counts, library = dense(view), view.library
    masked = hidden(view.cell_ids, view.feature_ids, seed, model.rate)
    layers = [
        {n.split(".", 2)[2]: torch.from_numpy(w) for n, w in model.weights.items() if n.startswith(f"layers.{i}.")}
        for i in range(2)
    ]
    w = {n: torch.from_numpy(x) for n, x in model.weights.items()}
    out = []
    for i in range(len(counts)):
        values = torch.from_numpy(np.log1p(1e4 * counts[i] / max(library[i], 1)).astype(np.float32))
        x = values[:, None] * w["value.weight"] + w["value.bias"]
        x[torch.from_numpy(masked[i])] = w["mask"]
        x = x + w["genes"]
        for own in layers:
            normed = torch.nn.functional.layer_norm(x, (8,), own["norm1.weight"], own["norm1.bias"])
            q, k, v = (normed @ own["qkv.weight"] + own["qkv.bias"]).view(-1, 3, 2, 4).permute(1, 2, 0, 3)
            read = ((q @ k.transpose(1, 2) / 2).softmax(-1) @ v).transpose(0, 1).reshape(-1, 8)
            x = x + read @ own["out.weight"] + own["out.bias"]
            normed = torch.nn.functional.layer_norm(x, (8,), own["norm2.weight"], own["norm2.bias"])
            x = (
                x
                + torch.nn.functional.gelu(normed @ own["up.weight"] + own["up.bias"]) @ own["down.weight"]
                + own["down.bias"]
            )
        head = (x @ w["head.weight"] + w["head.bias"]).double().numpy()
        mu = library[i] * model.known["share"] * np.exp(head[:, 0])
        found = bits.negative_binomial(counts[i], mu, model.known["dispersion"] * np.exp(head[:, 1]))
        out.append(found[masked[i]].mean())
    return np.array(out)


def test_losses_are_what_the_formulas_say(view):
    model = network(view, np.arange(0, 80, 3))
    np.testing.assert_allclose(model.losses(view, seed=5), by_hand(model, view, 5), rtol=1e-4)


def test_the_baseline_is_asked_for_the_same_entries(view):
    model = network(view, np.arange(0, 80, 3))
    some = view.choose(model.genes)
    masked = hidden(some.cell_ids, some.feature_ids, 5, 0.15)
    mean = view.library[:, None] * model.known["share"]
    expected = bits.negative_binomial(dense(some), mean, model.known["dispersion"])
    np.testing.assert_allclose(
        model.baseline_losses(view, seed=5), [row[m].mean() for row, m in zip(expected, masked, strict=True)], rtol=1e-9
    )


def test_a_hidden_value_is_not_seen_and_no_other_cell_is(parts):
    """Other counts at the hidden entries: the squared errors' predictions stay as they are."""
    adata = parts.adata[380:].copy()
    model = network(View.of(adata), np.arange(80), "mse")
    masked = hidden(View.of(adata).cell_ids, View.of(adata).feature_ids, 5, 0.15)
    values = torch.rand(1, 120, 80)
    other = torch.where(torch.from_numpy(masked)[None], values + 3, values)
    at = torch.from_numpy(np.argsort(~masked, axis=1, kind="stable")[:, :2].copy())[None]
    weights = {n: torch.from_numpy(w)[None] for n, w in model.weights.items()}
    hide = torch.from_numpy(masked)[None]
    one, two = (_reconstruction.foretell(weights, v, SHAPE, at, hide) for v in (values, other))
    assert torch.equal(one, two)
    seen = torch.where(hide, values, values + 3)
    assert not torch.allclose(_reconstruction.foretell(weights, seen, SHAPE, at, hide), one)
    alone = _reconstruction.foretell(weights, values[:, 7:8], SHAPE, at[:, 7:8], hide[:, 7:8])
    torch.testing.assert_close(alone, one[:, 7:8])


@pytest.mark.parametrize("likelihood", ["gaussian", "mse"])
def test_an_offset_is_a_correction_to_the_mean_and_else_the_value_itself(view, likelihood):
    genes = np.arange(20)
    correcting = network(view, genes, likelihood)
    itself = network(view, genes, likelihood, offset=False)
    np.testing.assert_array_equal(correcting.baseline_losses(view, seed=1), itself.baseline_losses(view, seed=1))
    assert not np.allclose(correcting.losses(view, seed=1), itself.losses(view, seed=1))
    wanted, out = torch.tensor([[[3, 9]]]), torch.randn(1, 1, 2, _likelihoods.OUTPUTS[likelihood])
    known = {n: torch.from_numpy(c)[None] for n, c in itself.known.items()}
    counts, values, library = torch.ones(1, 1, 20), torch.rand(1, 1, 20).double(), torch.ones(1, 1)
    got = itself.task.nats(out, counts, values, library, wanted, known)[0, 0]
    value, guess = values[0, 0, [3, 9]], out[0, 0, :, 0].double()
    if likelihood == "mse":
        torch.testing.assert_close(got, (value - guess) ** 2)
    else:
        sd = (0.01 + known["variance"][0, [3, 9]] * out[0, 0, :, 1].double().exp()).sqrt()
        np.testing.assert_allclose(got, -scipy.stats.norm.logpdf(value, guess, sd), rtol=1e-6)


@pytest.mark.parametrize("baseline", [False, True])
def test_squared_errors_are_in_bits_of_the_models_own_variance(view, baseline):
    """The model's variance is 0.7, the baseline's 1.3 (see `network`)."""
    model = network(view, np.arange(20), "mse")
    ask = model.baseline_losses if baseline else model.losses
    found, variance = ask(view, seed=1), (0.7, 1.3)[baseline]
    errors = 2 * variance * (found * np.log(2) - 0.5 * np.log(2 * np.pi * variance))
    assert (errors > 0).all()
    if baseline:
        some = view.choose(np.arange(20))
        masked = hidden(some.cell_ids, some.feature_ids, 1, 0.15)
        squares = (np.log1p(1e4 * dense(some) / view.library[:, None]) - model.known["mean"]) ** 2
        np.testing.assert_allclose(errors, [s[m].mean() for s, m in zip(squares, masked, strict=True)], rtol=1e-4)


# ── vocabularies ─────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("rate", [0.15, 0.02])  # at 0.02 many a cell has nothing hidden among the common genes
@pytest.mark.parametrize("likelihood", ["nb", "gaussian", "mse"])
def test_two_vocabularies_are_asked_the_same_of_their_common_genes(view, likelihood, rate):
    """The baseline is one formula of the entry: equal losses of every cell mean equal entries, values and totals."""
    small, large = (network(view, genes, likelihood, rate=rate) for genes in (np.arange(10, 50), np.arange(80)))
    if likelihood == "nb":  # a dispersion leans a little towards that of all genes of its vocabulary (bits.gene_means)
        np.testing.assert_allclose(small.known["dispersion"], large.known["dispersion"][10:50], rtol=0.2)
        small = replace(small, known={name: values[10:50] for name, values in large.known.items()})
    common = view.feature_names[np.r_[12:48:3]]
    one, two = (m.baseline_losses(view, seed=4, genes=common) for m in (small, large))
    np.testing.assert_allclose(one, two, rtol=1e-6)
    turned = large.baseline_losses(view, seed=4, genes=common[::-1])
    np.testing.assert_array_equal(turned, two)
    assert not np.allclose(two, large.baseline_losses(view, seed=4))


def test_all_genes_of_a_model_are_the_default(view):
    model = network(view, np.arange(10, 50))
    np.testing.assert_array_equal(
        model.losses(view, seed=4, genes=view.feature_names[10:50]), model.losses(view, seed=4)
    )


def test_asking_for_common_genes_hides_no_less_of_the_others(view):
    """What is hidden of the other genes stays hidden, so that it is the same question with fewer answers that count."""
    model = network(view, np.arange(80))
    halves = [view.feature_names[:40], view.feature_names[40:]]
    masked = hidden(view.cell_ids, view.feature_ids, 4, 0.15)
    number = [masked[:, :40].sum(axis=1), masked[:, 40:].sum(axis=1)]
    both = (number[0] > 0) & (number[1] > 0)
    parts = [model.losses(view, seed=4, genes=half) for half in halves]
    together = (parts[0] * number[0] + parts[1] * number[1]) / (number[0] + number[1])
    np.testing.assert_allclose(together[both], model.losses(view, seed=4)[both], rtol=1e-5)


def test_values_are_of_the_whole_transcriptome_unless_the_paper_says_otherwise(view, monkeypatch):
    seen = {}
    real = _reconstruction.foretell

    def spy(weights, values, *rest):
        seen[values.shape[2]] = values[0].numpy()
        return real(weights, values, *rest)

    monkeypatch.setattr(_reconstruction, "foretell", spy)
    for whole in (True, False):
        for genes in (np.arange(10, 50), np.arange(79)):
            network(view, genes, "mse", whole=whole).losses(view, seed=1)
        same = np.allclose(seen[40], seen[79][:, 10:50])
        assert same == whole
        counts = dense(view)
        total = view.totals if whole else counts[:, 10:50].sum(axis=1)
        np.testing.assert_allclose(seen[40], np.log1p(1e4 * counts[:, 10:50] / total[:, None]), rtol=1e-5)


def test_genes_that_the_model_has_not(view):
    model = network(view, np.arange(10, 50))
    with pytest.raises(ModelError, match="1 of the 2 genes asked for are not among its 40, the first is 'gene9'"):
        model.losses(view, seed=0, genes=pd.Index(["gene9", "gene10"]))


# ── cells ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_blocks_of_any_size_give_the_same(view, monkeypatch):
    model = network(view, np.arange(80))
    before = model.losses(view, seed=2), model.embed(view)
    monkeypatch.setattr(_reconstruction, "BLOCK", 80 * 8 * 7)  # seven cells
    np.testing.assert_allclose(model.losses(view, seed=2), before[0], rtol=1e-6)
    np.testing.assert_allclose(model.embed(view), before[1], rtol=1e-5, atol=1e-6)


def test_cells_in_any_order_and_none(view):
    model, order = network(view, np.arange(80)), np.random.default_rng(0).permutation(120)
    np.testing.assert_allclose(model.losses(view.take(order), seed=2), model.losses(view, seed=2)[order], rtol=1e-5)
    nothing = view.take(np.arange(0))
    assert model.losses(nothing, seed=2).shape == (0,)
    assert model.embed(nothing).shape == (0, 8)


def test_an_embedding_is_the_mean_state_of_its_genes(view):
    from sclaws.models import _encoder
    from sclaws.models._packing import Equal

    model = network(view, np.arange(30))
    values = np.log1p(1e4 * dense(view.choose(np.arange(30))) / view.library[:, None]).astype(np.float32)
    weights = {n: torch.from_numpy(w)[None] for n, w in model.weights.items()}
    x = _reconstruction.tokens(weights, torch.from_numpy(values)[None])
    states = _encoder.encode(weights, x, SHAPE, Equal(120, 30)).view(120, 30, 8)
    np.testing.assert_allclose(model.embed(view), states.mean(1).numpy(), rtol=1e-4, atol=1e-5)


def test_an_empty_cell_has_finite_losses_and_embedding():
    counts = np.random.default_rng(0).poisson(1.0, size=(30, 12)).astype(np.float32)
    counts[[0, 5]] = 0
    adata = anndata.AnnData(sparse.csr_matrix(counts))
    view = View.of(adata)
    for likelihood in ("nb", "gaussian", "mse"):
        model = network(view, np.arange(12), likelihood)
        assert np.isfinite(model.losses(view, seed=0)).all()
        assert np.isfinite(model.baseline_losses(view, seed=0)).all()
        assert np.isfinite(model.embed(view)).all()
