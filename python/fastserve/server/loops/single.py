"""SingleLoop: the one loop of a server that has no others, with the face that a fleet has."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from fastserve.server.front_end import CutOff, FrontEnd
from fastserve.server.live.loop_settings import LoopSettings
from fastserve.server.loops.tally import LoopStats


class Loops(Protocol):
    """What serves: one loop or several. Threads: the parent's loop. See fleet.py."""

    restarts: int

    async def start(self) -> None: ...
    async def accept(self) -> None: ...
    def states(self) -> Mapping[str, int]: ...
    def is_serving(self) -> bool: ...
    def pids(self) -> list[int]: ...
    async def collect(self) -> LoopStats: ...
    async def debug(self, limit: int) -> list[dict[str, Any]]: ...
    async def drain(self) -> CutOff: ...
    def configure(self, settings: LoopSettings) -> asyncio.Future[None]: ...


class SingleLoop:
    """It runs on the loop that the server itself runs on."""

    def __init__(self, front_end: FrontEnd, sockets: Sequence[socket.socket] = ()) -> None:
        self._front_end = front_end
        self._sockets = sockets
        self.restarts = 0

    async def start(self) -> None:
        return None

    async def accept(self) -> None:
        # Its own are closed when it stops to listen; the server's may be shared with another.
        await self._front_end.listen([sock.dup() for sock in self._sockets])

    def states(self) -> Mapping[str, int]:
        return {"serving": 1}

    def is_serving(self) -> bool:
        return True

    def pids(self) -> list[int]:
        """The processes beside this one."""
        return []

    async def collect(self) -> LoopStats:
        stats = self._front_end.stats()
        return LoopStats(stats.gateway, stats.connections, stats.in_flight)

    async def debug(self, limit: int) -> list[dict[str, Any]]:
        return [{"loop": 0, "state": "serving", **self._front_end.debug(limit)}]

    def configure(self, settings: LoopSettings) -> asyncio.Future[None]:
        """Every loop, and each to come, goes by these soon; done when they do, or do not answer."""
        self._front_end.configure(settings)
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def drain(self) -> CutOff:
        return await self._front_end.drain()
