"""One trial: load -> split -> make scarcer -> fit -> embed -> score. What a worker does with an item of a sweep."""

from sclaws.trial.data import DEFAULT_AXES, cells, forget, parts, recipe, tested, whole
from sclaws.trial.training import Done, Item, Settings, must_train, work

__all__ = [
    "DEFAULT_AXES", "Done", "Item", "Settings", "cells", "forget", "must_train", "parts", "recipe", "tested", "whole",
    "work",
]  # fmt: skip
