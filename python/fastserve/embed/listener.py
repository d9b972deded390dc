"""Listener: an address at which a server's models are served over HTTP, while the program runs.

On an event loop of its own thread, or on one that the program runs. Neither touches what belongs to
the program: no signal is handled, no log configured, no interpreter setting changed.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import socket
import threading
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from fastserve.config.options import Options
from fastserve.embed.endpoint import Endpoint
from fastserve.embed.settings import in_python
from fastserve.embed.shared import Shared
from fastserve.errors import Error
from fastserve.server import logs
from fastserve.server.loops.event_loop import loop_factory
from fastserve.server.sockets.listen import bind, bind_unix, url_of

# What a loop is given beyond the drain timeout before it counts as stuck.
_GRACE_S = 5.0


def bind_sockets(options: Options) -> list[socket.socket]:
    """Errors: one line that says what to change."""
    try:
        sockets = [bind(options.host, options.port)]
        if options.unix_socket:
            try:
                sockets.append(bind_unix(options.unix_socket))
            except BaseException:
                sockets[0].close()
                raise
    except Error as error:
        raise in_python(error) from None
    return sockets


class Closes(ABC):
    """A context manager of either kind, which is closed at the end of its block."""

    __slots__ = ()

    @abstractmethod
    def close(self) -> None: ...

    @abstractmethod
    async def aclose(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()


class Listener(Closes):
    """Serves until close(), or until its server closes.

    Threads: any. One that alisten() made closes best by aclose(), on its own event loop.
    """

    def __init__(self, shared: Shared, options: Options) -> None:
        self._shared = shared
        self._options = options
        self._sockets = bind_sockets(options)
        self._url = url_of(self._sockets[0])
        self._port = int(self._sockets[0].getsockname()[1])
        self._endpoint: Endpoint | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop: asyncio.Future[bool] | None = None
        self._closing: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where a client on this machine finds it: "http://127.0.0.1:8000"."""
        return self._url

    @property
    def port(self) -> int:
        return self._port

    @property
    def unix_socket(self) -> str | None:
        return self._options.unix_socket or None

    @property
    def is_open(self) -> bool:
        return self._endpoint is not None

    def close(self, *, drain: bool = True) -> None:
        """Stop accepting, let what is in flight finish, for the drain timeout at most; return then.

        With `drain` False whatever is in flight is cut off. On the event loop that alisten() was
        called on nothing can be waited for: the draining goes on after the return. Later calls, and
        calls in the child of a fork, do nothing.
        """
        if self._shared.is_forked:
            return
        if self._thread is not None:
            self.request_stop(drain=drain)
            self.join()
        elif self._endpoint is not None and self._loop is not None:
            self._close_on(self._loop, drain)

    async def aclose(self, *, drain: bool = True) -> None:
        """As close(), without holding up the running event loop."""
        if self._shared.is_forked or self._endpoint is None:
            return
        if self._loop is asyncio.get_running_loop():
            await self._drain_here(drain)
        else:
            await asyncio.to_thread(self.close, drain=drain)

    # -- On a thread of its own --------------------------------------------------------------

    def start_thread(self) -> None:
        """Returns when it accepts connections."""
        started: concurrent.futures.Future[None] = concurrent.futures.Future()
        # A daemon: a program that forgot to close it can end.
        self._thread = threading.Thread(
            target=self._run, args=(started,), name=f"fastserve-{self._port}", daemon=True
        )
        try:
            self._thread.start()
            started.result()
        except BaseException:
            self._release()
            raise

    def request_stop(self, *, drain: bool) -> None:
        """Let the thread end; returns at once."""
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # It has ended.
                self._loop.call_soon_threadsafe(self._end, drain)

    def join(self, timeout_s: float | None = None) -> None:
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _run(self, started: concurrent.futures.Future[None]) -> None:
        try:
            with asyncio.Runner(loop_factory=loop_factory()) as runner:
                runner.run(self._serve(started))
        except BaseException as error:  # noqa: BLE001 Told to whoever waits, else logged.
            if started.done():
                logs.LOGGER.exception("the listener at %s failed", self._url)
            else:
                started.set_exception(error)
        finally:
            self._release()

    async def _serve(self, started: concurrent.futures.Future[None]) -> None:
        self._stop = asyncio.get_running_loop().create_future()
        endpoint = await self.start_here()
        started.set_result(None)
        drain = await self._stop
        self._unlink()
        await endpoint.close(drain=drain)

    def _end(self, drain: bool) -> None:
        if self._stop is not None and not self._stop.done():
            self._stop.set_result(drain)

    # -- On the program's event loop ---------------------------------------------------------

    async def start_here(self) -> Endpoint:
        """Serve on the running loop."""
        self._loop = asyncio.get_running_loop()
        endpoint = Endpoint(
            self._options, self._shared.serving_map, self._shared.manager, self._loop
        )
        try:
            await endpoint.open(self._sockets)
        except BaseException:
            self._release()
            raise
        self._endpoint = endpoint
        return endpoint

    def is_on_this_loop(self) -> bool:
        """Whether its event loop is the one that runs in this thread."""
        try:
            return self._thread is None and self._loop is asyncio.get_running_loop()
        except RuntimeError:
            return False

    def _close_on(self, loop: asyncio.AbstractEventLoop, drain: bool) -> None:
        if self.is_on_this_loop():
            self._begin_closing(loop, drain)
        elif loop.is_running():
            limit_s = self._options.drain_timeout_ns / 1e9 + _GRACE_S
            ended = asyncio.run_coroutine_threadsafe(self._drain_here(drain), loop)
            with contextlib.suppress(concurrent.futures.TimeoutError):
                ended.result(limit_s)  # The loop may have been stopped just now.
        else:
            self._release()  # It will answer nobody any more.

    async def _drain_here(self, drain: bool) -> None:
        # Shielded: who gives up waiting does not stop the closing.
        await asyncio.shield(self._begin_closing(asyncio.get_running_loop(), drain))

    def _begin_closing(self, loop: asyncio.AbstractEventLoop, drain: bool) -> asyncio.Task[None]:
        if self._closing is None:
            self._unlink()
            self._closing = loop.create_task(self._finish_closing(drain))
        return self._closing

    async def _finish_closing(self, drain: bool) -> None:
        try:
            if self._endpoint is not None:
                await self._endpoint.close(drain=drain)
        finally:
            self._release()

    # -- The end -----------------------------------------------------------------------------

    def _unlink(self) -> None:
        # While it still listens: afterwards, another server may have put its own there.
        if self._options.unix_socket and self._sockets:
            Path(self._options.unix_socket).unlink(missing_ok=True)

    def _release(self) -> None:
        """Whatever is left. The event loop has closed the sockets, if it could."""
        endpoint, self._endpoint = self._endpoint, None
        if endpoint is not None:
            endpoint.abandon()
        for sock in self._sockets:
            sock.close()
        self._sockets = []
        self._shared.remove_listener(self)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a fastserve.Listener cannot be pickled or copied: it owns sockets")

    def __repr__(self) -> str:
        also = f" and {self.unix_socket}" if self.unix_socket else ""
        return f"<fastserve.Listener {self._url}{also}{'' if self.is_open else ', closed'}>"
