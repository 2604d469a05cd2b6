"""Studies that have a name: settled on a user's data, and written out as a study file like any other."""

from __future__ import annotations

import shlex
import string
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path

from sclaws.errors import DataError, StudyError, did_you_mean
from sclaws.study import named_counts, named_images, named_selection, named_sequences
from sclaws.study.toml_text import stem, toml

Words = Callable[..., dict[str, str]]
SELECTION = "denadel-2026"  # the one that learns from one data set and is evaluated on others
STUDIES: Mapping[str, Words] = {
    SELECTION: named_selection.words,
    "gowri-2025": named_counts.words,
    "gowri-2025-images": named_images.words,
    "gowri-2025-sequences": named_sequences.words,
}


def names() -> list[str]:
    """Return the names of the studies that come with the package and want data, sorted."""
    return sorted(STUDIES)


def lines() -> list[str]:
    """Return one line for each named study: its name, and what it is."""
    width = max(map(len, STUDIES))
    return [f"{name:<{width}}  {_template(name).partition(':')[0].removeprefix('# ')}" for name in names()]


def write(
    name: str, data: Path | None, signals: Sequence[str] = (), by: str | None = None, evaluate: Sequence[Path] = ()
) -> Path:
    """Settle a named study on data, write it to the working folder, and return the study file.

    ``signals`` are KIND=KEY; without any, what names in the data suggest. ``by`` is a column of ``obs`` whose groups
    (donors) the split keeps whole. ``evaluate`` are further data, which a study of selection is evaluated on. A file
    that is there already must say the same. Raises ``StudyError`` or ``DataError``; costs one load of the data.
    """
    if name not in STUDIES:
        raise StudyError(f"{name}: no such study file, and no study has this name; {did_you_mean(name, names())}")
    if data is None:
        raise StudyError(f"{name} is a study of your data: add --data FILE")
    text = settled(name, data, signals, by, evaluate)
    file = Path(f"{stem(data)}-{name}.toml")
    if file.exists() and file.read_text(encoding="utf-8") != text:
        raise StudyError(
            f"{file} is there and says something else: run it as it is "
            f"(sclaws run {shlex.quote(str(file))}), or remove it"
        )
    file.write_text(text, encoding="utf-8")
    return file


def settled(
    name: str, data: Path, signals: Sequence[str] = (), by: str | None = None, evaluate: Sequence[Path] = ()
) -> str:
    """Return the text of a named study for these data."""
    if evaluate and name != SELECTION:
        raise StudyError(f"{name} is evaluated on cells of its own data: --evaluate is for {SELECTION}")
    data = data.expanduser()
    if not data.exists():
        raise DataError(f"{data} does not exist; give the path of your data, as seen from the working folder")
    also = ([Path(file).expanduser() for file in evaluate],) if name == SELECTION else ()
    common = {"name": toml(f"{stem(data)}-{name}"), "data": data.name}
    return string.Template(_template(name)).substitute(common | STUDIES[name](data, signals, by, *also))


def _template(name: str) -> str:
    return files("sclaws.studies").joinpath(f"{name}.toml").read_text(encoding="utf-8")
