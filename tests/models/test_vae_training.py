"""Training of one autoencoder and of several: what a job becomes is its own affair, whoever is trained beside it."""

from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pytest
from scipy import sparse

from sclaws.errors import ModelError
from sclaws.models import _stack, _training, _vae
from sclaws.models import _vae_training as training
from sclaws.models.scvi import SCVI, TrainedSCVI
from sclaws.protocols import Context, Job
from sclaws.thinning import Thin
from sclaws.view import View

torch = pytest.importorskip("torch")

QUICK = SCVI(n_latent=3, n_hidden=12, n_genes=40, max_updates=60, batch_size=64, check_every=10, lr=1e-3)
NONE = np.arange(0)


def assert_same(one, two, exactly=False):
    """Weights and learning curves. Rounding that meets the kink of a unit grows, to a percent of what steps move."""
    assert isinstance(one, TrainedSCVI) and isinstance(two, TrainedSCVI), (one, two)
    for name, w in one.weights.items():
        if exactly:
            assert w.tobytes() == two.weights[name].tobytes(), name
        else:
            np.testing.assert_allclose(two.weights[name], w, rtol=1e-3, atol=6e-4, err_msg=name)
    assert len(one.history) == len(two.history)
    for mine, other in zip(one.history, two.history, strict=True):
        assert mine == pytest.approx(other, rel=1e-5, abs=1e-6)
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
        "fewer cells": Job(parts.train.take(np.arange(100)), parts.valid.take(np.arange(11)), 1),
        "less than a batch": Job(parts.train.take(np.arange(40)), parts.valid, 1),
        "empty": Job(View.of(empty), parts.valid, 1),
        "thinned": Job(*(v.corrupt(Thin.keep(0.2, seed=3)) for v in (parts.train, parts.valid)), 1),
        "fewer genes": Job(some, parts.valid.choose(np.arange(15)), 1),
        "no validation": Job(parts.train, parts.valid.take(NONE), 5),
    }


@pytest.mark.parametrize("model", [QUICK, replace(QUICK, likelihood="zinb", n_layers=2)], ids=["nb", "zinb"])
def test_a_job_becomes_what_it_becomes_alone(model, jobs):
    together = dict(zip(jobs, model.fit_many(list(jobs.values())), strict=True))
    for name, job in jobs.items():
        if name == "empty":
            assert isinstance(together[name], ModelError)
            assert "0 training cells have a molecule" in str(together[name])
        else:
            assert_same(model.fit(job.train, job.valid, seed=job.seed), together[name])
    assert together["plain"].speed["models_together"] == 5
    assert together["less than a batch"].speed["models_together"] == 1
    assert together["less than a batch"].history[-1]["cells"] == 60 * 40
    assert together["fewer genes"].speed["models_together"] == 1
    first, second = (together[name].weights["share.weight"] for name in ("plain", "another seed"))
    assert not np.allclose(first, second)


def test_one_that_diverges_is_an_error_in_its_own_place(jobs, monkeypatch):
    """One seed's losses become infinite, as they do when steps are too long."""
    real = _vae.losses

    def losses(weights, counts, *rest, **more):
        nats, divergence = real(weights, counts, *rest, **more)
        bad = torch.ones(len(counts))
        if len(counts) > 1 and more.get("learning"):
            bad[1] = torch.inf
        return nats * bad[:, None], divergence

    three = [jobs[name] for name in ("plain", "another seed", "thinned")]
    alone = [QUICK.fit(job.train, job.valid, seed=job.seed) for job in three]
    monkeypatch.setattr(_vae, "losses", losses)
    found = QUICK.fit_many(three)
    bad = [isinstance(one, ModelError) for one in found]
    assert sum(bad) == 1
    assert "training diverged; lower lr" in str(found[bad.index(True)])
    for mine, other in zip(alone, found, strict=True):
        if not isinstance(other, ModelError):
            assert_same(mine, other)


# ── a kill ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_several_that_were_killed_end_as_if_left_alone(jobs, tmp_path, monkeypatch):
    monkeypatch.setattr(_training, "CHECKPOINT_SECONDS", 0)
    some = [jobs[name] for name in ("plain", "thinned", "fewer cells")]
    expected = QUICK.fit_many(some)
    looks = []

    def killed(message):
        looks.append(message)
        if len(looks) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        QUICK.fit_many(some, context=Context(tmp_path, progress=killed))
    told = []
    found = QUICK.fit_many(some, context=Context(tmp_path, progress=told.append))
    assert told[0].startswith("30 of 60")  # two looks of ten steps were written, and it went on
    for one, two in zip(expected, found, strict=True):
        assert_same(one, two, exactly=True)


def test_stacks_in_one_folder_do_not_take_each_others_weights(jobs, tmp_path, monkeypatch):
    """Memory may part jobs that differ in their cells' depth alone."""
    monkeypatch.setattr(_training, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(training, "_TOGETHER", {"cpu": 1})
    two = [jobs["plain"], jobs["thinned"]]
    for job, one in zip(two, QUICK.fit_many(two, context=Context(tmp_path)), strict=True):
        assert one.speed["models_together"] == 1
        assert_same(QUICK.fit(job.train, job.valid, seed=job.seed), one, exactly=True)


# ── parts ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_models_share_a_batch_while_memory_holds_them(jobs, monkeypatch):
    """Batches of 64 cells of 40 genes: 2,560 counts. Neighbours have as many cells."""
    names = [name for name in jobs if name != "empty"]
    data = {i: training.prepared(QUICK.plan, jobs[name]) for i, name in enumerate(names)}

    def grouped(device):
        return [[names[i] for i in some] for some in training.groups(QUICK.plan, data, device)]

    monkeypatch.setattr(training, "_TOGETHER", {"cpu": 2 * 2560 + 5, "cuda": 10**9})
    alone = [["fewer genes"], ["less than a batch"]]
    assert grouped("cpu") == [*alone, ["fewer cells", "plain"], ["another seed", "thinned"], ["no validation"]]
    assert grouped("cuda:1") == [*alone, ["fewer cells", "plain", "another seed", "thinned", "no validation"]]
    monkeypatch.setattr(training, "_MOLECULES", {"cpu": 1, "cuda": 1})
    assert max(map(len, grouped("cuda"))) == 1


def test_dispersions_start_at_the_baselines_or_below(parts):
    data = training.prepared(QUICK.plan, Job(parts.train, parts.valid, 1))
    found = np.exp(-training.start(QUICK.plan, [data], "cpu")["log_r"][0].detach().numpy())
    np.testing.assert_allclose(found, np.minimum(data.means.dispersion, 1.0), rtol=1e-5)
    assert (found < 0.999).any()


def test_genes_and_the_baseline_come_from_training_cells_alone(parts, changed):
    one, two = (training.prepared(QUICK.plan, Job(p.train, p.valid, 1)) for p in (parts, changed))
    np.testing.assert_array_equal(one.genes, two.genes)
    np.testing.assert_array_equal(one.means.dispersion, two.means.dispersion)
    assert abs(one.valid - two.valid).sum() > 0


def test_validation_is_the_mean_over_the_cells_of_each_whatever_the_blocks(jobs, monkeypatch):
    some = [jobs[name] for name in ("fewer cells", "plain", "no validation", "thinned")]
    data = [training.prepared(QUICK.plan, job) for job in some]
    weights = training.start(QUICK.plan, data, "cpu")
    with torch.no_grad():
        found = training._Validation(data, "cpu")(weights, 7)
        monkeypatch.setattr(training, "_BLOCK", 3 * 4 * 40)  # three cells of each at once
        torch.testing.assert_close(training._Validation(data, "cpu")(weights, 7), found)
    assert found[2] == -7
    for m, job in enumerate(some):
        if job.valid.n_obs:
            trained = TrainedSCVI(
                QUICK, data[m].features, data[m].genes, data[m].means, _stack.arrays(weights, m), Context(Path())
            )
            nats = trained.losses(job.valid, seed=job.seed).mean() * 40 * np.log(2)
            assert float(found[m]) == pytest.approx(nats, rel=1e-5)


def test_patience_is_in_epochs_where_those_are_longer():
    schedule = replace(QUICK.plan.schedule, check_every=10, patience=3, batch=64)
    assert training._looks(schedule, 64 * 10) == 3
    assert training._looks(schedule, 64 * 25) == 8  # 7.5 looks are three epochs
    assert training._looks(schedule, 2) == 3
