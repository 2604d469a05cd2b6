"""Several processes on this machine. A worker that crashes or is killed costs the item it had begun, and is replaced.

Workers are fresh Python processes that import what they need: scripts need no ``if __name__ == "__main__"``, threads
are limited before any library is loaded, and nothing is inherited by forking. No process outlives the driver.
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from typing import Any, ClassVar

from sclaws.engines import _attempt, _gpus
from sclaws.engines._worker import BEGUN
from sclaws.errors import PluginError
from sclaws.protocols import Failure

_THREADS = ("OMP", "MKL", "OPENBLAS", "NUMBA", "NUMEXPR")
_GRACE = 2.0  # seconds that workers have to clean up when they are told to stop
_TRIES = 2  # processes that may be lost before they begin with an item: one that was idle, and one in its place
_NOT_YET = object()


@dataclass(frozen=True)
class Processes:
    """``workers`` processes (None: one a core) of ``threads`` threads each (None: their share of the cores).

    Where there are GPUs, each of several workers sees one of them, in turn; one worker alone sees all.
    """

    workers: int | None = None
    threads: int | None = None
    version: ClassVar[int] = 1

    def __post_init__(self) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        for name in ("workers", "threads"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise PluginError(f"processes: {name} = {value} must be at least 1; leave it out for all {cores} cores")
        workers = self.workers or cores
        object.__setattr__(self, "workers", workers)
        object.__setattr__(self, "threads", self.threads or max(1, cores // workers))

    def map(self, work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[tuple[Any, Any | Failure]]:
        """Yield (item, result or failure) as they finish. An item is taken when a worker is free for it.

        ``work``, items and results are pickled. Closing the generator, or an error in it, stops the workers.
        """
        threads = {f"{name}_NUM_THREADS": str(self.threads) for name in _THREADS}
        pool = [_Worker(threads | gpu) for gpu in _gpus.dealt(self.workers or 1)]
        queue, idle = iter(items), list(pool)
        busy: dict[Connection, _Worker] = {}
        done: list[tuple[Any, Any | Failure]] = []
        try:
            while True:
                for item in itertools.islice(queue, len(idle)):
                    worker = idle.pop()
                    if (refused := worker.give(work, item)) is None:
                        busy[worker.socket] = worker
                    else:
                        idle.append(worker)
                        done.append((item, refused))
                if not busy and not done:
                    return
                yield from done  # only now: meanwhile the workers have their next items
                done = []
                for worker in [busy.pop(socket) for socket in _ready(busy)]:
                    if (answer := worker.take()) is _NOT_YET:
                        busy[worker.socket] = worker
                    else:
                        idle.append(worker)
                        done.append((worker.item, answer))
        finally:
            _stop(pool)


def _ready(busy: dict[Connection, _Worker]) -> list[Connection]:
    """Wait until a worker has answered or died. A dead one's socket may be kept open by a process that it forked."""
    while busy:
        if ready := wait(list(busy), timeout=1.0) or [s for s, worker in busy.items() if worker.is_dead()]:
            return ready  # type: ignore[return-value]  # they are of what went in
    return []


class _Worker:
    """A slot: a process at the other end of a socket, started when it is first needed and again when it was lost.

    A process that dies while it is idle may take an item into its grave: writing to it still succeeds for a moment. So
    an item is kept until its process says that it has begun, and given to a fresh one if it never does.
    """

    socket: Connection
    item: Any = None
    message: bytes | None = None  # the item on its way, until it has begun
    tries: int = 0

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None

    def give(self, work: Callable[[Any], Any], item: Any) -> Failure | None:
        """Send an item; return why that could not be done."""
        if isinstance(message := _attempt.message(work, item), Failure):
            return message
        self.item, self.message, self.tries = item, message, _TRIES
        return self._send(message)

    def _send(self, message: bytes) -> Failure | None:
        while True:
            self._start()
            self.tries -= 1
            try:
                self.socket.send_bytes(message)
                return None
            except OSError:
                lost = self._bury()
            if not self.tries:
                return lost

    def take(self) -> Any | Failure:
        """Return the answer, how the process ended, or ``_NOT_YET`` when the item has begun or begins anew."""
        try:
            if self.is_dead() and not self.socket.poll():
                return self._lost()
            message = self.socket.recv_bytes()
        except (EOFError, OSError):
            return self._lost()
        if message == BEGUN:
            self.message = None
            return _NOT_YET
        return _attempt.result(message)

    def _lost(self) -> Any | Failure:
        lost = self._bury()
        if self.message is None or not self.tries:
            return lost
        return self._send(self.message) or _NOT_YET

    def is_dead(self) -> bool:
        """Return whether there is no living process."""
        return self.process is None or self.process.poll() is not None

    def _start(self) -> None:
        if self.process is not None:
            return
        ours, theirs = Pipe()
        start = f"import sys; sys.path[:] = {sys.path!r}; from sclaws.engines._worker import serve; "
        with theirs, _interrupts_held():
            self.process = subprocess.Popen(
                [sys.executable, "-c", f"{start}serve({theirs.fileno()})"],
                env=os.environ | self.environment,
                stdin=subprocess.PIPE,  # the lifeline, see _worker
                pass_fds=[theirs.fileno()],
            )
            self.socket = ours

    def _bury(self) -> Failure:
        when = "in the middle of this item" if self.message is None else "before it began with this item"
        return Failure("WorkerLost", _ending(self.end(time.monotonic() + _GRACE), when))

    def end(self, deadline: float) -> int:
        """Wait for the process, kill it at the deadline, and return its exit code."""
        assert self.process is not None
        try:
            return self.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            self.socket.close()
            assert self.process.stdin is not None
            self.process.stdin.close()
            self.process = None


def _ending(code: int, when: str) -> str:
    if code >= 0:
        return f"the worker ended by itself with exit code {code}, {when}"
    name = signal.Signals(-code).name if -code in set(signal.Signals) else "unknown"
    why = ": out of memory?" if -code == signal.SIGKILL else ""
    return f"the worker was killed by signal {-code} ({name}{why}), {when}"


def _stop(pool: list[_Worker]) -> None:
    """Ask all at once to clean up and end; kill those that take too long."""
    deadline = time.monotonic() + _GRACE
    for worker in pool:
        if worker.process is not None:
            worker.process.terminate()
    for worker in pool:
        if worker.process is not None:
            worker.end(deadline)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Hold back Ctrl-C: a process started meanwhile never gets it, for it is the driver that tells workers to stop."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
