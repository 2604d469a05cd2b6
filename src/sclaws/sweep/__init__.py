"""A list of runs x an engine -> a store. Running again does only what is missing."""

from sclaws.sweep.budget import Budget
from sclaws.sweep.feeding import Feed
from sclaws.sweep.pace import Pace
from sclaws.sweep.planning import Plan, by_trial, calibration, plan
from sclaws.sweep.running import Progress, carry_out, run

__all__ = ["Budget", "Feed", "Pace", "Plan", "Progress", "by_trial", "calibration", "carry_out", "plan", "run"]
