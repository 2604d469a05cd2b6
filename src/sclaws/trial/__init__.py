"""One trial: load -> split -> make scarcer -> fit -> embed -> score. What a worker does with an item of a sweep."""

from sclaws.trial.data import DEFAULT_AXES, cells, evaluated, forget, genes, parts, recipe, tested, vocabulary, whole
from sclaws.trial.fitting import Settings
from sclaws.trial.items import Done, Item
from sclaws.trial.training import must_train, work

__all__ = [
    "DEFAULT_AXES", "Done", "Item", "Settings", "cells", "evaluated", "forget", "genes", "must_train", "parts",
    "recipe", "tested", "vocabulary", "whole", "work",
]  # fmt: skip
