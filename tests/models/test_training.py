"""The training loop on problems whose answer is known, and against torch's own optimiser, model by model."""

import math
from pathlib import Path

import numpy as np
import pytest

from sclaws.errors import ModelError
from sclaws.models import _training
from sclaws.models._training import Random, Schedule, rows, train
from sclaws.protocols import Context

torch = pytest.importorskip("torch")

PLAN = Schedule(40, 0.05, 4, warmup=5, decay="cosine", weight_decay=0.1, check_every=10, patience=100)


def plan(**changes):
    return Schedule(**{**vars(PLAN), **changes})


class Line:
    """Straight lines with noise, one a model: y = x·w + b."""

    def __init__(self, models, seed=0):
        generator = torch.Generator().manual_seed(seed)
        self.x = torch.randn(models, 64, 3, generator=generator)
        slopes = torch.randn(models, 3, generator=generator) * torch.logspace(0, 1.5, models)[:, None]
        self.y = (self.x * slopes[:, None]).sum(-1) + 0.1 * torch.randn(models, 64, generator=generator)
        start = torch.randn(models, 3, generator=generator)
        self.weights = {"slope": start.requires_grad_(), "bias": torch.zeros(models, 1, requires_grad=True)}

    def errors(self, some):
        guess = (self.x[:, some] * self.weights["slope"][:, None]).sum(-1) + self.weights["bias"]
        return (guess - self.y[:, some]).square().mean(1)

    def loss(self, step):
        return self.errors(torch.from_numpy(rows(48, 4, 1, step)))

    def validate(self, step):
        return self.errors(torch.arange(48, 64))


def trained(line, schedule, context, **describe):
    return train(line.weights, line.loss, line.validate, schedule, context, describe or {"run": 1})


def bytes_of(weights):
    return {name: w.detach().numpy().tobytes() for name, w in weights.items()}


# ── cells and rates of a step ────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(("n", "batch"), [(10, 3), (10, 10), (7, 20), (1, 4), (12, 4)])
def test_every_cell_once_an_epoch(n, batch):
    seen = np.concatenate([rows(n, batch, 5, step) for step in range(1, 41)])
    assert len(seen) == 40 * batch
    epochs = [seen[start : start + n] for start in range(0, len(seen) - n + 1, n)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(n))
    if n == 10:
        assert len({tuple(epoch) for epoch in epochs}) > 5  # shuffled anew
        other = np.concatenate([rows(n, batch, 6, step) for step in range(1, 41)])
        assert (other != seen).any()


@pytest.mark.parametrize("step", [1, 3, 10, 11, 60, 109, 110])
def test_rates_rise_and_fall_as_the_formula_says(step):
    def share(decay, warmup=10):
        return plan(updates=110, warmup=warmup, decay=decay).share(step)

    rising, gone = min(1, step / 10), max(0, step - 10) / 100
    assert share("none") == rising
    assert share("none", warmup=0) == 1
    assert share("linear") == pytest.approx(rising * (1 - gone))
    assert share("cosine") == pytest.approx(rising * (1 + math.cos(math.pi * gone)) / 2)
    assert share("linear", warmup=0) == pytest.approx(1 - step / 110)


# ── the optimiser ────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("decay_all", [False, True])
def test_a_stack_takes_the_steps_that_torch_takes_with_each_model(tmp_path, decay_all):
    schedule = plan(updates=12, check_every=4, clip=1.0, decay_all=decay_all)
    line = Line(3)
    line.weights["bias"].data.fill_(0.7)  # so that its decay shows
    start = {name: w.detach().clone() for name, w in line.weights.items()}
    trained(line, schedule, Context(tmp_path))  # the last are the best: the losses fall throughout
    clipped = set()
    for m in range(3):
        alone = Line(3)
        alone.weights = {n: w.clone().requires_grad_() for n, w in start.items()}
        mine = {n: torch.nn.Parameter(w[m].clone()) for n, w in start.items()}
        groups = [
            {"params": [mine["slope"]], "weight_decay": 0.1},
            {"params": [mine["bias"]], "weight_decay": 0.1 if decay_all else 0.0},
        ]
        optimiser = torch.optim.AdamW(groups, lr=schedule.rate)
        for step in range(1, 13):
            for group in optimiser.param_groups:
                group["lr"] = schedule.rate * schedule.share(step)
            optimiser.zero_grad()
            some = torch.from_numpy(rows(48, 4, 1, step))
            guess = (alone.x[m, some] * mine["slope"]).sum(-1) + mine["bias"]
            (guess - alone.y[m, some]).square().mean().backward()
            clipped.add(bool(torch.nn.utils.clip_grad_norm_(list(mine.values()), 1.0) > 1.0))
            optimiser.step()
        for name, w in mine.items():
            torch.testing.assert_close(line.weights[name][m].detach(), w.detach(), rtol=1e-6, atol=1e-6)
    assert True in clipped


def test_each_model_keeps_its_best_weights(tmp_path):
    """Validation losses are foretold: the weights at the lowest one must come back, whatever came later."""
    losses = {0: (9, 9, 9), 10: (5, 8, 10), 20: (6, 7, 11), 30: (4, 9, 12), 40: (4.5, 6, 9.5)}
    at = {}
    line = Line(3)

    def validate(step):
        at[step] = {n: w.detach().clone() for n, w in line.weights.items()}
        return torch.tensor(losses[step], dtype=torch.float32)

    state = train(line.weights, line.loss, validate, PLAN, Context(tmp_path), {})
    for m, step in enumerate((30, 40, 0)):
        for name, w in line.weights.items():
            assert torch.equal(w[m], at[step][name][m])
    assert state.lowest.tolist() == [4, 6, 9]
    assert [look["valid_loss"] for look in state.history[0]] == [5, 6, 4, 4.5]
    assert [look["update"] for look in state.history[1]] == [10, 20, 30, 40]
    assert [look["cells"] for look in state.history[1]] == [40, 80, 120, 160]


def test_a_model_that_no_longer_improves_is_done_and_the_others_go_on(tmp_path):
    """What a done model would reach later does not count: alone it would have stopped."""
    losses = {0: (9, 9), 10: (5, 8), 20: (6, 7), 30: (7, 6), 40: (1, 5), 50: (0, 5), 60: (0, 5)}
    line = Line(2)
    validate = lambda step: torch.tensor(losses[step], dtype=torch.float32)  # noqa: E731
    state = train(line.weights, line.loss, validate, plan(updates=200, patience=2), Context(tmp_path), {})
    assert state.lowest.tolist() == [5, 5]
    assert [len(history) for history in state.history] == [3, 6]
    assert state.step == 60


def test_training_losses_are_the_means_of_the_steps_since_the_last_look(tmp_path):
    line, seen = Line(2), []

    def loss(step):
        found = line.loss(step)
        seen.append(found.detach().clone())
        return found

    state = train(line.weights, loss, line.validate, plan(updates=25), Context(tmp_path), {})
    assert [look["update"] for look in state.history[0]] == [10, 20, 25]
    for look, start, end in zip(state.history[1], (0, 10, 20), (10, 20, 25), strict=True):
        assert look["train_loss"] == pytest.approx(float(torch.stack(seen[start:end]).mean(0)[1]), rel=1e-5)


def test_straight_lines_are_learnt(tmp_path):
    line = Line(4)
    before = line.validate(0)
    state = trained(line, plan(updates=1500, rate=0.3, weight_decay=0.0, check_every=50), Context(tmp_path))
    assert (state.lowest < 0.03).all()  # the noise is 0.01
    assert (before > 10 * state.lowest).all()


# ── what diverges ────────────────────────────────────────────────────────────────────────────────────────────────────
def nan_from(step_of, losses):
    """Losses that are not finite from a step on, for some models; their weights are lost then, too."""
    return lambda step: losses(step) * torch.tensor([math.nan if step >= s else 1.0 for s in step_of])


def test_one_that_diverges_neither_stops_nor_touches_its_neighbour(tmp_path):
    alone, both = Line(2), Line(2)
    expected = trained(alone, PLAN, Context(tmp_path))
    state = train(both.weights, nan_from([math.inf, 15], both.loss), both.validate, PLAN, Context(tmp_path), {})
    for name, w in alone.weights.items():
        torch.testing.assert_close(both.weights[name][0], w[0])
    assert [look["update"] for look in state.history[0]] == [look["update"] for look in expected.history[0]]
    assert [math.isfinite(look["valid_loss"]) for look in state.history[1]] == [True, False]  # and then it is done


def test_one_that_was_done_keeps_its_weights_when_all_diverge_later(tmp_path):
    losses = {0: (9, 9), 10: (5, 8), 20: (6, 7), 30: (7, 6)}
    at, line = {}, Line(2)

    def validate(step):
        at[step] = {n: w.detach().clone() for n, w in line.weights.items()}
        return torch.tensor(losses.get(step, (math.nan, math.nan)), dtype=torch.float32)

    state = train(line.weights, line.loss, validate, plan(patience=2, updates=100), Context(tmp_path), {})
    assert math.isfinite(state.history[0][-1]["valid_loss"])
    assert not math.isfinite(state.history[1][-1]["valid_loss"])
    assert state.step == 40
    for name, w in line.weights.items():
        assert torch.equal(w[0], at[10][name][0])


def test_without_validation_cells_the_training_loss_tells(tmp_path):
    line = Line(1)
    validate = lambda step: torch.tensor([-float(step)])  # noqa: E731
    state = train(line.weights, nan_from([25], line.loss), validate, PLAN, Context(tmp_path), {})
    assert [math.isfinite(look["valid_loss"]) for look in state.history[0]] == [True, True, False]


# ── a kill ───────────────────────────────────────────────────────────────────────────────────────────────────────────
class Killed:
    """A context whose progress ends the process, in a manner of speaking, after some looks."""

    def __init__(self, folder, looks):
        self.left = looks
        self.context = Context(folder, progress=self.tell)

    def tell(self, message):
        self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


@pytest.mark.parametrize("looks", [1, 3])
def test_a_run_that_was_killed_ends_as_one_left_alone(tmp_path, monkeypatch, looks):
    monkeypatch.setattr(_training, "CHECKPOINT_SECONDS", 0)
    alone, again, steps = Line(3), Line(3), []
    expected = trained(alone, PLAN, _folder(tmp_path, "alone"))
    with pytest.raises(KeyboardInterrupt):
        trained(again, PLAN, Killed(_folder(tmp_path, "killed").folder, looks).context)
    resumed = Line(3)
    counting = lambda step: (steps.append(step), resumed.loss(step))[1]  # noqa: E731
    state = train(resumed.weights, counting, resumed.validate, PLAN, _folder(tmp_path, "killed"), {"run": 1})
    assert steps[0] == 10 * looks + 1  # it went on, and did not begin again
    assert bytes_of(resumed.weights) == bytes_of(alone.weights)
    assert state.history == expected.history
    assert torch.equal(state.lowest, expected.lowest)


def _folder(tmp_path, name):
    (tmp_path / name).mkdir(exist_ok=True)
    return Context(tmp_path / name)


def first_step(folder, **describe):
    """The step that a run begins with that finds this folder."""
    line, steps = Line(2), []
    counting = lambda step: (steps.append(step), line.loss(step))[1]  # noqa: E731
    train(line.weights, counting, line.validate, PLAN, Context(folder), describe)
    return steps[0]


@pytest.fixture
def killed(tmp_path, monkeypatch):
    """A folder that a killed run left its checkpoint in."""
    with monkeypatch.context() as patch:
        patch.setattr(_training, "CHECKPOINT_SECONDS", 0)
        with pytest.raises(KeyboardInterrupt):
            trained(Line(2), PLAN, Killed(tmp_path, 2).context, model="a", seeds=[1, 2])
    return tmp_path


def test_a_checkpoint_of_another_run_is_not_taken(killed):
    assert first_step(killed, model="a", seeds=[1, 3]) == 1
    assert first_step(killed, model="a", seeds=[1, 2]) == 21


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.9, 0.999])
def test_a_damaged_checkpoint_counts_as_none(killed, keep):
    (file,) = killed.glob("*.npz")
    whole = file.read_bytes()
    file.write_bytes(whole[: int(keep * len(whole))])
    assert first_step(killed, model="a", seeds=[1, 2]) == 1


def test_a_checkpoint_that_was_only_begun_is_no_trouble(killed):
    (file,) = killed.glob("*.npz")
    file.with_suffix(".new").write_bytes(b"half")
    assert first_step(killed, model="a", seeds=[1, 2]) == 21


def test_runs_that_share_a_folder_keep_their_checkpoints(killed, monkeypatch):
    """One group of models after another: what the next one writes does not undo what the last one did."""
    monkeypatch.setattr(_training, "CHECKPOINT_SECONDS", 0)
    assert first_step(killed, model="a", seeds=[7, 8]) == 1
    monkeypatch.undo()
    assert first_step(killed, model="a", seeds=[1, 2]) == 21


# ── the rest ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_random_numbers_belong_to_seed_step_and_purpose():
    one = Random([3, 9], 5, "cpu")
    first, second = one.uniform(400), one.uniform(400)
    again = Random([9], 5, "cpu")
    assert torch.equal(again.uniform(400)[0], first[1])
    assert torch.equal(again.uniform(400)[0], second[1])
    others = [first[0], first[1], second[0], second[1], Random([3], 6, "cpu").uniform(400)[0]]
    assert abs(np.corrcoef(torch.stack(others))[np.triu_indices(5, 1)]).max() < 4 / math.sqrt(400)
    assert ((first >= 0) & (first < 1)).all()


def test_dropout_drops_its_share_and_keeps_the_mean():
    x = torch.ones(2, 50, 400)
    dropped = Random([1, 2], 3, "cpu").dropping(0.1)(x)
    assert abs(float((dropped == 0).double().mean()) - 0.1) < 4 * math.sqrt(0.09 / x.numel())
    torch.testing.assert_close(dropped[dropped != 0], torch.full_like(dropped[dropped != 0], 1 / 0.9))
    assert not torch.equal(dropped[0], dropped[1])
    assert Random([1, 2], 3, "cpu").dropping(0.0)(x) is x


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there(tmp_path):
    asked = pytest.raises(ModelError, match="m: device 'cuda' was asked for and there is none; use device = 'cpu'")
    with asked, _training.quiet(Context(tmp_path, device="cuda"), "m"):
        pass


def test_threads_are_given_back_even_after_trouble(tmp_path):
    before = torch.get_num_threads()
    with pytest.raises(ValueError, match="mine"), _training.quiet(Context(tmp_path, threads=before + 1), "m"):  # noqa: PT012
        assert torch.get_num_threads() == before + 1
        raise ValueError("mine")
    assert torch.get_num_threads() == before


# ── what is not learned ──────────────────────────────────────────────────────────────────────────────────────────────
class Counting(Line):
    """A line beside which something is counted: one a step, and the validation loss is lowest after 20 of 40 steps."""

    def __init__(self, models):
        super().__init__(models)
        self.weights["steps"] = torch.zeros(models, 2)

    def loss(self, step):
        self.weights["steps"] += 1
        return super().loss(step)

    def validate(self, step):
        return (self.weights["steps"][:, 0] - 20).abs()


def test_tensors_without_a_gradient_are_kept_with_the_best_weights():
    line = Counting(2)
    trained(line, PLAN, Context(Path()))
    assert (line.weights["steps"] == 20).all()  # neither the last, nor decayed


def test_tensors_without_a_gradient_come_back_after_a_kill(tmp_path, monkeypatch):
    monkeypatch.setattr(_training, "CHECKPOINT_SECONDS", -1.0)
    whole, first, second = Counting(2), Counting(2), Counting(2)
    whole.validate = first.validate = second.validate = lambda step: torch.full((2,), -float(step))
    trained(whole, PLAN, Context(Path()))
    stop = RuntimeError("killed")

    def killed(message):
        if message.startswith("30 "):
            raise stop

    with pytest.raises(RuntimeError, match="killed"):
        trained(first, PLAN, Context(tmp_path, progress=killed))
    trained(second, PLAN, Context(tmp_path))
    assert bytes_of(second.weights) == bytes_of(whole.weights)
    assert (second.weights["steps"] == 40).all()


@pytest.mark.parametrize(("least", "step"), [(0.0, 40), (3.0, 40), (5.0, 20)])
def test_an_improvement_below_the_least_is_none(least, step):
    """The loss falls by 2 at every look, and two looks are waited for: by 4, not by 5, it improves in time."""
    line = Line(1)
    line.validate = lambda step: torch.tensor([-0.2 * step])
    state = trained(line, plan(min_delta=least, patience=2), Context(Path()))
    assert state.step == step
    assert float(state.lowest) == pytest.approx(-8.0 if step == 40 else 0.0)
