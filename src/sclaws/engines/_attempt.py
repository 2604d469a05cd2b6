"""One item, tried: what came of it, or what went wrong, as a value."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from sclaws.protocols import Failure


def attempt(work: Callable[[Any], Any], item: Any) -> Any | Failure:
    """Return ``work(item)``, or a ``Failure`` for any exception but the user's own Ctrl-C."""
    try:
        return work(item)
    except (Exception, SystemExit) as error:  # a model that calls exit() must not end the sweep
        return failure(error)


def failure(error: BaseException, hint: str = "") -> Failure:
    """Return an exception as a record."""
    return Failure(type(error).__name__, f"{error}{hint}", "".join(traceback.format_exception(error)))
