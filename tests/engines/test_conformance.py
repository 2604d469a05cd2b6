"""What every engine must do: the same results, failures as values, items taken as they are needed."""

import itertools

import pytest

from sclaws.engines.processes import Processes
from sclaws.engines.serial import Serial
from sclaws.protocols import Failure

ENGINES = [Serial(), Processes(workers=1), Processes(workers=3)]


@pytest.fixture(params=ENGINES, ids=str)
def engine(request):
    return request.param


def test_results_and_failures_of_every_item(engine, jobs):
    found = dict(engine.map(jobs.describe, range(7)))
    assert set(found) == set(range(7))
    for item in (0, 2, 4, 6):
        assert found[item] == {"item": item, "half": item / 2}
    for item in (1, 3, 5):
        failure = found[item]
        assert isinstance(failure, Failure)
        assert (failure.error, failure.message) == ("ValueError", f"{item} is odd")
        assert "in describe" in failure.traceback


def test_no_items(engine, jobs):
    assert list(engine.map(jobs.double, [])) == []


def test_work_that_calls_exit_fails_its_item_alone(engine, jobs):
    found = dict(engine.map(jobs.give_up, ["a", "b"]))
    assert {name: (f.error, f.message) for name, f in found.items()} == {
        "a": ("SystemExit", "no more at a"),
        "b": ("SystemExit", "no more at b"),
    }


def test_items_are_taken_as_they_are_needed(engine, jobs):
    taken = []

    def endless():
        for number in itertools.count():
            taken.append(number)
            yield number

    results = engine.map(jobs.double, endless())
    first = [next(results) for _ in range(5)]
    results.close()
    assert all(result == 2 * item for item, result in first)
    assert len(taken) <= 5 + 2 * 3  # as many again as there are workers: running, and waiting to be told


def test_an_error_of_the_items_is_not_swallowed(engine, jobs):
    def items():
        yield 1
        raise RuntimeError("the list ends here")

    with pytest.raises(RuntimeError, match="the list ends here"):
        list(engine.map(jobs.double, items()))


def test_the_users_interrupt_is_not_swallowed(engine, jobs):
    def items():
        yield 1
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(engine.map(jobs.double, items()))
