"""LiveSettings: what can be changed while the server runs, and its way to every event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastserve._core.memory import RegionRegistry
from fastserve.server import logs
from fastserve.server.live import log_settings
from fastserve.server.live.loop_settings import LoopSettings
from fastserve.server.live.shared_regions import SharedRegions
from fastserve.server.tracing.tracer import Tracer

Record = Mapping[str, Any]


class LiveSettings:
    """Threads: the loop's. `tell` gives every event loop, and each to come, what it must know; what
    it returns is done when those that run go by it.

    A change is answered then: a client's next request may meet another loop.
    """

    def __init__(
        self,
        tracer: Tracer,
        regions: SharedRegions | None,
        tell: Callable[[LoopSettings], asyncio.Future[None]],
    ) -> None:
        self._tracer = tracer
        self.regions = regions
        self._tell = tell

    @property
    def registry(self) -> RegionRegistry | None:
        return self.regions.registry if self.regions else None

    async def change_log(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """What is logged and how, after the changes. Errors: INVALID_ARGUMENT; nothing changed."""
        if changes:
            logs.apply(log_settings.changed(logs.settings(), changes, is_json=logs.is_json()))
            await self.tell()
        return log_settings.shown(logs.settings())

    async def change_trace(self, model: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Of one model, or of all of them without a name; as change_log()."""
        if changes:
            self._tracer.change(model, changes)
            await self.tell()
        return self._tracer.shown(model)

    def tell(self) -> asyncio.Future[None]:
        regions = self.regions.regions() if self.regions else []
        return self._tell(LoopSettings(logs.settings(), self._tracer.rates(), regions))

    def on_traces(self, records: Sequence[Record]) -> None:
        """What a loop has recorded."""
        if self._tracer.take(records):
            self.tell()

    def lost_traces(self) -> int:
        return self._tracer.lost

    def close(self, timeout_s: float) -> None:
        """Until what was recorded is written, for that long at most. On any thread."""
        self._tracer.close(timeout_s)
