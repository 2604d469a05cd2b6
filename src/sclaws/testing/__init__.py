"""What every member of a family must pass: ours and yours.

::

    from sclaws.testing import conforms
    conforms("models", MyModel(dim=8))

Each check raises ``AssertionError`` with a sentence. The cells are few, and made here. A file a family.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sclaws.errors import PluginError, did_you_mean
from sclaws.testing import axes, datasets, engines, laws, models, scores, signals
from sclaws.testing.cells import counts
from sclaws.testing.scores import check_estimate

__all__ = ["CHECKS", "check_estimate", "conforms", "counts"]

CHECKS: dict[str, Callable[[Any], None]] = {
    "axes": axes.check,
    "datasets": datasets.check,
    "engines": engines.check,
    "laws": laws.check,
    "models": models.check,
    "scores": scores.check,
    "signals": signals.check,
}


def conforms(family: str, member: Any) -> None:
    """Check a member of a family: "models", "axes", "signals", "scores", "laws", "datasets" or "engines".

    Raises ``AssertionError`` saying what is wrong with the member, ``PluginError`` for a family that does not exist.
    """
    if family not in CHECKS:
        raise PluginError(f"unknown family {family!r}: {did_you_mean(family, CHECKS)}")
    if isinstance(member, type):
        raise AssertionError(f"{member.__name__} is a class: give an object, {member.__name__}(...)")
    version = getattr(member, "version", 1)
    assert isinstance(version, int), f"version = {version!r}; a whole number is needed, raised when numbers change"
    CHECKS[family](member)
