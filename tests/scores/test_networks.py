import numpy as np
import pytest

torch = pytest.importorskip("torch")

from sclaws.scores import _networks  # noqa: E402


def lines(seeds, rows=64):
    """M least-squares problems y = 2x + 1 + noise, and what solves them."""
    x = torch.linspace(-1, 1, rows)[None, :, None].expand(len(seeds), -1, -1)
    y = 2 * x + 1
    weight = torch.zeros(len(seeds), 1, 1, requires_grad=True)
    bias = torch.zeros(len(seeds), 1, 1, requires_grad=True)

    def loss(at=None):
        index = torch.arange(rows).expand(len(seeds), -1) if at is None else at
        take = lambda v: torch.take_along_dim(v, index[..., None], 1)  # noqa: E731
        return ((take(x) * weight + bias - take(y)) ** 2).mean((-1, -2))

    return [weight, bias], loss


def test_each_model_gets_back_its_best_weights():
    parameters, loss = lines([0, 1])
    script = iter([9.0, 5.0, 1.0, 7.0, 8.0, 9.0, 9.0])
    seen = []

    def valid():  # falls twice, then rises: the third look is the best, whatever the training loss does
        seen.append(parameters[0].detach().clone())
        return torch.full((2,), next(script))

    schedule = _networks.Schedule(steps=60, rate=0.1, every=10, patience=3, batch=16)
    rows = _networks.batches([np.arange(64)] * 2, 16, [0, 1])
    lowest = _networks.train(parameters, loss, valid, rows, schedule)
    assert lowest.tolist() == [1.0, 1.0]
    torch.testing.assert_close(parameters[0].detach(), seen[2])
    assert not torch.equal(seen[2], seen[-1])
    assert len(seen) == 6  # three looks without a better one end it


def test_a_model_that_is_done_stays_so_while_others_go_on():
    parameters, loss = lines([0, 1])
    first = iter([9.0, 5.0, 6.0, 6.0, 1.0, 1.0, 1.0, 1.0])  # better again, but after its patience
    second = iter([9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 4.0, 4.0])
    rows = _networks.batches([np.arange(64)] * 2, 16, [0, 1])
    schedule = _networks.Schedule(steps=70, rate=0.1, every=10, patience=2, batch=16)
    lowest = _networks.train(parameters, loss, lambda: torch.tensor([next(first), next(second)]), rows, schedule)
    assert lowest.tolist() == [5.0, 4.0]


def test_training_solves_least_squares():
    parameters, loss = lines([0, 1, 2])
    rows = _networks.batches([np.arange(64)] * 3, 32, [0, 1, 2])
    schedule = _networks.Schedule(steps=400, rate=0.05, decay=0.0, patience=100)
    lowest = _networks.train(parameters, loss, loss, rows, schedule)
    assert lowest.max() < 1e-4
    torch.testing.assert_close(parameters[0].detach().flatten(), torch.full((3,), 2.0), atol=0.05, rtol=0)


def test_batches_visit_every_row_once_an_epoch_and_only_own_rows():
    mine, other = np.arange(0, 40), np.arange(100, 140)
    rows = _networks.batches([mine, other], 10, [3, 4])
    seen = np.concatenate([next(rows) for _ in range(4)], axis=1)
    np.testing.assert_array_equal(np.sort(seen[0]), mine)
    np.testing.assert_array_equal(np.sort(seen[1]), other)


def test_a_model_does_not_depend_on_its_neighbours():
    alone = _networks.Stack((3, 8, 2), [5], "cpu")
    among = _networks.Stack((3, 8, 2), [4, 5, 6], "cpu")
    x = torch.randn(3, 7, 3, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(alone(x[1:2])[0], among(x)[1], atol=1e-5, rtol=1e-5)


def test_global_random_state_and_threads_are_left_alone():
    torch.manual_seed(1)
    np_before, threads = torch.get_rng_state(), torch.get_num_threads()
    with _networks.one_thread() as device:
        assert device in ("cpu", "cuda")
        assert torch.get_num_threads() == 1
        _networks.Stack((3, 8, 2), [5], "cpu")
        next(_networks.batches([np.arange(9)], 3, [0]))
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), np_before)
