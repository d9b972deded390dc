"""Endpoint: the server's front end and its routes, on one event loop of an embedding program."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Sequence

from fastserve import _core
from fastserve.config.options import Options
from fastserve.config.units import format_duration_ns
from fastserve.control.manager import Manager
from fastserve.server import logs
from fastserve.server.front_end import CutOff, FrontEnd, FrontEndStats
from fastserve.server.loops.single import SingleLoop
from fastserve.server.routes import Router
from fastserve.server.scrape import Scraper


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
        self._front_end = FrontEnd(
            options, serving_map, lambda request: self._router.on_control(request), loop
        )
        self._scraper = Scraper(manager, SingleLoop(self._front_end), loop)
        self._router = Router(
            manager, self._scraper.render, strict_readiness=options.strict_readiness
        )
        self._router.is_starting = False  # Models come and go; there is no first attempt to await.

    async def open(self, sockets: Sequence[socket.socket]) -> None:
        await self._front_end.listen(sockets)

    def stats(self) -> FrontEndStats:
        return self._front_end.stats()

    async def close(self, *, drain: bool) -> None:
        """Stop listening; let what is in flight finish, or not."""
        self._router.is_draining = True
        cut_off = await self._front_end.drain(None if drain else 0.0)
        if drain and cut_off != CutOff():
            limit = format_duration_ns(self._options.drain_timeout_ns)
            logs.warning(
                f"drained for {limit}, until the time was up; cut off: requests"
                f" {cut_off.requests}, connections {cut_off.connections}"
            )

    def abandon(self) -> None:
        """Its loop may have ended, and answers nobody any more. Any thread."""
        with contextlib.suppress(RuntimeError):
            self._front_end.stop_listening()


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's, if it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


async def abort_transports(loop: asyncio.AbstractEventLoop) -> None:
    """Close the connections that are left on a loop of ours.

    uvloop does so when it closes; asyncio would leave each to the collector, with a warning.
    """
    for transport in list(getattr(loop, "_transports", {}).values()):
        transport.abort()
    await asyncio.sleep(0)  # Transports tell their protocols in the next iteration.
