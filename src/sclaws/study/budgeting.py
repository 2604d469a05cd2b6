"""What a study may spend: ``budget = { hours = 2, money = 50, price = 2.5 }``, or the same on the command line."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sclaws.design.prices import Prices
from sclaws.engines import _gpus
from sclaws.errors import StudyError
from sclaws.grid import table, unknown_words
from sclaws.sweep import Budget

WORDS = ("hours", "money", "price")


def budget(words: Any, folder: Path, cuda: bool, elsewhere: bool = False) -> Budget:
    """Return the budget in these words; ``price`` is a number, or a price file beside the study.

    A price file (docs/prices.md) says what an hour of one device costs; it is paid for every GPU of this machine that
    may be used, and for one device where the study asks for none. An engine that works ``elsewhere`` has machines that
    nobody here can count: there the price must be a number. Raises ``StudyError`` or ``DesignError``.
    """
    words = table(words, "budget", "study")
    unknown_words(words, WORDS, "budget")
    price = words.get("price", 0.0)
    if isinstance(price, str) and elsewhere:
        raise StudyError(
            f"budget: price = {price!r} is a file, which says what one device costs; with engine ray nobody "
            "knows how many there will be: give a number, what an hour of all machines costs together"
        )
    if isinstance(price, str):
        price = _of_file(folder / price) * (max(1, len(_gpus.visible())) if cuda else 1)
    return Budget(words.get("hours", math.inf), words.get("money", math.inf), price)


def words(hours: float | None, money: float | None, price: str | None) -> dict[str, Any]:
    """Return what the command line says, as words of a study."""
    said: Mapping[str, Any] = {"hours": hours, "money": money, "price": None if price is None else _number(price)}
    return {name: value for name, value in said.items() if value is not None}


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return str(Path(text).absolute())


def _of_file(path: Path) -> float:
    prices = Prices.read(path)
    if (section := prices.training or prices.parameters) is None:
        raise StudyError(f"{path} says nothing of gpu_hour, the price of an hour: add [training] or [parameters]")
    return section.gpu_hour
