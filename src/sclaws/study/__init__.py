"""The one step that joins both halves: words -> sweep -> table -> fits -> report."""

from sclaws.study.study import Result, Study

__all__ = ["Result", "Study"]
