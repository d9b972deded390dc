"""HttpChannel: calls to one server over HTTP/1.1."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, TypeVar

from fastserve import _core
from fastserve._core.client import HttpSession
from fastserve.client.call_error import (
    CallError,
    code_of_http,
    from_core,
    too_late,
    unreachable,
)
from fastserve.client.deadline import Deadline
from fastserve.client.http.operations import HttpOperations, model_path
from fastserve.client.io.connections import HttpConnection, Io
from fastserve.client.requests import Request
from fastserve.client.results import InferResult
from fastserve.client.settings import ClientSettings
from fastserve.client.urls import Address

T = TypeVar("T")
# As much as a fastserve server takes: a day.
_TIMEOUT_MS_MAX = 86_400_000
_SHOWN_CHARACTERS = 300


class HttpChannel(HttpOperations):
    def __init__(self, address: Address, io: Io, settings: ClientSettings) -> None:
        self.url = address.url
        self._address = address
        self._binary = settings.binary
        self._headers = list(settings.headers.items())
        self._pool = io.http_pool(
            settings.endpoint(address),
            lambda: HttpSession(body_bytes_max=settings.answer_bytes_max),
        )

    def close(self) -> None:
        self._pool.close()

    # -- Inference ---------------------------------------------------------------------------

    async def infer(self, request: Request, deadline: Deadline) -> InferResult:
        path = model_path(request.model, request.version)
        target = f"{self._address.prefix}{path}/infer"

        def begin(session: HttpSession) -> list[Any]:
            return session.begin_infer(
                request.message,
                target,
                self._address.authority,
                binary=self._binary,
                timeout_ms=_timeout_ms(deadline),
                headers=self._headers,
            )

        def take(session: HttpSession) -> InferResult:
            if session.status != 200:
                raise self._refused(session)
            return InferResult(*session.take_infer())

        return await self._call(begin, take, deadline, may_be_repeated=request.may_be_repeated)

    def stream(self, _: Request, __: Deadline) -> AsyncGenerator[InferResult, None]:
        raise CallError(
            "UNIMPLEMENTED",
            f"{self.url}: streams need gRPC; give the client grpc://{self._address.authority}",
            server=self.url,
        )

    # -- All other requests ------------------------------------------------------------------

    async def ask(
        self,
        method: str,
        path: str,
        deadline: Deadline,
        value: Mapping[str, Any] | None = None,
        *,
        ok: tuple[int, ...] = (),
    ) -> tuple[int, Any]:
        """The status and the JSON of an answer; None where that is empty.

        Errors: CallError for a status but 200 and those that are `ok`.
        """
        body = b"" if value is None else json.dumps(value).encode()

        def begin(session: HttpSession) -> list[Any]:
            return session.begin(
                method,
                self._address.prefix + path,
                self._address.authority,
                content_type="application/json" if body else "",
                body=body,
                headers=self._headers,
            )

        def take(session: HttpSession) -> tuple[int, Any]:
            if session.status in ok:
                return session.status, None
            if session.status != 200:
                raise self._refused(session)
            return session.status, self._json(session, path)

        return await self._call(begin, take, deadline, may_be_repeated=method == "GET")

    # -- Exchanges ---------------------------------------------------------------------------

    async def _call(
        self,
        begin: Callable[[HttpSession], list[Any]],
        take: Callable[[HttpSession], T],
        deadline: Deadline,
        *,
        may_be_repeated: bool,
    ) -> T:
        while True:
            try:
                connection = await self._pool.take(deadline)
            except OSError as error:
                raise unreachable(self.url, error) from error
            try:
                return await self._exchange(connection, begin, take, deadline)
            except (OSError, CallError) as error:
                # A server closes connections that were idle for long, and cannot know that a
                # request is on its way.
                is_stale = not connection.is_new and not connection.session.has_begun
                if isinstance(error, CallError):
                    if not (is_stale and may_be_repeated and error.is_retryable):
                        raise
                elif not (is_stale and may_be_repeated):
                    raise unreachable(self.url, error) from error

    async def _exchange(
        self,
        connection: HttpConnection,
        begin: Callable[[HttpSession], list[Any]],
        take: Callable[[HttpSession], T],
        deadline: Deadline,
    ) -> T:
        session = connection.session
        is_reusable = False
        try:
            parts = begin(session)
            await connection.exchange(parts, deadline)
            is_reusable = session.is_reusable
            return take(session)
        except _core.CoreError as error:
            raise from_core(error, self.url) from None
        except TimeoutError:
            raise too_late(self.url) from None
        except CallError as error:
            if error.code == "DEADLINE_EXCEEDED" and not error.server:
                raise too_late(self.url) from None
            raise
        finally:
            if is_reusable:
                self._pool.give_back(connection)
            else:
                self._pool.drop(connection)

    # -- Answers -----------------------------------------------------------------------------

    def _json(self, session: HttpSession, path: str) -> Any:
        body = session.body
        if not body:
            return None
        try:
            return json.loads(body)
        except ValueError:
            raise CallError(
                "INTERNAL",
                f"{self.url}{path} did not answer with JSON; is it a KServe v2 server?",
                server=self.url,
            ) from None

    def _refused(self, session: HttpSession) -> CallError:
        status, body = session.status, session.body
        try:
            message = str(json.loads(body)["error"])
        except (ValueError, KeyError, TypeError):
            text = body[:_SHOWN_CHARACTERS].decode(errors="replace").strip()
            message = f"HTTP status {status}" + (f": {text}" if text else "")
        retry_after_s = None
        with contextlib.suppress(ValueError):  # It may be a date.
            retry_after_s = float(int(session.header("retry-after")))
        return CallError(
            code_of_http(status),
            message,
            server=self.url,
            retry_after_s=retry_after_s,
            is_retryable=status in (429, 502, 503),
            is_answer=True,
        )


def _timeout_ms(deadline: Deadline) -> int | None:
    left_s = deadline.left_s()
    if left_s is None:
        return None
    return max(1, min(int(left_s * 1e3), _TIMEOUT_MS_MAX))
