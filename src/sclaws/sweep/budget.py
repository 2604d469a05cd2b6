"""What a sweep may spend: hours of the clock, or money at a price an hour."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sclaws.errors import StudyError


@dataclass(frozen=True)
class Budget:
    """``hours`` of the clock from the first item on; ``money`` at ``price`` an hour of all machines that work.

    Whichever is spent first. Every call of ``run`` has a budget of its own. What a budget does: nothing is begun whose
    estimate does not fit into what is left of it, and what fits goes ahead of what does not. What has been begun is
    finished, and counts: a training broken off would have been paid for and lost. So a budget is passed by no more than
    the error of the estimate of what was begun last, and a bundle stops between two trials, those that are trained
    together being one. All that was finished is kept; running again goes on with a new budget.
    """

    hours: float = math.inf
    money: float = math.inf
    price: float = 0.0

    def __post_init__(self) -> None:
        for name, value in (("hours", self.hours), ("budget", self.money)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
                raise StudyError(f"{name} = {value!r} must be a number above 0")
        if isinstance(self.price, bool) or not isinstance(self.price, (int, float)) or not 0 <= self.price < math.inf:
            raise StudyError(f"price = {self.price!r} must be a number, 0 or above: money an hour")
        if self.money < math.inf and not self.price:
            raise StudyError("a budget in money needs a price: say what an hour costs, with --price or price = 2.5")

    @property
    def seconds(self) -> float:
        """Seconds of the clock that may be spent; infinite without a budget."""
        return 3600 * min(self.hours, self.money / self.price if self.price else math.inf)

    def cost(self, seconds: float) -> float:
        """Return the money that so many seconds of the clock cost."""
        return self.price * seconds / 3600
