"""The model of paper A: its published sizes, its errors, and whether it learns what can be known and nothing else."""

from dataclasses import replace

import anndata
import numpy as np
import pytest
import scipy.stats
from scipy import sparse

from sclaws import bits
from sclaws.errors import ModelError, PluginError
from sclaws.models import _likelihoods, _reconstruction, _stack
from sclaws.models._batches import hidden
from sclaws.models.masked_reconstruction import RECIPES, SIZES, MaskedReconstruction
from sclaws.protocols import Context
from sclaws.view import View

torch = pytest.importorskip("torch")

LIKELIHOODS = ["nb", "gaussian", "mse"]
QUICK = MaskedReconstruction("8x1x2x2", n_genes=30, max_updates=60)

# Paper A: parameters at 512 and 1,024 genes; re-computed from its public code.
PUBLISHED = {
    "XXS": (533, 1_045), "TINY": (9_953, 18_145), "XS": (132_993, 165_761), "S": (859_137, 924_673),
    "M": (19_178_497, 19_440_641), "L": (100_510_801, 101_033_041), "XL": (340_770_817, 341_557_249),
}  # fmt: skip


def parameters(size, genes, likelihood="mse"):
    shape = MaskedReconstruction(size, likelihood).plan.shape
    return _stack.count(_reconstruction.shapes(genes, shape, _likelihoods.OUTPUTS[likelihood]))


# ── sizes and recipes ────────────────────────────────────────────────────────────────────────────────────────────────
def test_all_published_sizes_are_here():
    assert SIZES.keys() == PUBLISHED.keys()


@pytest.mark.parametrize("size", PUBLISHED)
def test_published_parameter_counts(size):
    width = MaskedReconstruction(size).plan.shape.width
    for genes, published in zip((512, 1024), PUBLISHED[size], strict=True):
        assert parameters(size, genes) == published
        assert parameters(size, genes, "nb") == parameters(size, genes, "gaussian") == published + width + 1


def test_a_trained_model_has_as_many_as_its_shapes(parts):
    for likelihood in LIKELIHOODS:
        model = replace(QUICK, size="TINY", likelihood=likelihood, max_updates=1)
        expected = parameters("TINY", 30, likelihood)
        assert model.fit(parts.train, parts.valid, seed=0).n_params == expected
        assert model.untrained(parts.train, seed=0).n_params == expected


@pytest.mark.parametrize(("size", "rate"), [("TINY", 3.2e-2), ("XS", 8e-3), ("M", 1e-3), ("128x2x4x4", 4e-3)])
def test_the_default_rate_is_as_one_over_the_width(size, rate):
    assert MaskedReconstruction(size).plan.schedule.rate == pytest.approx(rate)
    assert MaskedReconstruction(size, lr=0.5).plan.schedule.rate == 0.5


def test_the_papers_recipe_is_the_published_one():
    """7,500 updates at 2.5e-4·32/256 for every size, no warm-up, no decay, looked at 61 times (REFERENCE, 1.2)."""
    for size in SIZES:
        plan = MaskedReconstruction(size, "mse", recipe="paper").plan
        schedule = plan.schedule
        assert (schedule.updates, schedule.batch, schedule.rate) == (7500, 32, pytest.approx(2.5e-4 * 32 / 256))
        assert {schedule.share(step) for step in (1, 3000, 7500)} == {1.0}
        assert (schedule.weight_decay, schedule.clip, schedule.decay_all) == (0.01, 1.0, True)
        assert schedule.updates // schedule.check_every <= schedule.patience  # it never stops early
        assert (plan.dropout, plan.rate, plan.whole, plan.task.offset) == (0.1, 0.15, False, False)


def test_what_is_given_stands_for_the_recipes_own():
    schedule = MaskedReconstruction(max_updates=50, batch_size=7).plan.schedule
    assert (schedule.updates, schedule.batch, schedule.warmup) == (50, 7, 10)
    assert MaskedReconstruction().plan.schedule == RECIPES["default"].schedule_for(16, None, None, None)


# ── errors ───────────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"size": "XXXL"}, "masked-reconstruction: size = 'XXXL' is none of XXS, TINY, XS, S, M, L, XL and not"),
        ({"size": "10x1x3x1"}, "the width a multiple of the heads"),
        ({"likelihood": "poisson"}, "likelihood = 'poisson' is none of nb, gaussian, mse"),
        ({"recipe": "quick"}, "recipe = 'quick' is none of default, paper"),
        ({"precision": "float16"}, "precision = 'float16' is none of float32, bfloat16"),
        ({"max_updates": 0}, "max_updates = 0 must be above 0"),
        ({"lr": -1e-3}, "lr = -0.001 must be above 0"),
        ({"lr": float("nan")}, "lr = nan must be above 0"),
        ({"batch_size": 0}, "batch_size = 0 must be above 0"),
        ({"n_genes": 1}, 'n_genes = 1 must be at least 2, or "all"'),
        ({"mask_rate": 0.0}, "mask_rate = 0.0 must lie between 0 and 1"),
        ({"mask_rate": 1.0}, "mask_rate = 1.0 must lie between 0 and 1"),
    ],
)
def test_what_cannot_be_is_refused(fields, message):
    with pytest.raises(PluginError, match=message):
        MaskedReconstruction(**fields)


def test_cells_without_molecules_are_refused(parts):
    nothing = anndata.AnnData(sparse.csr_matrix((20, 80), dtype=np.float32))
    nothing.var_names = parts.train.feature_names
    with pytest.raises(ModelError, match="0 training cells have a molecule on its genes; 2 are needed"):
        QUICK.fit(View.of(nothing), parts.valid, seed=0)


@pytest.mark.parametrize("value", [0.5, -1.0, np.nan])
def test_values_that_are_no_counts_are_refused(parts, value):
    dense = np.ones((20, 80), dtype=np.float32)
    dense[3, 7] = value
    adata = anndata.AnnData(dense)
    adata.var_names = parts.train.feature_names
    for train, valid in ((View.of(adata), parts.valid), (parts.train, View.of(adata))):
        with pytest.raises(ModelError, match="masked-reconstruction needs counts, and there is a value of"):
            QUICK.fit(train, valid, seed=0)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_gpu_that_is_not_there(parts, tmp_path):
    with pytest.raises(ModelError, match="masked-reconstruction: device 'cuda' was asked for and there is none"):
        QUICK.fit(parts.train, parts.valid, seed=0, context=Context(tmp_path, device="cuda"))


# ── the start, the record, the folder ────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_untrained_is_the_baseline(parts, likelihood):
    model = replace(QUICK, likelihood=likelihood).untrained(parts.train, seed=3)
    np.testing.assert_allclose(model.losses(parts.test, seed=1), model.baseline_losses(parts.test, seed=1), rtol=1e-6)
    assert np.ptp(model.embed(parts.test), axis=0).max() > 0  # its embedding is of random weights, and not nothing
    paper = replace(QUICK, likelihood="mse", recipe="paper").untrained(parts.train, seed=3)
    assert paper.losses(parts.test, seed=1).mean() > paper.baseline_losses(parts.test, seed=1).mean() + 0.1


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_model_says_what_it_cost_and_keeps_it_all(parts, tmp_path, recipe, likelihood):
    model = replace(QUICK, recipe=recipe, likelihood=likelihood, lr=1e-3)
    trained = model.fit(parts.train, parts.valid, seed=1)
    assert trained.history[-1]["update"] == 60
    numbers = [trained.train_flops, *trained.speed.values(), *(v for look in trained.history for v in look.values())]
    assert np.isfinite(numbers).all()
    assert trained.train_flops > 0
    assert {"tokens_per_second", "flop_per_second", "models_together"} <= trained.speed.keys()
    assert trained.loss_measure.startswith("bits of ") and "{" not in trained.loss_measure
    trained.save(tmp_path / "model")
    loaded = model.load(tmp_path / "model")
    assert loaded.context.device == "cpu"
    assert (loaded.n_params, loaded.loss_measure) == (trained.n_params, trained.loss_measure)
    for one, two in (
        (loaded.losses(parts.test, seed=2), trained.losses(parts.test, seed=2)),
        (loaded.baseline_losses(parts.test, seed=2), trained.baseline_losses(parts.test, seed=2)),
        (loaded.embed(parts.test), trained.embed(parts.test)),
    ):
        np.testing.assert_array_equal(one, two)


def test_a_folder_without_a_model(tmp_path):
    with pytest.raises(ModelError, match="holds no masked-reconstruction model .*; train it again"):
        QUICK.load(tmp_path)


def test_cost_grows_with_updates_genes_and_size():
    cost = MaskedReconstruction("XS", n_genes=512).cost(1e4, 2e4)
    assert cost > MaskedReconstruction("TINY", n_genes=512).cost(1e4, 2e4)
    assert cost > MaskedReconstruction("XS", n_genes=128).cost(1e4, 2e4)
    assert cost > MaskedReconstruction("XS", n_genes=512, max_updates=100).cost(1e4, 2e4)
    assert cost == MaskedReconstruction("XS", n_genes="all").cost(1e4, 512)


# ── what can be known ────────────────────────────────────────────────────────────────────────────────────────────────
def cells_of(counts, others):
    """Training, validation and test cells of these genes; ``others`` (n,) molecules are of genes that nobody sees."""
    adata = anndata.AnnData(sparse.csr_matrix(np.c_[counts, others].astype(np.float32)))
    adata.obs_names = [f"cell{i}" for i in range(len(counts))]
    adata.var_names = [f"gene{j}" for j in range(adata.n_vars)]
    view, n = View.of(adata).choose(np.arange(counts.shape[1])), len(counts)
    return [view.take(np.arange(*ends)) for ends in ((0, n - 1000), (n - 1000, n - 700), (n - 700, n))]


def gain(model, cells, seed=2):
    """Bits per hidden gene that the model has over the baseline, and the standard error over cells."""
    found = model.baseline_losses(cells, seed=seed) - model.losses(cells, seed=seed)
    return found.mean(), found.std(ddof=1) / np.sqrt(len(found))


@pytest.fixture(scope="module")
def copies():
    """Six genes, each on or off, and a copy of each: the same count again."""
    rng = np.random.default_rng(0)
    half = rng.poisson(np.where(rng.random((2500, 6)) < 0.5, 2.0, 20.0))
    return cells_of(np.repeat(half, 2, axis=1), rng.poisson(2000, 2500))


def test_a_copy_is_found_and_all_it_says_is_learnt(copies):
    """Whoever sees a gene's copy knows its count x, but can say no more than the likelihood lets them.

    The narrowest negative binomial is a Poisson, and none gives x more than the one of mean x. So the gain per hidden
    gene is at most the mean of (baseline's bits of x) - (bits of x under Poisson(x)), and at least most of it where
    the copy is seen. Where it is hidden, too, the baseline is all but the best: that the total says something of the
    other genes is in the bound, and not in what is demanded.
    """
    train, valid, test = copies
    model = MaskedReconstruction("32x1x4x4", n_genes="all", max_updates=1200, lr=0.01).fit(train, valid, seed=1)
    found, error = gain(model, test)
    counts = np.vstack([block.values.toarray() for block in test.batches()])
    baseline = bits.negative_binomial(counts, test.library[:, None] * model.known["share"], model.known["dispersion"])
    knowable = baseline + scipy.stats.poisson.logpmf(counts, np.maximum(counts, 1e-9)) / np.log(2)
    masked = hidden(test.cell_ids, test.feature_ids, 2, 0.15)
    seen = ~masked[:, np.arange(12) ^ 1]  # the copy
    most = np.mean([k[m].mean() for k, m in zip(knowable, masked, strict=True)])
    from_copies = np.mean([(k * s)[m].mean() for k, s, m in zip(knowable, seen, masked, strict=True)])
    assert 0.9 * from_copies < found < most
    assert found > 20 * error


def test_where_the_copy_is_hidden_too_next_to_nothing_is_gained(copies):
    """The same model on the same cells, asked for a gene whose copy is always hidden with it."""
    train, valid, test = copies
    lonely = [view.choose(np.arange(0, 12, 2)) for view in (train, valid, test)]  # no copies there
    model = MaskedReconstruction("16x1x2x2", n_genes="all", max_updates=300).fit(*lonely[:2], seed=1)
    found, error = gain(model, lonely[2])
    assert found < 3 * error


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_of_independent_genes_nothing_is_learnt(likelihood):
    """30 Poisson genes in cells of one depth: no gene says anything of another."""
    rng = np.random.default_rng(1)
    counts = rng.poisson(np.exp(rng.normal(1, 1, 30)), size=(2000, 30))
    train, valid, test = cells_of(counts, rng.poisson(3000, 2000))
    none = valid.take(np.arange(0))  # the last weights are kept, and not the start, which is the best there is
    for held in (valid, none):
        model = MaskedReconstruction("TINY", likelihood, n_genes="all", max_updates=150).fit(train, held, seed=1)
        found, error = gain(model, test)
        assert found <= 3 * error
    assert found != 0


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_types_of_cells_are_learnt_under_every_likelihood(likelihood):
    """Each gene is high in one of three types, and most of a cell is seen: the gain is many times its error."""
    rng = np.random.default_rng(3)
    kinds = rng.integers(0, 3, 2200)
    rates = np.where(np.arange(30) % 3 == kinds[:, None], 8.0, 1.0)
    train, valid, test = cells_of(rng.poisson(rates), rng.poisson(2000, 2200))
    model = MaskedReconstruction("TINY", likelihood, n_genes="all", max_updates=400).fit(train, valid, seed=1)
    found, error = gain(model, test)
    assert found > 5 * error
    if likelihood == "nb":  # nobody does better than who knows the rates
        counts, masked = next(test.batches()).values.toarray(), hidden(test.cell_ids, test.feature_ids, 2, 0.15)
        best = -scipy.stats.poisson.logpmf(counts, rates[-700:]) / np.log(2)
        knowable = model.baseline_losses(test, seed=2) - [b[m].mean() for b, m in zip(best, masked, strict=True)]
        assert found < knowable.mean() + 3 * knowable.std() / np.sqrt(700)


def test_a_width_of_one_cannot_tell_cells_apart(parts):
    """Paper A's smallest: normalising one number leaves none, so no gene hears of another (REFERENCE, 1.5)."""
    model = MaskedReconstruction("XXS", "mse", n_genes=30, max_updates=100).fit(parts.train, parts.valid, seed=1)
    seen = torch.rand(1, 5, 30)
    weights = {n: torch.from_numpy(w)[None] for n, w in model.weights.items()}
    wanted, hide = torch.full((1, 5, 1), 4), torch.zeros(1, 5, 30, dtype=torch.bool)
    hide[..., 4] = True
    out = _reconstruction.foretell(weights, seen, model.shape, wanted, hide).flatten()
    torch.testing.assert_close(out, out[:1].expand(5))
