"""ModelControl: loads and unloads models while the server runs, because somebody asks.

Loads run on a few threads of their own and queue for them. A hundred loads of one model at once are
two: the one that runs, and one for all who asked meanwhile, which finds nothing changed. An unload
waits for no other model's load.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from fastserve.control.manager import LOADER_THREADS, Manager
from fastserve.control.repository.model_repository import find
from fastserve.errors import Error

# Models whose load runs or waits; more are refused.
LOADS_MAX = 1000


class ModelControl:
    """Threads: any. A Future ends on a thread of its own; its exception is an Error if it can be
    told to whoever asked."""

    def __init__(
        self,
        manager: Manager,
        paths: Sequence[str],
        only_name: str,
        on_warning: Callable[[str], None],
    ) -> None:
        """`paths` and `only_name` as in discover()."""
        self._manager = manager
        self._paths = paths
        self._only_name = only_name
        self._on_warning = on_warning
        self._loads = ThreadPoolExecutor(LOADER_THREADS, thread_name_prefix="load")
        self._unloads = ThreadPoolExecutor(1, thread_name_prefix="unload")
        self._lock = threading.Lock()
        # By name: the load that was handed to a thread, and the one that comes after it.
        self._running: dict[str, Future[None]] = {}
        self._next: dict[str, Future[None]] = {}

    def load(self, name: str) -> Future[None]:
        """Serve the model as it lies on disk by the time that this load begins.

        Ends with an Error, and what was served before goes on, if it cannot be. Errors:
        RESOURCE_EXHAUSTED when too many loads wait.
        """
        with self._lock:
            if name in self._next:
                return self._next[name]
            future: Future[None] = Future()
            if name in self._running:
                self._next[name] = future
                return future
            if len(self._running) >= LOADS_MAX:
                raise Error("RESOURCE_EXHAUSTED", f"{LOADS_MAX} models are loading already")
            self._running[name] = future
            self._loads.submit(self._load, name, future)
            return future

    def unload(self, name: str) -> Future[None]:
        """Stop serving the model, after a load of it that runs; what is in flight is answered."""
        return self._unloads.submit(self._manager.release, name)

    def is_busy(self) -> bool:
        """Whether a model is loading, or waits for that."""
        return bool(self._running)

    def close(self) -> None:
        """What waits is cancelled; what runs is left to its thread."""
        with self._lock:
            for future in self._next.values():
                future.cancel()
            self._next.clear()
        self._loads.shutdown(wait=False, cancel_futures=True)
        self._unloads.shutdown(wait=False, cancel_futures=True)

    def _load(self, name: str, future: Future[None]) -> None:
        try:
            self._manager.apply(find(self._paths, name, self._only_name), self._on_warning)
        except BaseException as error:  # noqa: BLE001 It is told to whoever asked.
            self._go_on(name)
            future.set_exception(error)
        else:
            self._go_on(name)
            future.set_result(None)

    def _go_on(self, name: str) -> None:
        with self._lock:
            del self._running[name]
            future = self._next.pop(name, None)
            if future is not None:
                self._running[name] = future
                self._loads.submit(self._load, name, future)
