"""Several models are prepared and trained in groups; each has its own outcome, in its own place."""

from pathlib import Path

import pytest

from sclaws.errors import ModelError
from sclaws.models import _together
from sclaws.protocols import Context


def outcomes(jobs, prepare=lambda job: job, train=lambda data, _: [2 * one for one in data]):
    """Groups of the odd and of the even."""

    def groups(data):
        return [[i for i, one in data.items() if one % 2 == odd] for odd in (1, 0)]

    return _together.fit_many(jobs, prepare, groups, train, Context(Path()), "it")


def test_each_is_in_its_own_place():
    assert outcomes([5, 2, 3, 8]) == [10, 4, 6, 16]


def test_one_that_cannot_be_prepared_is_in_no_group():
    def prepare(job):
        if job == 3:
            raise ModelError("no 3")
        return job

    found = outcomes([5, 2, 3, 8], prepare)
    assert isinstance(found[2], ModelError) and found[:2] + found[3:] == [10, 4, 16]


def test_an_error_of_training_is_that_of_its_group_alone():
    def train(data, some):
        assert all(one == [5, 2, 3, 8][i] for one, i in zip(data, some, strict=True))
        if 5 in data:
            raise ModelError("odd")
        return [2 * one for one in data]

    found = outcomes([5, 2, 3, 8], train=train)
    assert found[1] == 4 and found[3] == 16 and found[0] is found[2] and isinstance(found[0], ModelError)


def test_an_attempt_is_a_result_or_the_reason_why_not():
    error = ModelError("no")

    def fail():
        raise error

    assert _together.attempt(lambda: 3) == 3
    assert _together.attempt(fail) is error
    with pytest.raises(KeyboardInterrupt):
        _together.attempt(lambda: (_ for _ in ()).throw(KeyboardInterrupt()))


def test_the_only_one_or_its_error():
    assert _together.only([4]) == 4
    with pytest.raises(ModelError, match="no"):
        _together.only([ModelError("no")])
