"""Ray: workers on this machine, or on all machines of a cluster. An extra: ``pip install 'sclaws[ray]'``.

Only items and what became of them go through Ray, some hundred bytes each: workers read the data and write the store
themselves, at paths that every machine sees. An item whose worker or machine is lost is given to another one; what had
been stored of it by then is not done twice.
"""

from __future__ import annotations

import itertools
import os
import re
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from sclaws.engines import _attempt
from sclaws.errors import PluginError
from sclaws.protocols import Failure

_THREADS = ("OMP", "MKL", "OPENBLAS", "NUMBA", "NUMEXPR")
_QUEUED = 2  # items that wait with Ray beyond those that it has room for: no worker waits for the driver
_LOOK = 5.0  # seconds after which machines are counted anew: those that have joined get items
_PATIENCE = 5.0  # seconds that a cluster may take to answer
_GRACE = 5.0  # seconds that items have to clean up when they are told to stop
_STORE = 128 << 20  # bytes of Ray's own object store, for which we have no use


@dataclass(frozen=True)
class Ray:
    """Items of ``cpus`` cores and ``gpus`` GPUs (0.25: four share one), as many at once as there is room for.

    ``address``: "local" starts Ray on this machine for the time of the sweep; "auto" is the cluster that this machine
    belongs to, "10.0.0.1:6379" the one whose head is there. A session that the calling program has opened is used as
    it is. ``retries``: how often an item is begun again whose worker was killed, ran out of memory, or is lost with its
    machine; what fails by an exception is not. Each item has ``cpus`` threads, one at least.
    """

    address: str = "local"
    cpus: float = 1
    gpus: float = 0
    retries: int = 2
    version: ClassVar[int] = 1
    queued: ClassVar[int] = _QUEUED + 1  # items taken beyond those worked on: that wait, and one on its way back

    def __post_init__(self) -> None:
        if not re.fullmatch(r"local|auto|[^/]+:\d+", self.address):
            raise PluginError(f'ray: address = {self.address!r} must be "local", "auto" or "HOST:PORT"')
        if self.cpus <= 0 or self.gpus < 0 or (self.gpus > 1 and self.gpus % 1):
            raise PluginError(
                f"ray: cpus = {self.cpus:g} must be above 0; gpus = {self.gpus:g} 0, a part of 1, or a whole number"
            )
        if self.retries < 0:
            raise PluginError(f"ray: retries = {self.retries} must be at least 0")

    @property
    def threads(self) -> int:
        """Threads of an item."""
        return max(1, int(self.cpus))

    def map(self, work: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[tuple[Any, Any | Failure]]:
        """Yield (item, result or failure) as they finish. An item is taken when there is room for it.

        ``work``, items and results are pickled. Closing the generator, or an error in it, stops what runs. Raises
        ``PluginError`` before any item is taken: without Ray, without an answer from the cluster, and when none of its
        machines has room for an item.
        """
        with _session(self.address) as ray:
            self._refuse_what_is_too_large(ray)
            queue, tries = iter(items), _Tries(ray, self)
            done: list[tuple[Any, Any | Failure]] = []
            try:
                while True:
                    more = itertools.islice(queue, max(0, self._places(ray) - len(tries)))
                    done += [(item, refused) for item in more if (refused := tries.begin(work, item))]
                    if not tries and not done:
                        return
                    yield from done
                    done = tries.finished()
            finally:
                tries.stop()

    def _refuse_what_is_too_large(self, ray: Any) -> None:
        has = [(r.get("CPU", 0), r.get("GPU", 0)) for r in _machines(ray)]
        if not any(cpus >= self.cpus and gpus >= self.gpus for cpus, gpus in has):
            there = ", ".join(sorted({f"{cpus:g} and {gpus:g}" for cpus, gpus in has})) or "nothing"
            raise PluginError(
                f"ray: no machine has room for an item of cpus = {self.cpus:g} and gpus = {self.gpus:g}: they have "
                f"{there}; ask for less, or add such a machine to the cluster first"
            )

    def _places(self, ray: Any) -> int:
        """Return how many items may be with Ray at this moment: machines come and go."""
        places = 0
        for has in _machines(ray):
            room = has.get("CPU", 0) / self.cpus
            places += int(min(room, has.get("GPU", 0) / self.gpus) if self.gpus else room)
        return places + _QUEUED


@dataclass
class _Try:
    item: Any
    message: bytes
    left: int


class _Tries:
    """Items that are with Ray."""

    def __init__(self, ray: Any, engine: Ray) -> None:
        threads = {f"{name}_NUM_THREADS": str(engine.threads) for name in _THREADS}
        self.ray = ray
        self.retries = engine.retries
        self.answer = ray.remote(  # tried again by us: of items without memory, Ray itself would never tire
            num_cpus=engine.cpus, num_gpus=engine.gpus, max_retries=0, runtime_env={"env_vars": threads}
        )(_attempt.answer)
        self.running: dict[Any, _Try] = {}

    def __len__(self) -> int:
        return len(self.running)

    def begin(self, work: Callable[[Any], Any], item: Any) -> Failure | None:
        """Give an item to Ray; return why that could not be done."""
        if isinstance(message := _attempt.message(work, item), Failure):
            return message
        self._send(_Try(item, message, self.retries))
        return None

    def _send(self, one: _Try) -> None:
        self.running[self.answer.remote(one.message)] = one

    def finished(self) -> list[tuple[Any, Any | Failure]]:
        """Return those that have finished in the next seconds; what was lost is begun again."""
        if not self.running:
            return []
        done = []
        for reference in self.ray.wait(list(self.running), num_returns=1, timeout=_LOOK)[0]:
            one = self.running.pop(reference)
            try:
                done.append((one.item, _attempt.result(self.ray.get(reference))))
            except self.ray.exceptions.RayTaskError as error:  # it was not even begun
                hint = " (is sclaws installed on every machine, in the same version?)"
                done.append((one.item, _attempt.failure(error.cause or error, hint)))
            except self.ray.exceptions.RayError as error:
                if one.left:
                    self._send(_Try(one.item, one.message, one.left - 1))
                else:
                    done.append((one.item, _lost(error, self.retries + 1)))
        return done

    def stop(self) -> None:
        """Ask what runs to clean up and end; kill what takes too long."""
        if not self.running or not self.ray.is_initialized():
            return
        for reference in self.running:
            self.ray.cancel(reference, force=False)
        for reference in self.ray.wait(list(self.running), num_returns=len(self.running), timeout=_GRACE)[1]:
            self.ray.cancel(reference, force=True)


def _lost(error: Exception, times: int) -> Failure:
    first, *_ = str(error).splitlines() or [""]
    often = f"{times} times" if times > 1 else "once"
    return Failure("WorkerLost", f"begun {often} and lost with its worker, at last by {type(error).__name__}: {first}")


def _machines(ray: Any) -> list[dict[str, float]]:
    """Return what each machine of the cluster has."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


@contextmanager
def _session(address: str) -> Iterator[Any]:
    """Open a session, and close it if it was not open before."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise PluginError("ray: it is not installed: pip install 'sclaws[ray]'") from error
    if ray.is_initialized():
        yield ray
        return
    own: dict[str, Any] = {"include_dashboard": False, "object_store_memory": _STORE} if address == "local" else {}
    try:
        if ":" in address:  # Ray itself would try for minutes
            host, port = address.rsplit(":", 1)
            socket.create_connection((host, int(port)), _PATIENCE).close()
        ray.init(address, log_to_driver=False, logging_level="error", **own)
    except (Exception, SystemExit) as error:
        raise PluginError(
            f"ray: no cluster answers at address = {address!r} ({error}): start one with ray start --head, with the "
            f'same RAY_AUTH_MODE and token there as here; or leave address out ("local")'
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()
