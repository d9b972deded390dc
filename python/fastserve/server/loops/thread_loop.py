"""ThreadLoop: an event loop in a thread of this process; all share one engine and its batches."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from fastserve import _core
from fastserve._core.memory import RegionRegistry
from fastserve.config.options import Options
from fastserve.errors import Error
from fastserve.server import logs
from fastserve.server.front_end import CutOff, FrontEnd
from fastserve.server.live.loop_settings import LoopSettings
from fastserve.server.loops.event_loop import loop_factory
from fastserve.server.loops.member import End, ForwardedRequest
from fastserve.server.loops.tally import LoopStats

T = TypeVar("T")


class ThreadLoop:
    """A Member. Threads: the parent's loop, but for what says otherwise."""

    def __init__(
        self,
        number: int,
        options: Options,
        serving_map: _core.ServingMap,
        sockets: Sequence[socket.socket],
        on_control: Callable[[ForwardedRequest], None],
        on_traces: Callable[[Sequence[Mapping[str, Any]]], None] = lambda _: None,
        regions: RegionRegistry | None = None,
    ) -> None:
        self._parent = asyncio.get_running_loop()
        self.number = number
        self.parted: asyncio.Future[None] = self._parent.create_future()
        self.ended: asyncio.Future[End] = self._parent.create_future()
        self.last_words: LoopStats | None = None
        self._options = options
        self._serving_map = serving_map
        self._sockets = sockets
        self._on_control = on_control
        self._on_traces = on_traces
        self._regions = regions
        self._started: asyncio.Future[None] = self._parent.create_future()
        self._waiting: set[asyncio.Future[Any]] = set()
        # Written by the thread before it says that it has started.
        self._loop: asyncio.AbstractEventLoop
        self._front_end: FrontEnd
        self._told_to_end: asyncio.Event

    @property
    def pid(self) -> int | None:
        return None

    async def start(self) -> None:
        # A daemon: an engine that is still at work must not keep the process from ending.
        thread = threading.Thread(target=self._run, name=f"loop-{self.number}", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # Too many threads.
            self.ended.set_result(End("no start"))
            raise Error("UNAVAILABLE", f"no thread: {error}") from None
        await self._started

    async def accept(self) -> None:
        # Closing a socket of its own leaves the parent's open, for the loop that comes after it.
        sockets = [sock.dup() for sock in self._sockets]
        await self._call(lambda: self._front_end.listen(sockets))

    async def snapshot(self) -> LoopStats:
        async def stats() -> LoopStats:
            return self._stats()

        return await self._call(stats)

    async def debug(self, limit: int) -> dict[str, Any]:
        async def shown() -> dict[str, Any]:
            return self._front_end.debug(limit)

        return await self._call(shown)

    def configure(self, settings: LoopSettings) -> asyncio.Future[None]:
        """Its logs are those of the process."""
        answer: asyncio.Future[None] = self._parent.create_future()
        if self.ended.done():
            answer.set_result(None)
            return answer
        self._waiting.add(answer)

        def settle(_: asyncio.Future[None]) -> None:
            self._waiting.discard(answer)
            answer.exception()  # Else asyncio complains of those that nobody looked at.

        def configure() -> None:
            self._front_end.configure(settings)
            self._tell(answer, None, None)

        answer.add_done_callback(settle)
        with contextlib.suppress(RuntimeError):  # It ends: `ended` will tell.
            self._loop.call_soon_threadsafe(configure)
        return answer

    def begin_drain(self) -> None:
        if self._started.done() and not self._started.exception():
            with contextlib.suppress(RuntimeError):  # It is closed: it has ended.
                self._loop.call_soon_threadsafe(self._told_to_end.set)

    def kill(self) -> None:
        """A thread cannot be killed; it can be asked."""
        self.begin_drain()

    async def _call(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine on the thread's loop. Errors: Error when the loop ended instead."""
        if self.ended.done():
            raise self._gone()
        answer: asyncio.Future[T] = self._parent.create_future()
        self._waiting.add(answer)

        async def run() -> None:
            try:
                result = await make()
            except Exception as error:  # noqa: BLE001 It is the caller's.
                self._tell(answer, None, error)
            else:
                self._tell(answer, result, None)

        with contextlib.suppress(RuntimeError):  # It ends: `ended` will tell.
            self._loop.call_soon_threadsafe(lambda: self._loop.create_task(run()))
        try:
            return await answer
        finally:
            self._waiting.discard(answer)

    def _gone(self) -> Error:
        return Error("UNAVAILABLE", f"loop {self.number} ended with {self.ended.result().cause}")

    def _on_end(self, end: End) -> None:
        self.ended.set_result(end)
        if not self.parted.done():
            self.parted.set_result(None)
        for answer in [self._started, *self._waiting]:
            if not answer.done():
                answer.set_exception(self._gone())

    # -- On the thread -----------------------------------------------------------------------

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                try:
                    end = End("its drain", runner.run(self._serve()))
                except BaseException:
                    self._close_sockets()
                    raise
        except BaseException as error:  # noqa: BLE001 Its slot decides what becomes of it.
            logs.LOGGER.error("loop %d broke", self.number, exc_info=error)
            end = End(f"{type(error).__name__}: {error}")
        front_end = getattr(self, "_front_end", None)
        if front_end is not None:
            self.last_words = self._stats()
        with contextlib.suppress(RuntimeError):  # The process ends.
            self._parent.call_soon_threadsafe(self._on_end, end)

    def _close_sockets(self) -> None:
        """A loop is closed without open sockets. It may have broken before it had a front end."""
        front_end = getattr(self, "_front_end", None)
        if front_end is not None:
            front_end.stop_listening()

    async def _serve(self) -> CutOff:
        self._loop = asyncio.get_running_loop()
        self._told_to_end = asyncio.Event()
        self._front_end = FrontEnd(
            self._options,
            self._serving_map,
            self._forward,
            self._loop,
            self._forward_traces,
            self._regions,
        )
        self._parent.call_soon_threadsafe(self._started.set_result, None)
        await self._told_to_end.wait()
        return await self._front_end.drain()

    def _stats(self) -> LoopStats:
        stats = self._front_end.stats()
        return LoopStats(stats.gateway, stats.connections, stats.in_flight)

    def _tell(self, answer: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
        def set_it() -> None:
            if answer.done():
                return
            if error is None:
                answer.set_result(result)
            else:
                answer.set_exception(error)

        self._parent.call_soon_threadsafe(set_it)

    def _forward_traces(self, records: Sequence[Mapping[str, Any]]) -> None:
        with contextlib.suppress(RuntimeError):  # The process ends.
            self._parent.call_soon_threadsafe(self._on_traces, records)

    def _forward(self, request: _core.ControlRequest) -> None:
        """The router lives on the parent's loop, and the answer goes out on this one."""
        loop = self._loop

        def reply(status: int, body: bytes, headers: Sequence[tuple[str, str]]) -> None:
            with contextlib.suppress(RuntimeError):  # The loop is gone, and the client with it.
                loop.call_soon_threadsafe(request.respond, status, body, headers)

        forwarded = ForwardedRequest(
            request.is_grpc,
            request.method,
            request.path,
            request.query,
            request.headers,
            request.body,
            request.peer,
            request.peer_uid,
            request.may_share,
            reply,
        )
        self._parent.call_soon_threadsafe(self._on_control, forwarded)
