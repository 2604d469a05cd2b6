"""The file itself: whole or as it was before."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from sclaws.decomposition import Decomposition
from sclaws.errors import StoreError
from sclaws.fit import Fits
from sclaws.report import page, reading
from sclaws.saturation import Saturation
from sclaws.table import Table


def write(
    folder_or_path: str | Path,
    table: Table,
    fits: Fits,
    *,
    title: str,
    study_text: str | None = None,
    truth: Mapping[str, Any] | None = None,
    rules: Sequence[str | float] = (),
    lost: Decomposition | None = None,
    ends: Saturation | None = None,
    agreement: pd.DataFrame | None = None,
) -> Path:
    """Write ``report.html`` (to a folder, or to a path ending in ``.html``) and return its path.

    ``study_text`` is shown as it is. ``truth`` holds what is known of simulated data: {parameter: value}, or
    {data set: {parameter: value}}. ``rules`` are targets: "gap", "fraction" or values of y. ``lost`` adds a section on
    what the model and the measurement lost, ``ends`` one on where curves saturate, and ``agreement`` (the rows of
    :func:`sclaws.agreement.agreement`) one on whether the loss tells anything about use. The same input gives the same
    bytes. Raises ``StoreError`` where nothing can be written.
    """
    path = Path(folder_or_path)
    path = path if path.suffix.lower() in (".html", ".htm") else path / "report.html"
    told = reading.contents(
        table, fits, title=title, study_text=study_text, truth=truth or {}, rules=rules, lost=lost, ends=ends,
        agreement=agreement,
    )  # fmt: skip
    text = page.html(told)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8", newline="\n")
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise StoreError(f"{path} cannot be written ({error.strerror or error}); give another folder") from error
    return path
