"""What can go wrong, in words: every error names the file or field, the value, and the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class SclawsError(Exception):
    """Root of all errors that the user can mend; the command line prints its message alone."""


class StudyError(SclawsError):
    """A study file or its Python equivalent says something that cannot be done."""


class PluginError(SclawsError):
    """A component is unknown, cannot be loaded, or was given fields it does not have."""


class DataError(SclawsError):
    """A data set is not what it should be: not counts, half written, a column missing."""


class ModelError(SclawsError):
    """A model could not be trained, loaded or asked for an embedding."""


class ScoreError(SclawsError):
    """A score was asked for something that it cannot estimate."""


class TableError(SclawsError):
    """A table of results has columns or values that cannot be used."""


class FitError(SclawsError):
    """A law was given points to which it cannot be fitted at all."""


class StoreError(SclawsError):
    """The folder of results cannot be read, written or trusted."""


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """Return ``"did you mean 'x'? valid: a, b, x"``, the tail of an unknown-name error."""
    names = sorted(map(str, valid))
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return f"{hint}valid: {', '.join(names) or '(none)'}"


class DesignError(SclawsError):
    """Prices, a budget or a target that no plan can be made with."""
