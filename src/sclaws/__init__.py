"""What limits this model: too few cells, too shallow a measurement, too few genes, or too small a network?

::

    dataset -> split -> axes make it scarcer -> model is trained -> embedding, losses -> scores       (experiments)
                                                                                           |
                                                                                 table: tidy rows     (the waist)
                                                                                           |
                                   report <- plan (what to buy, what to run next) <- fit <- law       (analysis)

In five lines::

    import sclaws
    study = sclaws.Study.read("study.toml")
    result = study.run()
    result.table.to_pandas()
    result.fits

A table of one's own needs the second half alone: ``sclaws.Table.read(path)`` and ``sclaws.fit.fit``. Names are loaded
when they are first used, so that ``import sclaws`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sclaws.errors import SclawsError
    from sclaws.fit import Fit, Fits
    from sclaws.plugins import load
    from sclaws.protocols import Estimate
    from sclaws.study import Result, Study
    from sclaws.table import Table
    from sclaws.view import View

__all__ = ["Estimate", "Fit", "Fits", "Result", "SclawsError", "Study", "Table", "View", "load"]

_HOME = {
    "Estimate": "protocols",
    "Fit": "fit",
    "Fits": "fit",
    "Result": "study",
    "SclawsError": "errors",
    "Study": "study",
    "Table": "table",
    "View": "view",
    "load": "plugins",
}
_STEPS = ("fit", "report", "table")


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("sclaws")
    if name in _STEPS:  # `import sclaws` is enough for sclaws.fit.fit
        return importlib.import_module(f"sclaws.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"sclaws.{_HOME[name]}"), name)
    raise AttributeError(f"module 'sclaws' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_STEPS, "__version__"])
