"""An interrupt that comes where Python drops it stops the program all the same; other dropped errors are still told."""

import subprocess
import sys

import pytest

PROGRAM = """
import gc, signal, sys, time, weakref
from sclaws import cli

class Dies:
    def __del__(self):
        if {deleted}: {act}

def called(_):
    if not {deleted}: {act}

def work(_):
    print("begun", flush=True)
    thing = Dies()
    watch = weakref.ref(thing, called)
    del thing
    for _ in range(100):
        time.sleep(.01)
    print("went on to its end")

cli.app = work
cli.main()
"""


def outcome(deleted: bool, act: str) -> subprocess.CompletedProcess[str]:
    program = PROGRAM.format(deleted=deleted, act=act)
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("deleted", [True, False], ids=["in __del__", "in a weak reference's callback"])
def test_an_interrupt_that_python_drops_stops_the_program(deleted: bool) -> None:
    done = outcome(deleted, "signal.raise_signal(signal.SIGINT)")
    assert done.stdout == "begun\n"
    assert done.returncode == 130
    assert "stopped; everything finished is kept" in done.stderr
    assert "Traceback" not in done.stderr


def test_other_errors_that_python_drops_are_still_told() -> None:
    done = outcome(True, "raise ValueError('of a destructor')")
    assert done.returncode == 0
    assert "of a destructor" in done.stderr
    assert done.stdout == "begun\nwent on to its end\n"
