"""RPCs: control requests that came over gRPC.

The first one brings protobuf, on a thread: that takes 40 ms, which the loop has not.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import quote

from fastserve.errors import Error
from fastserve.server import logs
from fastserve.server.routes.responses import INTERNAL, ControlRequest
from fastserve.server.routes.shared_memory import client_of

if TYPE_CHECKING:
    from fastserve.server.routes.repository import RepositoryRoutes
    from fastserve.server.routes.router import Router
    from fastserve.server.rpc.service import Service

# gRPC's canonical codes, by number.
CODES = (
    "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
    "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
    "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
)  # fmt: skip
_NUMBERS = {code: str(number) for number, code in enumerate(CODES)}
# What grpc-message carries as it is.
_PLAIN = "".join(chr(c) for c in range(0x20, 0x7F) if chr(c) != "%")


class RpcRoutes:
    """Threads: the loop's."""

    def __init__(self, router: Router, repository: RepositoryRoutes) -> None:
        self._router = router
        self._repository = repository
        self._service: Service | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def render(self, request: ControlRequest) -> None:
        """Answer, some time later."""
        task = asyncio.get_running_loop().create_task(self._render(request))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _render(self, request: ControlRequest) -> None:
        body, code, message = b"", "OK", ""
        try:
            if self._service is None:
                made = await asyncio.to_thread(_make_service, self._router, self._repository)
                self._service = self._service or made
            body = await self._service.answer(request.path, request.body, client_of(request))
        except Error as error:
            code, message = error.code, error.message
        except asyncio.CancelledError:
            _respond(request, b"", "UNAVAILABLE", "the server is ending")
            raise
        except Exception:  # noqa: BLE001 It is answered and logged.
            logs.LOGGER.exception("%s failed", request.path)
            code, message = "INTERNAL", INTERNAL
        _respond(request, body, code, message)


def _respond(request: ControlRequest, body: bytes, code: str, message: str) -> None:
    headers = [("grpc-status", _NUMBERS.get(code, _NUMBERS["UNKNOWN"]))]
    if message:
        headers.append(("grpc-message", quote(message, safe=_PLAIN)))
    try:
        request.respond(200, body, headers)
    except Exception:  # noqa: BLE001 Nobody is left to tell but the log.
        logs.LOGGER.exception("answering %s failed", request.path)


def _make_service(router: Router, repository: RepositoryRoutes) -> Service:
    from fastserve.server.rpc.service import Service

    return Service(router, repository)
