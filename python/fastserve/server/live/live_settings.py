"""LiveSettings: what can be changed while the server runs, and its way to every event loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fastserve.server import logs
from fastserve.server.live import log_settings
from fastserve.server.live.loop_settings import LoopSettings
from fastserve.server.tracing.tracer import Tracer

Record = Mapping[str, Any]


class LiveSettings:
    """Threads: the loop's. `tell` gives every event loop, and each to come, what it must know."""

    def __init__(self, tracer: Tracer, tell: Callable[[LoopSettings], None]) -> None:
        self._tracer = tracer
        self._tell = tell

    def change_log(self, changes: Mapping[str, Any]) -> dict[str, Any]:
        """What is logged and how, after the changes. Errors: INVALID_ARGUMENT; nothing changed."""
        if changes:
            logs.apply(log_settings.changed(logs.settings(), changes, is_json=logs.is_json()))
            self.tell()
        return log_settings.shown(logs.settings())

    def change_trace(self, model: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        """Of one model, or of all of them without a name; as change_log()."""
        if changes:
            self._tracer.change(model, changes)
            self.tell()
        return self._tracer.shown(model)

    def tell(self) -> None:
        self._tell(LoopSettings(logs.settings(), self._tracer.rates()))

    def on_traces(self, records: Sequence[Record]) -> None:
        """What a loop has recorded."""
        if self._tracer.take(records):
            self.tell()

    def lost_traces(self) -> int:
        return self._tracer.lost

    def close(self, timeout_s: float) -> None:
        """Until what was recorded is written, for that long at most. On any thread."""
        self._tracer.close(timeout_s)
