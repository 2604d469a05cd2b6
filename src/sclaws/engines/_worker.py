"""The far end of an engine that starts processes: takes (work, item), answers with the result, until told to stop.

Each item is answered twice: ``BEGUN`` as soon as it is here, then the result. So the driver knows of a worker that is
lost whether it was this item that it was lost in.

Its standard input is a lifeline: the driver holds the other end and never writes. When the driver is gone, in whatever
way, the system closes it and the worker exits at once, in the middle of its work.
"""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from types import FrameType

from sclaws.engines._attempt import answer

BEGUN = b""  # no pickle is empty


class _StopError(BaseException):
    """The driver wants no more; unwinds the work, so that temporary files go and leases are given back."""


def serve(socket: int) -> None:
    """Answer the driver at this file descriptor until it hangs up."""
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_exit_with_driver, daemon=True).start()
    with suppress(OSError):  # when memory runs out, a worker goes and not the driver, which knows what to do then
        Path("/proc/self/oom_score_adj").write_text("500")
    with suppress(_StopError, EOFError, ConnectionError), Connection(socket) as driver:
        while True:
            message = driver.recv_bytes()
            driver.send_bytes(BEGUN)
            driver.send_bytes(answer(message))


def _stop(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: what unwinds now is not to be disturbed
    raise _StopError


def _exit_with_driver() -> None:
    os.read(0, 1)
    os._exit(1)
