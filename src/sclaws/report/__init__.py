"""Table and fits -> one HTML file that opens offline: what was found, curves, parameters, what was run, what failed."""

from sclaws.report.writing import write

__all__ = ["write"]
