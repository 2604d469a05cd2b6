"""The folder of results.

::

    store.json             says whose folder this is
    trials/KEY/            what training gave: arrays, weights; trial.json comes last, with their sizes and checksums
    trials/KEY/held/       weights that stay until the runs that read the model are stored
    runs/KEY.json          what a score gave
    failures/KEY.json      what went wrong, until the trial or run succeeds
    bundles/ datasets/     composition of bundles; what is known of data sets
    leases/                who works on which bundle
    staging/               what is being written; what the dead left is removed on opening
    training/KEY/          scratch of a training, for whoever goes on with it; removed when the trial is there
    damaged/               files that were cut or changed: they count as absent, so running again makes them anew

A result is whole or absent: it is written in ``staging``, synced to the disk, and renamed. What is stored is never
replaced: the first result of a key stays, so that everybody has seen the same number. Nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sclaws.errors import StoreError
from sclaws.store import documents, leases, opening, scratch, trials
from sclaws.store.documents import DamagedError
from sclaws.store.opening import STAGING
from sclaws.store.trials import Stage

_FOLDERS = (STAGING, scratch.FOLDER, "trials", "runs", "failures", "bundles", "datasets", "leases", "damaged")
Kind = Literal["runs", "failures", "bundles", "datasets"]
_PASSING = ("bundles", "failures")  # of work under way: nothing is lost with them, nor made anew for its own sake
_KINDS: tuple[Kind, ...] = ("runs", "failures", "bundles", "datasets")


@dataclass(frozen=True)
class Store:
    """Results by key in a folder; any number of processes may read and write it at once.

    ``Store(folder)`` only looks, and finds nothing where there is no folder; ``Store.open`` makes it ready for writing.
    """

    folder: Path

    @classmethod
    def open(cls, folder: Path | str, *, new: bool = True) -> Store:
        """Return the store in ``folder``, made if need be; raise ``StoreError`` with the remedy.

        Not ``new``: somebody else has made it, perhaps on another machine, and that it is not there is an error.
        """
        store = cls(Path(folder).absolute())
        if not new and not opening.is_ours(store.folder):
            raise StoreError(
                f"the folder of results {store.folder} is not there on the machine {os.uname().nodename}: name one "
                f"on a file system that all machines share, under the same path"
            )
        with documents.told(store.folder):
            if store.folder.exists() and not store.folder.is_dir():
                raise StoreError(f"{store.folder} is a file: name a folder for the results")
            store.folder.mkdir(parents=True, exist_ok=True)
        opening.recognise(store.folder, store._scratch())
        with documents.told(store.folder):
            for name in _FOLDERS:
                (store.folder / name).mkdir(exist_ok=True)
            (probe := store._scratch()).touch()  # better refused now than after the first training
            probe.unlink()
        opening.sweep(store.folder / STAGING)
        scratch.sweep(store.folder / scratch.FOLDER, store.has_trial, store.lease)
        return store

    def _entries(self, folder: str) -> list[str]:
        try:
            return sorted(os.listdir(self.folder / folder))  # noqa: PTH208 - names, not paths, of some ten thousand
        except FileNotFoundError:  # nothing has been written yet: looking makes no folder
            return []

    def _scratch(self) -> Path:
        return self.folder / STAGING / leases.owned_name()

    # ── documents ────────────────────────────────────────────────────────────────────────────────────────────────────
    def _path(self, kind: Kind, key: str) -> Path:
        return self.folder / kind / f"{key}.json"

    def _names(self, kind: Kind) -> list[str]:
        return [name.removesuffix(".json") for name in self._entries(kind) if name.endswith(".json")]

    def _get(self, kind: Kind, key: str) -> Any:
        path = self._path(kind, key)
        try:
            data = documents.read(path)
            return None if data is None else documents.decode(data)
        except DamagedError:
            self._set_aside(path)
            return None

    def _put(self, kind: Kind, key: str, record: Any) -> None:
        documents.write(self._path(kind, key), documents.encode(record), self._scratch())

    def _set_aside(self, path: Path) -> None:
        """Move what is damaged out of the way; another process may have done so already."""
        name = f"{path.parent.name}~{path.name}~{secrets.token_hex(4)}"
        with documents.told(path), contextlib.suppress(FileNotFoundError):
            path.rename(self.folder / "damaged" / name)

    # ── runs ─────────────────────────────────────────────────────────────────────────────────────────────────────────
    def run(self, key: str) -> dict[str, Any] | None:
        """Return the record of a run, with its ``"key"``; ``None`` when it is absent or damaged."""
        record = self._get("runs", key)
        return None if record is None else {**record, "key": key}

    def put_run(self, key: str, record: Mapping[str, Any]) -> bool:
        """Store the record of a run. Returns ``False`` when there is one already, which stays."""
        if self._get("runs", key) is not None:
            return False
        self.forget_failure(key)  # before, not after: a crash in between must not leave a failure beside a result
        self._put("runs", key, record)
        return True

    def runs(self) -> set[str]:
        """Return the keys of all runs that are whole; each file is read and its checksum verified."""
        return {key for key in self._names("runs") if self._is_whole("runs", key)}

    def _is_whole(self, kind: Kind, key: str) -> bool:
        path = self._path(kind, key)
        try:
            data = documents.read(path)
            return data is not None and bool(documents.verified(data))
        except DamagedError:
            self._set_aside(path)
            return False

    # ── trials ───────────────────────────────────────────────────────────────────────────────────────────────────────
    @contextmanager
    def stage_trial(self, key: str) -> Iterator[Stage]:
        """Yield a :class:`Stage` that becomes trial ``key`` when the block ends well, and vanishes when it does not.

        A trial that is there already gains the files that it lacks; its record and its other files stay.
        """
        stage = Stage(self._scratch())
        try:
            with documents.told(stage.folder, only=documents.DISK):
                stage.folder.mkdir()
                yield stage
            with documents.told(self.folder / "trials" / key):
                self._publish(key, stage)
        finally:
            shutil.rmtree(stage.folder, ignore_errors=True)

    def _publish(self, key: str, stage: Stage) -> None:
        trials.seal(stage, self._scratch())
        self.forget_failure(key)
        with leases.locked(self.folder / "leases"):
            target = self.folder / "trials" / key
            if (there := self._marker(key)) is None:
                stage.folder.rename(target)
            else:
                trials.add(target, there, stage.folder, self._scratch())
        documents.sync(self.folder / "trials")

    def _marker(self, key: str, *, thorough: bool = False) -> dict[str, Any] | None:
        folder = self.folder / "trials" / key
        try:
            return trials.read_marker(folder, thorough=thorough)
        except DamagedError:
            self._set_aside(folder)
            return None

    def trial(self, key: str) -> dict[str, Any] | None:
        """Return the record that was staged with a trial, with its ``"key"``; ``None`` when absent or damaged."""
        found = self._marker(key)
        return None if found is None else {**found["record"], "key": key}

    def has_trial(self, key: str) -> bool:
        """Return whether a trial is there with every file at its full size."""
        return self._marker(key) is not None

    def trials(self) -> set[str]:
        """Return the keys of all trials that are there."""
        return {key for key in self._entries("trials") if self.has_trial(key)}

    def weights(self, key: str) -> Path | None:
        """Return the folder of a trial's weights, every byte verified; ``None`` when absent or damaged."""
        kept = self._marker(key, thorough=True)
        return trials.weights(self.folder / "trials" / key, kept, thorough=True) if kept else None

    def has_weights(self, key: str) -> bool:
        """Return whether a trial is there with weights, kept or held."""
        kept = self._marker(key)
        return kept is not None and trials.weights(self.folder / "trials" / key, kept) is not None

    def hold_weights(self, key: str, until: Iterable[str], *, keep: bool = False) -> None:
        """Let weights that are held wait for these runs, too, or ``keep`` a copy. The caller has leased the trial."""
        if trials.held(folder := self.folder / "trials" / key):
            trials.prolong(folder, until, self._scratch())
            if keep:
                with self.stage_trial(key) as stage:
                    shutil.copytree(folder / trials.HELD / trials.WEIGHTS, stage.folder / trials.WEIGHTS)

    def drop_weights(self, key: str) -> None:
        """Remove weights that were held for runs that are all stored by now. The caller has leased the trial."""
        folder = self.folder / "trials" / key
        if all(self._is_whole("runs", run) for run in trials.awaited(folder)):
            with documents.told(folder):
                trials.drop(folder, self._scratch())

    def sweep_weights(self) -> None:
        """Remove weights that are held for nothing any more: their worker was killed after the last run was stored."""
        for key in self._entries("trials"):
            if (self.folder / "trials" / key / trials.HELD).exists():
                with self.lease(key) as mine:
                    if mine:
                        self.drop_weights(key)

    def arrays(self, key: str) -> list[str]:
        """Return the names of a trial's arrays; none when it is absent."""
        found = self._marker(key) or {"files": {}}
        names = [name for name in found["files"] if "/" not in name and name.endswith(".npy")]
        return sorted(name.removesuffix(".npy") for name in names)

    def array(self, key: str, name: str) -> NDArray[Any]:
        """Return an array of a trial, memory-mapped and read-only, its checksum verified."""
        found, path = self._marker(key), self.folder / "trials" / key / f"{name}.npy"
        if found is None or path.name not in found["files"]:
            raise StoreError(f"trial {key} has no array {name!r} in {self.folder}: run again, to make it")
        try:
            trials.verify(path, *found["files"][path.name])
        except DamagedError as error:
            self._set_aside(path.parent)
            raise StoreError(f"{path}: {error}; the trial was set aside: run again, to make it anew") from error
        values: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return values

    # ── the rest ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def put_failure(self, key: str, failure: Mapping[str, Any]) -> None:
        """Remember what went wrong with a trial or run, until it succeeds; the latest stays."""
        self._put("failures", key, failure)

    def failures(self) -> dict[str, dict[str, Any]]:
        """Return {key: failure} of everything that failed and has not succeeded since."""
        return self._all("failures")

    def forget_failure(self, key: str) -> None:
        """Forget what went wrong with a trial or run: it has succeeded since."""
        path = self._path("failures", key)
        with documents.told(path):
            path.unlink(missing_ok=True)

    def _all(self, kind: Kind) -> dict[str, Any]:
        found = {key: self._get(kind, key) for key in self._names(kind)}
        return {key: record for key, record in found.items() if record is not None}

    def put_bundle(self, bundle: str, members: Iterable[str]) -> None:
        """Record the trials of a bundle before work on it starts; what was recorded first stays."""
        if self._get("bundles", bundle) is None:
            self._put("bundles", bundle, list(members))

    def bundles(self) -> dict[str, list[str]]:
        """Return {bundle: trial keys}, sorted by bundle."""
        return self._all("bundles")

    def put_dataset(self, key: str, info: Mapping[str, Any]) -> None:
        """Store what is known of a data set, in place of what was."""
        self._put("datasets", key, info)

    def dataset(self, key: str) -> dict[str, Any] | None:
        """Return what is known of a data set, or ``None``."""
        found: dict[str, Any] | None = self._get("datasets", key)
        return found

    def write_file(self, name: str, data: bytes) -> Path:
        """Write a file beside the results (a table, a report) in one step; return its path."""
        documents.write(path := self.folder / name, data, self._scratch())
        return path

    def scratch(self, key: str, *more: str) -> AbstractContextManager[Path]:
        """Return ``with store.scratch(key) as folder``: space for a training whose trials the caller has leased.

        What a killed training of the same trials left in it is still there; a block that ends well, or with an
        ``Exception``, removes it.
        """
        return scratch.kept(self.folder / scratch.FOLDER, (key, *more))

    def halfway(self) -> list[list[str]]:
        """Return the keys of the trials that have scratch left, in a list those of one training."""
        return [*scratch.left(self.folder / scratch.FOLDER).values()]

    def lease(self, bundle: str) -> AbstractContextManager[bool]:
        """Return ``with store.lease(bundle) as mine``: ``mine`` is ``False`` when somebody who lives works on it."""
        return leases.lease(self.folder / "leases", bundle, self._scratch())

    def freed(self, bundles: Iterable[str]) -> set[str]:
        """Return those that nobody holds; of holders elsewhere a sign of life is waited for, two minutes at most."""
        return leases.freed(self.folder / "leases", bundles)

    def say(self, key: str, message: str) -> None:
        """Leave word of how far the work on a trial is, as long as it is leased."""
        leases.say(self.folder / "leases", key, message)

    def said(self) -> dict[str, str]:
        """Return {trial: last word} of the trials that are being worked on."""
        return leases.said(self.folder / "leases")

    def check(self, *, thorough: bool = True) -> list[str]:
        """Read every byte; set aside what is damaged; return a sentence for each that has not been made anew.

        Without ``thorough``, arrays and weights are only looked at, for their size: they are verified whenever they are
        read, and there may be a terabyte of them.
        """
        for kind in _KINDS:
            for key in self._names(kind):
                self._is_whole(kind, key)
        for key in self._entries("trials"):
            self._marker(key, thorough=thorough)
        origins = {tuple(name.split("~")[:2]) for name in self._entries("damaged")}
        return [
            f"{self.folder / kind / name} was cut short or changed, and is in 'damaged' now: run again, to make it anew"
            for kind, name in sorted(origins)
            if kind not in _PASSING and not (self.folder / kind / name).exists()
        ]
