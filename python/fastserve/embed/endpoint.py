"""Endpoint: the server's front end and its routes, on one event loop of an embedding program."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from fastserve import _core
from fastserve.config.options import Options
from fastserve.config.units import format_duration_ns
from fastserve.control.manager import Manager
from fastserve.server import logs
from fastserve.server.front_end import CutOff, FrontEnd
from fastserve.server.loops.single import SingleLoop
from fastserve.server.routes.router import Router
from fastserve.server.scrape import Scraper
from fastserve.server.sockets.transport import Connection


class _Connection(Connection):
    """One that its front end knows the transport of."""

    __slots__ = ("known",)

    def __init__(self, gateway: _core.Gateway, known: weakref.WeakSet[Any]) -> None:
        super().__init__(gateway)
        self.known = known

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.known.add(transport)
        super().connection_made(transport)


class _FrontEnd(FrontEnd):
    """One that closes what is left at its end: the process of an embedding program goes on."""

    owns_process = False

    def __init__(
        self,
        options: Options,
        serving_map: _core.ServingMap,
        on_control: Callable[[_core.ControlRequest], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(options, serving_map, on_control, loop)
        # asyncio's and uvloop's share no base.
        self._transports = weakref.WeakSet[Any]()

    def connection_factory(
        self, gateway: _core.Gateway, on_connection: Callable[[], None]
    ) -> Callable[[], Connection]:
        def make() -> Connection:
            on_connection()
            return _Connection(gateway, self._transports)

        return make

    def abort(self) -> None:
        for transport in list(self._transports):
            transport.abort()


class Endpoint:
    """Threads: the loop's."""

    def __init__(
        self,
        options: Options,
        serving_map: _core.ServingMap,
        manager: Manager,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._options = options
        self._front_end = _FrontEnd(options, serving_map, self._on_control, loop)
        scraper = Scraper(manager, SingleLoop(self._front_end), loop)
        self._router = Router(
            manager,
            scraper.render,
            strict_readiness=options.strict_readiness,
            count=scraper.count,
            cors_origins=options.cors_origins,
        )
        self._router.is_starting = False  # Models come and go; there is no first attempt to await.

    async def open(self, sockets: Sequence[socket.socket]) -> None:
        await self._front_end.listen(sockets)

    async def close(self, *, drain: bool) -> None:
        """Stop listening; let what is in flight finish, or not."""
        self._router.drain()
        cut_off = await self._front_end.drain(None if drain else 0.0)
        if drain and cut_off != CutOff():
            limit = format_duration_ns(self._options.drain_timeout_ns)
            logs.warning(
                f"drained for {limit}, until the time was up; cut off: requests"
                f" {cut_off.requests}, connections {cut_off.connections}"
            )
        self._front_end.abort()
        await asyncio.sleep(0)  # Transports tell their protocols in the next iteration.

    def _on_control(self, request: _core.ControlRequest) -> None:
        self._router.on_control(request)

    def abandon(self) -> None:
        """Its loop may have ended, and answers nobody any more. Any thread."""
        with contextlib.suppress(RuntimeError):
            self._front_end.stop_listening()
