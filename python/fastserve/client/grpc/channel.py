"""GrpcChannel: calls to one server over gRPC."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any, TypeVar

from fastserve import _core
from fastserve._core.client import GrpcSession
from fastserve.client.call_error import CallError, from_core, too_late, unreachable
from fastserve.client.deadline import Deadline
from fastserve.client.grpc.operations import GrpcOperations
from fastserve.client.io.connections import GrpcConnection, Io
from fastserve.client.requests import Request
from fastserve.client.results import InferResult
from fastserve.client.settings import ClientSettings
from fastserve.client.urls import Address

T = TypeVar("T")
_INFER = "/inference.GRPCInferenceService/ModelInfer"
_STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
# Then the first error ends a stream, with its own code; otherwise a message has only its text.
_ERRORS_END_STREAMS = ("triton_grpc_error", "true")
_NS_PER_S = 1e9
# How long a call that is given up may take to say so.
_LAST_WORDS_S = 1.0

# The head of a call: path, scheme, authority, timeout, metadata.
Head = tuple[str, str, str, int | None, list[tuple[str, str]]]
# Begins a call: its number, and what to send.
Begin = Callable[[GrpcSession, Head], tuple[int, list[Any]]]
# Its code, message, whether the server said so, and answer; None while it runs.
End = Callable[[GrpcSession, int], tuple[str, str, bool, T | None] | None]


class GrpcChannel(GrpcOperations):
    def __init__(self, address: Address, io: Io, settings: ClientSettings) -> None:
        self.url = address.url
        self._address = address
        self._scheme = "https" if address.is_tls else "http"
        self._metadata = [(name.lower(), value) for name, value in settings.headers.items()]
        self._pool = io.grpc_pool(
            settings.endpoint(address),
            lambda: GrpcSession(message_bytes_max=settings.answer_bytes_max),
        )

    def close(self) -> None:
        self._pool.close()

    async def infer(self, request: Request, deadline: Deadline) -> InferResult:
        message = request.message

        def begin(session: GrpcSession, head: Head) -> tuple[int, list[Any]]:
            return session.begin_infer(message, *head)

        head = self._head(_INFER, deadline)
        return InferResult(*await self._unary(begin, GrpcSession.end_infer, head, deadline))

    async def call(self, path: str, message: bytes, deadline: Deadline) -> bytes:
        def begin(session: GrpcSession, head: Head) -> tuple[int, list[Any]]:
            return session.begin(message, *head)

        head = self._head(path, deadline)
        return await self._unary(begin, GrpcSession.end_message, head, deadline)

    async def stream(
        self, request: Request, deadline: Deadline
    ) -> AsyncGenerator[InferResult, None]:
        connection = await self._connection(deadline)
        session = connection.session
        call = 0
        is_usable = connection.is_shared
        try:
            head = self._head(_STREAM, deadline, _ERRORS_END_STREAMS)
            call, parts = session.begin_infer(request.message, *head)
            await connection.send(parts, deadline)
            while True:
                said = session.take_stream_infer(call)
                if said is not None:
                    error, answer = said
                    if error:
                        raise self._refused("UNKNOWN", error, True)
                    yield InferResult(*answer)
                elif (end := session.end_of(call)) is None:
                    # What was taken lets the server send more.
                    await connection.flush(deadline)
                    await connection.wait(call, deadline)
                elif end[0] != "OK":
                    raise self._refused(*end)
                else:
                    break
            is_usable = True
        except (CallError, _core.CoreError, OSError) as error:
            is_usable = not isinstance(error, OSError)
            raise self._seen(error) from None
        finally:
            await self._leave(connection, call, is_usable)

    # -- Calls -------------------------------------------------------------------------------

    async def _unary(self, begin: Begin, end: End[T], head: Head, deadline: Deadline) -> T:
        connection = await self._connection(deadline)
        session = connection.session
        call = 0
        is_usable = connection.is_shared  # Whatever ends this call, those of others go on.
        try:
            call, parts = begin(session, head)
            await connection.send(parts, deadline)
            while (said := end(session, call)) is None:
                await connection.wait(call, deadline)
            call = 0  # It has ended, and is forgotten.
            is_usable = True
        except (CallError, _core.CoreError, OSError) as error:
            is_usable = not isinstance(error, OSError)
            raise self._seen(error) from None
        finally:
            await self._leave(connection, call, is_usable)
        code, message, is_answer, answer = said
        if answer is None:
            raise self._refused(code, message, is_answer)
        return answer

    async def _connection(self, deadline: Deadline) -> GrpcConnection:
        try:
            connection: GrpcConnection = await self._pool.take(deadline)
        except OSError as error:
            raise unreachable(self.url, error) from error
        return connection

    async def _leave(self, connection: GrpcConnection, call: int, is_usable: bool) -> None:
        """A call that was given up is told so."""
        if call and is_usable:
            try:
                connection.session.forget(call)
                await connection.flush(Deadline(_LAST_WORDS_S))
            except (OSError, CallError, _core.CoreError):
                is_usable = False
        if is_usable and connection.is_alive():
            self._pool.give_back(connection)
        else:
            self._pool.drop(connection)

    def _head(self, path: str, deadline: Deadline, *more: tuple[str, str]) -> Head:
        left_s = deadline.left_s()
        timeout_ns = None if left_s is None else int(left_s * _NS_PER_S)
        metadata = [*self._metadata, *more] if more else self._metadata
        return path, self._scheme, self._address.authority, timeout_ns, metadata

    def _seen(self, error: CallError | _core.CoreError | OSError) -> CallError:
        """What ended a call, as the caller sees it."""
        if isinstance(error, CallError):
            is_ours = error.code == "DEADLINE_EXCEEDED" and not error.is_answer
            return too_late(self.url) if is_ours else error
        if isinstance(error, TimeoutError):
            return too_late(self.url)
        if isinstance(error, OSError):
            return unreachable(self.url, error)
        return from_core(error, self.url)

    def _refused(self, code: str, message: str, is_answer: bool) -> CallError:
        """What this side refuses, it would refuse again."""
        return CallError(
            code,
            message,
            server=self.url,
            is_retryable=code == "UNAVAILABLE" or (is_answer and code == "RESOURCE_EXHAUSTED"),
            is_answer=is_answer,
        )
