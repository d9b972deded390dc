"""Housekeeper: what has to happen now and then, and only while somebody is connected.

An idle server has no timer at all: the first connection starts the ticks, and they end with the
last one.
"""

from __future__ import annotations

import asyncio

from fastserve import _core
from fastserve.server import access_log

SWEEP_PERIOD_S = 1.0
# Access records are bounded in the core: they are fetched before a busy second can overflow them.
ACCESS_LOG_PERIOD_S = 0.1


class Housekeeper:
    """Threads: the loop's."""

    def __init__(
        self, gateway: _core.Gateway, loop: asyncio.AbstractEventLoop, *, logs_access: bool
    ) -> None:
        self._gateway = gateway
        self._loop = loop
        self._logs_access = logs_access
        self._period_s = ACCESS_LOG_PERIOD_S if logs_access else SWEEP_PERIOD_S
        self._timer: asyncio.TimerHandle | None = None
        self._next_sweep_s = 0.0

    def on_connection(self) -> None:
        """A connection is being made: there is something to look after."""
        if self._timer is None:
            self._next_sweep_s = self._loop.time() + SWEEP_PERIOD_S
            self._timer = self._loop.call_later(self._period_s, self._tick)

    def flush(self) -> None:
        if self._logs_access:
            access_log.write(self._gateway.take_access_records())

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.flush()

    def _tick(self) -> None:
        self.flush()
        now_s = self._loop.time()
        if now_s >= self._next_sweep_s:
            self._gateway.sweep()
            self._next_sweep_s = now_s + SWEEP_PERIOD_S
        is_needed = self._gateway.connections > 0
        self._timer = self._loop.call_later(self._period_s, self._tick) if is_needed else None
