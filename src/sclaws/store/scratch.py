"""Scratch space of a training: it outlives a kill, so that training can go on, and not the trial that it was for."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from sclaws import keys
from sclaws.store import documents

FOLDER = "training"
_MEMBERS = ".trials"  # beside the folder of several trials trained together: their keys, a line each


@contextmanager
def kept(folder: Path, trials: Sequence[str]) -> Iterator[Path]:
    """Yield a folder for these trials, with whatever a killed training of the same ones has left in it.

    It is removed when the block ends well or with an ``Exception``, and stays when the process is killed or
    interrupted. Whoever enters holds the leases of the trials.
    """
    name = trials[0] if len(trials) == 1 else keys.key(sorted(trials))
    with documents.told(folder / name):
        if len(trials) > 1:  # first of all: a folder without it belongs to the one trial of its name
            (folder / f"{name}{_MEMBERS}").write_text("\n".join(sorted(trials)), encoding="utf-8")
        (folder / name).mkdir(parents=True, exist_ok=True)
    try:
        yield folder / name
    except Exception:
        remove(folder, name)
        raise
    remove(folder, name)


def left(folder: Path) -> dict[str, list[str]]:
    """Return {name: keys of its trials} of the folders that are there."""
    names = sorted({path.name.removesuffix(_MEMBERS) for path in folder.iterdir()})
    members = {name: folder / f"{name}{_MEMBERS}" for name in names}
    return {
        name: path.read_text(encoding="utf-8").split() if path.exists() else [name] for name, path in members.items()
    }


def remove(folder: Path, name: str) -> None:
    """Remove one of the folders, and what says whose it was."""
    shutil.rmtree(folder / name, ignore_errors=True)
    (folder / f"{name}{_MEMBERS}").unlink(missing_ok=True)


def sweep(folder: Path, there: Callable[[str], bool], lease: Callable[[str], AbstractContextManager[bool]]) -> None:
    """Remove the folders of trials that are ``there``, unless somebody trains them again at this moment."""
    for name, trials in left(folder).items():
        if all(map(there, trials)):
            with ExitStack() as stack:
                if all(stack.enter_context(lease(key)) for key in trials):
                    remove(folder, name)
