"""Whether the files of a study's results are still what they would become: then nothing has to be made again.

They are made of the table, the words of the study and the code, of which a checksum is kept beside the checksums of the
files themselves. Where one of them is another, or where anything of the analysis failed, or a law is not ours (nobody
knows what it reads), all is made anew.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

from sclaws import keys, plugins, provenance
from sclaws.store import Store
from sclaws.study.result import Analysis

FILE = "made_of.json"
TABLE = ("table.csv", "draws.parquet", "failures.csv")
FILES = (
    "fits.csv", "predictions.csv", "targets.csv", "decomposition.csv", "decomposition.svg", "saturation.csv",
    "saturation.svg", "agreement.csv", "report.html",
)  # fmt: skip


def made_of(folder: Path, *parts: Any) -> str:
    """Return the checksum of what results are made of: the table in the folder, these parts, and the code."""
    installed = [code(), provenance.here(), version("vl-convert-python"), plugins.names("laws")]
    text = json.dumps([_sums(folder, TABLE), installed, parts], sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def kept(folder: Path, made: str) -> dict[str, Any] | None:
    """Return what was kept with results that are made of the same and are all there as they were written."""
    try:
        found = json.loads((folder / FILE).read_text(encoding="utf-8"))
        same = found["made_of"] == made and found["files"] == _sums(folder, FILES)
        return {name: found[name] for name in ("said", "notes")} if same else None
    except (OSError, ValueError, KeyError, TypeError):  # nothing is there, or it was changed: it is made anew
        return None


def keep(store: Store, made: str, analysis: Analysis, said: str) -> None:
    """Keep the checksums of results that have been written, unless they have to be made anew each time."""
    ours = all(type(one.law).__module__.startswith("sclaws.") for one in analysis.fits)
    if not (ours and analysis.whole):
        (store.folder / FILE).unlink(missing_ok=True)
        return
    files = _sums(store.folder, FILES)
    content = {"made_of": made, "files": files, "notes": list(analysis.notes), "said": said}
    store.write_file(FILE, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())


@functools.cache
def code() -> str:
    """Return the checksum of this package: every file that is run or written into a report."""
    folder = Path(str(resources.files("sclaws")))
    suffixes = (".py", ".css", ".js")
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.suffix in suffixes)
    return keys.key(_sums(folder, names))


def _sums(folder: Path, names: Any) -> Mapping[str, str]:
    return {name: keys.file_digest(folder / name) for name in names if (folder / name).is_file()}


__all__ = ["FILE", "keep", "kept", "made_of"]
