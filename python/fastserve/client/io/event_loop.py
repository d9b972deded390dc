"""Connections of an asyncio loop: HTTP/1.1 with one call at a time, gRPC with many."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

from fastserve import _core
from fastserve._core.client import GrpcSession, HttpSession
from fastserve.client.call_error import too_late
from fastserve.client.deadline import Deadline
from fastserve.client.io.connections import CONNECT_TIMEOUT_S
from fastserve.client.settings import Endpoint

_CLOSED = "the server closed the connection"
Connected = TypeVar("Connected", bound=asyncio.BaseProtocol)


async def connect(to: Endpoint, make: Callable[[], Connected], deadline: Deadline) -> Connected:
    """The protocol, connected. Errors: OSError; DEADLINE_EXCEEDED."""
    address = to.address
    loop = asyncio.get_running_loop()
    left_s = deadline.left_s()
    timeout_s = CONNECT_TIMEOUT_S if left_s is None else min(left_s, CONNECT_TIMEOUT_S)
    try:
        async with asyncio.timeout(timeout_s):
            if address.unix_path:
                _, made = await loop.create_unix_connection(make, address.unix_path)
            else:
                _, made = await loop.create_connection(make, address.host, address.port, ssl=to.tls)
    except TimeoutError:
        deadline.left_s()
        raise TimeoutError(f"no connection within {timeout_s:g} s") from None
    return made


class _Connection(asyncio.BufferedProtocol):
    """What both kinds have: a session that receives, and somebody who waits."""

    session: HttpSession | GrpcSession

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._is_closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def get_buffer(self, _: int) -> memoryview:
        return memoryview(self.session.buffer())

    def write(self, parts: list[Any]) -> None:
        if self._transport is None or self._is_closed:
            raise ConnectionResetError(_CLOSED)
        for part in parts:
            self._transport.write(memoryview(part))

    def close(self) -> None:
        self._is_closed = True
        if self._transport is not None:
            self._transport.abort()

    async def waited(self, waiter: asyncio.Future[None], deadline: Deadline) -> None:
        """Errors: DEADLINE_EXCEEDED, and what the future is told."""
        left_s = deadline.left_s()
        if left_s is None:
            return await waiter
        timer = self._loop.call_later(left_s, _give_up, waiter)
        try:
            await waiter
        finally:
            timer.cancel()


def _give_up(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(too_late())


def _end(waiter: asyncio.Future[None] | None, error: BaseException | None = None) -> None:
    if waiter is None or waiter.done():
        return
    if error is None:
        waiter.set_result(None)
    else:
        waiter.set_exception(error)


class HttpConnection(_Connection):
    def __init__(self, session: HttpSession) -> None:
        super().__init__()
        self.session: HttpSession = session
        self.is_new = True
        self._waiter: asyncio.Future[None] | None = None

    async def exchange(self, parts: list[Any], deadline: Deadline) -> None:
        self._waiter = self._loop.create_future()
        try:
            self.write(parts)
            await self.waited(self._waiter, deadline)
        finally:
            self._waiter = None
        self.is_new = False

    def buffer_updated(self, nbytes: int) -> None:
        try:
            if self.session.received(nbytes):
                _end(self._waiter)
        except _core.CoreError as error:
            _end(self._waiter, error)
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_closed = True
        if self._waiter is None:
            return
        try:
            self.session.ended()
        except _core.CoreError as error:
            _end(self._waiter, exc if isinstance(exc, OSError) else error)
        else:
            _end(self._waiter)

    def is_usable(self) -> bool:
        return not self._is_closed


class GrpcConnection(_Connection):
    is_shared = True

    def __init__(self, session: GrpcSession) -> None:
        super().__init__()
        self.session: GrpcSession = session
        self._waiters: dict[int, asyncio.Future[None]] = {}

    async def send(self, parts: list[Any], _: Deadline) -> None:
        self.write(parts)

    async def flush(self, _: Deadline) -> None:
        parts = self.session.output()
        if parts:
            self.write(parts)

    async def wait(self, call: int, deadline: Deadline) -> None:
        waiter = self._waiters[call] = self._loop.create_future()
        try:
            await self.waited(waiter, deadline)
        finally:
            self._waiters.pop(call, None)

    def buffer_updated(self, nbytes: int) -> None:
        try:
            if self.session.received(nbytes):
                self.write(self.session.output())
        except (OSError, _core.CoreError) as error:
            self._fail(str(error.args[-1]))
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(_CLOSED if exc is None else f"{_CLOSED}: {exc}")
        self._wake()

    def close(self) -> None:
        self._fail("this client closed the connection")
        self._wake()

    def _fail(self, why: str) -> None:
        super().close()
        self.session.fail(why)

    def _wake(self) -> None:
        for call in self.session.take_changed():
            _end(self._waiters.get(call))

    def is_alive(self) -> bool:
        return not self._is_closed

    def is_usable(self) -> bool:
        return not self._is_closed and self.session.takes_calls


class _Places:
    """How many may have something at once; the others wait in order."""

    def __init__(self, limit: int) -> None:
        self._semaphore = asyncio.Semaphore(limit)

    async def enter(self, deadline: Deadline) -> None:
        if not self._semaphore.locked():
            await self._semaphore.acquire()  # At once.
            return
        try:
            async with asyncio.timeout(deadline.left_s()):
                await self._semaphore.acquire()
        except TimeoutError:
            raise too_late() from None

    def leave(self) -> None:
        self._semaphore.release()


class HttpPool:
    def __init__(
        self, connect: Callable[[Deadline], Awaitable[HttpConnection]], limit: int
    ) -> None:
        self._connect = connect
        self._places = _Places(limit)
        self._idle: list[HttpConnection] = []
        self._is_closed = False

    async def take(self, deadline: Deadline) -> HttpConnection:
        await self._places.enter(deadline)
        try:
            while self._idle:
                connection = self._idle.pop()
                if connection.is_usable():
                    return connection
            return await self._connect(deadline)
        except BaseException:
            self._places.leave()
            raise

    def give_back(self, connection: HttpConnection) -> None:
        if self._is_closed:
            connection.close()
        else:
            self._idle.append(connection)
        self._places.leave()

    def drop(self, connection: HttpConnection) -> None:
        connection.close()
        self._places.leave()

    def close(self) -> None:
        self._is_closed = True
        while self._idle:
            self._idle.pop().close()


class GrpcPool:
    """Connections that calls share: another is opened when those there take no more."""

    def __init__(
        self, connect: Callable[[Deadline], Awaitable[GrpcConnection]], limit: int
    ) -> None:
        self._connect = connect
        self._limit = limit
        self._open: list[GrpcConnection] = []
        self._is_connecting = False
        self._waiting: list[asyncio.Future[None]] = []

    async def take(self, deadline: Deadline) -> GrpcConnection:
        while True:
            for connection in list(self._open):
                if connection.is_usable():
                    return connection
                if not connection.session.calls:  # The server takes no more of them.
                    self._open.remove(connection)
                    connection.close()
            # A crowd that finds no connection waits for one, and does not open as many.
            if not self._is_connecting and len(self._open) < self._limit:
                return await self._open_one(deadline)
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            try:
                async with asyncio.timeout(deadline.left_s()):
                    await waiter
            except TimeoutError:
                raise too_late() from None

    async def _open_one(self, deadline: Deadline) -> GrpcConnection:
        self._is_connecting = True
        try:
            connection = await self._connect(deadline)
            self._open.append(connection)
            return connection
        finally:
            self._is_connecting = False
            self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            _end(waiter)

    def give_back(self, _: GrpcConnection) -> None:
        if self._waiting:
            self._wake()

    def drop(self, connection: GrpcConnection) -> None:
        connection.close()
        self._wake()

    def close(self) -> None:
        for connection in self._open:
            connection.close()
        self._open = []


class LoopIo:
    """Threads: the loop's that it is first used on."""

    def http_pool(self, to: Endpoint, make_session: Callable[[], HttpSession]) -> HttpPool:
        def make() -> HttpConnection:
            return HttpConnection(make_session())

        return HttpPool(lambda by: connect(to, make, by), to.connections_max)

    def grpc_pool(self, to: Endpoint, make_session: Callable[[], GrpcSession]) -> GrpcPool:
        def make() -> GrpcConnection:
            return GrpcConnection(make_session())

        return GrpcPool(lambda by: connect(to, make, by), to.connections_max)

    async def sleep(self, pause_s: float) -> None:
        await asyncio.sleep(pause_s)
