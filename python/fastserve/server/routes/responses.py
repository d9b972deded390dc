"""What routes take and give."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from fastserve.errors import Error
from fastserve.server import logs

INTERNAL = "internal error; the server's log has the details"
# A model that loads may be there in a moment; one that failed waits for a person.
RETRY_LOADING_S, RETRY_FAILED_S = 1, 60
_JSON = (("Content-Type", "application/json"),)


@dataclass(frozen=True)
class Response:
    status: int
    body: bytes = b""
    headers: Sequence[tuple[str, str]] = _JSON


class ControlRequest(Protocol):
    """A request that is no inference, from this loop (_core.ControlRequest) or another one."""

    @property
    def is_grpc(self) -> bool:
        """Whether `body` is the message of the RPC `path`; the answer says grpc-status."""

    @property
    def method(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def query(self) -> str: ...
    @property
    def peer(self) -> str: ...
    @property
    def peer_uid(self) -> int: ...
    @property
    def may_share(self) -> bool: ...
    @property
    def body(self) -> bytes: ...
    @property
    def headers(self) -> list[tuple[str, str]]: ...
    def respond(
        self, status: int, body: bytes = b"", headers: Sequence[tuple[str, str]] = ()
    ) -> None: ...


Respond = Callable[[Response], None]


class NotServed(Error):
    """A model or a version that exists, and cannot take requests now."""

    def __init__(self, what: str, reason: str, retry_after_s: int) -> None:
        super().__init__("UNAVAILABLE", f"{what} is not served: {reason}")
        self.retry_after_s = retry_after_s


class Later:
    """Answers that take a while. Whatever goes wrong is answered; what nobody expected is logged.

    Threads: the loop's.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, work: Coroutine[Any, Any, Response], respond: Respond) -> None:
        task = asyncio.get_running_loop().create_task(_answer(work, respond))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _answer(work: Coroutine[Any, Any, Response], respond: Respond) -> None:
    try:
        respond(await work)
    except Error as error:
        respond(error_response(error.http_status, error.message))
    except asyncio.CancelledError:
        respond(error_response(503, "the server is ending"))
        raise
    except Exception:  # noqa: BLE001 It is answered and logged.
        logs.LOGGER.exception("a request failed")
        respond(error_response(500, INTERNAL))


def json_response(status: int, value: Any, *headers: tuple[str, str]) -> Response:
    return Response(status, json.dumps(value).encode(), (*_JSON, *headers))


def error_response(
    status: int,
    message: str,
    *headers: tuple[str, str],
    more: Mapping[str, Any] | None = None,
    retry_after_s: int = RETRY_LOADING_S,
) -> Response:
    if status in (429, 503):
        headers = (*headers, ("Retry-After", str(retry_after_s)))
    return json_response(status, {"error": message, **(more or {})}, *headers)
