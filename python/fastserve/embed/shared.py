"""Shared: what a Server, its models and its listeners have in common.

It knows nothing of them, so that a Server that nobody holds any more is collected at once, although
its listeners still run. Order at the end: calls are refused, listeners drain, versions are retired.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from typing import TYPE_CHECKING

from fastserve import _core
from fastserve.config.options import Options
from fastserve.control.loading.loader import Loader
from fastserve.control.manager import Manager
from fastserve.control.repository.model_repository import ModelSource
from fastserve.embed.entry import Entry
from fastserve.errors import Error, not_found
from fastserve.server import logs

if TYPE_CHECKING:
    from fastserve.embed.listener import Listener

CLOSED = "the server is closed"
FORKED = (
    "this server was made before a fork, and its threads stayed in the parent; make a"
    " fastserve.Server in each process"
)


# An engine that takes longer to end is left to the core's thread.
_REAP_TIMEOUT_S = 10.0

logs.LOGGER.addHandler(logging.NullHandler())  # The program says what becomes of records.


class Shared:
    """Threads: any."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.serving_map = _core.ServingMap()
        self.manager = Manager((), self.serving_map, Loader(options.model_defaults))
        self.is_closed = False
        self._pid = os.getpid()
        # Guards the four below, and is_closed; never held while anything waits.
        self._lock = threading.Lock()
        self._entries: dict[str, Entry] = {}
        self._ended: list[Entry] = []
        self._listeners: list[Listener] = []

    @property
    def is_forked(self) -> bool:
        """Whether this is the child of a fork: nothing here works, nor may be waited for."""
        return os.getpid() != self._pid

    def check_usable(self) -> None:
        """Errors: FAILED_PRECONDITION after close(), and in the child of a fork."""
        if self.is_forked:
            raise Error("FAILED_PRECONDITION", FORKED)
        if self.is_closed:
            raise Error("FAILED_PRECONDITION", CLOSED)

    # -- Models ------------------------------------------------------------------------------

    def entries(self) -> list[Entry]:
        with self._lock:
            return list(self._entries.values())

    def load(self, source: ModelSource, loader: Loader) -> Entry:
        """Blocks. Errors: as Manager.load; UNAVAILABLE when the server is closed meanwhile."""
        warnings: list[str] = []
        model = self.manager.load(source, warnings.append, loader)
        for warning in warnings:
            logs.warning(warning)
        loaded = model.loaded.get(model.default_version() or 0)
        with self._lock:
            if loaded is not None and not self.is_closed:
                entry = Entry(self.serving_map, loaded, tuple(warnings))
                self._entries[source.name] = entry
                return entry
        with contextlib.suppress(Error, _core.CoreError):
            self.manager.unload(source.name)
        raise Error("UNAVAILABLE", f"the server was closed while '{source.name}' was loading")

    def unload(self, entry: Entry) -> None:
        """What is in flight is still answered. Errors: NOT_FOUND: it is unloaded already."""
        with self._lock:
            if self._entries.get(entry.name) is not entry:
                raise not_found(f"model '{entry.name}' was unloaded")
            del self._entries[entry.name]
        entry.end("NOT_FOUND", f"model '{entry.name}' was unloaded")
        entry.release()
        self.manager.unload(entry.name)

    # -- Listeners ---------------------------------------------------------------------------

    def listeners(self) -> list[Listener]:
        with self._lock:
            return list(self._listeners)

    def add_listener(self, listener: Listener) -> None:
        """Errors: FAILED_PRECONDITION if the server was closed meanwhile."""
        with self._lock:
            if self.is_closed:
                raise Error("FAILED_PRECONDITION", CLOSED)
            self._listeners.append(listener)

    def remove_listener(self, listener: Listener) -> None:
        with self._lock, contextlib.suppress(ValueError):
            self._listeners.remove(listener)

    # -- The end -----------------------------------------------------------------------------

    def begin_close(self) -> bool:
        """From now on every call is refused; False if the end had begun already."""
        if self.is_forked:
            return False
        with self._lock:
            if self.is_closed:
                return False
            self.is_closed = True
            self._ended = list(self._entries.values())
            self._entries.clear()
        for entry in self._ended:
            entry.end("FAILED_PRECONDITION", CLOSED)
        return True

    def retire(self) -> None:
        """What has not begun to run ends with UNAVAILABLE. Returns when all engines are gone, but
        for those that still run something."""
        for entry in self._ended:
            entry.release(end_waiting=True)
        self._ended = []
        with contextlib.suppress(Error, _core.CoreError):
            self.manager.retire_all()
        _core.reap(_REAP_TIMEOUT_S)
