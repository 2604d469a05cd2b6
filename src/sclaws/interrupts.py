"""Ctrl-C is never lost. Python drops what is raised in a weak reference's callback, in ``__del__`` and while collecting
garbage, an interrupt that happens to come just then with it: the program would go on as if nobody had stopped it.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

_SOON = 0.05  # seconds: until the callback that could not be interrupted is over


@contextmanager
def kept() -> Iterator[None]:
    """Meanwhile an interrupt that Python drops is sent to the main thread again, until it comes where it counts."""
    before = sys.unraisablehook

    def again(dropped: UnraisableHookArgs) -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            before(dropped)
            return
        timer = threading.Timer(_SOON, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
        timer.daemon = True  # a program that ends before then has stopped anyway
        timer.start()

    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = before
