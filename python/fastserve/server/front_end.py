"""FrontEnd: one event loop's share of the server.

Its gateway, its listening sockets, its housekeeping and its end. What the loops share, the models
and what is said about them, is given to it: `on_control` answers whatever is no inference.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fastserve import _core
from fastserve._core.memory import RegionRegistry, trim_heap
from fastserve.config.options import Options
from fastserve.server.housekeeping import Housekeeper
from fastserve.server.live.loop_settings import LoopSettings
from fastserve.server.sockets.acceptor import Acceptor
from fastserve.server.sockets.transport import Connection, connection_factory

_DRAIN_POLL_S = 0.02
# From accept() to connection_made() asyncio takes three iterations, uvloop one.
_ACCEPT_ITERATIONS = 5


@dataclass(frozen=True)
class FrontEndStats:
    """What one loop counted: Gateway.stats(), and what is there now."""

    gateway: Mapping[str, int]
    connections: int
    in_flight: int


@dataclass(frozen=True)
class CutOff:
    """What was still there when the time to drain was up."""

    requests: int = 0
    connections: int = 0


class FrontEnd:
    """Threads: the loop's."""

    # Whether the process is ours, and so the C library's heap: trimming that halts all its users.
    owns_process = True

    def __init__(
        self,
        options: Options,
        serving_map: _core.ServingMap,
        on_control: Callable[[_core.ControlRequest], None],
        loop: asyncio.AbstractEventLoop,
        on_traces: Callable[[Sequence[Mapping[str, Any]]], object] = lambda _: None,
        regions: RegionRegistry | None = None,
    ) -> None:
        self._loop = loop
        self._drain_timeout_s = options.drain_timeout_ns / 1e9
        self._gateway = _core.Gateway(
            serving_map,
            loop,
            on_control,
            body_bytes_max=options.body_bytes_max,
            in_flight_bytes_max=options.in_flight_bytes_max,
            connections_max=options.connections_max,
            head_timeout_ns=options.head_timeout_ns,
            body_timeout_ns=options.body_timeout_ns,
            idle_timeout_ns=options.idle_timeout_ns,
            connections_per_client_max=options.connections_per_client_max,
            streams_per_connection_max=options.streams_per_connection_max,
            keepalive_ns=options.keepalive_ns,
            connection_age_ns=options.connection_age_ns,
            drain_grace_ns=options.drain_grace_ns,
            access_log=options.access_log,
            cors_origins=options.cors_origins,
            regions=regions,
        )
        self._housekeeper = Housekeeper(
            self._gateway,
            loop,
            logs_access=options.access_log,
            look_after=self._check_acceptors,
            trim=self._trim_memory,
            on_traces=on_traces,
        )
        self._acceptors: list[Acceptor] = []

    async def listen(self, sockets: Sequence[socket.socket]) -> None:
        """Accept connections on bound sockets; they are closed with the front end."""
        self._loop.add_reader(self._gateway.fd, self._gateway.drain)
        make = self.connection_factory(self._gateway, self._housekeeper.on_connection)
        for sock in sockets:
            acceptor = Acceptor(self._loop, make, sock)
            await acceptor.start()
            self._acceptors.append(acceptor)

    def connection_factory(
        self, gateway: _core.Gateway, on_connection: Callable[[], None]
    ) -> Callable[[], Connection]:
        """Makes the protocol of each connection: a subclass may have to know more of them."""
        return connection_factory(gateway, on_connection)

    def stats(self) -> FrontEndStats:
        return FrontEndStats(
            self._gateway.stats(), self._gateway.connections, self._gateway.in_flight
        )

    def configure(self, settings: LoopSettings) -> None:
        """What is said of it from now on. The logs are the process's affair."""
        self._gateway.trace(settings.trace.of_all, settings.trace.of_models)

    def debug(self, limit: int) -> dict[str, Any]:
        """What is in flight and where it stands, the oldest first."""
        return self._gateway.debug(limit)

    def stop_listening(self) -> None:
        for acceptor in self._acceptors:
            acceptor.close()
        self._acceptors.clear()

    async def _stop_accepting(self) -> None:
        """Until each socket that was accepted has become a connection.

        asyncio would forget one whose server is closed in between, and its client would wait.
        """
        for acceptor in self._acceptors:
            acceptor.stop()
        for _ in range(_ACCEPT_ITERATIONS):
            await asyncio.sleep(0)

    def _check_acceptors(self) -> None:
        for acceptor in self._acceptors:
            acceptor.check()

    def _trim_memory(self) -> None:
        self._gateway.trim_memory()
        if self.owns_process:
            trim_heap()

    async def drain(self, limit_s: float | None = None) -> CutOff:
        """Let what is in flight finish, for the drain timeout at most; then nothing is served."""
        limit_s = self._drain_timeout_s if limit_s is None else limit_s
        deadline_s = self._loop.time() + limit_s
        await self._stop_accepting()
        self.stop_listening()
        self._gateway.begin_drain()
        # Connections too: an answer is out of our hands only when its connection is closed.
        while self._gateway.in_flight > 0 or self._gateway.connections > 0:
            if self._loop.time() >= deadline_s:
                break
            await asyncio.sleep(_DRAIN_POLL_S)
        self._housekeeper.stop()
        self._loop.remove_reader(self._gateway.fd)
        return CutOff(self._gateway.in_flight, self._gateway.connections)
