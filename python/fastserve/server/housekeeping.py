"""Housekeeper: what has to happen now and then, and only while somebody is connected.

An idle server has no timer at all: the first connection starts the ticks. They end soon after the
last one has gone, with what was kept for the next requests given back to the system: whoever serves
one model all night holds no memory for what another one needed at noon.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastserve import _core
from fastserve.server import access_log

PERIOD_S = 1.0
# Access records are bounded in the core: while requests come, they are fetched more often, before
# a busy second can overflow them.
BUSY_PERIOD_S = 0.1
# What comes back within a few seconds should find its memory warm.
QUIET_TICKS = 3


class Housekeeper:
    """Threads: the loop's. `look_after` is called once a second while somebody is connected,
    `on_traces` with the records of traced inferences, if there are any."""

    def __init__(
        self,
        gateway: _core.Gateway,
        loop: asyncio.AbstractEventLoop,
        *,
        logs_access: bool,
        look_after: Callable[[], None] = lambda: None,
        trim: Callable[[], object] = lambda: None,
        on_traces: Callable[[Sequence[Mapping[str, Any]]], object] = lambda _: None,
    ) -> None:
        self._gateway = gateway
        self._loop = loop
        self._look_after = look_after
        self._trim = trim
        self._logs_access = logs_access
        self._on_traces = on_traces
        self._timer: asyncio.TimerHandle | None = None
        self._next_sweep_s = 0.0
        self._quiet_ticks = 0

    def on_connection(self) -> None:
        """A connection is being made: there is something to look after."""
        if self._timer is None:
            self._next_sweep_s = self._loop.time() + PERIOD_S
            first_s = BUSY_PERIOD_S if self._logs_access else PERIOD_S
            self._timer = self._loop.call_later(first_s, self._tick)

    def flush(self) -> bool:
        """Write what was recorded since the last time; whether there was anything."""
        records = self._gateway.take_access_records() if self._logs_access else []
        access_log.write(records)
        traces = self._gateway.take_trace_records()
        if traces:
            self._on_traces(traces)
        return bool(records or traces)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.flush()

    def _tick(self) -> None:
        is_busy = self.flush()
        now_s = self._loop.time()
        if now_s >= self._next_sweep_s:
            self._gateway.sweep()
            self._look_after()
            self._next_sweep_s = now_s + PERIOD_S
        # A request outlives its connection when the client left: its record is still to come.
        is_needed = self._gateway.connections > 0 or self._gateway.in_flight > 0
        self._quiet_ticks = 0 if is_needed else self._quiet_ticks + 1
        if self._quiet_ticks < QUIET_TICKS:
            self._timer = self._loop.call_later(BUSY_PERIOD_S if is_busy else PERIOD_S, self._tick)
            return
        self._quiet_ticks = 0
        self._timer = None
        self._trim()
