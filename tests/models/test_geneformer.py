"""The published sizes to the parameter, what may be asked for, and the contract."""

import dataclasses

import numpy as np
import pytest
from scipy import sparse

from sclaws.errors import ModelError, PluginError
from sclaws.models._bert_architecture import n_params
from sclaws.models._training import Schedule
from sclaws.models.geneformer import Geneformer, vocabulary
from sclaws.protocols import Context, Job
from sclaws.testing import conforms
from sclaws.view import View

PUBLISHED = [  # (size, context, tokens): parameters, of papers C and B
    ("paper-C", 2_048, 25_426, 10_288_722),
    ("256x6x4x2", 2_048, 25_426, 10_288_722),
    ("two-layer", 512, 1_002, 129 * 1_000 + 479_618),  # as docs/transformers.md says, and BertForMaskedLM counts
    ("32x1x2x2", 512, 20_731, 710_299),
    ("64x2x2x2", 512, 20_731, 1_451_771),
    ("128x2x2x2", 512, 20_731, 3_022_075),
    ("paper-B", 512, 20_731, 7_107_579),
    ("384x4x4x2", 512, 20_731, 13_063_675),
    ("512x6x8x2", 512, 20_731, 23_779_579),
    ("768x8x8x2", 512, 20_731, 54_746_875),
]


@pytest.mark.parametrize(("size", "context", "tokens", "published"), PUBLISHED)
def test_parameters_are_the_published_numbers(size, context, tokens, published):
    """Two of the tokens are no genes."""
    assert n_params(Geneformer(size=size, context=context).config(tokens - 2)) == published


@pytest.mark.parametrize("width", [32, 64, 128])
def test_the_ablations_of_width_keep_the_rest(width):
    """Paper C's smaller embeddings: six layers of four heads, and feed-forward parts of twice the width."""
    config = Geneformer(size=f"{width}x6x4x2", context=2_048).config(25_424)
    assert (config.width, config.layers, config.heads, config.hidden) == (width, 6, 4, 2 * width)
    layer = 4 * (width**2 + width) + 2 * (2 * width**2) + 2 * width + width + 4 * width
    head = width**2 + 3 * width + 25_426
    assert n_params(config) == (25_426 + 2_048 + 2 + 2) * width + 6 * layer + head


def test_the_small_one_has_two_layers(three_types):
    model = Geneformer()
    config = model.config(60)
    assert (config.width, config.layers, config.heads, config.hidden, config.context) == (128, 2, 4, 512, 512)
    assert (config.activation, config.dropout) == ("relu", 0.02)
    trained = model.untrained(three_types, seed=0)
    assert trained.n_params == n_params(config) == sum(w.size for w in trained.weights.values())


def test_a_gene_has_a_token_and_its_median(three_types):
    """Over the cells that have it, of count / total · 10,000, the total over all genes."""
    train = three_types.take(np.arange(100))
    counts = train.to_adata().X.toarray().astype(float)
    values = counts / counts.sum(axis=1, keepdims=True) * 1e4
    words = vocabulary(train)
    assert words.features.equals(train.feature_names)
    assert words.ids.tolist() == list(range(2, 62))
    np.testing.assert_allclose(words.medians, [np.median(v[v > 0]) if v.any() else np.nan for v in values.T])
    some = vocabulary(train.choose(np.arange(7)))
    np.testing.assert_allclose(some.medians, words.medians[:7])  # the cell's total is that of all genes


# ── how it is trained ────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_published_recipe():
    """AdamW at 1e-3, linear decay after 5,000 steps, weight decay .001, batches of 64, patience 5 of 1,000 steps."""
    plan = Geneformer(size="paper-B", recipe="paper")._schedule(10_000_000)
    assert plan == Schedule(10 * 156_250, 1e-3, 64, 5_000, "linear", weight_decay=0.001, check_every=1_000, patience=5)


@pytest.mark.parametrize(("cells", "epochs"), [(100_000, 1_000), (30_000_000, 3), (400_000_000, 1)])
def test_the_published_number_of_epochs(cells, epochs):
    assert Geneformer(recipe="paper")._schedule(cells).updates == epochs * -(-cells // 64)


def test_the_learning_rate_goes_with_the_width_unless_it_is_given():
    rates = {size: Geneformer(size=f"{size}x2x2x2")._schedule(1000).rate for size in (64, 256, 512)}
    assert rates == {64: pytest.approx(4e-3), 256: pytest.approx(1e-3), 512: pytest.approx(5e-4)}
    given = Geneformer(size="64x2x2x2", lr=0.3, batch_size=7, max_updates=50)._schedule(1000)
    assert (given.rate, given.batch, given.updates, given.warmup) == (0.3, 7, 50, 10)


def test_cost_grows_with_what_there_is_to_do():
    small = Geneformer(max_updates=100).cost(1e4, 1e3)
    assert 0 < small < Geneformer(max_updates=1000).cost(1e4, 1e3)
    assert small < Geneformer(max_updates=100, size="paper-C").cost(1e4, 1e3)
    assert small < Geneformer(max_updates=100).cost(1e4, 2e4)


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"size": "huge"}, "size = 'huge' is none of two-layer, paper-B, paper-C and not \"width x layers"),
        ({"size": "10x1x4x2"}, "all four must be at least 1, and the width a multiple of the heads"),
        ({"layer": 0}, "layer = 0 must lie between -2 and -1 in a model of 2 layers"),
        ({"layer": -3}, "layer = -3 must lie between -2 and -1"),
        ({"recipe": "best"}, "recipe = 'best' or precision = 'float32' is not known"),
        ({"precision": "float16"}, "precision = 'float16' is not known"),
        ({"context": 0}, "context = 0 must be above 0"),
        ({"max_updates": 0}, "max_updates = 0 must be above 0"),
        ({"lr": -1.0}, "lr = -1.0 must be above 0"),
        ({"batch_size": 0}, "batch_size = 0 must be above 0"),
        ({"dropout": 1.0}, r"dropout = 1.0 must lie in \[0, 1\)"),
    ],
)
def test_what_cannot_be_had(fields, match):
    with pytest.raises(PluginError, match=match):
        Geneformer(**fields)


def test_a_device_that_is_not_there(three_types, tmp_path):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(ModelError, match="device 'cuda' was asked for and there is none; use device = 'cpu'"):
        Geneformer().fit(three_types, three_types, seed=0, context=Context(tmp_path, "cuda"))


def test_a_folder_that_is_another_models(tmp_path):
    with pytest.raises(ModelError, match="holds no geneformer model .*; train it again"):
        Geneformer().load(tmp_path)


# ── the contract ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_conforms():
    conforms("models", Geneformer(size="8x2x2x2", context=16, max_updates=6, batch_size=8))


def test_layer_is_the_embeddings_alone(three_types):
    """The states after another layer, of the same weights."""
    model = Geneformer(size="16x2x2x2", context=32, max_updates=3, batch_size=8)
    train, test = three_types.take(np.arange(50)), three_types.take(np.arange(50, 80))
    last, before = (dataclasses.replace(model, layer=k).fit(train, test, seed=0) for k in (-1, -2))
    np.testing.assert_array_equal(last.losses(test, seed=0), before.losses(test, seed=0))
    assert not np.allclose(last.embed(test), before.embed(test), atol=0.01)


def test_genes_that_the_data_lack_are_passed_over(three_types):
    """As a cell that has none of them: nothing but what is there is ranked."""
    train, test = three_types.take(np.arange(200)), three_types.take(np.arange(200, 230))
    trained = Geneformer(size="16x2x2x2", context=64, max_updates=3).fit(train, test, seed=0)
    assert trained.share_found == 1
    some, adata = test.choose(np.arange(5, 60)), test.to_adata()
    dense = adata.X.toarray()
    dense[:, :5] = 0
    adata.X = sparse.csr_matrix(dense)
    np.testing.assert_array_equal(trained.embed(some), trained.embed(View.of(adata)))
    assert trained.losses(some, seed=1).min() > 0


def test_a_job_that_fails_leaves_the_others(three_types):
    train, valid = three_types.take(np.arange(60)), three_types.take(np.arange(60, 80))
    model = Geneformer(size="8x1x1x1", max_updates=2, batch_size=4)
    one, none = model.fit_many([Job(train, valid, 0), Job(train.take(np.arange(0)), valid, 0)])
    assert one.n_params == n_params(model.config(60))
    assert isinstance(none, ModelError)
