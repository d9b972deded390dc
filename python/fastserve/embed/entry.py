"""Entry: one loaded version, as long as it is loaded, and the end of calls to it afterwards."""

from __future__ import annotations

from typing import cast

from fastserve import _core
from fastserve.control.loading.loader import Loaded
from fastserve.embed.stats import ModelStats, from_core
from fastserve.errors import Error


class Entry:
    """Shared by all handles to a model. Threads: any; `_end` is replaced whole.

    Each handle is a Caller of `caller`, so that calls of all of them end at once.
    """

    def __init__(
        self, serving_map: _core.ServingMap, loaded: Loaded, warnings: tuple[str, ...]
    ) -> None:
        self.name = loaded.name
        self.version = loaded.version
        self.platform = loaded.platform
        self.served = loaded.served
        self.load_ns = loaded.load_ns
        self.warnings = warnings
        self.caller = _core.Caller(serving_map, loaded.name, str(loaded.version), error=Error)
        self._end: tuple[str, str] | None = None
        self._servable: _core.Servable | None = cast(_core.Servable, loaded.servable)

    @property
    def is_loaded(self) -> bool:
        return self._end is None

    def stats(self) -> ModelStats:
        """Errors: as every call of one that has ended."""
        servable, end = self._servable, self._end  # In this order: the servable goes last.
        if end is not None:
            raise Error(*end)
        assert servable is not None
        return from_core(servable.stats())

    def end(self, code: str, message: str) -> None:
        """Calls are refused from now on, and told why."""
        self._end = (code, message)
        _core.end_calls(self.caller, code, message)

    def release(self, *, end_waiting: bool = False) -> None:
        """Let go of what was loaded. With `end_waiting`, requests that have not begun to run end
        with UNAVAILABLE."""
        servable, self._servable = self._servable, None
        if end_waiting and isinstance(servable, _core.Servable):
            servable.end_waiting()
