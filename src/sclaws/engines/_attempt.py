"""One item, tried: what came of it, or what went wrong, as a value; and both as bytes, for work in another process."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from typing import Any

from sclaws.protocols import Failure

_IMPORT = " (work and items must come from a module that a fresh process can import, not from a script or notebook)"


def attempt(work: Callable[[Any], Any], item: Any) -> Any | Failure:
    """Return ``work(item)``, or a ``Failure`` for any exception but the user's own Ctrl-C."""
    try:
        return work(item)
    except (Exception, SystemExit) as error:  # a model that calls exit() must not end the sweep
        return failure(error)


def failure(error: BaseException, hint: str = "") -> Failure:
    """Return an exception as a record."""
    return Failure(type(error).__name__, f"{error}{hint}", "".join(traceback.format_exception(error)))


# ── in another process ───────────────────────────────────────────────────────────────────────────────────────────────
def message(work: Callable[[Any], Any], item: Any) -> bytes | Failure:
    """Return what is sent to the process that shall do it."""
    try:
        return pickle.dumps((work, item), protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        return failure(error, " (the work or the item cannot be sent to another process)")


def answer(message: bytes) -> bytes:
    """Do it, there; return what is sent back."""
    try:
        work, item = pickle.loads(message)
    except Exception as error:
        return pickle.dumps(failure(error, _IMPORT))
    result: Any = attempt(work, item)
    try:
        return pickle.dumps(result, protocol=pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        return pickle.dumps(failure(error, " (the result cannot be sent to another process)"))


def result(answer: bytes) -> Any | Failure:
    """Return the result, back here."""
    try:
        return pickle.loads(answer)
    except Exception as error:
        return failure(error, " (the result cannot be read in this process)")
