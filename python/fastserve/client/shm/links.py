"""Links: a client's connection, which is made when it is first needed, and anew when its server has
gone; and what models take, as the server said.

    link = links.open(deadline_ns)                     or links.current() and links.connect()
    target = links.known(link, model, version) or links.describe(link, model, version, deadline_ns)

Nothing here refers back to a Links, so that a client that is dropped is closed at once.

Threads: any. `current` and `known` never wait.
"""

from __future__ import annotations

import logging
import os
import threading

from fastserve import _core
from fastserve._core.shm import ShmConnection
from fastserve.client.call_error import CallError, from_core, too_late
from fastserve.client.shm.deadlines import NEVER, Seconds, left_s, until
from fastserve.client.shm.settings import ShmSettings
from fastserve.client.shm.signatures import Signature

_logger = logging.getLogger("fastserve.client.shm")
_PAUSE_S = 0.01
_PAUSE_MAX_S = 0.2
_READY_PAUSE_S = 0.05


class Link:
    """A connection, and what its errors mean."""

    __slots__ = ("_is_closed", "_pid", "address", "connection")

    def __init__(self, connection: ShmConnection, address: str, is_closed: threading.Event) -> None:
        self.connection = connection
        self.address = address
        self._is_closed = is_closed  # The client.
        self._pid = os.getpid()

    def failure(self, error: _core.CoreError) -> CallError:
        """What the core says of a request, for whoever made it."""
        if os.getpid() != self._pid:
            return CallError(
                "FAILED_PRECONDITION",
                f"the client's connection is of the process that this one ({os.getpid()}) was"
                " forked from: make another client here",
                server=self.address,
            )
        failure = from_core(error, self.address)
        if failure.code != "UNAVAILABLE" or self.connection.is_open:
            return failure
        if self._is_closed.is_set():
            return _closed()
        return CallError(
            "UNAVAILABLE",
            f"the server at {self.address} has gone, and this request with it: the client's next"
            " one connects anew",
            server=self.address,
            is_retryable=True,
        )

    def late(self) -> CallError:
        return too_late(self.address)


class Target:
    """A model over a connection, as it was described when it was first asked for. It may be another
    by now: then the next request asks anew."""

    __slots__ = ("is_stale", "link", "model", "signature", "version")

    def __init__(self, link: Link, model: str, version: str, signature: Signature) -> None:
        self.link = link
        self.model = model
        self.version = version  # As it was asked for.
        self.signature = signature
        self.is_stale = False

    def failure(self, error: _core.CoreError) -> CallError:
        """What the core says of a request to it."""
        failure = self.link.failure(error)
        if failure.code == "INVALID_ARGUMENT":
            self.is_stale = True
        return failure


class Links:
    def __init__(self, settings: ShmSettings) -> None:
        self.settings = settings
        self.reconnects = 0
        self._link: Link | None = None
        self._targets: dict[tuple[str, str], Target] = {}
        self._connecting = threading.Lock()
        self._is_closed = threading.Event()

    def close(self) -> None:
        self._is_closed.set()
        if self._link is not None:
            self._link.connection.close()

    @property
    def is_connected(self) -> bool:
        return self._link is not None and self._link.connection.is_open

    @property
    def server_pid(self) -> int:
        return self._link.connection.server_pid if self._link is not None else 0

    @property
    def segment_bytes(self) -> int:
        return self._link.connection.segment_bytes if self._link is not None else 0

    @property
    def bytes_in_use(self) -> int:
        return self._link.connection.bytes_in_use if self._link is not None else 0

    # -- Connecting --------------------------------------------------------------------------

    def open(self, deadline_ns: int) -> Link:
        """The connection. Errors: FAILED_PRECONDITION when the client is closed; of connect."""
        return self.current() or self.connect(deadline_ns)

    def current(self) -> Link | None:
        """The connection, if there is one. Errors: FAILED_PRECONDITION when the client is
        closed."""
        if self._is_closed.is_set():
            raise _closed()
        link = self._link
        return link if link is not None and link.connection.is_open else None

    def connect(self, deadline_ns: int) -> Link:
        """Make a connection, unless there is one. A server that had gone may be back in a moment,
        so it is tried until the connect timeout; one that was never seen is tried once. Errors:
        UNAVAILABLE, PERMISSION_DENIED, RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED."""
        seconds = -1.0 if deadline_ns == NEVER else left_s(deadline_ns)
        if not self._connecting.acquire(timeout=seconds):
            raise too_late(self.settings.address)
        try:
            link = self.current()
            return link if link is not None else self._connect(deadline_ns)
        finally:
            self._connecting.release()

    def _connect(self, deadline_ns: int) -> Link:
        lost = self._link
        until_ns = self.settings.connect_until(deadline_ns)
        pause_s = _PAUSE_S
        while True:
            try:
                connection = self.settings.connect(until_ns)
                break
            except _core.CoreError as error:
                failure = from_core(error, self.settings.address)
                may_come = failure.code == "UNAVAILABLE" and lost is not None
                if not may_come or left_s(until_ns) < pause_s:
                    raise failure from None
            if self._is_closed.wait(pause_s):
                raise _closed()
            pause_s = min(2 * pause_s, _PAUSE_MAX_S)
        made = self._link = Link(connection, self.settings.address, self._is_closed)
        if lost is not None:
            lost.connection.close()
            self._targets.clear()
            self.reconnects += 1
            _logger.warning(
                "the server at %s had gone: connected anew, to process %d",
                self.settings.address, made.connection.server_pid,
            )  # fmt: skip
        if self._is_closed.is_set():  # Meanwhile.
            made.connection.close()
            raise _closed()
        return made

    # -- Asking ------------------------------------------------------------------------------

    def known(self, link: Link, model: str, version: str) -> Target | None:
        target = self._targets.get((model, version))
        if target is None or target.is_stale or target.link is not link:
            return None
        return target

    def describe(self, link: Link, model: str, version: str, deadline_ns: int) -> Target:
        """What the model takes now. Errors: NOT_FOUND, UNAVAILABLE, DEADLINE_EXCEEDED."""
        try:
            until_ns = self.settings.connect_until(deadline_ns)
            signature = Signature(link.connection.describe(model, version, until_ns))
        except _core.CoreError as error:
            self._targets.pop((model, version), None)
            raise link.failure(error) from None
        target = Target(link, model, version, signature)
        self._targets[model, version] = target
        return target

    def wait_until_ready(self, model: str, timeout_s: Seconds) -> None:
        """Errors: DEADLINE_EXCEEDED, with what was last wrong."""
        deadline_ns = until(timeout_s)
        while True:
            try:
                link = self.open(deadline_ns)
                if model:
                    self.describe(link, model, "", deadline_ns)
                return
            except CallError as error:
                if error.code not in ("UNAVAILABLE", "NOT_FOUND", "DEADLINE_EXCEEDED"):
                    raise
                why = error.message
            if left_s(deadline_ns) < _READY_PAUSE_S:
                what = f"model '{model}'" if model else "the server"
                raise CallError(
                    "DEADLINE_EXCEEDED",
                    f"{what} was not ready within {timeout_s:g} s: {why}",
                    server=self.settings.address,
                )
            self._is_closed.wait(_READY_PAUSE_S)


def _closed() -> CallError:
    return CallError("FAILED_PRECONDITION", "the client is closed")
