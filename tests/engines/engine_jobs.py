"""What the engines' tests have done: a worker is a fresh process and imports this file by name."""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path


def double(item):
    return 2 * item


def describe(item):
    """Fails for odd numbers, in a way of its own."""
    if item % 2:
        raise ValueError(f"{item} is odd")
    return {"item": item, "half": item / 2}


def give_up(item):
    sys.exit(f"no more at {item}")


def process(item):
    time.sleep(0.02)
    return os.getpid()


def limits(item):
    return {name: os.environ.get(f"{name}_NUM_THREADS") for name in ("OMP", "MKL", "OPENBLAS", "NUMBA")}


def gpu(item):
    time.sleep(0.1)
    return os.environ.get("CUDA_VISIBLE_DEVICES")


def die(item):
    """Items below zero end their process: -9 is killed by signal 9, -103 exits with code 3."""
    if item < -100:
        os._exit(-item - 100)
    if item < 0:
        os.kill(os.getpid(), -item)
    return item


def count_and_die(file):
    with open(file, "a") as book:
        book.write(".")
    os._exit(5)


def die_with_a_child_left(seconds):
    """Killed, while a process that it forked keeps every open file of it."""
    if os.fork() == 0:
        time.sleep(seconds)
        os._exit(0)
    os.kill(os.getpid(), signal.SIGKILL)


def unsendable(item):
    return lambda: item


class Unreadable:
    """Can be sent and not be read."""

    def __reduce__(self):
        return int, ("no number",)


def unreadable(item):
    return Unreadable()


def big(megabytes):
    return b"x" * (megabytes << 20)


def length(item):
    return len(item)


def stay(folder):
    """Say who and where, then work until stopped; tidy up if there is time. Nowhere: done."""
    if not folder:
        return
    path = Path(folder) / str(os.getpid())
    path.touch()
    try:
        time.sleep(60)
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def stay_deaf(folder):
    """The same in a piece of C that hears nobody."""
    (Path(folder) / str(os.getpid())).touch()
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    time.sleep(60)


def die_once(file):
    """Killed the first time; the second time there is a file that says so."""
    if not Path(file).exists():
        Path(file).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "lived"


def stay_awake(folder):
    """The same as ``stay``, in Python that is told to stop at any moment: nothing sleeps for long."""
    if not folder:
        return
    path = Path(folder) / str(os.getpid())
    path.touch()
    try:
        for _ in range(1200):
            time.sleep(0.05)
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
