"""Training of one model and of several: what a job becomes is its own affair, whoever is trained beside it."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import anndata
import numpy as np
import pytest
from scipy import sparse

from sclaws.errors import ModelError
from sclaws.models import _reconstruction_training as training
from sclaws.models import _training
from sclaws.models._reconstruction import TrainedReconstruction
from sclaws.models.masked_reconstruction import MaskedReconstruction
from sclaws.protocols import Context, Job
from sclaws.thinning import Thin
from sclaws.view import View

torch = pytest.importorskip("torch")

QUICK = MaskedReconstruction("8x2x2x2", n_genes=24, max_updates=60, batch_size=16)
CALM = replace(QUICK, lr=1e-3)  # short steps do not blow rounding up, so that weights can be compared to its size
PAPER = replace(QUICK, recipe="paper", likelihood="mse", max_updates=130, lr=1e-3)
NONE = np.arange(0)


def weights_of(model):
    assert isinstance(model, TrainedReconstruction), model
    return model.weights


def assert_same(one, two, exactly=False):
    """Weights, learning curves, errors and cost.

    But for rounding, keys' biases have no gradient (softmax does not see them), and AdamW makes steps of rounding, too.
    """
    width = one.shape.width
    for name, w in weights_of(one).items():
        other = weights_of(two)[name]
        if exactly:
            assert w.tobytes() == other.tobytes(), name
        else:
            seen = np.r_[:width, 2 * width : 3 * width] if name.endswith("qkv.bias") else slice(None)
            np.testing.assert_allclose(other[seen], w[seen], rtol=1e-3, atol=1e-4, err_msg=name)
    assert len(one.history) == len(two.history)
    for mine, other in zip(one.history, two.history, strict=True):
        assert mine == pytest.approx(other, rel=1e-4, abs=1e-6)
    np.testing.assert_allclose(one.variance, two.variance, rtol=1e-4)
    assert one.train_flops == two.train_flops


@pytest.fixture(scope="module")
def jobs(parts):
    """Of other seeds, cells, depths and genes; one cannot be done."""
    some = parts.train.choose(np.arange(15))  # fewer genes than are asked for
    empty = anndata.AnnData(sparse.csr_matrix((40, 80), dtype=np.float32))
    empty.var_names = parts.train.feature_names
    return {
        "plain": Job(parts.train, parts.valid, 1),
        "another seed": Job(parts.train, parts.valid, 2),
        "fewer cells": Job(parts.train.take(np.arange(40)), parts.valid.take(np.arange(11)), 1),
        "empty": Job(View.of(empty), parts.valid, 1),
        "thinned": Job(*(v.corrupt(Thin.keep(0.2, seed=3)) for v in (parts.train, parts.valid)), 1),
        "fewer genes": Job(some, parts.valid.choose(np.arange(15)), 1),
        "no validation": Job(parts.train, parts.valid.take(NONE), 5),
    }


@pytest.mark.parametrize("model", [CALM, PAPER, replace(CALM, likelihood="gaussian")], ids=["nb", "paper", "gaussian"])
def test_a_job_becomes_what_it_becomes_alone(model, jobs):
    together = dict(zip(jobs, model.fit_many(list(jobs.values())), strict=True))
    for name, job in jobs.items():
        if name == "empty":
            assert isinstance(together[name], ModelError)
            assert "0 training cells have a molecule" in str(together[name])
        else:
            assert_same(model.fit(job.train, job.valid, seed=job.seed), together[name])
    assert together["plain"].speed["models_together"] == 5
    assert together["fewer genes"].speed["models_together"] == 1
    first, second = (weights_of(together[name])["genes"] for name in ("plain", "another seed"))
    assert not np.allclose(first, second)


def test_one_that_diverges_is_an_error_in_its_own_place(jobs, monkeypatch):
    """One seed's losses become infinite, as they do when steps are too long."""
    real = training._reconstruction.foretell

    def foretell(weights, values, *rest):
        bad = torch.ones(len(values))
        if len(values) > 1 and torch.is_grad_enabled():
            bad[1] = torch.inf
        return real(weights, values, *rest) * bad[:, None, None, None]

    three = [jobs[name] for name in ("plain", "another seed", "thinned")]
    alone = [CALM.fit(job.train, job.valid, seed=job.seed) for job in three]
    monkeypatch.setattr(training._reconstruction, "foretell", foretell)
    found = CALM.fit_many(three)
    assert isinstance(found[1], ModelError)
    assert "training diverged; lower lr" in str(found[1])
    assert_same(alone[0], found[0])
    assert_same(alone[2], found[2])


def test_a_rate_that_is_far_too_high_says_so_alone_and_among_others(parts):
    wild = replace(QUICK, lr=1e30)
    with pytest.raises(ModelError, match=r"training diverged; lower lr = 1e\+30"):
        wild.fit(parts.train, parts.valid, seed=1)
    with pytest.raises(ModelError, match="training diverged"):  # and where nothing can be looked at
        wild.fit(parts.train, parts.valid.take(NONE), seed=1)
    found = wild.fit_many([Job(parts.train, parts.valid, s) for s in range(3)])
    assert all(isinstance(one, ModelError) and "diverged" in str(one) for one in found)


# ── a kill ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def killed_after(looks):
    left = iter(range(looks))

    def progress(message):
        if next(left, None) is None:
            raise KeyboardInterrupt

    return progress


@pytest.mark.parametrize("model", [replace(QUICK, max_updates=200), PAPER], ids=["default", "paper"])
def test_several_that_were_killed_end_as_if_left_alone(model, jobs, tmp_path, monkeypatch):
    monkeypatch.setattr(_training, "CHECKPOINT_SECONDS", 0)
    some = [jobs[name] for name in ("plain", "thinned", "fewer cells")]
    expected = model.fit_many(some)
    with pytest.raises(KeyboardInterrupt):
        model.fit_many(some, context=Context(tmp_path, progress=killed_after(1)))
    assert list(tmp_path.glob("*.npz"))
    told = []
    found = model.fit_many(some, context=Context(tmp_path, progress=told.append))
    first = model.plan.schedule.check_every
    assert told[0].startswith(f"{min(2 * first, model.plan.schedule.updates)} of")  # it went on
    for one, two in zip(expected, found, strict=True):
        assert_same(one, two, exactly=True)


def test_without_a_folder_nothing_is_written_or_taken(jobs, tmp_path, monkeypatch):
    """By hand: two data sets of one size, one after the other, from the same folder."""
    expected = QUICK.fit(jobs["thinned"].train, jobs["thinned"].valid, seed=1)
    monkeypatch.setattr(_training, "CHECKPOINT_SECONDS", 0)
    monkeypatch.chdir(tmp_path)
    QUICK.fit(jobs["plain"].train, jobs["plain"].valid, seed=1)
    assert_same(expected, QUICK.fit(jobs["thinned"].train, jobs["thinned"].valid, seed=1), exactly=True)
    assert list(tmp_path.iterdir()) == []


def test_groups_of_equal_seeds_and_sizes_do_not_take_each_others_weights(jobs, tmp_path, monkeypatch):
    """Memory may part jobs that differ in their cells' depth alone; they share a folder."""
    monkeypatch.setattr(_training, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(training, "_TOGETHER", {"cpu": 1})
    model = replace(QUICK, max_updates=100)
    two = [jobs["plain"], jobs["thinned"]]
    found = model.fit_many(two, context=Context(tmp_path))
    for job, one in zip(two, found, strict=True):
        assert one.speed["models_together"] == 1
        assert_same(model.fit(job.train, job.valid, seed=job.seed), one, exactly=True)


def test_other_data_do_not_go_on_from_the_last_ones_checkpoint(jobs, tmp_path, monkeypatch):
    """By hand, in one folder: the same cells, thinned."""
    monkeypatch.setattr(_training, "CHECKPOINT_SECONDS", 0)
    plain, thinned = jobs["plain"], jobs["thinned"]
    model = replace(QUICK, max_updates=100)
    model.fit(plain.train, plain.valid, seed=1, context=Context(tmp_path))
    expected = model.fit(thinned.train, thinned.valid, seed=1)
    found = model.fit(thinned.train, thinned.valid, seed=1, context=Context(tmp_path))
    assert_same(expected, found, exactly=True)


# ── parts ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_models_share_a_batch_while_memory_holds_them(monkeypatch):
    plan = QUICK.plan  # 16 cells of 24 genes, width 8: 3,072 numbers a model
    monkeypatch.setattr(training, "_TOGETHER", {"cpu": 2 * 3072 + 5, "cuda": 10**9})
    sizes = {0: 24, 1: 15, 2: 24, 4: 24, 5: 15}
    genes = {i: SimpleNamespace(genes=np.arange(size), train=None) for i, size in sizes.items()}
    assert training.groups(plan, genes, "cpu") == [[1, 5], [0, 2], [4]]  # 15 genes: 1,920 numbers, of which 3 fit
    assert training.groups(plan, genes, "cuda:1") == [[1, 5], [0, 2, 4]]
    monkeypatch.setattr(training, "_TOGETHER", {"cpu": 1})
    assert training.groups(plan, genes, "cpu") == [[1], [5], [0], [2], [4]]


def test_genes_and_the_baseline_come_from_training_cells_alone(parts, changed):
    job, other = Job(parts.train, parts.valid, 1), Job(changed.train, changed.valid, 1)
    one, two = (training.prepared(QUICK.plan, j) for j in (job, other))
    np.testing.assert_array_equal(one.genes, two.genes)
    for name, values in one.known.items():
        np.testing.assert_array_equal(values, two.known[name])
    assert abs(one.valid - two.valid).sum() > 0


def test_totals_are_of_all_genes_of_the_data_but_for_the_paper(parts):
    job = Job(parts.train, parts.valid, 1)
    whole, chosen = (training.prepared(model.plan, job) for model in (QUICK, PAPER))
    np.testing.assert_array_equal(whole.library, parts.train.totals)
    np.testing.assert_array_equal(chosen.library, np.asarray(chosen.train.sum(axis=1)).ravel())
    assert (chosen.library < whole.library).all()


def test_not_more_than_a_thousand_validation_cells_whatever_their_order(parts, monkeypatch):
    monkeypatch.setattr(training, "_VALIDATION", 30)
    order = np.random.default_rng(0).permutation(80)
    one, two = (training.prepared(QUICK.plan, Job(parts.train, v, 1)) for v in (parts.valid, parts.valid.take(order)))
    assert len(one.valid_ids) == 30
    assert (
        set(one.valid_ids)
        == set(two.valid_ids)
        != set(training.prepared(QUICK.plan, Job(parts.train, parts.valid, 2)).valid_ids)
    )


def test_validation_losses_are_the_trained_models_own(parts, monkeypatch):
    """What training stops on is what `losses` says of the same cells and seed, in nats; in blocks of any size."""
    for block in (2**21, 24 * 8 * 3 * 7):
        monkeypatch.setattr(training._reconstruction, "BLOCK", block)
        found = QUICK.fit_many([Job(parts.train, parts.valid, 1), Job(parts.train, parts.valid.take(np.arange(9)), 3)])
        for model, valid, seed in zip(found, (parts.valid, parts.valid.take(np.arange(9))), (1, 3), strict=True):
            mine = model.losses(valid, seed=seed).mean() * np.log(2)
            assert mine == pytest.approx(min(look["valid_loss"] for look in model.history), rel=1e-4)
            assert model.baseline_losses(valid, seed=seed).mean() * np.log(2) == pytest.approx(
                model.variance[1], rel=1e-4
            )


def test_without_validation_cells_the_last_weights_are_kept(parts):
    longer = replace(QUICK, max_updates=120)
    model = longer.fit(parts.train, parts.valid.take(NONE), seed=1)
    assert [look["update"] for look in model.history] == [50, 100, 120]
    assert all(look.keys() == {"update", "cells", "train_loss"} for look in model.history)
    assert model.history[-1]["train_loss"] < model.history[0]["train_loss"]
    steps = []
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        real = _training._update
        patch.setattr(
            _training, "_update",
            lambda w, *rest: (real(w, *rest), steps.append({n: x[0].detach().numpy().copy() for n, x in w.items()}))[0],
        )  # fmt: skip
        longer.fit(parts.train, parts.valid.take(NONE), seed=1)
    for name, w in steps[-1].items():
        np.testing.assert_array_equal(model.weights[name], w)
    assert np.isfinite(model.losses(parts.test, seed=1)).all()


def test_the_learning_curve_and_the_cost(parts):
    model = replace(QUICK, max_updates=130).fit(parts.train, parts.valid, seed=1)
    assert [look["update"] for look in model.history] == [50, 100, 130]
    assert [look["cells"] for look in model.history] == [800, 1600, 2080]
    assert all(np.isfinite(list(look.values())).all() for look in model.history)
    # two layers of width 8, feed-forward 16, 24 genes of which 4 are hidden (0.15·24 = 3.6), 2 outputs
    every = 2 * 24 * (4 * 64 + 2 * 8 * 16) + 4 * 24 * 24 * 8
    last = 2 * 24 * 2 * 64 + 2 * 4 * (2 * 64 + 2 * 8 * 16) + 4 * 4 * 24 * 8
    assert model.train_flops == 2080 * 3 * (every + last + 2 * 4 * 8 * 2)
    assert model.speed["flop_per_second"] / model.speed["tokens_per_second"] == pytest.approx(
        model.train_flops / 2080 / 24
    )
    assert model.speed["models_together"] == 1
    assert "mfu" not in model.speed


@pytest.mark.parametrize("likelihood", ["nb", "gaussian", "mse"])
def test_bfloat16_is_near_float32(parts, likelihood):
    """Eight bits of mantissa: losses agree to about a hundredth of a bit, and are not the same."""
    full = replace(QUICK, likelihood=likelihood, max_updates=100)
    one, two = (m.fit(parts.train, parts.valid, seed=1) for m in (full, replace(full, precision="bfloat16")))
    assert all(w.dtype == np.float32 for w in two.weights.values())
    losses = [m.losses(parts.test, seed=1).mean() for m in (one, two)]
    gain = one.baseline_losses(parts.test, seed=1).mean() - losses[0]
    assert losses[0] != losses[1]
    assert abs(losses[1] - losses[0]) < 0.02
    assert np.isfinite(gain)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device: what the GPU makes of it waits")
def test_on_a_gpu_in_bfloat16_the_gain_is_that_of_a_cpu(parts):
    gains = []
    for device, precision in (("cpu", "float32"), ("cuda", "bfloat16")):
        context = Context(Path(), device)
        model = replace(QUICK, max_updates=300, precision=precision).fit(
            parts.train, parts.valid, seed=1, context=context
        )
        gains.append(model.baseline_losses(parts.test, seed=1) - model.losses(parts.test, seed=1))
    difference = gains[1] - gains[0]  # other random numbers, so another model: as near as another seed's
    assert abs(difference.mean()) < 0.05 + 4 * difference.std() / np.sqrt(len(difference))
