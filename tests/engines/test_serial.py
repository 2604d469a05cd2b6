"""What is particular to the serial engine: order, this process, and Ctrl-C in the middle of the work."""

import os

import pytest

from sclaws.engines.serial import Serial


def test_in_order_and_in_this_process(jobs):
    assert list(Serial().map(jobs.double, [3, 1, 2])) == [(3, 6), (1, 2), (2, 4)]
    assert dict(Serial().map(jobs.process, [0])) == {0: os.getpid()}


def test_nothing_is_begun_before_it_is_asked_for():
    begun = []
    results = Serial().map(begun.append, [1, 2])
    assert begun == []
    next(results)
    assert begun == [1]


def test_interrupt_of_the_work_ends_the_sweep():
    def interrupted(item):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(Serial().map(interrupted, [1]))
