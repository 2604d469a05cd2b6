"""What an engine must do: every item once, and an exception as a value."""

from __future__ import annotations

from typing import Any

from sclaws.protocols import Failure


def check(engine: Any) -> None:
    """Raise ``AssertionError`` unless this is an engine."""
    assert list(engine.map(reciprocal, [])) == [], "there is a result of no item"
    results = list(engine.map(reciprocal, iter([1, 2, 0, 4])))
    items = sorted(item for item, _ in results)
    assert items == [0, 1, 2, 4], f"items 0, 1, 2, 4 came back as {items}"
    found = dict(results)
    lost = found.pop(0)
    assert found == {1: 1.0, 2: 0.5, 4: 0.25}, f"1 / 1, 1 / 2 and 1 / 4 came back as {found}"
    assert isinstance(lost, Failure), f"an exception did not become a Failure but {lost!r}"
    assert lost.error == "ZeroDivisionError", f"the failure is called {lost.error}"
    assert "zero" in lost.message, f"the failure says {lost.message!r} and not what the exception said"


def reciprocal(item: int) -> float:
    """Return 1 / item: work that a fresh process can import, and that fails for 0."""
    return 1 / item
