"""Key -> result on disk: whole or absent, whatever happens to the process, the disk or the power."""

from __future__ import annotations

from sclaws.store.documents import DiskError
from sclaws.store.store import Store
from sclaws.store.trials import Stage

__all__ = ["DiskError", "Stage", "Store"]
