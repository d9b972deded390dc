"""Entry: one loaded version, as long as it is loaded; and what answers in its place afterwards."""

from __future__ import annotations

from typing import Any, NoReturn, cast

from fastserve import _core
from fastserve.control.loader import Loaded
from fastserve.embed.stats import ModelStats, from_core
from fastserve.errors import Error


class Gone:
    """Takes the place of a Caller: every call says why there is nobody to call.

    A call in its usual state need not ask whether there is.
    """

    def __init__(self, code: str, message: str) -> None:
        self._code = code
        self._message = message

    def error(self) -> Error:
        return Error(self._code, self._message)

    def infer(self, *_given: Any, **_named: Any) -> NoReturn:
        raise self.error()

    submit = infer
    ainfer = infer


class Entry:
    """Shared by all handles to a model. Threads: any; `caller` is replaced whole."""

    def __init__(
        self, serving_map: _core.ServingMap, loaded: Loaded, warnings: tuple[str, ...]
    ) -> None:
        self.name = loaded.name
        self.version = loaded.version
        self.platform = loaded.platform
        self.served = loaded.served
        self.load_ns = loaded.load_ns
        self.warnings = warnings
        self.caller: _core.Caller | Gone = _core.Caller(
            serving_map, loaded.name, str(loaded.version), error=Error
        )
        self._servable: _core.Servable | None = cast(_core.Servable, loaded.servable)

    @property
    def is_loaded(self) -> bool:
        return not isinstance(self.caller, Gone)

    def stats(self) -> ModelStats:
        """Errors: as every call of one that has ended."""
        caller, servable = self.caller, self._servable
        if isinstance(caller, Gone):
            raise caller.error()
        assert servable is not None  # It goes after the caller does.
        return from_core(servable.stats())

    def end(self, code: str, message: str) -> None:
        """Calls are refused from now on."""
        self.caller = Gone(code, message)

    def release(self, *, end_waiting: bool = False) -> None:
        """Let go of what was loaded, before it is retired: the last reference has to be the map's.

        With `end_waiting`, requests that have not begun to run end with UNAVAILABLE.
        """
        servable, self._servable = self._servable, None
        if end_waiting and isinstance(servable, _core.Servable):
            servable.end_waiting()
