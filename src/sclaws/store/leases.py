"""Who works on what: names of processes, whether they still live, and leases that outlive none of them.

On one machine a holder is judged by its process: the number *and* the start time, so that a number given to another
process deceives nobody. From another machine only the lease's heartbeat is seen, and it is the file server's clock
that tells its age. A lease is advice: two holders would waste work and spoil nothing.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from sclaws.errors import StoreError
from sclaws.store import documents

BEAT = 5.0  # seconds between two signs of life
STALE = 120.0  # seconds without one after which a holder elsewhere is given up; long kernels may hold the interpreter
_PATIENCE = 10.0  # seconds to wait for the few instructions that others do under the lock


# ── processes ────────────────────────────────────────────────────────────────────────────────────────────────────────
@functools.cache
def machine() -> str:
    """Return 8 hexadecimal digits for this boot of this machine and this space of process numbers."""
    parts = [os.uname().nodename]
    with suppress(OSError):  # where there is /proc; two containers of one machine count as two machines
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text(), str(Path("/proc/self/ns/pid").readlink())]
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=4).hexdigest()


def started(pid: int) -> str:
    """Return when a process of this machine started, in the machine's own ticks; "" when it is dead or a zombie."""
    try:
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if state in "ZX" else fields[18]
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
    try:  # no /proc: a living process of that number has to do
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "0"


def owned_name() -> str:
    """Return a new file name that says which process it belongs to."""
    return f"{_of_process(os.getpid())}-{secrets.token_hex(4)}"


@functools.lru_cache(maxsize=1)
def _of_process(pid: int) -> str:
    return f"{machine()}-{pid}-{started(pid)}"


def alive(name: str) -> bool | None:
    """Return whether the process that made this name lives; ``None`` when it is another machine's."""
    try:
        where, pid, start, _ = name.split("-")
        return started(int(pid)) == start if where == machine() else None
    except ValueError:  # not a name of ours: judged by its age
        return None


# ── leases ───────────────────────────────────────────────────────────────────────────────────────────────────────────
@contextmanager
def lease(folder: Path, name: str, scratch: Path) -> Iterator[bool]:
    """Hold ``name`` while the block runs; yields ``False`` at once when somebody who lives holds it already."""
    path, mine = folder / f"{name}.lease", owned_name()
    with locked(folder) as lock:
        taken = lock is not None and not _held(path, lock)
        if taken:
            documents.write(path, mine.encode(), scratch, synced=False)  # no holder outlives a power cut
    if not taken:
        yield False
        return
    done = threading.Event()
    beating = threading.Thread(target=_beat, args=(path, mine, done), daemon=True)
    beating.start()
    try:
        yield True
    finally:
        done.set()
        beating.join()
        with suppress(OSError, StoreError), locked(folder):
            if _holder(path) == mine:
                path.unlink()
                _note(folder, name).unlink(missing_ok=True)


def freed(folder: Path, names: Iterable[str]) -> set[str]:
    """Wait until it is known of each name whether somebody who lives holds it; return those that nobody does.

    Of holders on this machine that is known at once; of one elsewhere, by its next sign of life or when it is given up.
    """
    waiting = {name: _last_beat(folder / f"{name}.lease") for name in names}
    found: set[str] = set()
    while waiting:
        with locked(folder) as lock:
            for name, beat in list(waiting.items()):
                path = folder / f"{name}.lease"
                if lock is not None and not _held(path, lock):
                    found.add(name)
                elif not alive(_holder(path) or "") and _last_beat(path) == beat:
                    continue
                del waiting[name]
        if waiting:
            time.sleep(min(1.0, BEAT))
    return found


def _last_beat(path: Path) -> float:
    with suppress(FileNotFoundError):
        return path.stat().st_mtime
    return 0.0


def say(folder: Path, name: str, message: str) -> None:
    """Leave word of how far the work on ``name`` is; not synced, for nothing is lost with it."""
    with suppress(OSError):
        _note(folder, name).write_text(message, encoding="utf-8")


def said(folder: Path) -> dict[str, str]:
    """Return {name: last word} of what is held by processes that live, or that nobody here can judge."""
    held = [path.stem for path in sorted(folder.glob("*.lease")) if alive(_holder(path) or "") is not False]
    return {
        name: _note(folder, name).read_text(encoding="utf-8") if _note(folder, name).exists() else "" for name in held
    }


def _note(folder: Path, name: str) -> Path:
    return folder / f"{name}.note"


def _holder(path: Path) -> str | None:
    data = documents.read(path)
    return None if data is None else data.decode(errors="replace")


def _held(path: Path, lock: IO[str]) -> bool:
    if (holder := _holder(path)) is None:
        return False
    if (living := alive(holder)) is not None:
        return living
    os.utime(lock.fileno())
    age = os.fstat(lock.fileno()).st_mtime - path.stat().st_mtime
    return age < STALE


def _beat(path: Path, mine: str, done: threading.Event) -> None:
    while not done.wait(BEAT):
        with suppress(Exception):  # a missed beat is no reason to stop the work
            if _holder(path) == mine:
                os.utime(path)


@contextmanager
def locked(folder: Path) -> Iterator[IO[str] | None]:
    """Be alone for a moment among the processes that use this folder; yields ``None`` when that could not be had.

    The lock is the operating system's: it ends with its process. Where a file system has no locks, nobody waits.
    """
    with documents.told(folder):
        file = open(folder / ".lock", "a")  # noqa: SIM115 - closed below; a failure of the block is not one of opening
    with file:
        deadline = time.monotonic() + _PATIENCE
        while not (got := _lock(file)) and time.monotonic() < deadline:
            time.sleep(0.01)
        yield file if got else None


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
