"""Where and with what a number was made: kept beside results, and never part of a key."""

from __future__ import annotations

import functools
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = (
    "sclaws", "numpy", "scipy", "pandas", "scikit-learn", "anndata", "scanpy", "scikit-misc", "numba", "torch",
)  # fmt: skip


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of what can change a number, by package; absent ones are left out."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def here() -> dict[str, Any]:
    """Return the record of this process: versions and machine type."""
    return {"versions": versions(), "machine": platform.machine()}
