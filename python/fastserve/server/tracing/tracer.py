"""Tracer: from the records of traced inferences to the trace file, by what is set.

The core chooses the inferences and measures them; what is counted, where it goes and how it looks
is decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastserve.config.options import Options
from fastserve.server import logs
from fastserve.server.live.loop_settings import TraceRates
from fastserve.server.tracing.trace_file import TraceFile, check_path
from fastserve.server.tracing.trace_settings import Effective, TraceSettings

Record = Mapping[str, Any]


class Tracer:
    """Threads: the loop's; close() on any. Errors of making one: INVALID_ARGUMENT."""

    def __init__(self, options: Options) -> None:
        self._file: TraceFile | None = None
        path = options.trace_file
        if path:
            check_path(path)
            self._file = TraceFile(path, options.trace_bytes_max, logs.warning)
        is_on = options.trace_level == "timestamps"
        self._settings = TraceSettings(path, Effective(is_on, options.trace_rate))

    def change(self, model: str, changes: Mapping[str, Any]) -> None:
        """See TraceSettings."""
        self._settings.change(model, changes)

    def shown(self, model: str) -> dict[str, Any]:
        return self._settings.shown(model)

    def rates(self) -> TraceRates:
        return self._settings.rates()

    @property
    def lost(self) -> int:
        """Traces that were recorded and could not be written."""
        return self._file.lost if self._file is not None else 0

    def take(self, records: Sequence[Record]) -> bool:
        """Have them written, but for those beyond trace_count; whether the rates are others now."""
        if self._file is None:
            return False
        before = self.rates()
        by_owner: dict[str, list[Record]] = {}
        for record in records:
            owner, is_wanted = self._settings.use(record["model"])
            if is_wanted:
                by_owner.setdefault(owner, []).append(record)
        for owner, wanted in by_owner.items():
            self._file.write(owner, self._settings.of(owner).frequency, wanted)
        return self.rates() != before

    def close(self, timeout_s: float) -> None:
        if self._file is not None:
            self._file.close(timeout_s)
