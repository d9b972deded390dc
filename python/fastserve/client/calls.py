"""Calls: what a client does, whoever drives it: one server after another, again where that helps.

Everything is a coroutine. Those of a blocking client never suspend (client.py drives them without a
loop), those of an asyncio client do.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import TypeAlias, TypeVar

from fastserve.client.call_error import CallError
from fastserve.client.deadline import Deadline
from fastserve.client.grpc.channel import GrpcChannel
from fastserve.client.http.channel import HttpChannel
from fastserve.client.io.connections import Io
from fastserve.client.requests import Request
from fastserve.client.results import InferResult
from fastserve.client.retries import Retries, RetryBudget
from fastserve.client.servers import Balance, Servers
from fastserve.client.settings import ClientSettings
from fastserve.client.urls import Address, parse
from fastserve.errors import invalid

T = TypeVar("T")
Seconds: TypeAlias = float
Channel: TypeAlias = HttpChannel | GrpcChannel
_READY_PAUSE_S = 0.05


class Calls:
    def __init__(
        self,
        urls: str | Sequence[str],
        io: Io,
        settings: ClientSettings,
        *,
        balance: Balance,
        retries: Retries,
        timeout_s: float | None,
    ) -> None:
        addresses = [parse(url) for url in ([urls] if isinstance(urls, str) else urls)]
        if not addresses:
            raise invalid("url: expected at least one")
        Deadline(timeout_s)  # Says what is wrong with it.
        self._io = io
        self._retries = retries
        self._budget = RetryBudget()
        self._timeout_s = timeout_s
        self._is_closed = False
        self._servers = Servers([_channel(one, io, settings) for one in addresses], balance)
        self.urls = tuple(address.url for address in addresses)

    def close(self) -> None:
        self._is_closed = True
        for server in self._servers.all:
            server.channel.close()

    def deadline(self, timeout_s: float | None) -> Deadline:
        """Of a call that begins. Errors: FAILED_PRECONDITION; ValueError."""
        if self._is_closed:
            raise CallError("FAILED_PRECONDITION", "the client is closed")
        return Deadline(self._timeout_s if timeout_s is None else timeout_s)

    async def infer(self, request: Request, timeout_s: float | None) -> InferResult:
        return await self._try(
            lambda channel, deadline: channel.infer(request, deadline),
            self.deadline(timeout_s),
            may_be_repeated=request.may_be_repeated,
        )

    async def stream(
        self, request: Request, timeout_s: float | None
    ) -> AsyncGenerator[InferResult, None]:
        """Never begun again: who has had some of the answers would have them twice."""
        channel = self._servers.pick().channel
        async for result in channel.stream(request, self.deadline(timeout_s)):
            yield result

    async def ask(
        self,
        operation: Callable[[Channel, Deadline], Awaitable[T]],
        timeout_s: float | None,
    ) -> T:
        return await self._try(operation, self.deadline(timeout_s), may_be_repeated=True)

    async def ask_each(
        self,
        operation: Callable[[Channel, Deadline], Awaitable[T]],
        timeout_s: float | None,
    ) -> T:
        """Of every server, one after the other; the last one's answer."""
        deadline = self.deadline(timeout_s)
        for server in self._servers.all:
            answer = await operation(server.channel, deadline)
        return answer

    async def wait_until_ready(self, model: str, timeout_s: float) -> None:
        deadline = self.deadline(timeout_s)
        why = "it is not ready"
        while True:
            server = self._servers.pick()
            try:
                if await self._is_ready(server.channel, model, deadline):
                    return
            except CallError as error:
                if not error.is_retryable and error.code != "DEADLINE_EXCEEDED":
                    raise
                server.failed()
                why = error.message
            if not deadline.allows(_READY_PAUSE_S):
                what = f"model '{model}'" if model else "the server"
                raise CallError(
                    "DEADLINE_EXCEEDED",
                    f"{what} was not ready within {timeout_s:g} s: {why}",
                    server=server.channel.url,
                )
            await self._io.sleep(_READY_PAUSE_S)

    async def _is_ready(self, channel: Channel, model: str, deadline: Deadline) -> bool:
        if model:
            return await channel.is_model_ready(model, "", deadline)
        return await channel.is_ready(deadline)

    async def _try(
        self,
        operation: Callable[[Channel, Deadline], Awaitable[T]],
        deadline: Deadline,
        *,
        may_be_repeated: bool,
    ) -> T:
        attempt = 1
        while True:
            server = self._servers.pick()
            try:
                answer = await operation(server.channel, deadline)
            except CallError as error:
                if error.code == "UNAVAILABLE":
                    server.failed()
                if not error.is_retryable:
                    raise
                has_budget = self._budget.failed()
                pause_s = self._retries.pause_before(attempt, error)
                if (
                    self._is_closed
                    or not may_be_repeated
                    or not has_budget
                    or attempt >= self._retries.attempts
                    or not deadline.allows(pause_s)
                ):
                    raise
            else:
                server.succeeded()
                self._budget.succeeded()
                return answer
            attempt += 1
            await self._io.sleep(pause_s)


def _channel(address: Address, io: Io, settings: ClientSettings) -> Channel:
    kind = GrpcChannel if address.is_grpc else HttpChannel
    return kind(address, io, settings)
