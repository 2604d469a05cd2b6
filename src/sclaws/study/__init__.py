"""The one step that joins both halves: words -> sweep -> table -> fits -> report."""

from sclaws.study.result import Result
from sclaws.study.study import Study

__all__ = ["Result", "Study"]
