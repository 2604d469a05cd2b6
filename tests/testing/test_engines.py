"""Engines that break one promise each, and are told so."""

import pytest

from sclaws import testing
from sclaws.protocols import Failure


class Plain:
    def map(self, work, items):
        for item in items:
            try:
                yield item, work(item)
            except Exception as error:
                yield item, self.failed(error)

    def failed(self, error):
        return Failure(type(error).__name__, str(error))


class Brittle:
    def map(self, work, items):
        return ((item, work(item)) for item in items)


class Silent(Plain):
    def failed(self, error):
        return None


class Vague(Plain):
    def failed(self, error):
        return Failure("Exception", str(error))


class Speechless(Plain):
    def failed(self, error):
        return Failure(type(error).__name__, "it failed")


class Losing(Plain):
    def map(self, work, items):
        return (pair for pair in super().map(work, items) if pair[0] != 4)


class Repeating(Plain):
    def map(self, work, items):
        return (pair for pair in super().map(work, items) for _ in range(2))


class Confused(Plain):
    """Gives an item the result of another."""

    def map(self, work, items):
        items, results = zip(*super().map(work, items), strict=True) if (items := list(items)) else ((), ())
        return zip(items, (results[1], results[0], *results[2:]) if results else (), strict=True)


class Haunted(Plain):
    def map(self, work, items):
        yield from super().map(work, items)
        yield None, None


def test_promises_that_are_kept():
    testing.conforms("engines", Plain())


@pytest.mark.parametrize(
    ("engine", "told"),
    [
        (Silent(), "an exception did not become a Failure but None"),
        (Vague(), "the failure is called Exception"),
        (Speechless(), "the failure says 'it failed'"),
        (Losing(), r"items 0, 1, 2, 4 came back as \[0, 1, 2\]"),
        (Repeating(), r"came back as \[0, 0, 1, 1"),
        (Confused(), "came back as {1: 0.5, 2: 1.0, 4: 0.25}"),
        (Haunted(), "there is a result of no item"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, str) else "",
)
def test_broken_promises_are_told(engine, told):
    with pytest.raises(AssertionError, match=told):
        testing.conforms("engines", engine)


def test_an_exception_that_comes_through_is_seen():
    with pytest.raises(ZeroDivisionError):
        testing.conforms("engines", Brittle())
