"""Training: what is hidden, neighbours, interruptions, and whether anything is learned that there is to learn."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from sclaws.errors import ModelError
from sclaws.models import _sentences, _training
from sclaws.models import _sentences_training as training
from sclaws.models.geneformer import Geneformer
from sclaws.protocols import Context, Job

QUICK = Geneformer(size="16x2x2x2", context=32, max_updates=80, batch_size=16, lr=0.005)


@pytest.fixture(scope="module")
def cells(three_types):
    return tuple(three_types.take(np.arange(*ends)) for ends in ((0, 400), (400, 480), (480, 600)))


def same_weights(one, other):
    return all(np.array_equal(w, other.weights[name]) for name, w in one.weights.items())


def near_weights(one, other):
    for name, w in one.weights.items():
        np.testing.assert_allclose(w, other.weights[name], atol=2e-4, err_msg=name)


# ── what is hidden ───────────────────────────────────────────────────────────────────────────────────────────────────
def test_of_ten_hidden_tokens_eight_are_masks_one_is_another_and_one_itself(cells):
    data = QUICK._prepared(Job(cells[0], cells[1], 3))
    piece = data.train.piece(np.arange(400))
    hidden = masks = others = total = 0
    for step in range(20):
        hide, shown = training._hidden(piece, data, step)
        assert (shown[~hide] == piece.ids[~hide]).all()
        total, hidden = total + len(hide), hidden + hide.sum()
        masks += (shown[hide] == 1).sum()
        changed = hide & (shown != 1) & (shown != piece.ids)
        others += changed.sum()
        assert shown[changed].min() >= 2 and shown[changed].max() <= 61
    # a random token is the right one in one of 60 cases
    for count, n, share in ((hidden, total, 0.15), (masks, hidden, 0.8), (others, hidden, 0.1 * 59 / 60)):
        assert abs(count - n * share) < 4 * np.sqrt(n * share * (1 - share))


def test_what_is_hidden_depends_on_seed_and_step(cells):
    data = QUICK._prepared(Job(cells[0], cells[1], 3))
    piece = data.train.piece(np.arange(50))
    (one, seen), (again, seen_again) = (training._hidden(piece, data, 7) for _ in range(2))
    assert np.array_equal(one, again) and np.array_equal(seen, seen_again)
    assert not np.array_equal(one, training._hidden(piece, data, 8)[0])
    assert not np.array_equal(one, training._hidden(piece, dataclasses.replace(data, seed=4), 7)[0])


def test_one_token_of_a_batch_is_hidden_at_least(cells):
    data = QUICK._prepared(Job(cells[0], cells[1], 3))
    piece = _sentences.Piece(data.train.cells[:1], data.train.genes, np.array([5]), np.array([1]))
    assert all(training._hidden(piece, data, step)[0].all() for step in range(30))


# ── what is learned ──────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(scope="module")
def learned(cells):
    model = Geneformer(size="32x2x2x2", context=64, max_updates=250, batch_size=32, dropout=0.0)
    return model, model.fit(*cells[:2], seed=0)


def test_types_of_cells_are_learned(cells, learned):
    """A cell's other genes tell its type, and a type its likely genes: below the baseline by many standard errors."""
    model, trained = learned
    test = cells[2]
    gains = trained.baseline_losses(test, seed=0) - trained.losses(test, seed=0)
    assert gains.mean() > 10 * gains.std() / np.sqrt(len(gains))
    start = model.untrained(cells[0], seed=0)
    before = start.losses(test, seed=0)
    # it starts at each gene's frequency, but for what random states of width 0.02 add
    assert abs(before.mean() - trained.baseline_losses(test, seed=0).mean()) < 0.1
    assert trained.losses(test, seed=0).mean() < before.mean() - 0.1


def test_embeddings_part_the_types(cells, learned):
    kinds, x = cells[2].obs["cell_type"].to_numpy(), learned[1].embed(cells[2]).astype(float)
    centres = {kind: x[kinds == kind].mean(axis=0) for kind in np.unique(kinds)}
    nearest = [min(centres, key=lambda kind: np.linalg.norm(row - centres[kind])) for row in x]
    assert np.mean(kinds == nearest) > 0.9  # a third by chance


def test_the_record_of_a_training(cells, learned):
    _, trained = learned
    curve, lengths = trained.history, np.diff(cells[0].to_adata().X.indptr)
    assert [row["update"] for row in curve] == [100, 200, 250]
    assert [row["cells"] for row in curve] == [3200, 6400, 8000]
    assert curve[-1]["valid_loss"] < curve[0]["valid_loss"]
    assert lengths.max() <= 64
    each = 3 * _sentences.flops(trained.config, lengths) / 400
    assert trained.train_flops == pytest.approx(8000 * each)
    speed = trained.speed
    assert speed["models_together"] == 1
    assert speed["flop_per_second"] / speed["tokens_per_second"] == pytest.approx(each / lengths.mean())


def test_the_validation_loss_is_that_of_the_model(cells, learned):
    """In nats, of the validation cells with the tokens that the seed hides; the weights of the lowest are kept."""
    _, trained = learned
    lowest = min(row["valid_loss"] for row in trained.history)
    assert trained.losses(cells[1], seed=0).mean() * np.log(2) == pytest.approx(lowest, rel=1e-5)


def test_bfloat16_takes_nearly_the_same_steps(cells):
    """Products are good to a few parts in a thousand, and so are the losses of the first steps."""
    exact, near = (
        dataclasses.replace(QUICK, max_updates=5, precision=precision).fit(*cells[:2], seed=0).history[-1]
        for precision in ("float32", "bfloat16")
    )
    for name in ("train_loss", "valid_loss"):
        assert near[name] != exact[name]
        assert near[name] == pytest.approx(exact[name], rel=0.01)


def test_without_validation_cells_training_goes_to_its_end(cells, learned):
    model = dataclasses.replace(learned[0], max_updates=150)
    trained = model.fit(cells[0], cells[1].take(np.arange(0)), seed=0)
    assert trained.history[-1]["update"] == 150
    assert all(set(look) == {"update", "cells", "train_loss"} for look in trained.history)
    start = model.untrained(cells[0], seed=0)
    assert trained.losses(cells[2], seed=0).mean() < start.losses(cells[2], seed=0).mean() - 0.1


def test_training_that_diverges_is_told(cells):
    with pytest.raises(ModelError, match="training diverged; lower lr"):
        dataclasses.replace(QUICK, lr=1e30).fit(*cells[:2], seed=0)


def test_cells_without_tokens(cells):
    with pytest.raises(ModelError, match="1 training cells have a gene with a token; 2 are needed"):
        QUICK.fit(cells[0].take([0]), cells[1], seed=0)


# ── several at once ──────────────────────────────────────────────────────────────────────────────────────────────────
def test_many_are_each_what_it_would_be_alone(cells, tmp_path):
    train, valid, _ = cells
    none = valid.take(np.arange(0))  # so that the last weights stay
    jobs = [
        Job(train, none, 1),
        Job(train.take(np.arange(10)), none, 2),  # fewer cells than a batch
        Job(train.choose(np.arange(30)), none, 1),  # of another vocabulary: another batch
        Job(train.take(np.arange(0)), valid, 1),
        Job(train.take(np.arange(90)), valid, 3),
    ]
    many = QUICK.fit_many(jobs, context=Context(tmp_path))
    assert [one.speed["models_together"] for one in many if not isinstance(one, Exception)] == [3, 3, 1, 3]
    assert isinstance(many[3], ModelError)
    for at in (0, 1, 2, 4):
        alone = QUICK.fit(jobs[at].train, jobs[at].valid, seed=jobs[at].seed)
        near_weights(many[at], alone)
        assert [row["cells"] for row in many[at].history] == [row["cells"] for row in alone.history]


def test_memory_bounds_how_many_are_trained_together(cells, monkeypatch):
    data = QUICK._prepared(Job(cells[0], cells[1], 0))
    ready = dict.fromkeys(range(5), data)
    plans = dict.fromkeys(range(5), QUICK._schedule(400))
    one = plans[0].batch * data.train.tokens.lengths.mean() * 16
    monkeypatch.setitem(training._TOGETHER, "cpu", 2.5 * one)
    assert training._groups(ready, plans, "cpu") == [[0, 1], [2, 3], [4]]
    monkeypatch.setitem(training._TOGETHER, "cpu", 0.1 * one)
    assert training._groups(ready, plans, "cpu") == [[0], [1], [2], [3], [4]]


# ── interruptions ────────────────────────────────────────────────────────────────────────────────────────────────────
def interrupted(folder, after):
    told = []

    def progress(message):
        told.append(message)
        if len(told) == after:
            raise KeyboardInterrupt

    return Context(folder, progress=progress), told


@pytest.mark.parametrize(("dropout", "judges"), [(0.0, 80), (0.1, 0)])
def test_a_run_that_was_killed_ends_as_one_left_alone(cells, tmp_path, monkeypatch, dropout, judges):
    """With validation cells the best weights stay, without them the last."""
    monkeypatch.setattr(_training, "CHECKPOINT_SECONDS", 0)
    cells = (cells[0], cells[1].take(np.arange(judges)))
    model = Geneformer(size="16x2x2x2", context=32, max_updates=300, batch_size=8, dropout=dropout)
    left_alone = model.fit(*cells[:2], seed=0, context=Context(Path()))
    context, told = interrupted(tmp_path, after=2)  # the first hundred steps are kept, the second are lost
    with pytest.raises(KeyboardInterrupt):
        model.fit(*cells[:2], seed=0, context=context)
    context, told = interrupted(tmp_path, after=99)
    resumed = model.fit(*cells[:2], seed=0, context=context)
    assert [message.split()[0] for message in told] == ["200", "300"]
    assert same_weights(resumed, left_alone)
    assert resumed.history == left_alone.history


def test_jobs_alike_but_for_their_values_do_not_take_up_each_others_checkpoints(cells, tmp_path, monkeypatch):
    """As levels of depth are: one seed, as many cells. Here memory holds one model at a time."""
    monkeypatch.setattr(_training, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setitem(training._TOGETHER, "cpu", 1)
    train, valid = cells[0], cells[1].take(np.arange(0))
    jobs = [Job(train.take(np.arange(100)), valid, 0), Job(train.take(np.arange(200, 300)), valid, 0)]
    (tmp_path / "scratch").mkdir()
    many = QUICK.fit_many(jobs, context=Context(tmp_path / "scratch"))
    assert len([*(tmp_path / "scratch").glob("training-*.npz")]) == 2
    for one, job in zip(many, jobs, strict=True):
        assert same_weights(one, QUICK.fit(job.train, job.valid, seed=0))


def test_the_best_weights_survive_a_kill(cells, tmp_path, monkeypatch):
    """The loss is lowest at the 100th step, and the run is killed at the 300th and last."""
    import torch

    monkeypatch.setattr(_training, "CHECKPOINT_SECONDS", 0)
    monkeypatch.setattr(training, "_validation", lambda *args: torch.tensor([{0: 2.0, 100: 1.0}.get(args[-1], 3.0)]))
    model = Geneformer(size="8x1x1x1", context=32, max_updates=300, batch_size=4)
    left_alone = model.fit(*cells[:2], seed=0)
    context, _ = interrupted(tmp_path, after=3)
    with pytest.raises(KeyboardInterrupt):
        model.fit(*cells[:2], seed=0, context=context)
    assert same_weights(model.fit(*cells[:2], seed=0, context=Context(tmp_path)), left_alone)


def test_nothing_is_left_where_one_works(cells, tmp_path, monkeypatch):
    monkeypatch.setattr(_training, "CHECKPOINT_SECONDS", 0)
    monkeypatch.chdir(tmp_path)
    QUICK.fit(*cells[:2], seed=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif("not __import__('torch').cuda.is_available()", reason="no CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_gpu_learns_as_much(cells, learned, precision):
    model, here = learned
    there = dataclasses.replace(model, precision=precision).fit(*cells[:2], seed=0, context=Context(Path(), "cuda"))
    assert there.losses(cells[2], seed=0).mean() == pytest.approx(here.losses(cells[2], seed=0).mean(), abs=0.05)
