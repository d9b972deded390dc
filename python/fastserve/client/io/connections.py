"""What the channels ask of connections, blocking or not.

Coroutines everywhere, so that one channel serves both: those of blocking connections never suspend,
and whoever drives them (fastserve.client.client.run) needs no event loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from fastserve._core.client import GrpcSession, HttpSession
from fastserve.client.deadline import Deadline
from fastserve.client.settings import Endpoint

# At most this long for a connection, whatever a call's timeout leaves.
CONNECT_TIMEOUT_S = 10.0
# After so long an idle connection is looked at before it is used again.
LOOK_AFTER_S = 0.1


class HttpConnection(Protocol):
    session: HttpSession
    is_new: bool  # Nothing has been asked over it.

    async def exchange(self, parts: list[Any], deadline: Deadline) -> None:
        """Send a request, and receive the whole answer into the session.

        Errors: OSError, CoreError: close it; DEADLINE_EXCEEDED.
        """

    def is_usable(self) -> bool: ...
    def close(self) -> None: ...


class GrpcConnection(Protocol):
    session: GrpcSession
    is_shared: bool  # By calls that go on at the same time.

    async def send(self, parts: list[Any], deadline: Deadline, /) -> None:
        """Errors: OSError, CoreError, DEADLINE_EXCEEDED."""

    async def flush(self, deadline: Deadline, /) -> None:
        """Send what the session has. Errors: as send."""

    async def wait(self, call: int, deadline: Deadline, /) -> None:
        """Until something may have come for a call. Errors: as send."""

    def is_alive(self) -> bool:
        """Calls that it has can go on."""

    def is_usable(self) -> bool:
        """It takes one more."""

    def close(self) -> None: ...


class Pool(Protocol):
    """Connections to one server."""

    async def take(self, deadline: Deadline) -> Any:
        """Errors: OSError, DEADLINE_EXCEEDED."""

    def give_back(self, connection: Any, /) -> None:
        """It may be used again, unless it says otherwise."""

    def drop(self, connection: Any) -> None:
        """It is of no more use."""

    def close(self) -> None: ...


class Io(Protocol):
    def http_pool(self, to: Endpoint, make_session: Callable[[], HttpSession]) -> Pool: ...
    def grpc_pool(self, to: Endpoint, make_session: Callable[[], GrpcSession]) -> Pool: ...
    def sleep(self, pause_s: float) -> Awaitable[None]: ...
