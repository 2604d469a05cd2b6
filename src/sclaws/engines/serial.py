"""One item after another, in this process: for debugging, notebooks and small machines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from sclaws.engines._attempt import attempt
from sclaws.protocols import Failure


@dataclass(frozen=True)
class Serial:
    """Items in their order, each begun when its result is asked for. A crash of the process ends the sweep."""

    version: ClassVar[int] = 1
    workers: ClassVar[int] = 1

    def map(self, work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[tuple[Any, Any | Failure]]:
        """Yield (item, result or failure), in order."""
        for item in items:
            yield item, attempt(work, item)
